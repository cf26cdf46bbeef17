"""Optional libraries for file formats, imported when they are needed."""

from __future__ import annotations

import importlib
from typing import Any


def library(module: str, package: str) -> Any:
    """The module; an error that says what to install if there is none."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f'files of this kind need {package}: python -m pip install "numbasep[io]"'
        ) from None
