"""The closed model: N users with Locust's own loop (`User.run`), each waiting for its answer and then thinking.

Users start once, before the plan, and run on_start then. Between their launch's turns they are held at the
beginning of their next task; a task under way when a turn ends is finished. Held users all go on at once, so a
turn should be long compared with the think time. A user that stops itself is replaced: N stays N.
"""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import gevent
import locust
from gevent.event import Event
from gevent.pool import Group, Pool
from locust.exception import RescheduleTask, StopTest, StopUser
from locust.user.task import DefaultTaskSet, TaskSet

from harness.domain.load import SETUP_SEGMENT
from harness.generator.arrivals import WHOLE, Share
from harness.generator.book import ON_STOP, Execution, SegmentAccount, describe, said
from harness.generator.client import RequestLog
from harness.generator.launch import HotLaunch
from harness.generator.loading import RAISED
from harness.generator.scenario import ENDS_TASK, task_name

STOPPING_AT_ONCE = 10
"""users that run on_stop at the same time"""
_SEAT = "_poolbench_seat"


class ClosedUsers:
    """The users of one launch in the closed model."""

    def __init__(self, launch: HotLaunch, share: Share = WHOLE) -> None:
        self.launch = launch
        self._share = share
        self._account: SegmentAccount | None = None
        self._end_ns = 0
        self._users = 0
        self._executions = 0
        self._seats: list[_Seat] = []
        self._group = Group()
        self._over = False
        launch.account_of = self._account_of
        _count_executions()

    def make_ready(self, count: int, deadline_s: float) -> dict[str, int]:
        """Start this process's share of `count` users and wait until each is held at its first task.

        Raises UsageError when an on_start raises, or does not end by `deadline_s`.
        """
        everybody = divide(self.launch.scenario.user_classes, count)
        for user_class in everybody[self._share.stripe :: self._share.stripes]:
            seat = _Seat(self, user_class, len(self._seats))
            self._seats.append(seat)
            seat.start()
            if not self.launch.is_awaited:  # one after the other: a login storm is not to be the first load
                seat.wait_until_held(deadline_s)
        gevent.sleep(0)  # each comes as far as its on_start waits for something
        self.launch.all_spawned()
        for seat in self._seats:
            seat.wait_until_held(deadline_s)
        return dict(Counter(seat.user_class.__name__ for seat in self._seats))

    def open(self, account: SegmentAccount, users: int, *, end_ns: int) -> None:
        """Let the first `users` users go, as far as they are here, until `end_ns`; their tasks go on the account."""
        self._account, self._end_ns, self._users = account, end_ns, self._share.of(users)
        for seat in self._seats[: self._users]:
            seat.gate.set()

    def close(self) -> None:
        """Hold every user at its next task."""
        self._account = None
        for seat in self._seats:
            seat.gate.clear()

    def enter(self, seat: _Seat, task: str) -> Execution:
        """Begin a task, as soon as the seat's segment is on."""
        while (account := self._account) is None or seat.number >= self._users or time.monotonic_ns() >= self._end_ns:
            seat.gate.clear()
            seat.held.set()
            seat.gate.wait()
        execution = Execution(account, self._share.number(self._executions), task, None)
        self._executions += 1
        self.launch.book.offered(account, task)
        self.launch.in_flight.enter()
        self.launch.begin(execution)
        return execution

    def _account_of(self, execution: Execution) -> SegmentAccount:
        """A request counts in the segment that is on, even if its task began in the one before, the warm-up."""
        begun, now = execution.account, self._account
        if now is None or now is begun or begun.index == SETUP_SEGMENT or time.monotonic_ns() >= self._end_ns:
            return begun
        self.launch.book.carried_over(execution)
        return now

    def spawn(self, user: Any, ended: Callable[[Any], None]) -> Any:
        greenlet = user.start(self._group)
        greenlet.link(ended)
        return greenlet

    def stop(self) -> None:
        """End every user, as Locust does: its TaskSets' on_stop and its own run."""
        self._over = True
        pool = Pool(STOPPING_AT_ONCE)
        for seat in self._seats:
            pool.spawn(seat.stop)
        pool.join()

    @property
    def is_over(self) -> bool:
        return self._over


class _Seat:
    """One of the N: holds a user, and the next one when that stops."""

    def __init__(self, users: ClosedUsers, user_class: type[locust.User], number: int) -> None:
        self.number = number
        self.gate = Event()
        self.held = Event()
        self.users = users
        self.log: RequestLog | None = None
        self.user_class = user_class
        self._user: Any = None
        self._alone = len(users.launch.scenario.user_classes) == 1
        self._error: BaseException | None = None

    def start(self) -> None:
        self._user, self.log = self.users.launch.make_user(self.user_class)
        setattr(self._user, _SEAT, self)
        self.users.launch.lives_in(self.users.spawn(self._user, self._ended), self.log)

    def wait_until_held(self, deadline_s: float) -> None:
        held = self.held.wait(max(0.0, deadline_s - time.monotonic()))
        if not held or self._error is not None:
            raise self.users.launch.never_started(self.user_class, self._error) from self._error

    def stop(self) -> None:
        """End the user, in whatever it is held."""
        if self.log is not None:
            self.log.execution = self.users.launch.book.setup(self.number, ON_STOP)
        self._user.stop(force=True)

    def execute(self, task_set: Any, task: Any, run: Callable[[], None]) -> None:
        """Run one task when the segment is on, and account for it."""
        execution = self.users.enter(self, task_name(self.user_class, task, alone=self._alone))
        log, launch = self.log, self.users.launch
        assert log is not None  # set before the user's first task
        outside, log.execution = log.execution, execution
        failure: BaseException | None = None
        try:
            run()
        except (*ENDS_TASK, StopUser):
            raise
        except (StopTest, SystemExit) as stop:
            failure = stop
            raise StopUser from stop
        except RAISED as error:
            failure = error
            hook = task_set.user.environment.events.user_error
            hook.fire(user_instance=task_set, exception=error, tb=error.__traceback__)
            raise RescheduleTask from error  # what Locust does as well: wait, then the next task
        finally:
            log.execution = outside
            launch.end(execution, failure)
            launch.in_flight.leave()

    def _ended(self, greenlet: Any) -> None:
        """The user is gone: by StopUser, or because on_start raised, which before the plan starts is reported."""
        self.users.launch.gone(self.user_class)
        if self.users.is_over:
            if greenlet.exception is not None:
                what = said(greenlet.exception)
                self.users.launch.note(f"on_stop of {self.user_class.__name__} raised {what}.")
        elif not self.held.is_set():
            self._error = greenlet.exception or StopUser()
            self.held.set()
        elif greenlet.exception is None:
            gevent.spawn(self.start)
        else:
            self.users.launch.note(
                f"A user of {self.user_class.__name__} ended with {describe(greenlet.exception, 0)}: "
                "fewer users ran than planned."
            )


def _count_executions() -> None:
    """Put the counting where every TaskSet executes its tasks, which a scenario's classes cannot get around."""
    for owner in (TaskSet, DefaultTaskSet):
        if not hasattr(owner.execute_task, "__wrapped__"):
            patched: Any = owner
            patched.execute_task = _counting(owner.execute_task)


def _counting(execute_task: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    @functools.wraps(execute_task)
    def counted(task_set: Any, task: Any) -> None:
        seat: _Seat | None = getattr(task_set.user, _SEAT, None)
        nested = isinstance(task, type) and issubclass(task, TaskSet)
        if seat is None or nested:  # the open model's, or a TaskSet whose own tasks will be counted
            execute_task(task_set, task)
        else:
            seat.execute(task_set, task, functools.partial(execute_task, task_set, task))

    return counted


def divide(classes: tuple[type[locust.User], ...], count: int) -> list[type[locust.User]]:
    """`count` users over the classes in proportion to their weights, mixed so that the first n are in proportion too.

    A class with a fixed_count comes first, with that many.
    """
    chosen = [user_class for user_class in classes for _ in range(user_class.fixed_count)][:count]
    weighted = [user_class for user_class in classes if not user_class.fixed_count] or list(classes)
    given = dict.fromkeys(weighted, 0)
    while len(chosen) < count:
        user_class = min(weighted, key=lambda candidate: (given[candidate] + 0.5) / (candidate.weight or 1))
        given[user_class] += 1
        chosen.append(user_class)
    return chosen
