"""The open model's users: one greenlet an instance, parked until an arrival is handed to it.

A parked greenlet is woken by a plain switch from the event loop, which costs less than a new greenlet an arrival.
"""

from __future__ import annotations

import time
from collections import deque

import gevent
import locust
from gevent.event import Event
from gevent.lock import BoundedSemaphore
from gevent.pool import Pool
from locust.exception import StopTest, StopUser

from harness.generator.arrivals import Arrival
from harness.generator.book import ON_STOP, Execution, SegmentAccount, describe, said
from harness.generator.launch import HotLaunch
from harness.generator.loading import RAISED
from harness.generator.scenario import ENDS_TASK, ScenarioTask

STARTING_AT_ONCE = 10
"""users that run on_start at the same time before the plan starts, so that a login storm is not the first load"""


class OpenUsers:
    """All instances of one launch. An idle one takes the next arrival of its class; where there is none, one is made.

    The instance that has been idle longest comes first: connections are used in turn, and the workers behind a shared
    socket evenly.
    """

    def __init__(self, launch: HotLaunch) -> None:
        self.launch = launch
        self.tasks = launch.scenario.tasks
        self._idle: dict[type[locust.User], deque[_OpenUser]] = {task.user_class: deque() for task in self.tasks}
        self.lag_max_ns = 0
        self._started_late = 0
        """users that had an on_start to run while the load went on, since all others were busy"""

    def make_ready(self, count: int, deadline_s: float) -> dict[str, int]:
        """Make about `count` instances, divided as the arrivals are, and run their on_start. Returns how many of each.

        Raises UsageError when an on_start raises, or does not end by `deadline_s`.
        """
        places = None if self.launch.is_awaited else BoundedSemaphore(STARTING_AT_ONCE)
        made: dict[str, int] = {}
        new: list[_OpenUser] = []
        total = sum(task.weight for task in self.tasks)
        for user_class in self._idle:
            share = sum(task.weight for task in self.tasks if task.user_class is user_class) / total
            made[user_class.__name__] = max(1, round(count * share))
            new += [_OpenUser(self, user_class, places) for _ in range(made[user_class.__name__])]
        for user in new:
            user.start(None)
        gevent.sleep(0)  # each comes as far as its on_start waits for something
        self.launch.all_spawned()
        for user in new:
            user.wait_until_ready(deadline_s)
        return made

    def stop(self) -> None:
        """Run the on_stop of every user that has one; the load is over."""
        if self._started_late:
            self.launch.note(
                f"on_start ran {self._started_late} times during the load, since all users were busy: it is part of "
                "what these arrivals took. Where it is dear, as a login is, do it once for all users, in a listener "
                "of test_start."
            )
        pool = Pool(STARTING_AT_ONCE)
        for user_class, users in self._idle.items():
            if user_class.on_stop is not locust.User.on_stop:
                for user in users:
                    pool.spawn(user.stop)
        pool.join()

    def hand(self, account: SegmentAccount, arrival: Arrival, intended_ns: int, handed_ns: int) -> None:
        """Give an arrival that has a place under the cap to a user; called from the event loop."""
        task = self.tasks[arrival.task]
        if handed_ns - intended_ns > self.lag_max_ns:  # noqa: PLR1730 -- max() is a call, and this is every arrival's way
            self.lag_max_ns = handed_ns - intended_ns
        execution = Execution(account, arrival.number, task.name, intended_ns, handed_ns)
        self.launch.begin(execution)
        idle = self._idle[task.user_class]
        if idle:
            idle.popleft().greenlet.switch((execution, task))
        else:
            self._started_late += task.user_class.on_start is not locust.User.on_start
            _OpenUser(self, task.user_class, None).start((execution, task))

    def park(self, user: _OpenUser) -> None:
        self._idle[user.user_class].append(user)

    def replace(self, user: _OpenUser) -> None:
        """A user stopped itself: another takes its place."""
        _OpenUser(self, user.user_class, None).start(None)


Work = tuple[Execution, ScenarioTask]


class _OpenUser:
    """One instance of a user class and the greenlet it lives in."""

    __slots__ = ("_error", "_log", "_places", "_ready", "_user", "_users", "greenlet", "user_class")

    def __init__(self, users: OpenUsers, user_class: type[locust.User], places: BoundedSemaphore | None) -> None:
        self.user_class = user_class
        self._users = users
        self._places = places
        self._ready = Event()
        self._error: BaseException | None = None

    def start(self, work: Work | None) -> None:
        self.greenlet = gevent.spawn(self._live, work)

    def wait_until_ready(self, deadline_s: float) -> None:
        ready = self._ready.wait(max(0.0, deadline_s - time.monotonic()))
        if not ready or self._error is not None:
            raise self._users.launch.never_started(self.user_class, self._error) from self._error

    def _live(self, work: Work | None) -> None:
        try:
            if self._places is None:
                self._come_alive()
            else:
                with self._places:
                    self._come_alive()
        except RAISED as error:
            self._error = error
            self._stillborn(work, error)
            return
        finally:
            self._ready.set()
        if work is not None and not self._execute(*work):
            return
        hub = gevent.get_hub()
        while True:
            self._users.park(self)
            execution, task = hub.switch()
            if not self._execute(execution, task):
                return

    def _come_alive(self) -> None:
        launch = self._users.launch
        self._user, self._log = launch.make_user(self.user_class)
        launch.lives_in(gevent.getcurrent(), self._log)
        self._user.wait = _no_wait
        setup = self._log.execution
        self._user.on_start()
        launch.book.done(setup, "")

    def _stillborn(self, work: Work | None, error: BaseException) -> None:
        """The instance could not be made: the arrival that asked for it is in error, its place is free again."""
        launch = self._users.launch
        if hasattr(self, "_user"):
            launch.gone(self.user_class)
        if work is None:
            launch.note(f"on_start of {self.user_class.__name__} raised {said(error)}.")
            return
        launch.end(work[0], RuntimeError(f"on_start raised {describe(error, 0)}"))
        launch.in_flight.leave()

    def _execute(self, execution: Execution, task: ScenarioTask) -> bool:
        """Run the task; False when the user is not to be used again."""
        users = self._users
        self._log.execution = execution
        failure: BaseException | None = None
        alive = True
        try:
            task.run(self._user)
        except ENDS_TASK:
            pass
        except StopUser:
            alive = False
        except gevent.GreenletExit:
            return False  # killed: whoever does that has closed the accounts
        except (StopTest, SystemExit) as stop:
            failure, alive = stop, False
        except RAISED as error:
            failure = error
        users.launch.end(execution, failure)
        users.launch.in_flight.leave()
        if not alive:
            self._retire()
        return alive

    def _retire(self) -> None:
        self._users.launch.gone(self.user_class)
        self.stop()
        self._users.replace(self)

    def stop(self) -> None:
        """Run its on_stop; what that raises is of no consequence to any arrival."""
        launch = self._users.launch
        self._log.execution = launch.book.setup(0, ON_STOP)
        launch.lives_in(gevent.getcurrent(), self._log)
        try:
            self._user.on_stop()
        except (*RAISED, StopUser, StopTest) as error:
            launch.note(f"on_stop of {self.user_class.__name__} raised {said(error)}.")


def _no_wait() -> None:
    raise RuntimeError("self.wait() has no meaning in the open model: use the closed one")
