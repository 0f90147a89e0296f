"""A setting that the service does not have is named, and nothing is concluded about it."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from harness.analyse import analyse
from harness.analyse.applied import not_applied
from harness.domain.evidence import AppliedPool, TrialEvidence
from harness.domain.experiment import Pool

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
        ([engine(pool_size=None, pool_class="NullPool")], [("pool.pool_class", "queue", ("NullPool",))]),
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
