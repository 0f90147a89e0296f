"""The seam behind which Postgres servers come from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from harness.domain.evidence import Server
from harness.domain.experiment import DatabaseSpec

Settings = Mapping[str, str | int | float | bool]
"""Server settings, as in postgresql.conf."""


class DatabaseProvider(Protocol):
    def start(self, spec: DatabaseSpec) -> AbstractContextManager[Server]:
        """A server that is up within the block; what was started ends with it.

        Raises:
            UsageError: the specification cannot be met, such as a setting Postgres refuses.
            InfrastructureError: the server did not come up or does not answer.
        """
        ...


def setting_text(value: str | float | bool) -> str:
    """A setting's value as postgresql.conf and `SHOW` write it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)
