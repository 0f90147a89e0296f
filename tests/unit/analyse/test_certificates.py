"""Each reason is forced alone, from evidence that is otherwise clean."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.analyse import analyse, certify
from harness.domain.evidence import PROBE_COLUMNS, Certificate, SamplerGap
from harness.domain.experiment import Slo
from harness.domain.load import SETUP_SEGMENT

SECOND = 1_000_000_000


def certificate(build: SimpleNamespace, **changes: Any) -> Certificate:
    """A clean second of 100 arrivals, with what is given instead."""
    segments = changes.pop("segments", [build.segment(0)])
    clean: dict[str, Any] = {
        "rows": build.rows([10.0] * 100),
        "segments": segments,
        "ledger": build.ledger(segments),
        "ledger_problems": (),
        "gaps": (),
        "generator": pd.DataFrame({"t_ns": [build.start_ns + SECOND // 2], "cpu_share": [0.4]}),
        "probe": build.table(PROBE_COLUMNS),
        "slo": Slo(),
    }
    return certify(**(clean | changes))


def codes(found: Certificate, kind: str) -> list[str]:
    return [reason.code for reason in found.reasons if reason.kind == kind]


def test_clean_evidence_is_valid_without_a_reason(build: SimpleNamespace) -> None:
    assert certificate(build) == Certificate(valid=True)
    assert certificate(build, generator=None, probe=None) == Certificate(valid=True)


@pytest.mark.parametrize(("latency_ms", "lag_ms", "valid"), [(10, 4.9, True), (10, 5.1, False), (200, 9, True)])
def test_lag_beyond_5_ms_or_5_percent_of_the_median(
    build: SimpleNamespace, latency_ms: float, lag_ms: float, valid: bool
) -> None:
    rows = build.rows([latency_ms] * 100)
    rows.loc[rows.index[-2:], "started_ns"] += round(lag_ms * 1e6)
    found = certificate(build, rows=rows)
    assert found.valid is valid
    if not valid:
        (reason,) = found.reasons
        assert (reason.code, reason.value, reason.threshold) == ("lag", pytest.approx(lag_ms), 5.0)


def test_later_requests_of_an_arrival_and_the_closed_model_have_no_lag(build: SimpleNamespace) -> None:
    rows = build.rows([10.0] * 100)
    rows["started_ns"] += 50_000_000
    assert certificate(build, rows=rows.assign(sequence=np.uint16(1))).valid
    closed = [build.segment(0, model="closed", rate_rps=None, users=3)]
    assert certificate(build, rows=rows, segments=closed).valid


def test_a_busy_generator(build: SimpleNamespace) -> None:
    times = [build.start_ns + SECOND // 10 * i for i in range(10)]
    busy = pd.DataFrame({"t_ns": times, "cpu_share": [0.95, 0.96] + [0.3] * 8})
    once = pd.DataFrame({"t_ns": times, "cpu_share": [0.99] + [0.3] * 9})
    earlier = busy.assign(t_ns=busy["t_ns"] - 5 * SECOND)
    found = certificate(build, generator=busy)
    assert codes(found, "instrument") == ["generator_cpu"]
    assert not found.valid
    assert certificate(build, generator=once).valid
    assert certificate(build, generator=earlier).valid


def test_a_schedule_that_falls_short(build: SimpleNamespace) -> None:
    segments = [build.segment(0, rate_rps=10_000.0)]
    found = certificate(build, segments=segments, ledger=build.ledger(segments, share=0.9))
    assert codes(found, "instrument") == ["schedule"]
    assert found.reasons[0].value == pytest.approx(0.9)
    by_chance = [build.segment(0, rate_rps=100.0)]
    assert certificate(build, segments=by_chance, ledger=build.ledger(by_chance, share=0.7)).valid


def test_a_ledger_that_disagrees(build: SimpleNamespace) -> None:
    found = certificate(build, ledger_problems=("segment 3: 5 rows of 6", "segment 4: 1 row of 2"))
    (reason,) = found.reasons
    assert (reason.kind, reason.code, reason.value) == ("instrument", "ledger", 2)
    assert reason.message.endswith("segment 3: 5 rows of 6 (and 1 more)")


@pytest.mark.parametrize(("at_s", "valid"), [(-3.0, True), (-0.5, False), (0.5, False), (1.5, True)])
def test_a_silent_sampler_matters_while_measuring(build: SimpleNamespace, at_s: float, valid: bool) -> None:
    gap = SamplerGap(sampler="postgres", t_ns=build.start_ns + round(at_s * SECOND), length_s=1.0, reason="lost")
    found = certificate(build, gaps=(gap,))
    assert found.valid is valid
    assert codes(found, "instrument") == ([] if valid else ["sampler_gap"])


def test_readings_lost_at_an_unknown_time_count(build: SimpleNamespace) -> None:
    gap = SamplerGap(sampler="probe", t_ns=build.start_ns + 9 * SECOND, length_s=0.0, reason="no file")
    (reason,) = certificate(build, gaps=(gap,)).reasons
    assert (reason.code, reason.message) == ("sampler_gap", "the probe sampler gave nothing at times (no file)")


def test_most_segments_entered_undrained(build: SimpleNamespace) -> None:
    turns = [build.segment(index) for index in (0, 2, 4)]
    found = certificate(build, segments=turns, ledger=build.ledger(turns, undrained=(2, 4)))
    assert codes(found, "instrument") == ["undrained"]
    assert certificate(build, segments=turns, ledger=build.ledger(turns, undrained=(2,))).valid
    alone = [build.segment(index) for index in (0, 1)]
    assert certificate(build, segments=alone, ledger=build.ledger(alone, undrained=(0, 1))).valid


@pytest.mark.parametrize(
    ("outcome", "code"), [("dropped", "dropped"), ("timeout", "timeouts"), ("unfinished", "unfinished")]
)
def test_a_failure_is_a_finding_never_an_excuse(build: SimpleNamespace, outcome: str, code: str) -> None:
    rows = build.rows([10.0] * 200, outcome=["ok"] * 199 + [outcome])
    found = certificate(build, rows=rows)
    assert found.valid
    assert codes(found, "finding") == [code]
    assert found.reasons[0].value == pytest.approx(0.005)


def test_errors_beyond_the_slo(build: SimpleNamespace) -> None:
    rows = build.rows([10.0] * 97 + [np.inf] * 3)
    found = certificate(build, rows=rows)
    assert found.valid
    (reason,) = found.reasons
    assert (reason.code, reason.value, reason.threshold) == ("errors", pytest.approx(0.03), 0.01)
    assert certificate(build, rows=rows, slo=Slo(error_rate=0.05)).reasons == ()


def test_drops_of_a_late_generator_are_not_blamed_on_the_target(build: SimpleNamespace) -> None:
    rows = build.rows([10.0] * 200, outcome=["ok"] * 199 + ["dropped"])
    rows["started_ns"] += 20_000_000
    found = certificate(build, rows=rows)
    assert codes(found, "instrument") == ["lag"]
    assert codes(found, "finding") == []


@pytest.mark.parametrize(
    ("column", "fine", "bad", "code"),
    [
        ("gc_pause_max_ms", 20.0, 21.0, "gc_pause"),
        ("loop_lag_max_ms", 100.0, 101.0, "loop_lag"),
        ("connection_timeouts", 7, 9, "pool_timeouts"),
    ],
)
def test_what_the_probe_finds(build: SimpleNamespace, column: str, fine: float, bad: float, code: str) -> None:
    def probe(last: float) -> pd.DataFrame:
        times = [build.start_ns + SECOND // 4 * i for i in (1, 2, 3)]
        first = fine if column == "connection_timeouts" else 0
        return build.table(PROBE_COLUMNS, t_ns=times, pid=[1, 1, 1], **{column: [first, first, last]})

    assert certificate(build, probe=probe(fine)).reasons == ()
    found = certificate(build, probe=probe(bad))
    assert found.valid
    assert codes(found, "finding") == [code]
    before = probe(bad)
    before["t_ns"] -= 5 * SECOND
    assert certificate(build, probe=before).reasons == ()


def test_warm_up_and_setup_are_not_judged(build: SimpleNamespace) -> None:
    segments = [build.segment(0, phase="warmup"), build.segment(1)]
    bad = [build.rows([np.inf] * 50, segment=number) for number in (0, SETUP_SEGMENT)]
    rows = pd.concat([*bad, build.rows([1.0] * 100, segment=1)], ignore_index=True)
    assert certificate(build, rows=rows, segments=segments) == Certificate(valid=True)


def test_a_staircase_is_judged_by_its_rungs(build: SimpleNamespace) -> None:
    segments = [build.segment(0, phase="staircase")]
    assert codes(certificate(build, segments=segments, rows=build.rows([np.inf] * 100)), "finding") == ["errors"]


def test_a_ledger_that_disagrees_with_the_stored_rows_invalidates_the_launch(build: SimpleNamespace) -> None:
    """The certificate was clean when the trial was saved; the rows are compared again when they are read."""
    rows = build.rows([10.0] * 100)
    whole = build.counted(build.ledger([build.segment(0, duration_s=10.0)]), rows)
    cut = build.trial(build.cell(), 0, rows.iloc[:-1], own_ledger=whole)
    kept = build.trial(build.cell(), 1, rows, own_ledger=whole)
    summary = analyse(build.run([cut, kept])).summary
    (cell,) = summary.cells
    assert (cell.all.launches, cell.invalid_launches) == (1, 1)
    assert "ledger" in cell.findings
    (reason,) = summary.certificates["b0-c1"].reasons
    assert (reason.code, reason.value) == ("ledger", 2)  # its endpoint's requests and its task's arrivals
    assert not summary.certificates["b0-c1"].valid
    assert summary.certificates["b1-c1"].valid
