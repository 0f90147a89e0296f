"""A stored search for a capacity: shown and planned with again, without a rerun, by command and from a notebook.

The service that was searched answers within 10 ms up to 100/s, and in 200 ms beyond that.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import harness
from harness.analyse import outcome_of
from harness.cli import main
from harness.domain.evidence import TrialEvidence
from harness.domain.strategy import Outcome
from harness.domain.tables import ACTIVITY_COLUMNS
from harness.errors import UsageError
from harness.plan import expand, parse_experiment
from harness.schedule import CapacitySearch
from harness.store import RUN_SCHEMA_VERSION, RunStore

EXPERIMENT = """
schema_version = 1
name = "searched"
[pool]
pool_size = 4
max_overflow = 1
[load]
rate_rps = 50
warmup_s = 0
measure_s = 2
arrivals = "uniform"
[slo]
p95_ms = 50
[capacity]
precision = "50%"
confirmations = 1
"""


Searched = Callable[..., Path]


@pytest.fixture(scope="module")
def searched(build: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """`searched(("p95_ms = 50", "p95_ms = 5"))`: the folder in which such a search is kept, as far as it led."""

    def search(*changes: tuple[str, str]) -> Path:
        text = EXPERIMENT
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        experiment = parse_experiment(text, source="searched.toml")
        cells = expand(experiment)
        search, done, trials = CapacitySearch(experiment, cells), list[Outcome](), list[TrialEvidence]()
        while (sitting := search.next_step(done)) is not None:
            (launch,) = sitting.launches
            rate_rps = launch.cell.load.rate_rps or 0.0
            count = round(rate_rps * sitting.segments[-1].duration_s)
            rows = build.rows([10.0 if rate_rps <= 100 else 200.0] * count, every_ms=1000 / rate_rps)
            activity = build.table(
                ACTIVITY_COLUMNS,
                t_ns=[build.START_NS + tenth * build.SECOND // 10 for tenth in range(20) for _ in "ai"],
                state=["active", "idle"] * 20,
                connections=[1, 3] * 20,
            )
            made = build.trial(launch.cell, launch.block, rows, segments=sitting.segments, activity=activity)
            trials.append(made)
            done.append(outcome_of(made, experiment.slo, searching=experiment.probe_user))
        folder = tmp_path_factory.mktemp("searched") / "results"
        store = RunStore.create(folder, "searched")
        info = build.run(trials, cells).info
        store.write_info(
            replace(
                info,
                schema_version=RUN_SCHEMA_VERSION,
                run_id=store.run_id,
                experiment=experiment,
                strategy="capacity",
            )
        )
        for own in trials:
            store.save_trial(own, {})
        return folder

    return search


@pytest.fixture(scope="module")
def results(searched: Searched) -> Path:
    """The folder of a search that led to a bracket of 100 and 141/s."""
    return searched()


@pytest.fixture
def run(results: Path) -> Path:
    (folder,) = results.iterdir()
    return folder


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)  # the test's own handlers stay


def said(arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(arguments.split())
    out = capsys.readouterr()
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, out.out, " ".join(out.err.split())


def test_a_plan_is_made_of_what_is_stored_and_the_notebook_makes_the_same(
    results: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """1000/s at 100/s a replica, 30 % free: 15 replicas; with a surge of 4 they may open 19 x 5 connections.

    The notebook is run as it stands, beside the results; its figures are the command's, and so is its page, byte for
    byte.
    """
    code, out, err = said(f"capacity {run} --report --peak 1000 --max-connections 200 --json", capsys)
    assert (code, err) == (0, "")
    told = json.loads(out)
    (cell,) = told["cells"]
    assert (cell["highest_pass_rps"], cell["lowest_fail_rps"], cell["stop"]) == (100, 141, "bracketed")
    assert {(own["rate_rps"], own["connections"]["active"], own["connections"]["idle"]) for own in cell["steps"]} == {
        (rate_rps, 1, 3) for rate_rps in (50, 100, 141, 200)
    }
    (fleet,) = told["plan"]["fleets"]
    assert (fleet["replicas"], fleet["replica_rps"], fleet["holds"]) == (15, 100, True)
    assert [own["connections"] for own in fleet["situations"]] == [78, 73, 98]
    page = (run / "plan.html").read_text()
    assert told["plan"]["answer"] in page
    assert page.count("<svg") == 2
    assert json.loads((run / "capacity.json").read_text())["cells"] == told["cells"]
    same_by_notebook(results, run, told["plan"], monkeypatch)


def same_by_notebook(results: Path, run: Path, told: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    written = (run / "plan.html").read_bytes()
    (run / "plan.html").unlink()
    monkeypatch.chdir(results.parent)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names: dict[str, Any] = {}
    for cell in json.loads((Path(__file__).parents[3] / "notebooks" / "capacity_plan.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert (run / "plan.html").read_bytes() == written
    plan = names["plan"]
    assert plan.answer == told["answer"]
    (fleet,) = told["fleets"]
    assert plan.fleets[["id", "worker_rps", "replicas", "needed", "most"]].to_dict("records") == [
        {key: fleet[key] for key in ("id", "worker_rps", "replicas", "needed", "most")}
    ]
    assert plan.situations["connections"].tolist() == [own["connections"] for own in fleet["situations"]]
    assert len(plan.assumptions) == 8
    assert names["connections"].loc[("c1", 100.0)].to_dict() == {"connections.active": 1, "connections.idle": 3}
    assert plan._repr_html_().startswith('<iframe srcdoc="&lt;!DOCTYPE html&gt;')


def test_what_is_asked_for_decides_and_the_exit_code_is_the_answer(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = said(f"capacity {run} --report --peak 300 --max-connections 37", capsys)
    assert code == 1
    assert "in a rolling deploy 38 of max_connections = 37, 1 too many" in " ".join(out.split())
    assert f"plan.html: {run / 'plan.html'}" in out
    options = "--headroom 50% --replicas 9 --workers 2 --jobs 4 --surge 1 --reserved 5 --max-client-conn 200"
    code, out, _ = said(f"capacity {run} --report --peak 300 {options} --pgbouncer 7 --json", capsys)
    (fleet,) = json.loads(out)["plan"]["fleets"]
    assert (code, fleet["replicas"], fleet["needed"], fleet["replica_rps"]) == (0, 9, 3, 200)
    assert fleet["budget"]["postgres"]["worst"] == 7 + 4 + 5
    assert fleet["budget"]["pgbouncer"]["clients"]["rolling"] == 10 * 2 * 5


def test_without_a_plan_the_search_is_shown_alone(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "plan.html").unlink(missing_ok=True)
    code, out, _ = said(f"capacity {run}", capsys)
    assert code == 0
    assert "carries 100/s within" in " ".join(out.split())
    assert not (run / "plan.html").exists()


def test_where_everything_tried_is_met_no_capacity_is_claimed(
    searched: Searched, capsys: pytest.CaptureFixture[str]
) -> None:
    (run,) = searched(("confirmations = 1", "confirmations = 1\nlimit_rps = 80")).iterdir()
    code, out, _ = said(f"capacity {run}", capsys)
    assert code == 0
    assert "its capacity is not known; raise capacity.limit_rps." in " ".join(out.split())


def test_where_nothing_meets_it_there_is_no_number_and_no_fleet(
    searched: Searched, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = (("rate_rps = 50", "rate_rps = 1"), ("measure_s = 2", "measure_s = 20"), ("p95_ms = 50", "p95_ms = 5"))
    (run,) = searched(*changes).iterdir()
    code, out, _ = said(f"capacity {run} --report --peak 100", capsys)
    assert code == 1
    shown = " ".join(out.split())
    assert "No fleet is planned, since no cell has a capacity to plan with" in shown
    assert "does not meet its SLO (p95 at most 5 ms) at any rate, down to 0.500/s." in shown
    assert "does not meet its SLO" in (run / "plan.html").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--peak 300", "A peak, its headroom and a fleet's options are for the plan. Ask for it: --report."),
        ("--max-connections 3", "Ask for it: --report."),
        ("--headroom 20%", "Ask for it: --report."),
        ("--report --headroom 100%", 'headroom must be a percentage from 0% up to less than 100%, not "100%".'),
        ("--report --replicas 0", "poolbench capacity: replicas must be at least 1, not 0."),
        ("--report --set load.rate_rps=5", "is shown as it was measured, so --set changes nothing."),
    ],
)
def test_wrong_use_ends_in_one_sentence(
    run: Path, options: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = said(f"capacity {run} {options}", capsys)
    assert (code, out) == (2, "")
    assert message in err


def test_another_kind_of_run_has_no_capacity(
    build: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = RunStore.create(tmp_path, "made")
    made = build.blocked_run({1: [[10.0] * 100]})
    store.write_info(replace(made.info, schema_version=RUN_SCHEMA_VERSION, run_id=store.run_id))
    with pytest.raises(UsageError, match="did not search for a capacity"):
        _ = harness.open_run(store.path).capacity
    code, _, err = said(f"capacity {store.path} --report", capsys)
    assert code == 2
    assert "did not search for a capacity. Search for one: poolbench capacity EXPERIMENT." in err
