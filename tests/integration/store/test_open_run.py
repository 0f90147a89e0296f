"""A stored run as notebooks and scripts see it: read from its folder, the same figures that the report shows."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

import harness
from harness.analyse import analyse
from harness.domain.evidence import Run
from harness.errors import UsageError
from harness.notebook import METRIC_NAMES, OpenRun
from harness.store import RUN_SCHEMA_VERSION, RunStore


@pytest.fixture(scope="module")
def made(build: ModuleType) -> Run:
    """Two cells, two launches each; the second one's fail now and then."""
    return build.blocked_run({1: [[10.0] * 100, [12.0] * 100], 2: [[30.0] * 98 + [math.inf] * 2] * 2})


@pytest.fixture(scope="module")
def results(made: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which that run is kept."""
    folder = tmp_path_factory.mktemp("results")
    store = RunStore.create(folder, "made")
    store.write_info(replace(made.info, schema_version=RUN_SCHEMA_VERSION, run_id=store.run_id))
    for evidence in made.trials:
        store.save_trial(evidence, {})
    return folder


@pytest.fixture(scope="module")
def run(results: Path) -> OpenRun:
    return harness.open_run(results=results)


def test_the_latest_run_is_opened_or_the_one_that_is_named(run: OpenRun, results: Path) -> None:
    (folder,) = results.glob("*made*")
    assert run.path == folder
    assert harness.open_run(folder).info == run.info
    assert harness.open_run(str(folder)).info.run_id == folder.name
    assert repr(run) == f"<run {folder.name}: 2 cells, 4 trials>"


def test_no_run_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no run"):
        harness.open_run(results=tmp_path)
    with pytest.raises(UsageError, match=r"run\.json"):
        harness.open_run(tmp_path / "nowhere")


def test_figures_are_those_of_the_report(run: OpenRun, made: Run) -> None:
    report = analyse(made)
    assert [own.cell.id for own in run.cells] == ["c1", "c2"]
    assert run.cells[0].all.p95_ms == report.summary.cells[0].all.p95_ms
    assert run.report.summary.verdict == report.summary.verdict
    everything = run.summary[run.summary["endpoint"] == "*"]
    assert everything["p95_ms"].tolist() == pytest.approx([math.sqrt(120.0), 30.0])
    assert run.cells is run.cells, "computed once"


def test_requests_are_of_one_cell_or_of_all(run: OpenRun) -> None:
    assert len(run.requests()) == 400
    own = run.requests(cell="c2")
    assert set(own["cell"]) == {"c2"}
    assert sorted(set(own["trial"])) == ["b1-c2", "b2-c2"]
    assert int(np.isinf(own["latency_ms"]).sum()) == 4, "failures are infinitely slow"
    assert own["latency_ms"].min() == pytest.approx(30.0)
    assert list(own.index) == list(range(200))


def test_requests_can_be_of_another_phase(run: OpenRun) -> None:
    assert len(run.requests(phase=None)) == 400
    assert run.requests(phase="warmup").empty


def test_an_unknown_cell_names_those_there_are(run: OpenRun) -> None:
    with pytest.raises(UsageError) as raised:
        run.requests(cell="c9")
    assert raised.value.cause.endswith("has no trial of cell 'c9'.")
    assert raised.value.next_step == "It has trials of c1, c2."


def test_a_metric_launch_by_launch(run: OpenRun) -> None:
    table = run.metric("p95_ms")
    assert list(table.columns) == ["cell", "block", "p95_ms"]
    assert table.pivot(index="block", columns="cell", values="p95_ms").to_numpy() == pytest.approx(
        np.array([[10.0, 30.0], [12.0, 30.0]])
    )
    assert sorted(run.metric("error_rate")["error_rate"]) == pytest.approx([0.0, 0.0, 0.02, 0.02])
    by_endpoint = run.metric("p50_ms", endpoint="GET /heroes/{id}")
    assert sorted(by_endpoint["p50_ms"]) == pytest.approx([10.0, 12.0, 30.0, 30.0])
    assert run.metric("p50_ms", endpoint="GET /nowhere")["p50_ms"].isna().all()


def test_every_metric_can_be_asked_for(run: OpenRun) -> None:
    for name in METRIC_NAMES:
        assert len(run.metric(name)) == 4
    with pytest.raises(UsageError, match="There is no metric 'p95'") as raised:
        run.metric("p95")
    assert raised.value.next_step == "Did you mean 'p95_ms'?"


def test_trials_have_their_tables(run: OpenRun) -> None:
    (first, *_) = run.trials
    assert len(run.trials) == 4
    for name in ("requests", "activity", "probe", "process", "server"):
        assert isinstance(getattr(first, name), pd.DataFrame), name


def test_certificates_follow_their_thresholds_without_a_new_run(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are made from what is stored, whenever a report is: what counts as failing too often may be judged anew."""

    def failing() -> set[str]:
        certificates = harness.open_run(results=results).report.summary.certificates
        return {trial for trial, own in certificates.items() if any(r.code == "errors" for r in own.reasons)}

    assert {trial.rpartition("-")[2] for trial in failing()} == {"c2"}
    monkeypatch.setattr("harness.analyse.findings.FAILING_SHARE", 0.05)
    assert failing() == set()
