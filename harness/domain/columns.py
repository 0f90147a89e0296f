"""Columns of text as numbers, without pandas' accessors: on a small table they take longer than all that is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def names_and_codes(column: pd.Series) -> tuple[list[str], Any]:
    """The names that a column may hold, and for each of its rows the place of its own; -1 without one."""
    import pandas as pd

    category: Any = column.array if isinstance(column.dtype, pd.CategoricalDtype) else pd.Categorical(column)
    return [str(name) for name in category.categories], category.codes
