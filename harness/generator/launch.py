"""One launch as the generator sees it: its scenario, its accounts, and what of it is in flight."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import gevent
import locust
from locust.exception import StopTest
from locust.runners import STATE_RUNNING

from harness.domain.load import LaunchLoad
from harness.domain.rows import SAMPLE
from harness.errors import UsageError
from harness.generator.arrivals import WHOLE, InFlight, Share
from harness.generator.book import Book, Execution, SegmentAccount, describe, said
from harness.generator.client import RequestLog
from harness.generator.deadlines import Deadlines
from harness.generator.events import fire
from harness.generator.gauges import Gauges
from harness.generator.rounds import Rounds
from harness.generator.scenario import Scenario

if TYPE_CHECKING:
    from harness.generator.probe_user import ProbeUser

ON_START_S = float(os.environ.get("POOLBENCH_ON_START_S", "45"))
"""Less than what the orchestrator has patience for, so that the reason is told and not that it took long."""


@dataclass(slots=True, kw_only=True)
class HotLaunch:
    """What users of one launch share, in either load model."""

    load: LaunchLoad
    scenario: Scenario
    book: Book
    in_flight: InFlight
    rounds: Rounds
    share: Share = WHOLE
    probe_user: ProbeUser | None = None
    fail: Callable[[BaseException], None] | None = None
    """stops the plan when the scenario asks for it; set by the engine"""
    deadlines: Deadlines = field(init=False)
    gauges: Gauges = field(init=False)
    executions: set[Execution] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    users: int = 0
    account_of: Callable[[Execution], SegmentAccount] | None = None
    """in which segment a request of a task counts that is sent now; None: where the task does. Set by closed users"""
    _logs: WeakKeyDictionary[Any, RequestLog] = field(default_factory=WeakKeyDictionary)
    """by the greenlet that a user lives in"""

    def __post_init__(self) -> None:
        self.deadlines = Deadlines(self.load.request_timeout_s)
        self.gauges = Gauges(self.load.gauges)
        self.scenario.runner.refuse = self.stop
        hook: Any = self.scenario.environment.events.request
        hook.sampled = self._sampled

    @property
    def id(self) -> str:
        return self.load.launch_id

    def make_user(self, user_class: type[locust.User]) -> tuple[Any, RequestLog]:
        """A new instance with its client recorded; whatever its constructor raises passes through."""
        log = RequestLog(
            self.book, self.deadlines, self.rounds, self.book.setup(self.share.number(self.users)), self.account_of
        )
        self.users += 1
        user = user_class(self.scenario.environment)
        self.scenario.runner.alive[user_class.__name__] += 1
        if not log.attach(getattr(user, "client", None)):
            self.note(
                f"Of {user_class.__name__}, which has none of Locust's HTTP clients, only samples that it fires itself "
                "are recorded."
            )
        return user, log

    def gone(self, user_class: type[locust.User]) -> None:
        """A user has ended."""
        self.scenario.runner.alive[user_class.__name__] -= 1

    def asked_beside(self, *, zero_ns: int, begin_ns: int) -> AbstractContextManager[None]:
        """Let its probe user ask within the block, if it has one: a turn from `begin_ns` on."""
        return nullcontext() if self.probe_user is None else self.probe_user.asking(zero_ns=zero_ns, begin_ns=begin_ns)

    @property
    def is_awaited(self) -> bool:
        """Whether somebody listens to spawning_complete: then users may wait for it, and each other, in on_start."""
        hook: Any = self.scenario.environment.events.spawning_complete
        return bool(hook._handlers)

    def all_spawned(self) -> None:
        """Every user that the plan begins with has been started. Raises UsageError when a listener exits."""
        runner = self.scenario.runner
        runner.state = STATE_RUNNING
        self.tell("spawning_complete", before_load=True, user_count=runner.user_count)

    def tell(self, event: str, *, before_load: bool = False, reverse: bool = False, **arguments: Any) -> None:
        """Tell the scenario's listeners, as Locust would. Before the load, raises UsageError for what ends Locust."""
        events, refusing = self.scenario.environment.events, str(self.load.scenario) if before_load else ""
        fire(events, event, self.note, refusing=refusing, reverse=reverse, **arguments)
        if before_load and self.scenario.runner.refused is not None:
            raise self.scenario.runner.refused

    def never_started(self, user_class: type[locust.User], error: BaseException | None) -> UsageError:
        """What is wrong with an on_start that raised `error`, or that did not end (None)."""
        name = f"on_start of {user_class.__name__} in {self.load.scenario}"
        if isinstance(error, UsageError):
            return error
        if error is None:
            return UsageError(
                f"{name} did not end within {ON_START_S:g} s.",
                next_step="Look what it waits for: users are started together, and spawning_complete is fired then.",
            )
        return UsageError(
            f"{name} raised {said(error)}.",
            next_step="Make the scenario run under plain locust against the same target first.",
        )

    def lives_in(self, greenlet: Any, log: RequestLog) -> None:
        """Say to which user samples belong that are fired in a greenlet, or in one that was spawned there."""
        self._logs[greenlet] = log

    def _sampled(self, meta: Mapping[str, Any]) -> None:
        """Keep a sample that the scenario fired itself with the arrival during which it did."""
        greenlet = gevent.getcurrent()
        while greenlet is not None and greenlet not in self._logs:
            spawning = getattr(greenlet, "spawning_greenlet", None)
            greenlet = None if spawning is None else spawning()
        if greenlet is None:
            self.note("Samples that the scenario fires outside of its users' tasks are not recorded.")
            return
        took_ns = round((meta.get("response_time") or 0.0) * 1e6)
        endpoint = f"{SAMPLE}{meta.get('request_type', '')} {meta.get('name', '')}"
        self.book.sampled(self._logs[greenlet].execution, endpoint, took_ns, meta.get("exception"))

    def stop(self, error: BaseException) -> None:
        """End the plan: the scenario asked for what cannot be had, or for the end."""
        if self.fail is not None:
            self.fail(error)

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
        if isinstance(error, StopTest | SystemExit):
            cause = f"The scenario {self.load.scenario} stopped the test in {execution.task}: {describe(error, 0)}."
            self.stop(UsageError(cause, next_step="Remove what stops it, or make it return early instead."))
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
