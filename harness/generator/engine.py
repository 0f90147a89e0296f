"""Executes a load plan: segment after segment on one clock, in the open or the closed model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import gevent
from gevent.event import AsyncResult

from harness.domain.load import Ledger, LoadPlan, Segment, SegmentRun
from harness.generator.alarm import Alarm, make_alarm
from harness.generator.arrivals import (
    NS_PER_S,
    WHOLE,
    Dispatcher,
    Share,
    Step,
    Timeline,
    schedule,
    users_to_make,
)
from harness.generator.book import Turn
from harness.generator.closed_users import ClosedUsers
from harness.generator.launch import HotLaunch
from harness.generator.open_users import OpenUsers
from harness.generator.tally import Tally


class Engine:
    """The hot launches of a plan and the clock they share."""

    def __init__(
        self,
        plan: LoadPlan,
        launches: Sequence[HotLaunch],
        tally: Tally,
        *,
        share: Share = WHOLE,
        was_too_much: Callable[[Turn], bool],
    ) -> None:
        self._plan = plan
        self._share = share
        self._was_too_much = was_too_much
        self._launches: Mapping[str, HotLaunch] = {launch.id: launch for launch in launches}
        self._tally = tally
        models = {(segment.launch_id, segment.model) for segment in plan.segments}
        self._open = {hot.id: OpenUsers(hot) for hot in launches if (hot.id, "open") in models}
        self._closed = {hot.id: ClosedUsers(hot, share) for hot in launches if (hot.id, "closed") in models}
        self._over: AsyncResult = AsyncResult()
        self._dispatcher: Dispatcher | None = None
        self._turn = Turn(0)
        self._users: OpenUsers | None = None
        self._alarm: Alarm
        for launch in launches:
            launch.fail = self.fail

    @property
    def in_flight(self) -> int:
        return sum(launch.in_flight.count for launch in self._launches.values())

    def take_lag_max_ns(self) -> int:
        """How late an arrival was begun at worst, since this was last asked."""
        worst = max((users.lag_max_ns for users in self._open.values()), default=0)
        for users in self._open.values():
            users.lag_max_ns = 0
        return worst

    def fail(self, error: BaseException) -> None:
        """End the plan at once; `execute` raises the error."""
        self._over.set_exception(error)

    def make_ready(self) -> dict[str, dict[str, int]]:
        """Make the users that the plan needs and run their on_start. Returns the instances by launch and class."""
        made: dict[str, dict[str, int]] = {}
        for launch_id, hot in self._launches.items():
            segments = [segment for segment in self._plan.segments if segment.launch_id == launch_id]
            made[launch_id] = {}
            if launch_id in self._open:
                rate_rps = max(segment.rate_rps or 0.0 for segment in segments)
                count = users_to_make(rate_rps=rate_rps / self._share.stripes, cap=hot.in_flight.cap)
                made[launch_id] |= self._open[launch_id].make_ready(count)
            if launch_id in self._closed:
                users = max(segment.users or 0 for segment in segments)
                made[launch_id] |= self._closed[launch_id].make_ready(users)
        return made

    def execute(self, start_ns: int) -> Ledger:
        """Execute every segment from `start_ns` on and wait for what is in flight at the end. Returns the ledger."""
        timeline = Timeline(self._plan.segments, start_ns=start_ns)
        with make_alarm(self._ring) as self._alarm:
            runs = [self._skip(step) if step.skipped else self._execute(step, timeline) for step in timeline]
        self._drain()
        if self._over.exception is not None:
            raise self._over.exception
        return self._tally.close(runs)

    def _skip(self, step: Step) -> SegmentRun:
        return SegmentRun(
            segment=step.segment.index,
            launch_id=step.segment.launch_id,
            start_ns=step.start_ns,
            end_ns=step.start_ns,
            drained=True,
            skipped=True,
            in_flight_peak=0,
        )

    def _execute(self, step: Step, timeline: Timeline) -> SegmentRun:
        segment, hot = step.segment, self._launches[step.segment.launch_id]
        self._sleep_until(step.start_ns)
        drained = self.in_flight == 0
        hot.in_flight.reset_peak()
        turn = Turn(segment.index, start_ns=step.start_ns, end_ns=step.end_ns)
        if segment.model == "open":
            self._send(segment, turn)
        else:
            self._let_go(segment, turn)
        end_ns = time.monotonic_ns()
        if segment.phase == "staircase":
            self._sleep_until(step.end_ns + round(segment.guard_s * NS_PER_S))
            if self._was_too_much(turn):
                timeline.saturated(segment.launch_id)
        return SegmentRun(
            segment=segment.index,
            launch_id=segment.launch_id,
            start_ns=step.start_ns,
            end_ns=end_ns,
            drained=drained,
            skipped=False,
            in_flight_peak=hot.in_flight.peak,
        )

    def _send(self, segment: Segment, turn: Turn) -> None:
        """The open model: arrivals when they are due, whatever has come of the earlier ones."""
        users = self._open[segment.launch_id]
        weights = [task.weight for task in users.tasks]
        self._users, self._turn = users, turn
        own = schedule(segment, weights, stripe=self._share.stripe, stripes=self._share.stripes)
        self._dispatcher = Dispatcher(own, start_ns=turn.start_ns)
        try:
            self._sleep_until(turn.end_ns)
        finally:
            self._dispatcher = None

    def _let_go(self, segment: Segment, turn: Turn) -> None:
        """The closed model: N users until the segment's end."""
        users = self._closed[segment.launch_id]
        users.open(turn, segment.users or 0)
        try:
            self._sleep_until(turn.end_ns)
        finally:
            users.close()

    def _sleep_until(self, due_ns: int) -> None:
        """Let the event loop work until then; arrivals are dispatched meanwhile. Raises what `fail` was given."""
        self._wake_ns = due_ns
        if self._over.ready():
            self._over.get()
        self._over = AsyncResult()
        self._alarm.set(self._next_ns())
        self._over.get()

    def _next_ns(self) -> int:
        due_ns = self._dispatcher.due_ns if self._dispatcher is not None else None
        return self._wake_ns if due_ns is None else min(due_ns, self._wake_ns)

    def _ring(self) -> None:
        """Called from the event loop when something is due: arrivals first, then the end of the sleep."""
        try:
            self._dispatch()
        except Exception as error:  # noqa: BLE001 -- the event loop would print it and go on without an alarm
            self._over.set_exception(error)
            return
        if self._wake_ns <= time.monotonic_ns():
            if not self._over.ready():
                self._over.set(None)
            return
        self._alarm.set(self._next_ns())

    def _dispatch(self) -> None:
        dispatcher, users, turn = self._dispatcher, self._users, self._turn
        if dispatcher is None or users is None:
            return
        hot = users.launch
        while (arrival := dispatcher.pop(time.monotonic_ns())) is not None:
            task = users.tasks[arrival.task].name
            intended_ns = turn.start_ns + arrival.offset_ns
            hot.book.offered(turn, task)
            if hot.in_flight.enter():
                users.hand(turn, arrival, intended_ns)
            else:
                hot.book.dropped(turn, arrival.number, task, intended_ns)

    def _drain(self) -> None:
        """Wait for what is in flight, at most as long as a request may take; the rest is unfinished."""
        patience_s = max((hot.load.request_timeout_s for hot in self._launches.values()), default=0.0)
        last_guard_s = self._plan.segments[-1].guard_s if self._plan.segments else 0.0
        deadline_ns = time.monotonic_ns() + round(max(patience_s, last_guard_s) * NS_PER_S)
        while self.in_flight and time.monotonic_ns() < deadline_ns:
            gevent.sleep(0.005)
        for hot in self._launches.values():
            hot.abandon()
