"""A real Postgres for every test that asks for one: one server a session, a fresh database a test."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from harness.deploy import start_database
from harness.deploy.connection import admin
from harness.domain.evidence import Server
from harness.domain.experiment import DatabaseSpec


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """The embedded server, shared by the whole session: make databases in it, change no settings."""
    with start_database(DatabaseSpec()) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres_server: Server) -> str:
    """Its superuser's URL, database postgres."""
    return postgres_server.url("postgres")


@pytest.fixture
def scratch_database(postgres_server: Server) -> Iterator[str]:
    """URL of an empty database of the test's own, dropped afterwards."""
    name = f"scratch_{uuid4().hex[:12]}"
    with admin(postgres_server) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield postgres_server.url(name)
    finally:
        with admin(postgres_server) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
