"""The main job, whole: one command measures, shows, and leaves nothing behind."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from measured import MEASURED, places

from harness.analyse import analyse
from harness.notebook import OpenRun
from harness.store import RunStore

pytestmark = pytest.mark.postgres
LATE = {"schedule", "generator_cpu", "stall", "sampler_gap"}
"""What a busy machine may do to a trial; a ledger that does not add up is never among it."""
ALL_PLACES = {"b1-c1", "b1-c2", "b2-c1", "b2-c2"}
Small = tuple[subprocess.CompletedProcess[str], Path]


def test_run_shows_a_ranked_table_and_the_report(small_run: Small, shared_poolbench) -> None:
    done, folder = small_run
    assert "pool_size 1" in done.stdout
    assert "pool_size 5" in done.stdout
    assert str(folder / "report.html") in done.stdout.replace("\n", "")
    assert "Traceback" not in done.stderr
    assert shared_poolbench.left_running() == []


def test_predict_says_what_other_sizes_would_have_come_to(small_run: Small, shared_poolbench) -> None:
    """Of the requests that were measured, the pools and holds that the probe saw; on a busy machine none may count."""
    certificates = analyse(RunStore.open(small_run[1]).read()).summary.certificates
    counts = any(certificate.valid for certificate in certificates.values())
    done = shared_poolbench("predict", str(small_run[1]), "--pool-size", "2,5", "--json")
    assert done.returncode == (0 if counts else 2), done.stdout + done.stderr
    if counts:
        (curve,) = json.loads(done.stdout)["curves"]
        two, five = curve["predicted"]
        assert (curve["title"], two["declined"], five["declined"]) == ("40/s", None, None)
        assert min(two["wait_ms_p95"], five["wait_ms_p95"]) >= 0  # of a few requests either may wait longer
        assert two["in_use"] == five["in_use"] == pytest.approx(40 * sum(two["hold_ms"].values()) / 1000)
        assert 0 < two["hold_ms"]["database"] < 50
        assert two["utilisation"] == pytest.approx(2.5 * five["utilisation"])


def test_every_trial_is_kept_with_its_evidence(small_run: Small) -> None:
    run = RunStore.open(small_run[1]).read()
    assert places(own.trial.id for own in run.trials) == ALL_PLACES
    certificates = analyse(run).summary.certificates
    for evidence in run.trials:
        certificate = certificates[evidence.trial.id]
        broken = {reason.code for reason in certificate.reasons if reason.kind == "instrument"}
        assert not broken - LATE, certificate
        measured = evidence.requests[evidence.requests["phase"] == "measure"]
        assert len(measured) > 10
        assert (measured["outcome"] == "ok").all()
        assert (measured["db_ms"] > 0).all()
        assert (measured["pool_ms"] >= 0).all()
        assert measured["pid"].nunique() == 1
        assert set(evidence.process["role"]) == {"target", "postgres", "generator", "harness"}
        assert evidence.activity["connections"].max() >= 1
        pool_size = evidence.trial.launch.cell.pool.pool_size
        assert evidence.activity.groupby("t_ns")["connections"].sum().max() <= pool_size
        assert (evidence.probe["connection_max"] == pool_size).all()
        assert evidence.probe["connection_checkouts"].iloc[-1] >= len(measured)
        # written as the target stopped, which is after the samplers had
        assert evidence.probe["t_ns"].max() > evidence.process["t_ns"].max()


def test_offered_load_is_what_was_planned(small_run: Small) -> None:
    run = RunStore.open(small_run[1]).read()
    for evidence in run.trials:
        for task in evidence.trial.ledger.tasks:
            assert task.offered == task.done + task.dropped + task.unfinished
        offered = sum(t.offered for t in evidence.trial.ledger.tasks)
        assert 20 <= offered <= 110  # 1.5 s at 40/s, Poisson


def test_summary_csv_has_the_promised_columns(small_run: Small) -> None:
    with (small_run[1] / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["endpoint"] for row in rows} >= {"*", "GET /heroes/{id}"}
    first = next(row for row in rows if row["endpoint"] == "*")
    assert list(first)[:2] == ["cell", "endpoint"]
    assert list(first)[-9:] == [
        "slo_met",
        "saturated",
        "from_empty",
        "turns",
        "arm",
        "empty_tasks",
        "not_applied",
        "valid",
        "findings",
    ]
    assert float(first["p50_ms"]) <= float(first["p95_ms"]) <= float(first["p99_ms"])
    assert float(first["p95_bound_low_ms"]) <= float(first["p95_ms"])
    assert int(first["turns"]) >= 2
    assert int(first["empty_tasks"]) == 0


def test_report_is_one_offline_file(small_run: Small) -> None:
    html = (small_run[1] / "report.html").read_text()
    addresses = set(re.findall(r"https?://[^\s\"'<>)]+", html))
    assert {a for a in addresses if not a.startswith("http://www.w3.org/")} == set()
    assert "<script" not in html
    assert html.count("<svg") >= 5


def test_report_can_be_made_again(small_run: Small, shared_poolbench) -> None:
    for name in ("report.html", "summary.csv"):
        (small_run[1] / name).unlink()
    done = shared_poolbench("report", "--json")
    assert done.returncode in MEASURED, done.stderr
    shown = json.loads(done.stdout)
    assert len(shown["cells"]) == 2
    assert {"state", "recommended", "recommendation", "smallest_visible", "pairs"} <= set(shown)
    measured = [cell["id"] for cell in shown["cells"] if cell["valid"]]
    if len(measured) == 2:
        (pair,) = shown["pairs"]
        assert [pair["first"], pair["second"]] == measured
        assert shown["state"] in {"recommended", "undecided"}
        assert (shown["recommended"] is None) == (shown["state"] == "undecided")
        assert ("Run with" in shown["verdict"]) == (shown["state"] == "recommended")
    assert (small_run[1] / "report.html").is_file()
    assert (small_run[1] / "summary.csv").is_file()


def test_no_password_is_kept(small_run: Small) -> None:
    text = "".join(
        p.read_text(errors="replace") for p in small_run[1].rglob("*") if p.suffix in {".json", ".log", ".html"}
    )
    assert not re.search(r"postgres(ql)?(\+\w+)?://[^\s\"]*:[^\s\"*@]+@", text)


def test_closed_model_blocked_design_sync_driver(poolbench, small: Callable[..., str]) -> None:
    text = small(
        ("rate_rps = 40", 'model = "closed"\nusers = 4'),
        ('kind = "interleaved"', 'kind = "blocked"'),
        ('"pool.pool_size" = [1, 5]', '"target.driver" = ["psycopg_sync", "psycopg_blocking"]'),
        ("launches = 2", "launches = 1"),
    )
    done = poolbench("run", poolbench.write("closed.toml", text), "--json", "--events", "events.ndjson")
    assert done.returncode in MEASURED, done.stderr
    shown = json.loads(done.stdout)
    assert {cell["label"] for cell in shown["cells"]} == {"psycopg_sync", "psycopg_blocking"}
    assert shown["model"] == "closed"
    assert shown["complete"]
    assert shown["state"] in {"one_launch", "all_invalid", "no_choice"}
    assert done.stderr == ""
    events = [json.loads(line) for line in (poolbench.cwd / "events.ndjson").read_text().splitlines()]
    told = [event["event"] for event in events if event["event"] not in {"load_tick", "note"}]
    sitting = ["sitting_started", "targets_up", "sitting_finished"]
    again = [event.get("again", False) for event in events if event["event"] == "sitting_started"]
    assert told == ["run_started", "server_starting", *sitting * len(again)]
    assert again.count(False) == 2, "and one more for each that a busy machine spoilt"
    assert {event["version"] for event in events} == {1}
    assert [event["at_ns"] for event in events] == sorted(event["at_ns"] for event in events)
    finished = {trial_id for event in events if event["event"] == "sitting_finished" for trial_id in event["trials"]}
    cells = [cell for event in events if event["event"] == "load_tick" for cell in event["cells"]]
    assert {cell["launch_id"] for cell in cells} <= finished
    assert any(cell["offered"] >= cell["answered"] > 0 for cell in cells)
    for trial in RunStore.open(Path(shown["run"])).read().trials:
        assert len(trial.requests) > 4
        assert (trial.requests["outcome"] == "ok").all()


def test_rate_as_a_share_of_capacity(poolbench, small: Callable[..., str]) -> None:
    text = small(("rate_rps = 40", 'rate = "20%"'), ("launches = 2", "launches = 1"))
    done = poolbench("run", poolbench.write("share.toml", text), "--json")
    assert done.returncode in MEASURED, done.stderr
    shown = json.loads(done.stdout)
    assert shown["rate_rps"] > 0
    assert shown["rate_source"].startswith("20% of the ")
    assert "the strongest of" in shown["rate_source"] or "the pilot sustained" in shown["rate_source"]


def test_interrupt_keeps_what_is_finished_and_of_two_that_resume_one_goes_on(
    poolbench, small: Callable[..., str]
) -> None:
    first = poolbench.start("run", poolbench.write("small.toml", small(("[1, 5]", "[5]"))))
    poolbench.wait_for(first, lambda: list(poolbench.cwd.glob("results/*/trials/b1-c1/checksums.json")))
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=60)
    assert first.returncode == 130, err
    assert "--resume" in err
    assert "Traceback" not in err
    assert poolbench.left_running() == []
    (folder,) = (poolbench.cwd / "results").iterdir()
    assert places(RunStore.open(folder).complete()) == {"b1-c1"}
    assert (folder / "report.html").is_file()
    kept = fingerprint(folder / "trials" / "b1-c1")

    second = poolbench.start("run", "--resume", str(folder), "--quiet")
    poolbench.wait_for(second, lambda: (folder / "lock").read_text() == f"{second.pid}\n")
    second.send_signal(signal.SIGSTOP)  # on a busy machine it might be through before the third has begun
    third = poolbench("run", "--resume", str(folder))
    second.send_signal(signal.SIGCONT)
    assert third.returncode == 2, third.stderr
    assert f"another poolbench (process {second.pid})" in third.stderr
    assert "Traceback" not in third.stderr
    _, err = second.communicate(timeout=120)
    assert second.returncode in MEASURED, err
    assert places(RunStore.open(folder).complete()) == {"b1-c1", "b2-c1"}
    assert fingerprint(folder / "trials" / "b1-c1") == kept

    complete = poolbench("run", "--resume", str(folder))
    assert complete.returncode == 2
    assert "is complete" in complete.stderr
    assert "--resume" not in complete.stderr
    assert complete.stdout == ""


def test_the_notebook_explores_a_run(small_run: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = json.loads((Path(__file__).parents[2] / "notebooks" / "explore.ipynb").read_text())
    monkeypatch.chdir(small_run[1].parents[1])
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    run, requests = names["run"], names["requests"]
    assert isinstance(run, OpenRun)
    assert isinstance(requests, pd.DataFrame)
    assert run.path.name == small_run[1].name
    assert places(requests["trial"]) == ALL_PLACES
    assert (requests["latency_ms"] > 0).all()


def test_a_parquet_reader_alone_can_read_a_run(small_run: Small) -> None:
    frame = pd.read_parquet(small_run[1] / "trials" / "b1-c1" / "requests.parquet")
    assert {"intended_ns", "started_ns", "finished_ns", "outcome"} <= set(frame.columns)


@pytest.fixture
def copied(small_run: Small, poolbench) -> Path:
    """A finished run in a folder of the test's own."""
    return Path(shutil.copytree(small_run[1], poolbench.cwd / "results" / small_run[1].name))


def fingerprint(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_run_in_a_folder_that_cannot_be_written_is_shown(copied: Path, poolbench) -> None:
    before = fingerprint(copied)
    limited = f"ulimit -f 0; exec {sys.executable} -m harness report {copied}"
    done = subprocess.run(
        ["bash", "-c", limited],
        cwd=poolbench.cwd,
        env=dict(poolbench.environment()),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in MEASURED, done.stderr
    assert "pool_size 5" in done.stdout
    assert "report.html:" not in done.stdout
    for name in ("report.html", "summary.csv"):
        assert f"warning: {copied / name} was not written: File too large." in done.stderr
    assert fingerprint(copied) == before


def test_a_run_of_a_newer_version_is_shown_with_a_warning(copied: Path, poolbench) -> None:
    store = RunStore.open(copied)
    content = (copied / "run.json").read_bytes().replace(b'"poolbench_version": "', b'"poolbench_version": "99.')
    store.write("run.json", content)
    store.write("run.json.sha256", hashlib.sha256(content).hexdigest().encode())
    done = poolbench("report", str(copied))
    assert done.returncode in MEASURED, done.stderr
    assert "warning: the run was made by poolbench 99." in done.stderr


def test_a_table_on_a_terminal_that_knows_no_dash(copied: Path, poolbench) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "COLUMNS": "40"}
    done = subprocess.run(
        [sys.executable, "-m", "harness", "report", str(copied)],
        cwd=poolbench.cwd,
        env=dict(poolbench.environment()) | plain,
        capture_output=True,
        check=False,
    )
    assert done.returncode in MEASURED, done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stdout.isascii()
