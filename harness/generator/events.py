"""A launch's own event hooks, as Locust fires them, and what becomes of a listener that raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
from locust.event import EventHook, Events
from locust.exception import StopTest, StopUser

from harness.errors import UsageError
from harness.generator.book import said
from harness.generator.loading import RAISED, own_lines

FATAL = ("init", "init_command_line_parser", "test_start")
"""An error in one of these ends the run: what it was to prepare is not there. Locust goes on after test_start."""
ENDS_LOCUST = (SystemExit, StopTest, StopUser, UsageError)
Sample = Callable[[dict[str, Any]], None]


class RequestHook(EventHook):
    """`events.request`: what fires it is a sample of the scenario's own, but for the clients that are recorded anyway.

    Those `tell` instead.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sampled: Sample | None = None
        """what keeps a sample; None until the launch has its books"""
        self.tell: Callable[..., None] = super().fire

    def fire(self, **meta: Any) -> None:
        if self.sampled is not None:
            self.sampled(meta)
        self.tell(**meta)


def make_events() -> Events:
    """Hooks that no other launch shares."""
    make: Any = Events  # Locust's constructor is not typed
    events: Events = make()
    events.request = RequestHook()
    return events


def fire(
    events: Events,
    name: str,
    note: Callable[[str], None],
    *,
    refusing: str = "",
    reverse: bool = False,
    **arguments: Any,
) -> None:
    """Tell an event's listeners. As under Locust, one that raises keeps no other from being told, and is noted.

    Before the load, `refusing` is how to call the scenario: there, what ends Locust raises UsageError.
    """
    hook: Any = getattr(events, name)
    for listener in hook._handlers[::-1] if reverse else list(hook._handlers):
        try:
            listener(**arguments)
        except RAISED as error:
            if isinstance(error, gevent.Timeout) and not refusing:
                raise  # after the load there is a limit on all of it
            if refusing and (name in FATAL or isinstance(error, ENDS_LOCUST)):
                raise _refusal(name, refusing, error) from error
            note(f"A listener of {name} raised {said(error)}.")


def _refusal(name: str, scenario: str, error: BaseException) -> UsageError:
    if isinstance(error, UsageError):  # ours: what it asked for cannot be had
        return error
    return UsageError(
        f"A listener of {name} in {scenario} raised {said(error)}.",
        next_step="Make the scenario run under plain locust against the same target first.",
        detail=own_lines(error),
    )
