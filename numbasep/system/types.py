"""Type aliases that modules share."""

from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]
"""Array of any shape and dtype."""
