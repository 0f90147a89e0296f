"""The tables. Alembic creates them (see migrations/); the service never does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, FetchedValue, ForeignKey, FromClause, MetaData, String, Table, false, func, text, true
from sqlalchemy.ext.asyncio import AsyncAttrs
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

TEXT_LENGTH_MAX = 100


class Base(AsyncAttrs, DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
        }
    )
    # Values the server makes come back with the statement (RETURNING): reading them later would be a query of its own,
    # which an async session cannot start from an attribute access.
    __mapper_args__: Any = {"eager_defaults": True}  # noqa: RUF012 -- how SQLAlchemy declares it


class Team(Base):
    __tablename__ = "teams"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(TEXT_LENGTH_MAX), unique=True)
    headquarters: Mapped[str] = mapped_column(String(TEXT_LENGTH_MAX))
    heroes: Mapped[list[Hero]] = relationship(
        primaryjoin="and_(Team.id == Hero.team_id, ~Hero.is_deleted)", order_by="Hero.id", viewonly=True
    )


class Hero(Base):
    __tablename__ = "heroes"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(TEXT_LENGTH_MAX), index=True)
    secret_name: Mapped[str] = mapped_column(String(TEXT_LENGTH_MAX))
    hashed_password: Mapped[str] = mapped_column(String(120))
    age: Mapped[int | None]
    is_active: Mapped[bool] = mapped_column(server_default=true())
    is_deleted: Mapped[bool] = mapped_column(server_default=false())
    team_id: Mapped[int | None] = mapped_column(ForeignKey("teams.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True),
        server_default=func.now(),
        server_onupdate=FetchedValue(),  # a trigger sets it
    )
    version: Mapped[int] = mapped_column(server_default=text("1"))
    """raised by each change where changes are versioned"""


def _without_trigger() -> Table:
    """The heroes' table as seen by code that does not know that a trigger sets updated_at."""
    elsewhere = MetaData()
    for table in Base.metadata.sorted_tables:  # heroes refer to teams
        table.to_metadata(elsewhere)
    heroes = elsewhere.tables[Hero.__tablename__]
    heroes.c.updated_at.server_onupdate = None
    return heroes


def _mapped(name: str, table: FromClause, **mapper: Any) -> type[Hero]:
    """The same rows under another mapping: SQLAlchemy has an UPDATE's form from the class, not from the session."""
    attributes = {"__table__": table, "__mapper_args__": {"concrete": True, "eager_defaults": True, **mapper}}
    return type(name, (Hero,), {"__module__": __name__, **attributes})


_UNAWARE = _without_trigger()
# (versioned, knows the trigger) -> the class through which a hero is changed.
# Versioned: each UPDATE names the version that was read and raises it; where no row has it, SQLAlchemy raises
# StaleDataError. Unaware of the trigger: the UPDATE asks for nothing back, so the object keeps its old updated_at.
HERO_FOR_CHANGE: Mapping[tuple[bool, bool], type[Hero]] = {
    (False, True): Hero,
    (False, False): _mapped("UnawareHero", _UNAWARE),
    (True, True): _mapped("VersionedHero", Hero.__table__, version_id_col=Hero.__table__.c.version),
    (True, False): _mapped("UnawareVersionedHero", _UNAWARE, version_id_col=_UNAWARE.c.version),
}
