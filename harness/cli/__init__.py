"""argv -> one call -> print -> exit code."""

from __future__ import annotations

import atexit
import gc
import io
import signal
import sys
from collections.abc import Callable, Sequence
from functools import cache

from typer.main import get_command

from harness.cli import ending
from harness.cli.app import app
from harness.errors import Interrupted, PoolbenchError

__all__ = ["app", "main"]


@cache
def _command() -> Callable[..., object]:
    """The commands and their options, worked out of the functions once, however many are run."""
    return get_command(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and end the process with its exit code; docs/cli.md lists them."""
    # what is imported stays: to look through it again and again, and once more at the end, took a seventh of a report
    gc.set_threshold(50_000, 20)
    atexit.register(gc.freeze)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no dash still shows the table
    for number in ending.ENDING:
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores a hang-up
            signal.signal(number, ending.interrupted)
    try:
        _command()(args=arguments)
    except PoolbenchError as error:
        sys.exit(ending.say(error))
    except Exception as error:  # noqa: BLE001 -- whatever is left is our bug: shown whole, with the exit code for one
        sys.exit(ending.say(Interrupted(ending.INTERRUPTED) if ending.SIGNALLED.is_set() else ending.bug(error)))
