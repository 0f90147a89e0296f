"""A setting that the service does not have is named, and nothing is concluded about it."""

from __future__ import annotations

import math
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from harness.analyse import analyse
from harness.analyse.applied import not_applied, read_back
from harness.domain.evidence import TrialEvidence
from harness.domain.experiment import Pool, Target
from harness.domain.observed import AppliedPool, AppliedProcess, Death
from harness.domain.tables import ACTIVITY_COLUMNS, PROBE_COLUMNS

HAS: dict[str, Any] = {
    "pool_class": "AsyncAdaptedQueuePool",
    "pool_size": 5,
    "max_overflow": 0,
    "pool_timeout_s": 30.0,
    "pool_recycle_s": -1,
    "pool_pre_ping": False,
    "pool_use_lifo": False,
}


def engine(**changes: Any) -> AppliedPool:
    return AppliedPool(launch_id="b1-c1", pid=7, driver="asyncpg", **(HAS | changes))


def trial(build: ModuleType, number: int, pool: Pool, *engines: AppliedPool, block: int = 1) -> TrialEvidence:
    factors = (("pool.pool_size", pool.pool_size),)
    made = build.trial(build.cell(number, pool=pool, factors=factors), block, build.rows([10.0] * 50))
    return replace(made, trial=replace(made.trial, applied=engines))


@pytest.mark.parametrize(
    ("engines", "wrong"),
    [
        ([engine()], []),
        ([engine(pool_size=20)], [("pool.pool_size", 5, (20,))]),
        ([engine(pool_size=20), engine()], []),  # a reader and a writer: one of them is meant
        ([engine(pool_size=20), engine(pool_size=9)], [("pool.pool_size", 5, (20, 9))]),
        (
            [engine(pool_recycle_s=300, pool_pre_ping=True)],
            [("pool.pool_recycle_s", -1, (300,)), ("pool.pool_pre_ping", False, (True,))],
        ),
        (
            [engine(pool_size=None, pool_class="NullPool")],
            [("pool.pool_class", "queue", ("NullPool",)), ("pool.pool_size", 5, ("none (NullPool)",))],
        ),
        ([], []),  # not seen
    ],
)
def test_every_setting_is_compared(build: ModuleType, engines: list[AppliedPool], wrong: list[Any]) -> None:
    found = not_applied(trial(build, 1, Pool(pool_size=5, max_overflow=0), *engines).trial)
    assert [(own.key, own.asked, own.found) for own in found] == wrong


def test_a_driver_s_own_pool_is_not_sqlalchemy_s(build: ModuleType) -> None:
    pool = Pool(pool_size=9, max_overflow=0, pool_class="psycopg_pool")
    assert not_applied(trial(build, 1, pool, engine(pool_class="NullPool", pool_size=None)).trial) == ()


def test_a_factor_without_effect_is_never_ranked(build: ModuleType) -> None:
    """An app that hard-codes its pool, swept over sizes: the fastest of equal services is no finding."""
    trials = [
        trial(build, number, Pool(pool_size=size, max_overflow=0), engine(), block=block)
        for block in (1, 2, 3)
        for number, size in enumerate((1, 5, 20), start=1)
    ]
    summary = analyse(build.run(trials)).summary
    assert (summary.verdict.state, summary.verdict.recommendation) == ("not_applied", None)
    assert {own.cell.id: dict(own.not_applied) for own in summary.cells} == {
        "c1": {"pool.pool_size": (5,)},
        "c2": {},
        "c3": {"pool.pool_size": (5,)},
    }
    assert all(("setting_not_applied" in own.findings) == bool(own.not_applied) for own in summary.cells)


@pytest.mark.parametrize(
    ("app", "named", "wrong"),
    [
        ("shop:app", ("pool.pool_size",), {"pool.pool_size": ("none (NullPool)",)}),
        ("shop:app", ("pool.pool_size", "pool.pool_class"), {"pool.pool_size": ..., "pool.pool_class": ("NullPool",)}),
        ("shop:app", ("pool.pool_recycle_s",), {}),
        ("target_app.main:create_app", (), {"pool.pool_size": ..., "pool.pool_class": ("NullPool",)}),
    ],
)
def test_a_pool_that_keeps_no_connections_has_no_size(
    build: ModuleType, app: str, named: tuple[str, ...], wrong: dict[str, Any]
) -> None:
    """An own app with a null pool, swept over pool_size: its cells are equal."""
    none = engine(pool_class="NullPool", pool_size=None, max_overflow=None, pool_timeout_s=None, pool_use_lifo=None)
    summaries = [trial(build, number, Pool(pool_size=size), none, block=1) for number, size in ((1, 1), (2, 5))]
    for made in summaries:
        cell = replace(made.trial.launch.cell, target=Target(app=app), named=named)
        found = {
            own.key: own.found for own in not_applied(replace(made.trial, launch=replace(made.trial.launch, cell=cell)))
        }
        assert found == {key: ("none (NullPool)",) if own is ... else own for key, own in wrong.items()}


def process(pid: int, *, serving: bool = True, **changes: Any) -> AppliedProcess:
    has: dict[str, Any] = {"threadpool_tokens": 40, "gc_frozen": True, "expire_on_commit": (False,)}
    return AppliedProcess(launch_id="b1-c1", pid=pid, serving=serving, **(has | changes))


def test_what_was_not_seen_is_not_known(build: ModuleType) -> None:
    made = trial(build, 1, Pool()).trial
    assert set(read_back(made).values()) == {()}
    assert not_applied(made) == ()


def test_a_service_that_never_made_an_engine_has_no_setting_of_a_pool(build: ModuleType) -> None:
    made = trial(build, 1, Pool()).trial
    own = replace(made.launch.cell, target=Target(app="shop:app"), named=("pool.pool_size", "pool.pool_class"))
    made = replace(made, launch=replace(made.launch, cell=own))
    without = replace(made, processes=(process(7, has_engine=False), process(8, serving=False, has_engine=False)))
    assert [(wrong.key, wrong.found) for wrong in not_applied(without)] == [
        ("pool.pool_class", ("no engine of SQLAlchemy's",)),
        ("pool.pool_size", ("no engine of SQLAlchemy's",)),
    ]
    for has in (True, None):  # it has let go of it, or did not say
        assert not_applied(replace(made, processes=(process(7, has_engine=has),))) == ()


def test_what_a_pool_that_nobody_saw_takes_is_not_known_rather_than_nothing(build: ModuleType) -> None:
    made = trial(build, 1, Pool())
    rows = made.requests.assign(pool_ms=0.0, db_ms=0.0)
    shares = []
    for has_engine in (True, False):
        processes = (process(7, has_engine=has_engine),)
        seen = replace(made, requests=rows, trial=replace(made.trial, processes=processes))
        shares.append(analyse(build.run([seen])).summary.cells[0].all.pool_share)
    assert shares[0] == 0
    assert math.isnan(shares[1])


def test_an_address_that_fits_no_engine(build: ModuleType) -> None:
    others = ("1 (database a, asyncpg)",)
    made = replace(trial(build, 1, Pool()).trial, processes=(process(7, other_engines=others),))
    cell = replace(made.launch.cell, target=Target(app="shop:app", engine="3"), named=("target.engine",))
    wrong = not_applied(replace(made, launch=replace(made.launch, cell=cell)))
    assert [(own.key, own.asked, own.found) for own in wrong] == [("target.engine", "3", others)]


def test_a_worker_that_took_the_place_of_a_dead_one_is_not_one_more(build: ModuleType) -> None:
    two = replace(trial(build, 1, Pool()).trial, processes=(process(7), process(8), process(9, serving=False)))
    cell = replace(two.launch.cell, target=Target(workers=2))
    two = replace(two, launch=replace(two.launch, cell=cell))
    assert not_applied(two) == ()
    died = Death(role="worker", launch_id="b1-c1", pid=6, t_ns=0, code=-9)
    assert [own.key for own in not_applied(replace(two, deaths=(died,)))] == ["target.workers"]
    assert not_applied(replace(two, deaths=(died,), processes=(*two.processes, process(10)))) == ()


def open_connections(build: ModuleType, *connections: int) -> Any:
    """Ten readings a second of a launch's database."""
    t_ns = [build.START_NS + 100_000_000 * place for place in range(len(connections))]
    return build.table(ACTIVITY_COLUMNS, t_ns=t_ns, state=["idle"] * len(t_ns), connections=list(connections))


@pytest.mark.parametrize(
    ("engines", "maximum", "connections", "state"),
    [
        ([], 0, [9] * 10, "not_applied"),  # pools nobody saw, with more than the five there may be
        ([], 0, [5] * 10, "recommended"),
        (
            [engine()],
            5,
            [9] * 10,
            "recommended",
        ),  # one that is not the pool's: found, but the pool is what it should be
        ([engine(), engine(pool_size=20)], 25, [9] * 10, "recommended"),  # the other engine has room for them
    ],
)
def test_connections_beyond_the_ceiling(
    build: ModuleType, engines: list[AppliedPool], maximum: int, connections: list[int], state: str
) -> None:
    """Found wherever they are not explained; the comparison is refused only where nothing else shows the pools."""
    trials = []
    for number, own_ms in ((1, 10.0), (2, 20.0)):
        for block in (1, 2):
            made = trial(build, number, Pool(pool_size=5, max_overflow=0), *engines, block=block)
            probe = build.table(PROBE_COLUMNS, t_ns=[build.START_NS + 1], pid=[7], connection_max=[maximum])
            rows = build.rows([own_ms + block / 10] * 50)
            trials.append(replace(made, requests=rows, activity=open_connections(build, *connections), probe=probe))
    summary = analyse(build.run(trials)).summary
    assert summary.verdict.state == state
    explained = max(connections) <= max(5, maximum)
    assert {tuple(own.not_applied.items()) for own in summary.cells} == {() if explained else (("connections", (9,)),)}
    assert all(("setting_not_applied" in own.findings) == (not explained) for own in summary.cells)


def test_an_own_app_keeps_what_nobody_named(build: ModuleType) -> None:
    made = trial(build, 1, Pool(pool_size=5, max_overflow=0), engine(pool_size=20, max_overflow=3)).trial
    own = replace(made.launch.cell, target=Target(app="shop:app"), named=("pool.pool_size",))
    assert [wrong.key for wrong in not_applied(replace(made, launch=replace(made.launch, cell=own)))] == [
        "pool.pool_size"
    ]


@pytest.mark.parametrize(("app", "beyond"), [("shop:app", 7), ("target_app.main:create_app", 0)])
def test_connections_that_no_engine_of_an_own_app_holds(build: ModuleType, app: str, beyond: int) -> None:
    """As a pool of the driver's own has them; the reference app's pools are all known."""
    made = trial(build, 1, Pool(), engine())
    cell = replace(made.trial.launch.cell, target=Target(app=app))
    launch = replace(made.trial.launch, cell=cell)
    held = {"pid": [7], "connection_count_used": [1], "connection_count_idle": [1], "connection_max": [5]}
    probe = build.table(PROBE_COLUMNS, t_ns=[build.START_NS + 1], **held)
    activity = open_connections(build, *[9] * 10)
    silenced = replace(made.trial, launch=launch, processes=(process(7, echo_off=True),))
    run = build.run([replace(made, trial=silenced, probe=probe, activity=activity)])
    coverage = analyse(run).summary.coverage
    assert (coverage.unaccounted, coverage.echo_off) == (beyond, True)
