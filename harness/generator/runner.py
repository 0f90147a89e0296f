"""What a scenario sees as its `environment`, and as `environment.runner`, which poolbench does not have.

Locust's runner starts and stops users; here the load plan does. The stand-in answers what scenarios ask of a runner,
counts, state, figures and messages, and refuses everything else by name instead of doing it, or nothing, silently.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

from locust import runners
from locust.env import Environment
from locust.rpc import Message
from locust.stats import RequestStats

from harness.errors import UsageError
from harness.generator.arrivals import WHOLE, Share

STOPPING = (runners.STATE_CLEANUP, runners.STATE_STOPPED)
_OF_INSTANCES = ("greenlet", "user_greenlets", "exceptions", "spawning_greenlet", "shape_greenlet")
"""What a LocalRunner has beside what its class says."""


class ScenarioEnvironment(Environment):
    """Locust's environment, whose statistics are worked out when somebody asks for them."""

    catch_up: Callable[[RequestStats], None] | None = None
    """Adds what was recorded since it was last called."""

    @property
    def stats(self) -> RequestStats:
        if self.catch_up is not None:
            self.catch_up(self._stats)
        return self._stats

    @stats.setter
    def stats(self, stats: RequestStats) -> None:
        self._stats = stats


class StandIn:
    """`environment.runner` of one launch in one process, which takes it for a LocalRunner.

    A scenario has the whole of what it does in every process, so each is a local run of its share to it: messages stay
    in the process, `worker_index` and `worker_count` say which share it is.
    """

    def __init__(self, environment: Environment, scenario: str, share: Share = WHOLE) -> None:
        self.environment = environment
        self.state: str = runners.STATE_INIT
        self.target_user_count = 0
        self.worker_index, self.worker_count = share.stripe, share.stripes
        self.client_id = f"{socket.gethostname()}_{os.getpid()}"
        self.custom_messages: dict[str, tuple[Callable[..., Any], bool]] = {}
        self.alive: Counter[str] = Counter()
        """user instances by class"""
        self.refused: UsageError | None = None
        self.refuse: Callable[[UsageError], None] | None = None
        """what ends the load"""
        self._scenario = scenario

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # what isinstance asks for, as with unittest.mock's specs
        return runners.LocalRunner

    @property
    def user_classes(self) -> Any:
        return self.environment.user_classes

    @property
    def user_classes_by_name(self) -> Any:
        return self.environment.user_classes_by_name

    @property
    def user_count(self) -> int:
        return sum(self.alive.values())

    @property
    def user_classes_count(self) -> dict[str, int]:
        return {user_class.__name__: self.alive[user_class.__name__] for user_class in self.user_classes}

    @property
    def target_user_classes_count(self) -> dict[str, int]:
        return self.user_classes_count

    @property
    def stats(self) -> RequestStats:
        return self.environment.stats

    @property
    def errors(self) -> Any:
        return self.environment.stats.errors

    def register_message(self, msg_type: str, listener: Callable[..., Any], concurrent: bool = False) -> None:
        self.custom_messages[msg_type] = (listener, concurrent)

    def send_message(self, msg_type: str, data: Any = None, client_id: Any = None) -> None:
        """As of a local runner: to whoever listens in this process."""
        if msg_type in self.custom_messages:
            listener, _ = self.custom_messages[msg_type]
            message: Any = Message
            listener(environment=self.environment, msg=message(msg_type, data, client_id or "local"))

    def __getattr__(self, name: str) -> Any:
        known = getattr(runners.LocalRunner, name, None)
        if name.startswith("_") or (known is None and name not in _OF_INSTANCES):
            raise AttributeError(f"a local runner has no attribute {name!r}")
        if not callable(known):
            self._refuse(name)

        def refuse(*_: Any, **__: Any) -> None:
            self._refuse(f"{name}()")

        return refuse

    def _refuse(self, what: str) -> None:
        """Once the load is over there is nothing left to refuse: scenarios may quit as often as they like."""
        if self.state in STOPPING:
            return
        error = UsageError(
            f"The scenario {self._scenario} asks for environment.runner.{what}, which poolbench does not have: "
            "the experiment decides who sends what, and until when.",
            next_step="Take it out of the scenario, or do it only where the runner is Locust's own.",
        )
        self.refused = self.refused or error
        if self.refuse is not None:
            self.refuse(error)
        raise error
