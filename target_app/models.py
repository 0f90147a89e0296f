"""The tables. Alembic creates them (see migrations/); the service never does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, FetchedValue, ForeignKey, MetaData, String, false, func, text, true
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


def _mapped_again(name: str, *, versioned: bool, knows_trigger: bool) -> type[Hero]:
    """The same rows under another mapping: SQLAlchemy has an UPDATE's form from the class, not from the session.

    Each mapping has a copy of the table, since the UPDATE is cached by table for a whole family of classes.
    """
    elsewhere = MetaData()
    for table in Base.metadata.sorted_tables:  # heroes refer to teams
        table.to_metadata(elsewhere)
    heroes = elsewhere.tables[Hero.__tablename__]
    mapper: dict[str, Any] = {"concrete": True, "eager_defaults": True}
    if not knows_trigger:
        heroes.c.updated_at.server_onupdate = None
    if versioned:
        mapper["version_id_col"] = heroes.c.version
    return type(name, (Hero,), {"__module__": __name__, "__table__": heroes, "__mapper_args__": mapper})


# (versioned, knows the trigger) -> the class through which a hero is changed.
# Versioned: each UPDATE names the version that was read and raises it; where no row has it, SQLAlchemy raises
# StaleDataError. Unaware of the trigger: the UPDATE asks for nothing back, so the object keeps its old updated_at.
HERO_FOR_CHANGE: Mapping[tuple[bool, bool], type[Hero]] = {
    (False, True): Hero,
    (False, False): _mapped_again("UnawareHero", versioned=False, knows_trigger=False),
    (True, True): _mapped_again("VersionedHero", versioned=True, knows_trigger=True),
    (True, False): _mapped_again("UnawareVersionedHero", versioned=True, knows_trigger=False),
}
