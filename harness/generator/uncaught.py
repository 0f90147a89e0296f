"""Greenlets of a scenario that end with an error nobody hears of: a refresher of tokens, say, or a heartbeat."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import gevent
import locust

from harness.errors import UsageError
from harness.generator.book import describe

_NOT_THE_SCENARIOS = tuple(str(Path(module).parent) for module in (locust.__file__, __file__))


@contextmanager
def uncaught(fail: Callable[[BaseException], None]) -> Iterator[None]:
    """Within it, `fail` is given an error for a greenlet that began in the scenario's own code and raised.

    One that began in Locust's code or in ours is a user or a request, whose end is an outcome and told elsewhere.
    """
    hub: Any = gevent.get_hub()
    usual = hub.handle_error

    def handle_error(context: Any, kind: Any, error: Any, trace: TracebackType | None) -> None:
        usual(context, kind, error, trace)
        frames = traceback.extract_tb(trace)
        began = next((frame for frame in frames if "gevent" not in Path(frame.filename).parts), None)
        if began is None or not isinstance(context, gevent.Greenlet) or not isinstance(error, Exception):
            return
        if isinstance(error, UsageError):  # it asked for what it cannot have, and that has ended the run
            return
        if not began.filename.startswith(_NOT_THE_SCENARIOS):
            fail(
                UsageError(
                    f"A greenlet of the scenario raised {describe(error, 0)} ({began.name}, line {began.lineno}).",
                    next_step="Let it deal with its errors; the load would go on without what it was for.",
                    detail="".join([*traceback.format_list(frames[-3:]), *traceback.format_exception_only(error)]),
                )
            )

    hub.handle_error = handle_error
    try:
        yield
    finally:
        hub.handle_error = usual
