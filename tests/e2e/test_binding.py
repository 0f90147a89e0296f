"""What is named as binding is shown to bind: more of it lets a fifth more be carried, and more of another does not.

One run for all; they hold for 50 or 100 ms, or compute without a pause, so that little hangs on how quick it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.binding import MOVED, experiment, judge

pytestmark = pytest.mark.postgres

PROVED = ("pool", "threads", "load", "locks", "worker_cpu", "dial", "limiter")
NAMED = {name: {name} for name in PROVED} | {"worker_cpu": {"worker_cpu", "machine_cpu"}}
"""Beside a neighbour no core may be left for the worker."""


@pytest.fixture(scope="module")
def found(shared_poolbench) -> Mapping[str, Any]:
    """What one run names, and what was moved by how much."""
    file = shared_poolbench.write("binding.toml", experiment(PROVED, measure_s=1.5))
    done = shared_poolbench("run", file, "--results", "binding", "--json")
    assert done.returncode == 0, done.stderr
    return judge(json.loads(done.stdout)["cells"])


@pytest.mark.parametrize("resource", PROVED)
def test_what_binds_is_proved_by_intervention(found: Mapping[str, Any], resource: str) -> None:
    own = found[resource]
    assert own["named"] in NAMED[resource]
    assert own["more_moves"] >= MOVED, "more of it"
    # a neighbour on the machine takes of a processor, and not of what each request takes of it
    other = own["other_moves_per_cpu"] if resource == "worker_cpu" else own["other_moves"]
    assert other < MOVED, "more of another"


def test_a_queue_before_the_pool_is_not_the_pools(found: Mapping[str, Any]) -> None:
    """Its users wait for connections, which are out while pages are made of their rows."""
    assert found["worker_cpu"]["queue"] == "pool"
