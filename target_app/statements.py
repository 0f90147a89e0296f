"""The SQL, built once and shared by the async and the sync repository."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, delete, select, text, update
from sqlalchemy.orm import joinedload, selectinload

from target_app.models import HERO_FOR_CHANGE, Hero, Team
from target_app.settings import Loader, UpdateMode

HERO_BY_ID = select(Hero).where(Hero.id == bindparam("hero_id"), ~Hero.is_deleted)

HERO_PAGE = select(Hero).where(~Hero.is_deleted).order_by(Hero.id).offset(bindparam("offset")).limit(bindparam("limit"))

# A page costs the same however deep it lies, where an offset reads everything it skips.
HERO_PAGE_AFTER = (
    select(Hero).where(~Hero.is_deleted, Hero.id > bindparam("after")).order_by(Hero.id).limit(bindparam("limit"))
)

# Locked in the order of their ids, so that two requests that want the same heroes cannot wait for each other.
HEROES_TO_MOVE = (
    select(Hero)
    .where(Hero.id.in_(bindparam("hero_ids", expanding=True)), ~Hero.is_deleted)
    .order_by(Hero.id)
    .with_for_update()
)

HEROES_BY_IDS = (
    select(Hero)
    .where(Hero.id.in_(bindparam("hero_ids", expanding=True)), ~Hero.is_deleted)
    .order_by(Hero.id)
    .execution_options(populate_existing=True)
)

# One statement, so that of two deletes at the same moment one finds nothing. No object of the session needs telling.
MARK_HERO_DELETED = (
    update(Hero)
    .where(Hero.id == bindparam("hero_id"), ~Hero.is_deleted)
    .values(is_deleted=True)
    .returning(Hero.id)
    .execution_options(synchronize_session=False)
)

DELETE_HERO = (
    delete(Hero)
    .where(Hero.id == bindparam("hero_id"), ~Hero.is_deleted)
    .returning(Hero.id)
    .execution_options(synchronize_session=False)
)

TEAM_BY_ID = select(Team).where(Team.id == bindparam("team_id"))

TEAM_PAGE = select(Team).order_by(Team.id).offset(bindparam("offset")).limit(bindparam("limit"))

ROSTERS: Mapping[Loader, Select[Team]] = {
    "lazy": TEAM_PAGE,
    "joined": TEAM_PAGE.options(joinedload(Team.heroes)),
    "selectin": TEAM_PAGE.options(selectinload(Team.heroes)),
}
"""Teams with their heroes; lazy ones are loaded when they are touched."""

NOTHING = text("SELECT 1")
SLEEP = text("SELECT pg_sleep(:seconds)")
LOCK = text("SELECT pg_advisory_xact_lock(:key)")
"""Held until the transaction ends."""


@cache
def hero_to_change(mode: UpdateMode, *, returning: bool) -> Select[Any]:
    """HERO_BY_ID through the mapping that the change needs, and with a lock where it takes one."""
    mapped = HERO_FOR_CHANGE[mode == "version", returning]
    statement = select(mapped).where(mapped.id == bindparam("hero_id"), ~mapped.is_deleted)
    return statement.with_for_update() if mode == "for_update" else statement
