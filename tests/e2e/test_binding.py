"""What is named as binding is shown to bind: more of it lets a fifth more be carried, and more of another does not.

One run for all; they hold for 20 to 100 ms, so that nothing hangs on how quick the machine is. What a processor carries
in a second does, and a neighbour's share of it: that it binds is for `python -m benchmarks binding` to show.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.binding import MOVED, experiment, judge

pytestmark = pytest.mark.postgres

PROVED = ("pool", "threads", "load", "locks", "dial", "limiter")


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
    assert own["named"] == resource
    assert own["more_moves"] >= MOVED, "more of it"
    assert own["other_moves"] < MOVED, "more of another"
