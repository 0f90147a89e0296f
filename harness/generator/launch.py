"""One launch as the generator sees it: its scenario, its accounts, and what of it is in flight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import locust
from locust.exception import StopTest

from harness.domain.load import LaunchLoad
from harness.errors import UsageError
from harness.generator.arrivals import WHOLE, InFlight, Share
from harness.generator.book import Book, Execution, describe
from harness.generator.client import RequestLog
from harness.generator.deadlines import Deadlines
from harness.generator.gauges import Gauges
from harness.generator.scenario import Scenario


@dataclass(slots=True, kw_only=True)
class HotLaunch:
    """What users of one launch share, in either load model."""

    load: LaunchLoad
    scenario: Scenario
    book: Book
    in_flight: InFlight
    share: Share = WHOLE
    fail: Callable[[BaseException], None] | None = None
    """stops the plan when the scenario asks for it; set by the engine"""
    deadlines: Deadlines = field(init=False)
    gauges: Gauges = field(init=False)
    executions: set[Execution] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    users: int = 0

    def __post_init__(self) -> None:
        self.deadlines = Deadlines(self.load.request_timeout_s)
        self.gauges = Gauges(self.load.gauges)

    @property
    def id(self) -> str:
        return self.load.launch_id

    def make_user(self, user_class: type[locust.User]) -> tuple[Any, RequestLog]:
        """A new instance with its client recorded; whatever its constructor raises passes through."""
        log = RequestLog(self.book, self.deadlines, self.book.setup(self.share.number(self.users)))
        self.users += 1
        user = user_class(self.scenario.environment)
        if not log.attach(getattr(user, "client", None)):
            self.note(f"Requests of {user_class.__name__} are not recorded: it does not use Locust's HTTP clients.")
        return user, log

    @property
    def oldest_ns(self) -> int:
        """When the oldest arrival in flight was handed over; not to be asked when there is none."""
        return min(execution.handed_ns for execution in self.executions)

    def begin(self, execution: Execution) -> None:
        self.executions.add(execution)

    def end(self, execution: Execution, error: BaseException | None) -> None:
        """A task returned or raised; what its last request already reported is not counted again."""
        text = "" if error is None or error is execution.last_error else describe(error, 0)
        if error is not None:
            execution.failed = True
        if isinstance(error, StopTest | SystemExit) and self.fail is not None:
            cause = f"The scenario {self.load.scenario} stopped the test in {execution.task}: {describe(error, 0)}."
            self.fail(UsageError(cause, next_step="Remove what stops it, or make it return early instead."))
        self.book.done(execution, text)
        self.executions.discard(execution)

    def abandon(self) -> None:
        """Count everything that is still in flight as unfinished."""
        for execution in self.executions:
            self.book.abandoned(execution)
        self.executions.clear()

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
