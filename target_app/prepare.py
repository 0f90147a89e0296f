"""Make a database ready to serve: `DATABASE_URL=... python -m target_app.prepare --rows 10000`.

Migrates to the newest schema, seeds, vacuums. Doing it twice changes nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys

from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from target_app.database import admin_engine
from target_app.migrations import upgrade
from target_app.schemas import INT32_MAX
from target_app.seed import seed, vacuum
from target_app.settings import Settings, load_settings


async def prepare(settings: Settings, rows: int) -> None:
    engine = admin_engine(settings)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(upgrade)
            await seed(connection, rows)
            await connection.commit()
            await vacuum(await connection.execution_options(isolation_level="AUTOCOMMIT"))
    finally:
        await engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m target_app.prepare", description="Migrate, seed and vacuum.")
    parser.add_argument("--rows", type=_rows, default=10_000, help="heroes to seed (default: %(default)s)")
    rows: int = parser.parse_args().rows
    settings = load_settings()
    try:
        asyncio.run(prepare(settings, rows))
    except (OSError, SQLAlchemyError, CommandError) as error:
        address = settings.url.render_as_string(hide_password=True)
        sys.exit(f"Could not prepare {address}: {_cause(error)}. Check DATABASE_URL and that the server runs.")
    gc.freeze()  # the interpreter would look through all that was imported once more: a quarter of the work


def _rows(text: str) -> int:
    rows = int(text)
    if not 1 <= rows <= INT32_MAX:
        raise argparse.ArgumentTypeError(f"must be from 1 to {INT32_MAX}")
    return rows


def _cause(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0].rstrip(".")


if __name__ == "__main__":
    main()
