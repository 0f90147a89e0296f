"""Whether what is named as binding binds: more of it lets a fifth more be carried, and more of another does not.

Of each resource three services: one that it binds, the same with more of it, and with more of another one. They hold
for tens of milliseconds what is short, or compute without a pause, so that how quick the machine is decides nothing.
Users wait for each answer: what they wait for limits what is carried.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SCENARIO = Path(__file__).with_name("asking_locustfile.py")
MOVED = 0.2
"""what is carried, as a share of what was: more than this is a gain that counts"""
USERS = 8
ROLES = ("base", "more", "other")

Keys = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervention:
    """A service that something binds, as what it differs in from the others, and two changes to it."""

    base: Keys
    more: Keys
    """more of what binds, or less that wants it"""
    other: Keys
    """more of another resource"""

    @property
    def services(self) -> tuple[Keys, Keys, Keys]:
        """The three, whole."""
        return self.base, self.base | self.more, self.base | self.other


def asks(path: str, **arguments: str) -> Keys:
    """Which endpoint is asked again and again; KEY in it is each of so many `keys` in turn."""
    return {"load.arguments": {"path": path, **arguments}}


def _queries(query: str, *, held: int = 0) -> Keys:
    """A service that asks Postgres one thing, and has so many connections beside its pool."""
    own = {"target.app": "benchmarks.querying_app:make_app", "target.dir": str(ROOT)}
    return {**own, "target.env": {"QUERY": query, "HELD": str(held)}, **asks("/query")}


def _held(users: int, connections: int, threads: int) -> Keys:
    """Users of a service that needs a thread and a connection for 100 ms; its "more" is the same for all three."""
    sizes = {"load.users": users, "pool.pool_size": connections, "target.threadpool_tokens": threads}
    return {"target.driver": "psycopg_sync", **asks("/lab/sleep?ms=100"), **sizes}


INTERVENTIONS: Mapping[str, Intervention] = {
    "pool": Intervention(base=_held(4, 2, 4), more={"pool.pool_size": 4}, other={"target.threadpool_tokens": 8}),
    "threads": Intervention(base=_held(4, 4, 2), more={"target.threadpool_tokens": 4}, other={"pool.pool_size": 8}),
    "load": Intervention(base=_held(2, 4, 4), more={"load.users": 4}, other={"pool.pool_size": 8}),
    "locks": Intervention(
        base=asks("/lab/lock?ms=50&key=KEY") | {"pool.pool_size": 6},
        more=asks("/lab/lock?ms=50&key=KEY", keys="4"),
        other={"pool.pool_size": 12},
    ),
    # the queue stands before the pool, whose connections are out while pages are made of their rows
    "worker_cpu": Intervention(
        base=asks("/heroes?limit=100") | {"pool.pool_size": 4, "load.users": 12},
        more=asks("/heroes?limit=10"),
        other={"pool.pool_size": 10},
    ),
    "event_loop": Intervention(
        base=asks("/lab/sleep?ms=40") | {"target.driver": "psycopg_blocking"},
        more={"target.driver": "psycopg"},
        other={"pool.pool_size": 16},
    ),
    "limiter": Intervention(
        base=asks("/limited")
        | {
            "target.app": "benchmarks.limited_app:make_app",
            "target.dir": str(ROOT),
            "target.env": {"LIMIT_RPS": "20"},
        },
        more={"target.env": {"LIMIT_RPS": "60"}},
        other={"pool.pool_size": 16},
    ),
    "gc": Intervention(
        base=asks("/collecting")
        | {
            "target.app": "benchmarks.collecting_app:make_app",
            "target.dir": str(ROOT),
            "target.gc_freeze": False,
        },
        more={"target.gc_freeze": True},
        other={"pool.pool_size": 16},
    ),
    "postgres_cpu": Intervention(
        base=_queries("SELECT sum(i) FROM generate_series(1, 200000) i"),
        more=_queries("SELECT sum(i) FROM generate_series(1, 50000) i"),
        other={"pool.pool_size": 16},
    ),
    "max_connections": Intervention(
        base=_queries("SELECT pg_sleep(0.05)", held=13),
        more=_queries("SELECT pg_sleep(0.05)", held=2),
        other={"pool.pool_size": 15},
    ),
    "dial": Intervention(
        base=asks("/heroes/KEY", keys="100")
        | {"pool.pool_class": "null", "pool.pool_prewarm": False, "network.rtt_ms": 40},
        more={"pool.pool_class": "queue", "pool.pool_prewarm": True},
        other={"target.workers": 2},
    ),
}
ALONE = ("max_connections",)
"""What the services of one moment share, so that each has it by itself."""
EXPERIMENT = """
schema_version = 1
name = "binding"
[load]
scenario = "{scenario}"
model = "closed"
users = {users}
warmup_s = 0.5
measure_s = {measure_s}
[design]
{design}
launches = 1
guard_s = 0.2
[database]
rows = 1000
settings.max_connections = {slots}
[pool]
pool_size = 8
max_overflow = 0
pool_prewarm = true
[target]
lab = true
"""


def measure() -> Mapping[str, Any]:
    """Of each resource what was named, and by how much more of it and of another moved what it is judged by."""
    together = [name for name in INTERVENTIONS if name not in ALONE]
    return judge([*_run(experiment(together, measure_s=5)), *_run(experiment(ALONE, measure_s=5, alone=True))])


def _run(text: str) -> list[Mapping[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="poolbench-binding-") as folder:
        file = Path(folder) / "binding.toml"
        file.write_text(text)
        command = [sys.executable, "-m", "harness", "run", str(file), "--results", folder, "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        return list(json.loads(done.stdout)["cells"])


def experiment(names: Iterable[str], *, measure_s: float, alone: bool = False) -> str:
    """An experiment of these resources' services, each once, as a TOML file; if `alone` one after the other."""
    services = {
        arm: keys for name in names for arm, keys in zip(_arms(name), INTERVENTIONS[name].services, strict=True)
    }
    tables = [
        f"[arms.{arm}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in keys.items())
        for arm, keys in services.items()
    ]
    header = EXPERIMENT.format(
        scenario=SCENARIO,
        users=USERS,
        measure_s=measure_s,
        design='kind = "blocked"' if alone else 'kind = "interleaved"\nsegment_s = 2',
        slots=20 if alone else 300,
    )
    return header + "\n".join(tables)


def _arms(name: str) -> tuple[str, ...]:
    """What the three services of a resource are called: as the first of all that are alike."""
    called = [
        (f"{resource}-{role}", keys)
        for resource, own in INTERVENTIONS.items()
        for role, keys in zip(ROLES, own.services, strict=True)
    ]
    return tuple(next(arm for arm, keys in called if keys == own) for own in INTERVENTIONS[name].services)


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)


def judge(cells: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """What a report in JSON says of the services of `experiment`."""
    by_arm = {cell["arm"]: cell for cell in cells}
    found = {}
    for name in INTERVENTIONS:
        arms = _arms(name)
        if not by_arm.keys() >= set(arms):
            continue
        base, more, other = (by_arm[arm] for arm in arms)
        found[name] = {
            "named": base["binding"]["resource"],
            "queue": base["binding"]["queue"],
            "share": base["binding"]["share"],
            "more_moves": more["carried_rps"] / base["carried_rps"] - 1,
            "other_moves": other["carried_rps"] / base["carried_rps"] - 1,
        }
    return found
