"""The SQL, built once and shared by the async and the sync repository."""

from __future__ import annotations

from sqlalchemy import bindparam, select, update

from target_app.models import Hero, Team

HERO_BY_ID = select(Hero).where(Hero.id == bindparam("hero_id"), ~Hero.is_deleted)

HERO_PAGE = select(Hero).where(~Hero.is_deleted).order_by(Hero.id).offset(bindparam("offset")).limit(bindparam("limit"))

# One statement, so that of two deletes at the same moment one finds nothing. No object of the session needs telling.
MARK_HERO_DELETED = (
    update(Hero)
    .where(Hero.id == bindparam("hero_id"), ~Hero.is_deleted)
    .values(is_deleted=True)
    .returning(Hero.id)
    .execution_options(synchronize_session=False)
)

TEAM_BY_ID = select(Team).where(Team.id == bindparam("team_id"))

TEAM_PAGE = select(Team).order_by(Team.id).offset(bindparam("offset")).limit(bindparam("limit"))
