"""Two runs that were measured before: compared only where machine, load and cells agree, called alike only if so."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from harness.analyse import as_measured, compare_runs, refuse_unlike
from harness.analyse.runs import sides_are_alike
from harness.domain.evidence import Context, Run, Version
from harness.domain.experiment import Load, Target
from harness.errors import UsageError

SHARE = Load(rate="40%")
OWN = Target(app="shop:app", dir="/srv/shop")
ONE, OTHER = Version(commit="1" * 40), Version(commit="2" * 40)
THRICE: dict[str, Any] = {"versions": (None,) * 3}
"""launched three times, from a folder without git"""


@pytest.fixture
def measured(build: ModuleType) -> Any:
    """Build a run of one cell: what its launches took, how it was loaded, and which code they started."""

    def make(
        latency_ms: float = 10.0,
        *,
        load: Load | None = None,
        rate_rps: float = 100.0,
        target: Target | None = None,
        versions: tuple[Version | None, ...] = (None,) * 5,
        number: int = 1,
        **info: Any,
    ) -> Run:
        cell = build.cell(number, load=load or Load(rate_rps=rate_rps), target=target or Target())
        ran = replace(cell, load=replace(cell.load, rate_rps=rate_rps))
        trials = [
            build.trial(
                ran,
                block,
                build.rows([latency_ms + block / 100] * 200, every_ms=50.0),
                context=Context(clock_uncertainty_ms=0.001, version=version),
            )
            for block, version in enumerate(versions, start=1)
        ]
        made = build.run(trials, cells=[cell])
        return replace(made, info=replace(made.info, environment={"machine": "a"}, **info))

    return make


def test_equal_runs_are_equivalent_and_a_slower_one_is_worse(measured: Any) -> None:
    (same,) = compare_runs(measured(), measured()).values()
    assert (same.verdict, same.paired, same.identical) == ("equivalent", False, True)
    (slower,) = compare_runs(measured(), measured(20.0)).values()
    assert slower.verdict == "regressed"
    assert slower.primary.effect == pytest.approx(1.0, rel=0.01)


def test_a_share_of_a_capacity_is_the_rate_that_it_led_to(measured: Any) -> None:
    base = measured(load=SHARE, rate_rps=100.0)
    assert [cell.rate_rps for cell in as_measured(base)] == [100.0]
    assert list(compare_runs(base, measured(load=SHARE, rate_rps=100.0))) == ["pool_size 5"]
    assert list(compare_runs(base, measured(rate_rps=100.0))) == ["pool_size 5"]
    with pytest.raises(UsageError, match=r"same conditions: load\.rate_rps \(100\.0 and 90\.0\) differ"):
        compare_runs(base, measured(load=SHARE, rate_rps=90.0))


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ({}, {}, True),
        ({}, {"poolbench_version": "9"}, False),
        ({}, {"target": replace(Target(), workers=2)}, False),
        ({"target": OWN, "versions": (ONE,) * 3}, {"target": OWN, "versions": (ONE,) * 3}, True),
        ({"target": OWN, "versions": (ONE,) * 3}, {"target": OWN, "versions": (OTHER,) * 3}, False),
        ({"target": OWN}, {"target": OWN}, False),
        ({"target": OWN, "versions": (ONE, ONE, OTHER)}, {"target": OWN, "versions": (ONE, ONE, OTHER)}, False),
    ],
    ids=["reference", "newer reference", "settings", "one commit", "two commits", "nobody knows", "edited meanwhile"],
)
def test_sides_are_alike_only_if_their_code_is(
    measured: Any, one: dict[str, Any], other: dict[str, Any], alike: bool
) -> None:
    (verdict,) = compare_runs(measured(**THRICE | one), measured(**THRICE | other)).values()
    assert verdict.identical is alike


@pytest.mark.parametrize(
    ("base", "head", "alike"),
    [
        ((Target(), (None,)), (Target(), (None,)), True),
        ((Target(), (None,)), (replace(Target(), workers=2), (None,)), False),
        ((OWN, (None, None)), (OWN, (None, None)), True),
        ((OWN, (None,)), (replace(OWN, dir="/srv/other"), (None,)), False),
        ((replace(OWN, ref="main"), (ONE,)), (OWN, (ONE,)), True),
        ((replace(OWN, ref="main"), (ONE,)), (OWN, (OTHER,)), False),
        ((replace(OWN, ref="main"), (ONE, ONE)), (OWN, (ONE, replace(ONE, changes="ab"))), False),
        ((OWN, (ONE, ONE)), (OWN, (ONE, OTHER)), False),
    ],
    ids=[
        *("reference", "settings", "no git", "other folder without git", "clean tree at the commit", "other commit"),
        *("edited meanwhile", "committed meanwhile"),
    ],
)
def test_sides_of_one_run_are_alike_only_if_what_started_is(
    build: ModuleType, base: tuple[Target, Any], head: tuple[Target, Any], alike: bool
) -> None:
    cells = [
        replace(
            build.cell(1, target=target),
            id=f"c{number}",
            arm=arm,
            named=("pool.pool_size", *(["target.ref"] if target.ref else [])),
            commit="1" * 40 if target.ref else "",
        )
        for number, (arm, (target, _)) in enumerate((("base", base), ("head", head)), start=1)
    ]
    trials = [
        build.trial(cell, block, build.rows([10.0] * 100), context=Context(clock_uncertainty_ms=0.001, version=version))
        for cell, (_, versions) in zip(cells, (base, head), strict=True)
        for block, version in enumerate(versions, start=1)
    ]
    assert sides_are_alike(build.run(trials, cells=cells)) is alike


def test_runs_of_different_machines_are_refused_with_the_difference(measured: Any) -> None:
    with pytest.raises(UsageError, match=r"was not measured on the same machine: machine \(a and b\) differ"):
        compare_runs(measured(), replace_environment(measured(), machine="b"))


def test_what_would_be_refused_is_refused_before_it_is_measured(measured: Any) -> None:
    base = replace_environment(measured(), postgres={"version": "18"})
    cells = as_measured(base)
    refuse_unlike(base, "shop", cells, {"machine": "a", "postgres": None})
    with pytest.raises(UsageError, match=r"was not measured on the same machine: machine \(a and b\) differ"):
        refuse_unlike(base, "shop", cells, {"machine": "b", "postgres": None})
    longer = replace(cells[0], load=replace(cells[0].load, measure_s=20.0))
    with pytest.raises(UsageError, match=r"load\.measure_s \(10\.0 and 20\.0\) differ"):
        refuse_unlike(base, "shop", [longer], {})
    with pytest.raises(UsageError, match=r"and shop share no cell: pool_size 5 and a, b\."):
        refuse_unlike(base, "shop", [replace(cells[0], label="a"), replace(cells[0], label="b")], {})


def replace_environment(run: Run, **environment: Any) -> Run:
    return replace(run, info=replace(run.info, environment={**run.info.environment, **environment}))
