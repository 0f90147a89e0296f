"""How a command ends when it cannot go on: signals, errors, and what they mean to the user."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from rich.console import Console

from harness.errors import (
    InfrastructureError,
    Interrupted,
    PoolbenchError,
    refused_by_the_system,
)

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Ctrl-C, being told to end, and a terminal or connection that is closed."""
SIGNALLED = threading.Event()
"""One of these came. Foreign code in C or Rust may turn what the handler raises into an error of its own."""
INTERRUPTED = "Interrupted; everything is stopped."


def interrupted(_signal: int, _frame: FrameType | None) -> NoReturn:
    """End the run once; while everything is being stopped, further signals change nothing."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:  # a terminal that was closed: what is said from now on must not fail on that
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    SIGNALLED.set()
    raise Interrupted(INTERRUPTED)


def say(error: PoolbenchError) -> int:
    with suppress(OSError):  # nobody may be listening any more
        console = Console(stderr=True)
        console.print(
            f"[bold red]error:[/] {_plain(error.cause)} {_plain(error.next_step)}", highlight=False, soft_wrap=True
        )
        if error.detail:
            console.print(_plain(error.detail), highlight=False, soft_wrap=True, style="dim")
    return error.exit_code


def warn(text: str) -> None:
    with suppress(OSError):
        Console(stderr=True).print(f"warning: {text}", highlight=False, soft_wrap=True, markup=False)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


@contextmanager
def errors_named() -> Iterator[None]:
    """What ends something that keeps no run, as what it means to the user."""
    try:
        yield
    except Exception as error:
        raise name_error(error, Path.cwd()) from error


def name_error(error: Exception, folder: Path) -> PoolbenchError:
    """An error that ended a run, as what it means to the user; the traceback of a bug is printed."""
    if SIGNALLED.is_set():
        return Interrupted(INTERRUPTED)
    if isinstance(error, PoolbenchError):
        return error
    if isinstance(error, OSError) and (refused := refused_by_the_system(error, folder)) is not None:
        return refused
    if (psycopg := sys.modules.get("psycopg")) is not None and isinstance(error, psycopg.OperationalError):
        return InfrastructureError(f"Postgres failed: {next(iter(str(error).splitlines()), type(error).__name__)}.")
    return bug(error)


def is_full(folder: Path) -> bool:
    with suppress(OSError):
        return shutil.disk_usage(folder).free < 1_000_000
    return False


def bug(error: Exception) -> PoolbenchError:
    traceback.print_exception(error)
    return PoolbenchError("This is a bug in poolbench.", next_step="Please report it with the lines above.")
