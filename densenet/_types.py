"""Names for the types that every module uses."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
"""An array of the model's dtype, float32 or float64 (index arrays: intp)."""

IntArray: TypeAlias = NDArray[np.intp]
