"""Executes a load plan: turn after turn on one clock, in the open or the closed model."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import gevent
from gevent.event import AsyncResult

from harness.domain.load import Cut, Ledger, LoadPlan, TurnRun
from harness.generator.alarm import Alarm, make_alarm
from harness.generator.arrivals import NS_PER_S, WHOLE, Ending, Share, ending
from harness.generator.book import SegmentAccount
from harness.generator.course import Course, end_of
from harness.generator.launch import ON_START_S, HotLaunch
from harness.generator.scenario import silence
from harness.generator.tally import Tally

LOOK_AGAIN_NS = 500_000
"""after the client has all its answers and the service is still closing what they used"""
CLOSING_NS = 100_000_000
"""how long a service may take, after the last answer that is waited for, to close what it used"""
GOODBYE_S = float(os.environ.get("POOLBENCH_GOODBYE_S", "15"))
"""for all that users and listeners do after the load; less than what the orchestrator allows a generator beyond it"""
NEVER_NS = 2**63 - 1
SERVICE_PATIENCE = 3
"""request timeouts for which a service may go on with requests that the client gave up, before others have a turn"""


class Pace(Protocol):
    """What processes that share a plan have to agree on; one alone decides by itself."""

    def was_too_much(self, account: SegmentAccount) -> bool:
        """Whether a step of the staircase, which is over, saturated its launch."""

    def next_turn(self, at_ns: int) -> int:
        """When the next turn begins, as soon as all have come so far; this process could begin at `at_ns`."""


class Engine:
    """The hot launches of a plan and the clock they share."""

    def __init__(
        self, plan: LoadPlan, launches: Sequence[HotLaunch], tally: Tally, *, share: Share = WHOLE, pace: Pace
    ) -> None:
        self._plan = plan
        self._share = share
        self._pace = pace
        self._tally = tally
        self._pause_ns = round(plan.pause_s * NS_PER_S)
        self._courses: Mapping[str, Course] = {
            hot.id: Course(
                hot,
                [segment for segment in plan.segments if segment.launch_id == hot.id],
                pause_ns=self._pause_ns,
                share=share,
                once=plan.once,
            )
            for hot in launches
        }
        self._over: AsyncResult = AsyncResult()
        self._sending: Course | None = None
        self._ending: Ending | None = None
        self._look_ns = NEVER_NS
        """when to look next whether the turn may end"""
        self._alarm: Alarm
        for hot in launches:
            hot.fail = self.fail

    @property
    def in_flight(self) -> int:
        return sum(course.hot.in_flight.count for course in self._courses.values())

    def take_lag_max_ns(self) -> int:
        """How late an arrival was handed over at worst, since this was last asked."""
        users = [course.open for course in self._courses.values() if course.open is not None]
        worst = max((own.lag_max_ns for own in users), default=0)
        for own in users:
            own.lag_max_ns = 0
        return worst

    def fail(self, error: BaseException) -> None:
        """End the plan at once; `execute` raises the error."""
        self._over.set_exception(error)

    def make_ready(self) -> dict[str, dict[str, int]]:
        """Make the users that the plan needs and run their on_start. Returns the instances by launch and class."""
        deadline_s = time.monotonic() + ON_START_S
        return {launch_id: course.make_ready(deadline_s) for launch_id, course in self._courses.items()}

    def say_goodbye(self) -> None:
        """Let users and listeners know that it is over, within a time that leaves the orchestrator its patience."""
        deadline_s = time.monotonic() + GOODBYE_S
        for course in self._courses.values():
            course.say_goodbye(deadline_s)

    def execute(self, start_ns: int) -> Ledger:
        """Execute every turn from `start_ns` on, wait for what is in flight and end the users. Returns the ledger.

        Raises UsageError when a scenario sends nothing at all, and whatever `fail` was given.
        """
        runs: list[TurnRun] = []
        last = {turn.launch_id: place for place, turn in enumerate(self._plan.turns)}
        with make_alarm(self._ring) as self._alarm:
            for place, turn in enumerate(self._plan.turns):
                course = self._courses[turn.launch_id]
                if course.is_over:  # its turns took longer than planned, until its service was clear
                    continue
                left_ns = course.end_ns - course.clock_ns
                duration_ns = left_ns if place == last[turn.launch_id] else round(turn.duration_s * NS_PER_S)
                course.hot.gauges.look_again()
                begin_ns = self._pace.next_turn(runs[-1].idle_ns + self._pause_ns) if runs else start_ns
                runs.append(self._execute(course, duration_ns, begin_ns))
                self._refuse_silence(course)
        for course in self._courses.values():
            course.hot.abandon()
        if self._over.exception is not None:
            raise self._over.exception
        self.say_goodbye()
        return self._tally.close(runs)

    def _execute(self, course: Course, duration_ns: int, begin_ns: int) -> TurnRun:
        hot = course.hot
        self._sleep_until(begin_ns)
        hot.in_flight.reset_peak()
        load_start_ns = course.clock_ns
        with hot.asked_beside(zero_ns=begin_ns - load_start_ns, begin_ns=begin_ns):
            if course.climbs:
                end_ns, cut = self._climb(course, begin_ns)
            elif course.open is not None:
                end_ns, cut = self._send(course, duration_ns, begin_ns)
            else:
                end_ns, cut = self._let_go(course, duration_ns, begin_ns)
        if not course.climbs:
            course.clock_ns += end_ns - begin_ns
        idle_ns, idle = self._until_idle(course)
        return TurnRun(
            launch_id=hot.id,
            start_ns=begin_ns,
            end_ns=end_ns,
            load_start_ns=load_start_ns,
            cut=cut,
            idle_ns=idle_ns,
            idle=idle,
            in_flight_peak=hot.in_flight.peak,
        )

    def _send(self, course: Course, duration_ns: int, begin_ns: int) -> tuple[int, Cut]:
        """The open model: arrivals when they are due, whatever has come of the earlier ones, until the turn may end."""
        zero_ns, in_flight = begin_ns - course.clock_ns, course.hot.in_flight
        self._ending = ending(
            start_ns=begin_ns,
            duration_ns=duration_ns,
            end_ns=zero_ns + course.end_ns,
            connections=course.hot.load.connections,
        )
        course.dispatcher.resume(zero_ns=zero_ns)
        self._sending, in_flight.on_low = course, self._look_now
        self._look_ns = self._ending.planned_ns
        try:
            end_ns: int = self._sleep_until(self._ending.end_ns)
        finally:
            self._sending, self._ending, self._look_ns, in_flight.low = None, None, NEVER_NS, -1
        if end_ns >= zero_ns + course.end_ns:
            return zero_ns + course.end_ns, "end"
        return end_ns, "clear" if in_flight.count == 0 else "unqueued"

    def _climb(self, course: Course, begin_ns: int) -> tuple[int, Cut]:
        """A staircase: step after step in the open model, until one was too much; what is left of it is skipped."""
        course.dispatcher.resume(zero_ns=begin_ns)
        self._sending = course
        try:
            for segment in course.segments:
                end_ns = begin_ns + end_of(segment)
                self._sleep_until(end_ns + self._pause_ns)
                if segment.phase == "staircase" and self._pace.was_too_much(course.accounts[segment.index]):
                    break
        finally:
            self._sending = None
        course.clock_ns = course.end_ns
        return end_ns, "end"

    def _let_go(self, course: Course, duration_ns: int, begin_ns: int) -> tuple[int, Cut]:
        """The closed model: N users until the turn is over, after which each has its answer but sends nothing more."""
        users, zero_ns = course.closed, begin_ns - course.clock_ns
        assert users is not None  # the closed model's
        end_ns = min(begin_ns + duration_ns, zero_ns + course.end_ns)
        try:
            for segment in course.segments:
                until_ns = min(zero_ns + end_of(segment), end_ns)
                if until_ns > max(begin_ns, time.monotonic_ns()):
                    users.open(course.accounts[segment.index], segment.users or 0, end_ns=until_ns)
                    self._sleep_until(until_ns)
        finally:
            users.close()
        return end_ns, "end" if end_ns >= zero_ns + course.end_ns else "clear"

    def _until_idle(self, course: Course) -> tuple[int, bool]:
        """Wait until the service has nothing left to do: its next neighbour is to find the machine as it left it.

        The last one to have a turn has no neighbour, so only its own answers are waited for; likewise where a service
        did not come to rest once. Returns when that was, and whether it came to it.
        """
        now_ns = time.monotonic_ns()
        if course.climbs:
            return now_ns, course.is_idle(now_ns)
        no_neighbour = all(other.is_over for other in self._courses.values())
        for_answers = no_neighbour or not course.patient
        patience_s = course.hot.load.request_timeout_s * (1 if for_answers else SERVICE_PATIENCE)
        deadline_ns = now_ns + round(max(patience_s, self._plan.pause_s) * NS_PER_S)
        answered_ns: int | None = None
        while True:
            now_ns = time.monotonic_ns()
            if course.is_idle(now_ns):
                return now_ns, True
            if for_answers and course.hot.in_flight.count == 0:
                answered_ns = answered_ns or now_ns
                if now_ns >= answered_ns + CLOSING_NS:
                    return now_ns, False
            if now_ns >= deadline_ns:
                course.patient = False
                return now_ns, False
            if self._over.ready():
                self._over.get()  # what `fail` was given
            gevent.sleep(0.001)

    def _refuse_silence(self, course: Course) -> None:
        """A scenario whose tasks send nothing measures nothing. Of several processes only the coordinator knows."""
        if course.is_over and course.offered and not course.hot.book.requests and self._share == WHOLE:
            raise silence(course.hot.load.scenario, course.offered)

    def _sleep_until(self, due_ns: int) -> int:
        """Let the event loop work until then, or until the turn may end; arrivals are dispatched meanwhile.

        Returns when it was over. Raises what `fail` was given.
        """
        self._wake_ns = due_ns
        if self._over.ready():
            self._over.get()
        self._over = AsyncResult()
        self._alarm.set(self._next_ns())
        over_ns: int = self._over.get()
        return over_ns

    def _next_ns(self) -> int:
        """When the event loop has to come back here."""
        next_ns = min(self._wake_ns, self._look_ns)
        if self._sending is None:
            return next_ns
        due_ns = self._sending.dispatcher.due_ns
        return next_ns if due_ns is None or due_ns > next_ns else due_ns

    def _look_now(self) -> None:
        """Few enough are in flight: look whether the turn may end, from the event loop."""
        self._look_ns = 0
        self._alarm.set(time.monotonic_ns())

    def _ring(self) -> None:
        """Called from the event loop when something is due: arrivals first, then the end of the sleep."""
        try:
            now_ns = self._dispatch()
            over = now_ns >= self._wake_ns or (now_ns >= self._look_ns and self._may_end(now_ns))
        except Exception as error:  # noqa: BLE001 -- the event loop would print it and go on without an alarm
            self._over.set_exception(error)
            return
        if not over:
            self._alarm.set(self._next_ns())
        elif not self._over.ready():
            self._over.set(now_ns)
            if self._ending is not None:
                self._sending = None  # the load clock stands still from now on

    def _dispatch(self) -> int:
        """Hand over what is due. Returns the moment up to which that is complete, where a turn can end.

        Whoever cannot keep up reads no answers meanwhile, comes to the cap and drops: late arrivals would be no better.
        What is due from the end of the sleep on is left to whoever goes on sending: of a staircase, the next step.
        """
        monotonic_ns, course = time.monotonic_ns, self._sending
        now_ns = monotonic_ns()
        if course is None or course.open is None:
            return now_ns
        users, hot, dispatcher, wake_ns = course.open, course.hot, course.dispatcher, self._wake_ns
        while (arrival := dispatcher.pop(now_ns if now_ns < wake_ns else wake_ns - 1)) is not None:
            task = users.tasks[arrival.task].name
            intended_ns, account = dispatcher.zero_ns + arrival.due_ns, course.accounts[arrival.segment]
            hot.book.offered(account, task)
            if hot.in_flight.enter():
                users.hand(account, arrival, intended_ns, now_ns)
            else:
                hot.book.dropped(account, arrival.number, task, intended_ns)
            now_ns = monotonic_ns()
        return now_ns

    def _may_end(self, now_ns: int) -> bool:
        """Whether the turn may end now: see `arrivals.Ending`."""
        course, due = self._sending, self._ending
        if course is None or due is None:
            return False
        hot = course.hot
        hot.in_flight.low = low = due.low(now_ns)
        self._look_ns = due.next_ns(now_ns)
        count = hot.in_flight.count
        if count > low or not due.may_end(now_ns, count, hot.oldest_ns if count else now_ns):
            return False  # whoever leaves will ask again
        if hot.gauges.at_most(count, now_ns):  # what the client does not know of is old
            return True
        self._look_ns = min(self._look_ns, now_ns + LOOK_AGAIN_NS)
        return False
