"""One launch's way through its load: where its load clock stands, and what each of its segments has come to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import gevent
from locust.runners import STATE_CLEANUP

from harness.domain.load import Segment
from harness.generator.arrivals import NS_PER_S, WHOLE, Dispatcher, Share, each_once, schedule, users_to_make
from harness.generator.book import SegmentAccount
from harness.generator.closed_users import ClosedUsers
from harness.generator.launch import HotLaunch
from harness.generator.open_users import OpenUsers


class Course:
    """A hot launch, its users in the load model it is sent, and how much of its load is over.

    Args:
        hot: the launch.
        segments: its own, in the order of its load clock; not empty, all of one model.
        pause_ns: what passes after a step of a staircase before it is judged.
        share: which of the arrivals, or of the users, are this process's.
        once: see `LoadPlan.once`.
    """

    def __init__(
        self, hot: HotLaunch, segments: Sequence[Segment], *, pause_ns: int, share: Share = WHOLE, once: bool = False
    ) -> None:
        self.hot = hot
        self.segments = segments
        self.accounts: Mapping[int, SegmentAccount] = {s.index: SegmentAccount(s.index) for s in segments}
        self.climbs = any(segment.phase == "staircase" for segment in segments)
        self.clock_ns = 0
        """the load clock"""
        self.end_ns = end_of(segments[-1]) + (pause_ns if self.climbs else 0)
        """on the load clock"""
        self.patient = True
        """False once its service was waited for in vain"""
        self.open: OpenUsers | None = None
        self.closed: ClosedUsers | None = None
        if segments[0].model == "open":
            self.open = OpenUsers(hot)
            weights = [task.weight for task in self.open.tasks]
            drawn = schedule(segments, weights, stripe=share.stripe, stripes=share.stripes)
            self.dispatcher = Dispatcher(each_once(segments) if once else drawn)
            rate_rps = max(segment.rate_rps or 0.0 for segment in segments)
            self.users = users_to_make(rate_rps=rate_rps / share.stripes, cap=hot.in_flight.cap)
            expected = self.users
        else:
            self.closed = ClosedUsers(hot, share)
            self.users = max(segment.users or 0 for segment in segments)
            expected = share.of(self.users)
        hot.scenario.expect_users(expected)

    @property
    def is_over(self) -> bool:
        return self.clock_ns >= self.end_ns

    @property
    def offered(self) -> int:
        return sum(account.offered for account in self.accounts.values())

    def make_ready(self, deadline_s: float) -> dict[str, int]:
        """Make the users and run their on_start, which has until `deadline_s`. Returns the instances by class."""
        if self.closed is not None:
            return self.closed.make_ready(self.users, deadline_s)
        assert self.open is not None  # one of the two
        return self.open.make_ready(self.users, deadline_s)

    def say_goodbye(self, deadline_s: float) -> None:
        """The load is over: what Locust tells users and listeners at its end, as far as it is done by `deadline_s`."""
        users = self.closed or self.open
        assert users is not None  # one of the two
        hot, environment = self.hot, self.hot.scenario.environment
        runner = hot.scenario.runner
        runner.state = STATE_CLEANUP
        steps: tuple[tuple[str, Callable[[], None]], ...] = (
            ("test_stopping", lambda: hot.tell("test_stopping", environment=environment)),
            ("on_stop", users.stop),
            ("test_stop", lambda: hot.tell("test_stop", environment=environment)),
            ("quitting", lambda: hot.tell("quitting", reverse=True, environment=environment)),
            ("quit", lambda: hot.tell("quit", exit_code=0)),
        )
        for name, step in steps:
            try:
                with gevent.Timeout(max(0.1, deadline_s - time.monotonic())):
                    step()
            except gevent.Timeout:
                hot.note(f"{name} of {hot.load.scenario.name} took too long after the load, and was cut off.")

    def is_idle(self, now_ns: int) -> bool:
        """Whether nothing is in progress, neither for the client nor at the service."""
        return self.hot.in_flight.count == 0 and self.hot.gauges.at_most(0, now_ns)


def end_of(segment: Segment) -> int:
    """Where the segment ends on its launch's load clock, in ns."""
    return round(segment.start_s * NS_PER_S) + round(segment.duration_s * NS_PER_S)
