"""What the endpoints of all modes share: their parameters and the 404."""

from __future__ import annotations

from typing import Annotated, TypeVar

from fastapi import HTTPException, Query

from target_app.schemas import INT32_MAX

T = TypeVar("T")

Offset = Annotated[int, Query(ge=0, le=INT32_MAX)]
Limit = Annotated[int, Query(ge=1, le=100)]


def found(row: T | None, what: str) -> T:
    """The row, or a 404 that says what is missing."""
    if row is None:
        raise HTTPException(status_code=404, detail=f"{what} not found")
    return row
