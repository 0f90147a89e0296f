"""What Locust loads: a class it may idle with, and a listener that starts this process's part once Locust is up.

Started by harness.drive. POOLBENCH_LOADPLAN names the load plan, POOLBENCH_FOLDER the folder that scenarios see as the
current one, POOLBENCH_PARENT_PID the process to live no longer than. The engine is a greenlet and no User, which
Locust's dispatcher would move about and count.

One process alone executes the plan. With several, Locust's master coordinates and each of its workers executes a share.
"""

from __future__ import annotations

import faulthandler
import os
import signal
from pathlib import Path
from typing import Any

import gevent
from locust import User, events, task
from locust.runners import MasterRunner, WorkerRunner

from harness.errors import PoolbenchError
from harness.generator import coordinator, member, session
from harness.generator.monitor import live_no_longer_than


class Idle(User):
    """Locust refuses to start without a user class; this one does nothing."""

    @task
    def sleep(self) -> None:
        gevent.sleep(3600)


faulthandler.register(signal.SIGUSR1)
"""Asked by the orchestrator where it is, when it takes too long: a scenario's endless loop answers nothing else."""


def _start(environment: Any, **_: Any) -> None:
    if isinstance(environment.runner, WorkerRunner):
        live_no_longer_than(os.getppid())  # Locust's master, or the launcher on another machine
        role = member.join(environment)
    else:
        live_no_longer_than(int(os.environ.get("POOLBENCH_PARENT_PID", "0")))
        plan = Path(os.environ["POOLBENCH_LOADPLAN"])
        if isinstance(environment.runner, MasterRunner):
            role = coordinator.open_for_workers(environment, plan)
        else:
            role = _alone(environment, plan)
    gevent.spawn(_run, environment, role)


def _alone(environment: Any, plan: Path) -> Any:
    return lambda: session.run(plan, environment.parsed_options)


def _run(environment: Any, role: Any) -> None:
    if folder := os.environ.get("POOLBENCH_FOLDER"):
        os.chdir(folder)
    environment.process_exit_code = PoolbenchError.exit_code  # where not even that it failed can be told
    try:
        environment.process_exit_code = role()
    finally:
        environment.runner.quit()


_init: Any = events.init  # not typed
_init.add_listener(_start)
