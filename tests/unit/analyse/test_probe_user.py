"""What a probe user met: judged by its own promise, counted for the cell's SLO, in no other figure."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from harness.analyse import analyse, outcome_of, summary_rows
from harness.analyse.capacity import result_of
from harness.analyse.launches import measure_launches
from harness.domain.evidence import Run
from harness.domain.experiment import Limits, ProbeUser, Slo
from harness.domain.tables import PROBE_USER_COLUMNS
from harness.domain.verdict import CellSummary


def probed(build: SimpleNamespace, each: list[list[float]], limits: Limits | None = None, **changes: Any) -> Run:
    """Launches of one cell whose load takes 10 ms, and whose probe user met these latencies, infinite ones failures."""
    trials = []
    for block, met in enumerate(each, start=1):
        due_ns = [build.START_NS + round(9e9 * place / max(1, len(met))) for place in range(len(met))]
        before_ns = build.START_NS - 1_000_000_000  # in the warm-up, which nobody judges
        rows = build.table(
            PROBE_USER_COLUMNS,
            intended_ns=[before_ns, *due_ns],
            finished_ns=[
                before_ns + 10**12,
                *(due + (1 if math.isinf(own) else round(own * 1e6)) for due, own in zip(due_ns, met, strict=True)),
            ],
            outcome=["ok", *("error" if math.isinf(own) else "ok" for own in met)],
        )
        trials.append(
            build.trial(build.cell(), block, build.rows([10.0] * 200, every_ms=50.0), sitting=block, probe_user=rows)
        )
    made: Run = build.run(trials, **changes)
    asked = ProbeUser(request="GET /ready", slo=limits or Limits())
    return replace(made, info=replace(made.info, experiment=replace(made.info.experiment, probe_user=asked)))


def only(run: Run) -> CellSummary:
    (summary,) = analyse(run).summary.cells
    return summary


def test_its_figures_are_its_own(build: SimpleNamespace) -> None:
    met = only(probed(build, [[*range(1, 20), 500.0]] * 3))
    alone = only(probed(build, [[]] * 3))
    assert met.probe_user is not None
    assert (met.probe_user.endpoint, met.probe_user.requests, met.probe_user.launches) == (
        "probe user GET /ready",
        60,
        3,
    )
    assert met.probe_user.p95_ms.value == pytest.approx(19.0)
    assert math.isnan(met.probe_user.p99_ms.value), "60 answers have none beyond it"
    assert met.probe_user_worst_ms == pytest.approx(500.0)
    assert (met.all, met.endpoints) == (alone.all, alone.endpoints)
    assert repr(met.findings) == repr(alone.findings)


def test_a_failed_check_is_infinitely_slow(build: SimpleNamespace) -> None:
    met = only(probed(build, [[1.0, math.inf]] * 3))
    assert met.probe_user is not None
    assert met.probe_user.error_rate == pytest.approx(0.5)
    assert met.probe_user_worst_ms == math.inf


@pytest.mark.parametrize(
    ("each", "limits", "kept"),
    [
        ([[5.0] * 100] * 3, Limits(p95_ms=10), "met"),
        ([[5.0] * 3] * 3, Limits(p95_ms=10), "unclear"),  # nine answers do not show that one in twenty is not slower
        ([[50.0] * 3] * 3, Limits(p95_ms=10), "not_met"),
        ([[5.0] * 90 + [50.0] * 10] * 3, Limits(p95_ms=10), "not_met"),
        ([[5.0] * 90 + [50.0] * 10] * 3, Limits(p50_ms=10), "met"),
        ([[5.0] * 90 + [math.inf] * 10] * 3, Limits(error_rate=0.01), "not_met"),
        ([[5.0] * 90 + [math.inf] * 10] * 3, Limits(p99_ms=1e6), "not_met"),
        ([[5.0] * 100], Limits(p95_ms=10), "unclear"),  # one launch
        ([[]] * 3, Limits(p95_ms=10), "unclear"),
        ([[5.0] * 100] * 3, Limits(), None),
    ],
)
def test_its_promise_counts_for_the_cell(
    build: SimpleNamespace, each: list[list[float]], limits: Limits, kept: str | None
) -> None:
    run = probed(build, each, limits, slo=Slo())
    summary = only(run)
    assert summary.probe_user is not None
    assert (summary.probe_user.slo, summary.slo) == (kept, kept)
    promised = replace(run.info.experiment, slo=Slo(p95_ms=1.0))
    beside = only(replace(run, info=replace(run.info, experiment=promised)))
    assert (beside.all.slo, beside.slo) == (("unclear",) * 2 if len(each) == 1 else ("not_met",) * 2)


def test_it_has_a_row_of_its_own_in_summary_csv(build: SimpleNamespace) -> None:
    run = probed(build, [[5.0] * 100] * 3, Limits(p95_ms=10), slo=Slo(p95_ms=1e6))
    rows = summary_rows(run, analyse(run).summary)
    assert rows["endpoint"].tolist() == ["*", "GET /heroes/{id}", "probe user GET /ready"]
    assert rows.iloc[2][["requests", "slo_met", "error_rate"]].tolist() == [300, True, 0.0]


@pytest.mark.parametrize(
    ("met", "limits", "broken"),
    [
        pytest.param([5.0] * 19 + [50.0], Limits(p95_ms=10), (), id="one in twenty may take longer"),
        pytest.param([5.0] * 18 + [50.0] * 2, Limits(p95_ms=10), ("p95_ms",), id="two may not"),
        pytest.param([5.0, 50.0], Limits(p95_ms=10), ("p95_ms",), id="nor one of two"),
        pytest.param([5.0, 50.0], Limits(p50_ms=10), (), id="half of them may, of a p50"),
        pytest.param([5.0] * 3 + [math.inf], Limits(p95_ms=10, error_rate=0.1), ("p95_ms", "error_rate"), id="failed"),
        pytest.param([5.0] * 3 + [math.inf], Limits(error_rate=0.25), (), id="as many as may fail"),
        pytest.param([], Limits(p95_ms=10, error_rate=0.0), (), id="nobody asked: nothing is known"),
        pytest.param([500.0], Limits(), (), id="nothing is promised"),
    ],
)
def test_a_search_for_a_capacity_counts_its_promise(
    build: SimpleNamespace, met: list[float], limits: Limits, broken: tuple[str, ...]
) -> None:
    """The load keeps its own SLO in every case."""
    run = probed(build, [met], limits)
    (launch,) = measure_launches(run).counted
    experiment = run.info.experiment
    result, names = result_of(launch, experiment.slo, experiment.probe_user)
    assert names == tuple(f"{name} of probe user GET /ready" for name in broken)
    assert result == ("fail" if broken else "pass")
    (evidence,) = run.trials
    assert outcome_of(evidence, experiment.slo, searching=experiment.probe_user).result == result
    assert outcome_of(evidence, experiment.slo).result is None
