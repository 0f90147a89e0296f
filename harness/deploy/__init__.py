"""Databases and targets: everything here starts and stops within one `with`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

from harness.deploy.embedded import EmbeddedProvider
from harness.deploy.provider import DatabaseProvider
from harness.domain.evidence import Server
from harness.domain.experiment import DatabaseSpec

PROVIDERS: Mapping[str, DatabaseProvider] = {
    "embedded": EmbeddedProvider(),
}


def start_database(spec: DatabaseSpec) -> AbstractContextManager[Server]:
    """The server `spec` asks for, up within the block. Errors as `DatabaseProvider.start`."""
    return PROVIDERS[spec.provider].start(spec)
