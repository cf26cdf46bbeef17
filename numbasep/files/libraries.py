"""Optional libraries for file formats, imported on first use."""

import importlib
from typing import Any


def library(module: str, package: str) -> Any:
    """Import a module; raise an error that says what to install if it is missing."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f'files of this kind need {package}: python -m pip install "numbasep[io]"'
        ) from None
