"""The seam behind which Postgres servers come from."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from harness.deploy.processes import in_words
from harness.domain.deployed import Server
from harness.domain.experiment import DatabaseSpec
from harness.errors import InfrastructureError, UsageError

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


ENDS_WITHIN_S = 0.5
"""A server that is killed drops its connections a moment before it is known to have ended."""


@contextmanager
def blaming(ended: Callable[[], InfrastructureError | None]) -> Iterator[None]:
    """Where the block fails because a server has ended, say that: refused connections are only what follows from it.

    `ended` gives the error, or None while the server is alive.
    """
    try:
        yield
    except InfrastructureError as error:
        patience_s = time.monotonic() + ENDS_WITHIN_S
        while (cause := ended()) is None and time.monotonic() < patience_s:
            time.sleep(0.02)
        if cause is not None:
            raise cause from error
        raise


def end_error(code: int, log: Sequence[str], *, where: str) -> InfrastructureError:
    """Why a server ended in the middle of a run, as far as its exit code and its log tell."""
    memory = " When memory runs out, the kernel ends processes so: dmesg names them." if code == -signal.SIGKILL else ""
    return InfrastructureError(
        f"Postgres ({where}) ended in the middle of the run, with {in_words(code)}.",
        next_step=f"Its last log lines are below.{memory}",
        detail="\n".join(log[-20:]),
    )


def start_error(log: Sequence[str], settings: Settings, *, where: str) -> InfrastructureError | UsageError:
    """Why a server ended as it started, from its log; the experiment's settings are the suspects when there are any."""
    found = [match[1] for line in log if (match := re.search(r"(?:FATAL|HINT|DETAIL):\s+(.*)", line))]
    message = (" ".join(found) or next(reversed(log), "it said nothing")).rstrip(".")
    if settings and found:
        return UsageError(
            f"Postgres does not start with the given [database] settings: {message}.",
            next_step="Correct or remove the setting; the names and ranges are those of postgresql.conf.",
        )
    return InfrastructureError(
        f"Postgres ({where}) ended as it started: {message}.",
        next_step="Its last log lines are below.",
        detail="\n".join(log[-20:]),
    )
