"""The suite's own Postgres fixtures."""

from __future__ import annotations

import psycopg
import pytest

pytestmark = pytest.mark.postgres


def test_a_scratch_database_is_empty_and_ones_own(scratch_database: str, postgres_url: str) -> None:
    with psycopg.connect(scratch_database) as own, psycopg.connect(postgres_url) as other:
        own.execute("CREATE TABLE only_here (id int)")
        assert own.execute("SELECT to_regclass('only_here') IS NOT NULL").fetchone() == (True,)
        assert other.execute("SELECT to_regclass('only_here') IS NULL").fetchone() == (True,)
