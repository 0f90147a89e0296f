"""Runs that become baselines: only whole and finished ones, each replaced only by a whole one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from types import ModuleType

import pytest

from harness.baselines import baselines_in, find_baseline, promote
from harness.cli import main
from harness.domain.evidence import TrialEvidence
from harness.domain.experiment import Load
from harness.errors import UsageError
from harness.schedule import FixedDesign
from harness.store import RUN_SCHEMA_VERSION, TABLES, RunStore


@pytest.fixture
def stored(build: ModuleType, tmp_path: Path) -> RunStore:
    """A finished run of one cell with two launches."""
    cell = build.cell(load=Load(rate_rps=100.0, warmup_s=0.0, measure_s=2.0))
    made = build.run([], cells=[cell], launches=2)
    store = RunStore.create(tmp_path / "results", "made")
    info = replace(made.info, schema_version=RUN_SCHEMA_VERSION, run_id=store.run_id)
    store.write_info(replace(info, environment={"machine": {"cpu": "a fast one"}}))
    for sitting in FixedDesign(made.info.experiment, made.info.cells).foreseen(()):
        (segment,) = sitting.segments
        rows = build.rows([10.0] * 200, segment=segment.index)
        store.save_trial(build.trial(cell, sitting.index, rows, segments=[segment], sitting=sitting.index), {})
    (store.path / "sittings" / "1").mkdir()
    (store.path / "trials" / ".b1-c1.aside.superseded").mkdir()
    return store


def test_a_finished_run_becomes_a_baseline(stored: RunStore, tmp_path: Path) -> None:
    folder = tmp_path / "baselines"
    kept = promote(stored, "main", folder)
    assert kept.path == folder / "main"
    read, was = kept.read(), stored.read()
    assert read.info == was.info
    assert [own.trial for own in read.trials] == [own.trial for own in was.trials]
    assert read.trials[0].requests.equals(was.trials[0].requests)
    assert sorted(path.name for path in kept.path.iterdir()) == ["run.json", "run.json.sha256", "trials"]
    assert sorted(path.name for path in (kept.path / "trials").iterdir()) == ["b1-c1", "b2-c1"]
    assert find_baseline("main", folder) == kept
    assert find_baseline(str(stored.path), folder) == stored
    assert [path.name for path in folder.iterdir()] == ["main"]


def test_a_baseline_is_replaced_by_a_whole_one_only(
    stored: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "baselines"
    promote(stored, "main", folder)
    (folder / "main" / "former").touch()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("shutil.copytree", full)
        with pytest.raises(UsageError, match=r"baselines/main cannot be written: No space left on device\."):
            promote(stored, "main", folder)
    assert (folder / "main" / "former").exists()
    assert [path.name for path in folder.iterdir()] == ["main"]
    promote(stored, "main", folder)
    assert not (folder / "main" / "former").exists()


def test_a_copy_that_is_not_what_was_copied_is_no_baseline(
    stored: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def badly(source: Path, target: Path) -> None:
        copytree(source, target)
        (target / "trial.json").write_text("{}")

    monkeypatch.setattr("shutil.copytree", badly)
    with pytest.raises(UsageError, match=r"trial\.json is not what poolbench wrote"):
        promote(stored, "main", tmp_path / "baselines")
    assert list((tmp_path / "baselines").iterdir()) == []


def test_a_kill_between_two_renames_loses_nothing(stored: RunStore, tmp_path: Path) -> None:
    folder = tmp_path / "baselines"
    promote(stored, "main", folder).path.rename(folder / ".main.former")
    assert find_baseline("main", folder).read_info().run_id == stored.run_id
    (folder / "main").rename(folder / ".main.former")
    promote(stored, "other", folder)
    assert [own.name for own in baselines_in(folder)] == ["main", "other"]


def test_an_unfinished_run_is_no_baseline(stored: RunStore, tmp_path: Path) -> None:
    stored.set_aside(["b2-c1"])
    with pytest.raises(UsageError, match=r"is not finished, and a baseline has to be\..*poolbench run --resume"):
        promote(stored, "main", tmp_path / "baselines")
    stored.set_aside(["b1-c1"])
    with pytest.raises(UsageError, match=r"Nothing was measured in the run"):
        promote(stored, "main", tmp_path / "baselines")
    assert not (tmp_path / "baselines").exists()


@pytest.mark.parametrize("damaged", ["run.json", "trials/b2-c1/requests.parquet", "trials/b1-c1/trial.json"])
def test_a_damaged_run_is_no_baseline(stored: RunStore, tmp_path: Path, damaged: str) -> None:
    with (stored.path / damaged).open("ab") as file:
        file.write(b" ")
    with pytest.raises(UsageError, match=r"is damaged|is not what poolbench wrote"):
        promote(stored, "main", tmp_path / "baselines")
    assert not (tmp_path / "baselines").exists()


def test_what_cannot_be_a_name_or_is_none(stored: RunStore, tmp_path: Path) -> None:
    folder = tmp_path / "baselines"
    with pytest.raises(UsageError, match=r"baseline: name '\.\./x' cannot name a folder"):
        promote(stored, "../x", folder)
    with pytest.raises(
        UsageError, match=r"no baseline main in .*Make one: poolbench baseline promote results/<run-id>"
    ):
        find_baseline("main", folder)
    promote(stored, "main", folder)
    with pytest.raises(UsageError, match=r"There is no baseline mian in .*Did you mean main\?"):
        find_baseline("mian", folder)
    with pytest.raises(UsageError, match=r"There are main; a run is named by its folder, results/<run-id>\."):
        find_baseline("release-7", folder)


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    monkeypatch.setattr("signal.signal", lambda *_: None)  # the test's own handlers stay
    with pytest.raises(SystemExit) as ended:
        main([*words])
    assert isinstance(ended.value.code, int)
    return ended.value.code, *capsys.readouterr()


def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Exit code and standard output of `poolbench baseline`."""
    return said(monkeypatch, capsys, "baseline", *words)[:2]


def test_runs_under_different_loads_are_not_compared(
    stored: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = RunStore.create(tmp_path / "results", "made")
    info = stored.read_info()
    cells = tuple(replace(cell, load=replace(cell.load, rate_rps=90.0)) for cell in info.cells)
    other.write_info(replace(info, run_id=other.run_id, cells=cells))
    for trial_id in stored.complete():
        own = stored.read_trial(trial_id)
        launch = replace(own.trial.launch, cell=cells[0])
        kept = TrialEvidence(
            trial=replace(own.trial, launch=launch),
            **{name: getattr(own, name) for name in TABLES},
        )
        other.save_trial(kept, {})
    both = (str(stored.path), str(other.path))
    code, _, refused = said(monkeypatch, capsys, "compare", *both)
    assert code == 2
    assert "was not measured under the same conditions: load.rate_rps (100.0 and 90.0) differ" in refused
    code, _, refused = said(monkeypatch, capsys, "compare", *both, "x")
    assert (code, "two folders, and no --set" in refused) == (2, True)


def test_on_the_command_line(
    stored: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    assert shown(monkeypatch, capsys, "list") == (0, "There is no baseline in baselines.\n")
    code, said = shown(monkeypatch, capsys, "promote", str(stored.path), "--name", "anchor")
    assert (code, said) == (0, f"anchor is {stored.run_id} from now on: {tmp_path}/baselines/anchor\n")
    promote(stored, "broken", tmp_path / "baselines")
    (tmp_path / "baselines/broken/run.json").write_text("{}")
    code, said = shown(monkeypatch, capsys, "list")
    assert code == 0
    for word in ("anchor", "test", "2026-01-01T00:00:00Z", "2", "a fast one", stored.run_id):
        assert word in said
    assert "damaged: broken:" in said
    code, said = shown(monkeypatch, capsys, "list", "--json")
    one, other = json.loads(said)["baselines"]
    assert (one["name"], one["launches"], one["problem"]) == ("anchor", 2, "")
    assert (other["name"], other["run_id"]) == ("broken", "")
    assert "run.json" in other["problem"]
    assert shown(monkeypatch, capsys, "promote", str(tmp_path))[0] == 2
