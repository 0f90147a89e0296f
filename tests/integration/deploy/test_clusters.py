"""The embedded server's data folder is made once and copied from then on; what is a run's own is made for each."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg
import pytest

from harness.deploy import embedded, start_database
from harness.deploy.connection import admin
from harness.domain.deployed import Server
from harness.domain.experiment import DatabaseSpec

pytestmark = pytest.mark.postgres


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "poolbench"


def answers(server: Server) -> bool:
    with admin(server) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


@pytest.fixture
def without_initdb(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the folder was made anew")

    monkeypatch.setattr(embedded, "_initdb", refuse)


def test_the_second_start_copies_what_the_first_made(cache: Path, request: pytest.FixtureRequest) -> None:
    with start_database(DatabaseSpec()) as first:
        assert answers(first)
    (kept,) = cache.iterdir()
    assert kept.stat().st_mode & 0o077 == 0
    request.getfixturevalue("without_initdb")
    with start_database(DatabaseSpec()) as second, start_database(DatabaseSpec()) as third:
        assert answers(second)
        assert answers(third)
    assert list(cache.iterdir()) == [kept]


def test_each_server_has_a_password_of_its_own_and_none_the_kept_one(cache: Path) -> None:
    with start_database(DatabaseSpec()) as one, start_database(DatabaseSpec()) as other:
        (kept,) = cache.iterdir()
        passwords = (one.password, other.password, (kept / "password").read_text())
        assert len(set(passwords)) == 3
        for wrong in passwords[1:]:
            with pytest.raises(psycopg.OperationalError, match="authentication failed"):
                psycopg.connect(host=one.host, port=one.port, user=one.user, password=wrong, dbname="postgres")


def test_what_cannot_be_copied_is_made_and_kept_anew(cache: Path) -> None:
    with start_database(DatabaseSpec()):
        (kept,) = cache.iterdir()
    shutil.rmtree(kept / "data")
    with start_database(DatabaseSpec()) as server:
        assert answers(server)
    assert (kept / "data" / "PG_VERSION").is_file()


def test_where_nothing_can_be_kept_it_starts_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = tmp_path / "file"
    nowhere.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(nowhere))
    with start_database(DatabaseSpec()) as server:
        assert answers(server)
    assert nowhere.read_bytes() == b""
