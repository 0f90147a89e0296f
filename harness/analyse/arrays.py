"""Short names for the array types of this room."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Codes = NDArray[np.int16]
Times = NDArray[np.int64]
Where = NDArray[Any] | slice

NEVER = np.iinfo(np.int64).max
