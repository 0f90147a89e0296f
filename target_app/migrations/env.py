"""Alembic runs this file. It migrates over the connection it is given, or else over its own to DATABASE_URL."""

from __future__ import annotations

import asyncio

from alembic import context
from sqlalchemy import Connection

from target_app.database import admin_engine
from target_app.models import Base
from target_app.settings import load_settings


def migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata, compare_server_default=True)
    with context.begin_transaction():
        context.run_migrations()


async def connect_and_migrate() -> None:
    engine = admin_engine(load_settings())
    try:
        async with engine.connect() as connection:
            await connection.run_sync(migrate)
    finally:
        await engine.dispose()


def print_sql() -> None:
    context.configure(dialect_name="postgresql", target_metadata=Base.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


given_connection: Connection | None = context.config.attributes.get("connection")
if context.is_offline_mode():
    print_sql()
elif given_connection is not None:
    migrate(given_connection)
else:
    asyncio.run(connect_and_migrate())
