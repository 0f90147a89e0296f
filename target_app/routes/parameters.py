"""What the endpoints of all modes share: their parameters and the 404."""

from __future__ import annotations

from typing import Annotated, TypeVar

from fastapi import HTTPException, Query

from target_app.schemas import INT32_MAX
from target_app.settings import Loader

T = TypeVar("T")

Offset = Annotated[int, Query(ge=0, le=INT32_MAX)]
After = Annotated[
    int | None, Query(ge=0, le=INT32_MAX, description="list what follows this id, instead of skipping `offset` heroes")
]
Limit = Annotated[int, Query(ge=1, le=100)]
Milliseconds = Annotated[int, Query(ge=0, le=10_000)]
BurntMilliseconds = Annotated[int, Query(ge=0, le=1_000, description="of CPU time")]
LockKey = Annotated[int, Query(ge=1, le=1_000, description="which lock")]
Events = Annotated[int, Query(ge=1, le=1_000)]
Kibibytes = Annotated[int, Query(ge=1, le=10_240)]
FewTeams = Annotated[int, Query(ge=1, le=20, description="teams; each comes with all its heroes")]
LoaderChoice = Annotated[Loader | None, Query(description="how heroes are loaded; the setting team_loader by default")]


def found(row: T | None, what: str) -> T:
    """The row, or a 404 that says what is missing."""
    if row is None:
        raise HTTPException(status_code=404, detail=f"{what} not found")
    return row


def one_start(*, offset: int, after: int | None) -> None:
    """Refuse a page that starts in two places."""
    if offset and after is not None:
        raise HTTPException(status_code=422, detail="offset and after: give one of them")
