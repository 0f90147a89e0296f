"""What goes over the wire. Nothing here ever carries a password hash, a secret name out, or the deleted mark."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from annotated_types import Ge, Le, Len
from pydantic import BaseModel, ConfigDict, RootModel, StringConstraints, model_validator

from target_app.models import TEXT_LENGTH_MAX

INT32_MAX = 2**31 - 1
"""what Postgres's `integer` holds; more would be the driver's error, not the caller's"""

IMPORT_ROWS_MAX = 1000

# Postgres text cannot hold NUL, so it is refused at the door.
_NO_NUL = r"^[^\x00]*$"

RowId = Annotated[int, Ge(1), Le(INT32_MAX)]
Age = Annotated[int, Ge(0), Le(100_000)]
Text = Annotated[
    str, StringConstraints(min_length=1, max_length=TEXT_LENGTH_MAX, pattern=_NO_NUL, strip_whitespace=True)
]
Password = Annotated[str, StringConstraints(min_length=8, max_length=200)]


class HeroCreate(BaseModel):
    name: Text
    secret_name: Text
    password: Password
    age: Age | None = None
    team_id: RowId | None = None


class HeroUpdate(BaseModel):
    """A change: a field left out stays as it is; null empties `age` and `team_id` and is refused elsewhere."""

    name: Text | None = None
    secret_name: Text | None = None
    password: Password | None = None
    age: Age | None = None
    is_active: bool | None = None
    team_id: RowId | None = None

    @model_validator(mode="after")
    def _no_null_where_a_value_is_needed(self) -> Self:
        for field in ("name", "secret_name", "password", "is_active"):
            if field in self.model_fields_set and getattr(self, field) is None:
                raise ValueError(f"{field} may be left out, but not null")
        return self

    def changes(self) -> dict[str, Any]:
        """The fields that were sent."""
        return self.model_dump(exclude_unset=True)


class HeroesImport(RootModel[list[HeroCreate]]):
    """Rows to create, each by itself."""

    root: Annotated[list[HeroCreate], Len(1, IMPORT_ROWS_MAX)]


class RefusedRow(BaseModel):
    row: int
    """position in the import, from 0"""
    reason: str


class ImportResult(BaseModel):
    imported: list[int]
    """ids of the new heroes"""
    refused: list[RefusedRow]


class Move(BaseModel):
    """Heroes that change their team together, or not at all."""

    hero_ids: Annotated[list[RowId], Len(1, 100)]


class HeroPublic(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    age: int | None
    is_active: bool
    team_id: int | None
    created_at: datetime
    updated_at: datetime


class TeamCreate(BaseModel):
    name: Text
    headquarters: Text


class TeamPublic(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    headquarters: str


class Roster(TeamPublic):
    """A team with its heroes."""

    heroes: list[HeroPublic]


class Problem(BaseModel):
    detail: str


class InvalidField(BaseModel):
    type: str
    loc: list[str | int]
    msg: str


class InvalidRequest(BaseModel):
    detail: list[InvalidField] | str
    """the fields that are wrong, or one sentence where each is right by itself"""
