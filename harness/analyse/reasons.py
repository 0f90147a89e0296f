"""How a reason of a certificate is made: a figure above its threshold."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pandas as pd

from harness.analyse.judged import Judged
from harness.analyse.measured import OUTCOME_PLACES
from harness.domain.evidence import Reason


def above(
    kind: Literal["instrument", "finding"], code: str, value: float, threshold: float, message: str
) -> Reason | None:
    """A reason when the value is above its threshold; NaN, no data, is not."""
    if not value > threshold:
        return None
    return Reason(kind=kind, code=code, message=message, value=float(value), threshold=float(threshold))


def share_of(evidence: Judged, outcome: str) -> float:
    """The share of what was offered that had this outcome; 0 when nothing was offered."""
    offered = len(evidence.outcome)
    return float(np.count_nonzero(evidence.outcome == OUTCOME_PLACES[outcome])) / offered if offered else 0.0


def largest(column: pd.Series) -> float:
    """NaN without a value."""
    return float(column.max()) if len(column) else math.nan


def increase(evidence: Judged, key: str) -> float:
    """How much a cumulative figure of the server table grew over the judged time; NaN with fewer than two readings."""
    values = evidence.readings(key)
    return float(values[-1] - values[0]) if len(values) > 1 else math.nan
