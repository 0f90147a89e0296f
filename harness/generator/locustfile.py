"""What Locust loads: a class it may idle with, and a listener that starts the engine once Locust is up.

Started by harness.drive. POOLBENCH_LOADPLAN names the load plan, POOLBENCH_FOLDER the folder that scenarios see as the
current one, POOLBENCH_PARENT_PID the process to live no longer than. The engine is a greenlet and no User, which
Locust's dispatcher would move about and count.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gevent
from locust import User, events, task

from harness.generator import session


class Idle(User):
    """Locust refuses to start without a user class; this one does nothing."""

    @task
    def sleep(self) -> None:
        gevent.sleep(3600)


def _start(environment: Any, **_: Any) -> None:
    gevent.spawn(_run, environment)


def _run(environment: Any) -> None:
    os.chdir(os.environ["POOLBENCH_FOLDER"])
    environment.process_exit_code = session.run(
        Path(os.environ["POOLBENCH_LOADPLAN"]),
        int(os.environ.get("POOLBENCH_PARENT_PID", "0")),
        environment.parsed_options,
    )
    environment.runner.quit()


_init: Any = events.init  # not typed
_init.add_listener(_start)
