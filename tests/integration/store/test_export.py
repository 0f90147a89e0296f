"""A run's figures for other programs: all that is known, nothing that is not."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from io import BytesIO, StringIO
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from harness.analyse import analyse, launch_rows
from harness.cli import main
from harness.domain.evidence import Run
from harness.present import benchmark_entries, left_out_text
from harness.store import RUN_SCHEMA_VERSION, RunStore


@pytest.fixture(scope="module")
def made(build: ModuleType) -> Run:
    """Two cells; of the second one too much fails for a p95."""
    return build.blocked_run({1: [[10.0] * 100, [12.0] * 100], 2: [[30.0] * 90 + [math.inf] * 10] * 2})


@pytest.fixture(scope="module")
def stored(made: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = RunStore.create(tmp_path_factory.mktemp("results"), "made")
    store.write_info(replace(made.info, schema_version=RUN_SCHEMA_VERSION, run_id=store.run_id))
    for evidence in made.trials:
        store.save_trial(evidence, {})
    return store.path


def test_each_metric_of_each_launch_has_a_row(made: Run) -> None:
    rows = launch_rows(made)
    of = rows[(rows["metric"] == "p95_ms") & (rows["endpoint"] == "*")]
    assert of[["cell", "launch", "block", "value"]].to_numpy().tolist() == [
        ["c1", "b1-c1", 1, 10.0],
        ["c1", "b2-c1", 2, 12.0],
        ["c2", "b1-c2", 1, math.inf],
        ["c2", "b2-c2", 2, math.inf],
    ]
    assert set(of["unit"]) == {"ms"}
    assert set(of["label"]) == {"pool_size 5", "pool_size 10"}
    assert set(rows["endpoint"]) == {"*", "GET /heroes/{id}"}
    assert not rows["value"].isna().any()
    assert "cpu_ms_per_request" not in set(rows["metric"]), "nobody saw the processes"
    assert rows[rows["metric"] == "error_rate"]["value"].max() == pytest.approx(0.1)


def test_figures_for_another_program_are_numbers(made: Run) -> None:
    entries, left_out = benchmark_entries(analyse(made))
    known = {entry["name"]: entry for entry in entries}
    assert known["pool_size 5: p95"]["value"] == pytest.approx(math.sqrt(120.0))
    assert known["pool_size 5: p95"]["unit"] == "ms"
    assert known["pool_size 5: p95"]["extra"] == "2 launches"
    once, _ = benchmark_entries(analyse(replace(made, trials=made.trials[:1])))
    assert once[0]["extra"] == "1 launch"
    assert known["pool_size 5: p95 of GET /heroes/{id}"]["value"] == pytest.approx(math.sqrt(120.0))
    assert known["pool_size 10: failed"]["value"] == pytest.approx(10.0)
    assert all(math.isfinite(entry["value"]) for entry in entries)
    assert "pool_size 10: p95" in left_out
    assert "pool_size 10: p95" not in known
    assert not any("CPU a request" in name for name in [*known, *left_out]), "not known is not infinite"
    assert left_out_text(["a", "b"]) == "infinite figures are left out, since too much failed: a, b"


def exported(stored: Path, *words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("signal.signal", lambda *_: None)  # the test's own handlers stay
    with pytest.raises(SystemExit) as ended:
        main(["export", str(stored), *words])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_on_the_command_line(
    made: Run, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    by_trial = replace(made, trials=tuple(sorted(made.trials, key=lambda own: own.trial.id)))  # as a folder lists them
    wanted = launch_rows(by_trial).assign(run=stored.name)
    assert exported(stored, "--format", "csv", monkeypatch=monkeypatch) == 0
    printed = pd.read_csv(StringIO(capsys.readouterr().out), keep_default_na=False)
    assert printed["value"].tolist() == pytest.approx(wanted["value"].tolist())
    assert printed.drop(columns="value").astype(str).equals(wanted.drop(columns="value").astype(str))

    assert exported(stored, "--format", "parquet", monkeypatch=monkeypatch) == 2
    assert "Parquet is no text to be printed. Name a file: --output FILE." in capsys.readouterr().err
    file = tmp_path / "x.parquet"
    assert exported(stored, "--format", "parquet", "--output", str(file), monkeypatch=monkeypatch) == 0
    assert pd.read_parquet(BytesIO(file.read_bytes()))["value"].tolist() == wanted["value"].tolist()

    assert exported(stored, "--format", "github-action-benchmark", monkeypatch=monkeypatch) == 0
    said = capsys.readouterr()
    assert {entry["name"] for entry in json.loads(said.out)} >= {"pool_size 5: p95", "pool_size 10: failed"}
    assert "warning: infinite figures are left out, since too much failed: pool_size 10: p95" in said.err

    assert exported(stored, "--format", "csv", "--output", "/no/such/folder/x", monkeypatch=monkeypatch) == 2
    assert "/no/such/folder/x cannot be written: No such file or directory." in capsys.readouterr().err
