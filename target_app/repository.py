"""Heroes and teams, stored: one protocol for each way to wait, and what their implementations share.

A write commits before it returns, so that the answer follows the commit. What the answer is made of afterwards:

- neither setting: the object as it is; the server's values came back with the statement.
- `refresh_after_write`: the row is read again, in a transaction of its own.
- `expire_on_commit`: the commit empties the object. The sync session reads the row again when the response touches
  it; the async session cannot (MissingGreenlet), nor one that is closed by then, so there a refresh is awaited.
- `returning` off, and no refresh: what the trigger wrote is not known, and the answer shows what was there before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm.exc import StaleDataError

from target_app.models import Hero, Team
from target_app.passwords import hash_password
from target_app.schemas import HeroCreate, HeroUpdate, ImportResult, TeamCreate
from target_app.settings import Loader, UpdateMode

_FOREIGN_KEY_VIOLATION = "23503"
_UNIQUE_VIOLATION = "23505"
_SERIALIZATION_FAILURE = "40001"

AUTOCOMMIT: Mapping[str, Any] = {"isolation_level": "AUTOCOMMIT"}
TRANSACTION: Mapping[str, Any] = {"isolation_level": "READ COMMITTED"}
REPEATABLE_READ: Mapping[str, Any] = {"isolation_level": "REPEATABLE READ"}
"""Execution options for the connection of one transaction."""


class RefusedError(Exception):
    """The request cannot be done. `detail` is for the caller, `status` the answer's."""

    status = 422
    detail = ""


class UnknownTeamError(RefusedError):
    detail = "team_id: there is no such team"


class UnknownHeroError(RefusedError):
    """A hero that several were to be done with does not exist, so nothing was done."""

    def __init__(self, hero_id: int) -> None:
        super().__init__(hero_id)
        self.detail = f"hero_ids: there is no hero {hero_id}"


class DuplicateTeamError(RefusedError):
    status = 409
    detail = "name: a team of that name exists"


class SimultaneousChangeError(RefusedError):
    status = 409
    detail = "the hero was changed at the same moment; read it again and repeat the change"


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What the settings ask of a repository."""

    refresh: bool = False
    """read the row again after a write"""
    returning: bool = True
    commit: bool = True
    """False is the mistake `missing_commit`: writes are flushed, and rolled back when the session is closed"""
    autocommit: bool = False
    """connections are in AUTOCOMMIT, so what needs a transaction must ask for one"""
    autocommit_reads: bool = False
    update_mode: UpdateMode = "last_wins"
    hard_delete: bool = False
    run_sync: bool = False
    """an async session runs the sync repository"""


class HeroRepository(Protocol):
    """`None` and `False` mean that there is no such row. Writes raise RefusedError."""

    async def create(self, body: HeroCreate) -> Hero: ...
    async def get(self, hero_id: int) -> Hero | None: ...
    async def page(self, *, offset: int, limit: int) -> Sequence[Hero]: ...
    async def page_after(self, hero_id: int, *, limit: int) -> Sequence[Hero]: ...
    async def update(self, hero_id: int, body: HeroUpdate) -> Hero | None: ...
    async def delete(self, hero_id: int) -> bool: ...
    async def import_heroes(self, bodies: Sequence[HeroCreate]) -> ImportResult: ...
    async def create_team(self, body: TeamCreate) -> Team: ...
    async def team(self, team_id: int) -> Team | None: ...
    async def teams(self, *, offset: int, limit: int) -> Sequence[Team]: ...
    async def rosters(self, *, offset: int, limit: int, loader: Loader) -> Sequence[Team]: ...
    async def move(self, hero_ids: Sequence[int], team_id: int) -> Sequence[Hero]: ...


class SyncHeroRepository(Protocol):
    """HeroRepository, waiting in its thread."""

    def create(self, body: HeroCreate) -> Hero: ...
    def get(self, hero_id: int) -> Hero | None: ...
    def page(self, *, offset: int, limit: int) -> Sequence[Hero]: ...
    def page_after(self, hero_id: int, *, limit: int) -> Sequence[Hero]: ...
    def update(self, hero_id: int, body: HeroUpdate) -> Hero | None: ...
    def delete(self, hero_id: int) -> bool: ...
    def import_heroes(self, bodies: Sequence[HeroCreate]) -> ImportResult: ...
    def create_team(self, body: TeamCreate) -> Team: ...
    def team(self, team_id: int) -> Team | None: ...
    def teams(self, *, offset: int, limit: int) -> Sequence[Team]: ...
    def rosters(self, *, offset: int, limit: int, loader: Loader) -> Sequence[Team]: ...
    def move(self, hero_ids: Sequence[int], team_id: int) -> Sequence[Hero]: ...


def new_hero(body: HeroCreate) -> Hero:
    values = body.model_dump(exclude={"password"})
    return Hero(**values, hashed_password=hash_password(body.password))


def apply_changes(hero: Hero, body: HeroUpdate) -> None:
    """Set what was sent, and nothing else."""
    changes = body.changes()
    if "password" in changes:
        changes["hashed_password"] = hash_password(changes.pop("password"))
    for field, value in changes.items():
        setattr(hero, field, value)


def move_all(heroes: Sequence[Hero], hero_ids: Sequence[int], team_id: int) -> None:
    """Put the heroes into the team. Raises UnknownHeroError where one of the ids has no hero."""
    if missing := set(hero_ids) - {hero.id for hero in heroes}:
        raise UnknownHeroError(min(missing))
    for hero in heroes:
        hero.team_id = team_id


@contextmanager
def refusals() -> Iterator[None]:
    """Around a write: what Postgres and SQLAlchemy object to is raised as RefusedError where the caller can help it."""
    try:
        yield
    except IntegrityError as error:
        raise _refusal(error) from error
    except StaleDataError as error:  # no row has the version that was read, or the row is gone
        raise SimultaneousChangeError from error
    except DBAPIError as error:
        if sqlstate_of(error) == _SERIALIZATION_FAILURE:
            raise SimultaneousChangeError from error
        raise


def _refusal(error: IntegrityError) -> Exception:
    refused = {_FOREIGN_KEY_VIOLATION: UnknownTeamError, _UNIQUE_VIOLATION: DuplicateTeamError}
    kind = refused.get(sqlstate_of(error) or "")
    return kind() if kind else error


def sqlstate_of(error: DBAPIError) -> str | None:
    """Postgres's code for the error, as the driver calls it (psycopg2: pgcode); None where no server was heard."""
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
