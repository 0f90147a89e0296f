"""The tables. Alembic creates them (see migrations/); the service never does."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, FetchedValue, ForeignKey, MetaData, String, false, func, true
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

TEXT_LENGTH_MAX = 100


class Base(DeclarativeBase):
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
