"""A real Postgres for every test that asks for one: one server a session, a fresh database a test."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from harness.domain.deployed import Server

sys.path.append(str(Path(__file__).parent))  # tests of several folders share fakes and contracts
pytest.register_assert_rewrite("contracts")

CI = os.environ.get("CI", "").lower() in {"true", "1"}
settings.register_profile("quick", max_examples=20, deadline=None)  # the machine is shared
settings.register_profile("thorough", max_examples=100, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "thorough" if CI else "quick"))

gc.disable()  # all that collecting the tests imports stays: to look through it again and again took a third of the time


ORDER = ("e2e", "integration", "simulation", "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put whole runs first and unit tests last, so that of several processes none ends with a long file alone."""
    here = Path(__file__).parent
    items.sort(key=lambda item: ORDER.index(item.path.relative_to(here).parts[0]))


def pytest_collection_finish() -> None:
    """Leave out of every collection of garbage what the tests themselves did not make."""
    gc.freeze()
    gc.set_threshold(5_000, 20, 1_000)  # the oldest generation is hardly worth a look: of all tests it took 3 %
    gc.enable()


def pytest_unconfigure() -> None:
    """Have the interpreter not look through all of it once more as the process ends."""
    gc.freeze()


POSTGRES_IMAGES = ("poolbench-ci/postgres", "postgres:18")
PYTHON_IMAGES = ("poolbench-ci/python", "python:3.12-slim")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """The embedded server, shared by the whole session: make databases in it, change no settings."""
    from harness.deploy import start_database
    from harness.domain.experiment import DatabaseSpec

    with start_database(DatabaseSpec()) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres_server: Server) -> str:
    """Its superuser's URL, database postgres."""
    return postgres_server.url("postgres")


@pytest.fixture
def scratch_database(postgres_server: Server) -> Iterator[str]:
    """URL of an empty database of the test's own, dropped afterwards."""
    from harness.deploy.connection import admin

    name = f"scratch_{uuid4().hex[:12]}"
    with admin(postgres_server) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield postgres_server.url(name)
    finally:
        with admin(postgres_server) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def container_image() -> str:
    """A Postgres image this machine can start; where there is none the test is skipped, under CI it fails."""
    return _local_image(POSTGRES_IMAGES)


@pytest.fixture(scope="session")
def python_image() -> str:
    """A base image to build on, likewise."""
    return _local_image(PYTHON_IMAGES)


def _local_image(wanted: Sequence[str]) -> str:
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=5)
        client.ping()
    except (DockerException, OSError):
        missing("no Docker engine answers on this machine; .ci/containers up starts one")
    try:
        local = {tag.removesuffix(":latest") for image in client.images.list() for tag in image.tags}
    finally:
        client.close()
    found = next((image for image in wanted if image in local), None)
    if found is None:
        missing(f"a Docker engine answers, but it has none of {', '.join(wanted)}; .ci/containers up gets one")
    return found


@pytest.fixture(scope="session")
def lacking() -> Callable[[str], NoReturn]:
    """Skips, or fails under CI, for something this machine lacks."""
    return missing


def missing(what: str) -> NoReturn:
    """Skip for something this machine lacks. CI lacks nothing: there it is a failure."""
    if CI:
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="session")
def build() -> ModuleType:
    """The builders of synthetic evidence."""
    import synthetic

    return synthetic


@pytest.fixture(scope="session")
def around() -> Callable[..., np.ndarray]:
    """Draws latencies that scatter log-normally around a median, the same for the same seed."""

    def draw(median_ms: float, *, seed: int, count: int = 1000) -> np.ndarray:
        return median_ms * np.exp(0.3 * np.random.default_rng(seed).standard_normal(count))

    return draw
