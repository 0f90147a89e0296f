"""Rows to tables with fixed columns and types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.observe.sampler import Row

if TYPE_CHECKING:
    import pandas as pd


def table(rows: Sequence[Row], columns: Mapping[str, str]) -> pd.DataFrame:
    """`rows` with exactly `columns` (name -> dtype) and `launch_id`, in this order, even when there are none."""
    import pandas as pd

    dtypes = {**columns, "launch_id": "category"}
    frame = pd.DataFrame.from_records([dict(row) for row in rows], columns=list(dtypes))
    return frame.astype(dtypes)
