"""Databases and targets: everything here starts and stops within one `with`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from harness.deploy.checkouts import Checkouts, checkouts
from harness.deploy.container import ContainerProvider, docker_problem
from harness.deploy.databases import checkpoint, clone, template
from harness.deploy.embedded import EmbeddedProvider
from harness.deploy.imports import importing
from harness.deploy.leftovers import clear_leftovers, log_folder, others_at_work
from harness.deploy.pgbouncer import Bouncers, bouncers
from harness.deploy.provider import DatabaseProvider
from harness.deploy.relay import Distances, Relay, distances, start_relay
from harness.deploy.target import Starting, TargetStart, launch, launch_all, start_all
from harness.deploy.url import UrlProvider
from harness.domain.deployed import Server
from harness.domain.experiment import DatabaseSpec

__all__ = [
    "PROVIDERS",
    "Bouncers",
    "Checkouts",
    "DatabaseProvider",
    "Distances",
    "Relay",
    "Starting",
    "TargetStart",
    "bouncers",
    "checkouts",
    "checkpoint",
    "clear_leftovers",
    "clone",
    "distances",
    "docker_problem",
    "importing",
    "launch",
    "launch_all",
    "log_folder",
    "others_at_work",
    "start_all",
    "start_database",
    "start_relay",
    "template",
]

PROVIDERS: Mapping[str, DatabaseProvider] = {
    "container": ContainerProvider(),
    "embedded": EmbeddedProvider(),
    "url": UrlProvider(),
}


@contextmanager
def start_database(spec: DatabaseSpec) -> Iterator[Server]:
    """The server `spec` asks for, up within the block; clears what a killed run left behind first.

    Errors as `DatabaseProvider.start`.
    """
    clear_leftovers()
    with PROVIDERS[spec.provider].start(spec) as server:
        yield server
