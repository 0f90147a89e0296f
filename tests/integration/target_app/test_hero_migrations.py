"""Alembic makes the schema the models describe, and takes it back; `prepare` fills it, once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from alembic import command
from sqlalchemy import Connection

from target_app.database import admin_engine
from target_app.migrations import alembic_config, downgrade, upgrade
from target_app.passwords import is_password
from target_app.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

ROOT = Path(__file__).parents[3]


async def over_a_connection(url: str, *steps: Callable[[Connection], None]) -> None:
    engine = admin_engine(Settings(database_url=url))
    try:
        for step in steps:
            async with engine.connect() as connection:
                await connection.run_sync(step)
    finally:
        await engine.dispose()


def objects_in(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
            "UNION SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        )
        return {name for (name,) in rows}


def run(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_autogenerate_finds_no_difference(scratch_database: str) -> None:
    await over_a_connection(scratch_database, upgrade, lambda connection: command.check(alembic_config(connection)))


async def test_downgrade_leaves_nothing(scratch_database: str) -> None:
    await over_a_connection(scratch_database, upgrade)
    assert {"heroes", "teams", "set_updated_at"} <= objects_in(scratch_database)

    await over_a_connection(scratch_database, lambda connection: downgrade(connection, "base"))

    assert objects_in(scratch_database) == {"alembic_version", "alembic_version_pkc"}
    await over_a_connection(scratch_database, upgrade)


def test_the_alembic_command_works_from_the_checkout(scratch_database: str) -> None:
    upgraded = run(scratch_database, "alembic", "upgrade", "head")

    assert upgraded.returncode == 0, upgraded.stderr
    assert "heroes" in objects_in(scratch_database)
    assert "0002 (head)" in run(scratch_database, "alembic", "current").stdout


def test_the_schema_can_be_printed_as_sql(scratch_database: str) -> None:
    printed = run(scratch_database, "alembic", "upgrade", "head", "--sql")

    assert "CREATE TABLE heroes" in printed.stdout
    assert objects_in(scratch_database) == set()


def test_prepare_twice_is_prepare_once(scratch_database: str) -> None:
    first, before = run(scratch_database, "target_app.prepare", "--rows", "250"), content(scratch_database)
    second, after = run(scratch_database, "target_app.prepare", "--rows", "250"), content(scratch_database)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert after == before
    heroes, teams = before
    assert (len(heroes), len(teams)) == (250, 2)
    assert [hero[0] for hero in heroes] == list(range(1, 251))


def content(url: str) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    with psycopg.connect(url) as connection:
        heroes = connection.execute("SELECT * FROM heroes ORDER BY id").fetchall()
        return heroes, connection.execute("SELECT * FROM teams ORDER BY id").fetchall()


def test_prepare_leaves_statistics_frozen_pages_and_room_for_the_next_id(scratch_database: str) -> None:
    prepared = run(scratch_database, "target_app.prepare", "--rows", "7")

    assert prepared.returncode == 0, prepared.stderr
    with psycopg.connect(scratch_database) as connection:
        vacuumed = "SELECT reltuples, relallvisible = relpages FROM pg_class WHERE relname = 'heroes'"
        assert connection.execute(vacuumed).fetchone() == (7, True)
        assert connection.execute("SELECT nextval('heroes_id_seq'), nextval('teams_id_seq')").fetchone() == (8, 2)
        hashed = connection.execute("SELECT hashed_password FROM heroes WHERE id = 7").fetchone()
    assert hashed is not None
    assert is_password("password-7", hashed[0])


@pytest.mark.parametrize("rows", ["0", "-3", "many", "2147483648"])
def test_prepare_refuses_an_impossible_number_of_rows(rows: str) -> None:
    refused = run("postgresql://nobody@127.0.0.1:1/none", "target_app.prepare", f"--rows={rows}")

    assert refused.returncode == 2
    assert "--rows" in refused.stderr


def test_prepare_without_a_server_says_so_in_one_sentence() -> None:
    refused = run("postgresql://user:pass-word@127.0.0.1:1/none", "target_app.prepare")

    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "Could not prepare postgresql://user:***@127.0.0.1:1/none" in refused.stderr
    assert "pass-word" not in refused.stderr
