"""The run directory: round trips, atomicity, damage."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from harness.codec import decode, encode
from harness.domain.cell import Cell
from harness.domain.evidence import Context, RunInfo, Trial, TrialEvidence
from harness.domain.experiment import DatabaseSpec, Design, Experiment, Load, Pool, Session, Target
from harness.domain.load import PILOT_BLOCK, EndpointCount, Launch, Ledger, Segment, TaskCount, TurnRun, launch_of
from harness.domain.observed import SamplerGap
from harness.domain.tables import ACTIVITY_COLUMNS, PROBE_COLUMNS, PROCESS_COLUMNS, REQUEST_COLUMNS
from harness.errors import UsageError
from harness.store import FORGOTTEN_AFTER_S, RUN_SCHEMA_VERSION, RunStore


def cell() -> Cell:
    return Cell(
        id="c1",
        label="pool_size 5",
        factors=(("pool.pool_size", 5),),
        pool=Pool(pool_size=5),
        session=Session(),
        target=Target(cpus=(0, 1), env={"A": "b"}),
        database=DatabaseSpec(settings={"work_mem": "4MB"}),
        load=Load(rate_rps=100),
    )


LAUNCH = Launch(id="b1-c1", cell=cell(), block=1)
SEGMENT = Segment(
    index=0,
    launch_id="b1-c1",
    phase="measure",
    start_s=0.0,
    duration_s=1.0,
    model="open",
    rate_rps=100.0,
    users=None,
    arrivals="poisson",
    seed=2**63,
)


def trial(trial_id: str = "b1-c1") -> Trial:
    return Trial(
        id=trial_id,
        launch=LAUNCH,
        sitting=0,
        start_ns=123,
        segments=(SEGMENT,),
        ledger=Ledger(
            tasks=(TaskCount(segment=0, task="get", offered=3, done=2, dropped=1, unfinished=0),),
            endpoints=(EndpointCount(segment=0, endpoint="GET /", requests=2, ok=2, error=0, timeout=0),),
            turns=(
                TurnRun(
                    launch_id="b1-c1",
                    start_ns=1,
                    end_ns=2,
                    load_start_ns=0,
                    cut="unqueued",
                    idle_ns=3,
                    idle=False,
                    in_flight_peak=1,
                ),
            ),
        ),
        context=Context(lost_workers=("2",), clock_uncertainty_ms=0.1, environment={"cores": 2}),
        gaps=(SamplerGap(sampler="postgres", t_ns=5, length_s=1.5),),
    )


def table(columns: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            name: pd.Series(["x", "y"] if kind == "category" else np.arange(2), dtype=kind)
            for name, kind in columns.items()
        }
    )


@cache
def evidence(trial_id: str = "b1-c1") -> TrialEvidence:
    return TrialEvidence(
        trial=trial(trial_id),
        requests=table(dict(REQUEST_COLUMNS)),
        activity=table(dict(ACTIVITY_COLUMNS)),
        probe=table(dict(PROBE_COLUMNS)),
        process=table(dict(PROCESS_COLUMNS)),
    )


def info() -> RunInfo:
    return RunInfo(
        schema_version=RUN_SCHEMA_VERSION,
        run_id="r",
        created_utc="2026-01-01T00:00:00Z",
        poolbench_version="0",
        experiment=Experiment(
            schema_version=1, name="e", matrix={"pool.pool_size": (5, 10)}, design=Design(launches=1)
        ),
        cells=(cell(), replace(cell(), id="c2")),
        strategy="fixed",
        environment={"cores": 2},
    )


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore.create(tmp_path / "results", "demo")


def test_values_survive_a_round_trip() -> None:
    for value in (trial(), info()):
        assert decode(type(value), encode(value)) == value


def test_run_is_read_back_as_it_was_saved(store: RunStore, tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("started")
    store.write_info(info())
    folder = store.save_trial(evidence(), {"target.log": log, "absent.log": tmp_path / "absent"})
    run = store.read()
    assert (run.info, run.planned_trials, len(run.trials)) == (info(), 2, 1)
    assert run.trials[0].trial == trial()
    pd.testing.assert_frame_equal(run.trials[0].requests, evidence().requests)
    assert {name: str(dtype) for name, dtype in run.trials[0].probe.dtypes.items()} == dict(PROBE_COLUMNS)
    assert (folder / "target.log").read_text() == "started"
    assert not (folder / "absent.log").exists()


def test_a_trial_from_before_there_were_holds_has_none(store: RunStore) -> None:
    folder = store.save_trial(evidence(), {})
    sums = json.loads((folder / "checksums.json").read_text())
    for name in ("holds.parquet", "unreturned.parquet", "sites.parquet"):
        (folder / name).unlink()
        del sums[name]
    (folder / "checksums.json").write_text(json.dumps(sums))
    stored = store.read_trial("b1-c1")
    pd.testing.assert_frame_equal(stored.holds, evidence().holds)
    pd.testing.assert_frame_equal(stored.unreturned, evidence().unreturned)


def test_a_trial_cut_before_the_rename_does_not_exist(store: RunStore) -> None:
    store.save_trial(evidence("b1-c2"), {})
    (store.path / "trials" / "b1-c2").rename(store.path / "trials" / ".b1-c2.partial")
    assert store.complete() == ()
    store.save_trial(evidence("b1-c2"), {})
    assert store.complete() == ("b1-c2",)


def test_evidence_is_never_overwritten(store: RunStore) -> None:
    first = store.save_trial(evidence(), {})
    before = (first / "checksums.json").read_text()
    changed = TrialEvidence(
        trial=trial(),
        requests=evidence().requests.iloc[:1],
        activity=evidence().activity,
        probe=evidence().probe,
        process=evidence().process,
    )
    store.save_trial(changed, {})
    assert (first / "checksums.json").read_text() == before


def test_trials_set_aside_are_out_of_the_run_but_not_deleted(store: RunStore) -> None:
    store.save_trial(evidence(), {})
    store.set_aside(["b1-c1", "never-there"])
    assert store.complete() == ()
    assert [p.suffix for p in (store.path / "trials").iterdir()] == [".superseded"]


def test_only_an_empty_run_is_discarded(store: RunStore) -> None:
    store.save_trial(evidence(), {})
    store.discard()
    assert store.complete() == ("b1-c1",)
    store.set_aside(["b1-c1"])
    store.discard()
    assert not store.path.exists()


WRITTEN = (
    "trial.json",
    "requests.parquet",
    "activity.parquet",
    "probe.parquet",
    "process.parquet",
    "server.parquet",
    "null.parquet",
    "probe_user.parquet",
    "log.parquet",
    "holds.parquet",
)


@pytest.mark.parametrize("name", WRITTEN)
def test_damage_is_named(store: RunStore, name: str) -> None:
    folder = store.save_trial(evidence(), {})
    content = (folder / name).read_bytes()
    for damage in (b"cut", content[: len(content) // 2], content + b" "):
        (folder / name).write_bytes(damage)
        with pytest.raises(UsageError, match=rf"{name} is not what poolbench wrote.*--resume"):
            store.read_trial("b1-c1")


@pytest.mark.parametrize("name", WRITTEN)
def test_what_has_no_checksum_is_not_read(store: RunStore, name: str) -> None:
    folder = store.save_trial(evidence(), {})
    sums = json.loads((folder / "checksums.json").read_text())
    (folder / "checksums.json").write_text(json.dumps({k: v for k, v in sums.items() if k != name}))
    with pytest.raises(UsageError, match=rf"checksums\.json is not what poolbench wrote.*no checksum of {name}"):
        store.read_trial("b1-c1")


@pytest.mark.parametrize(
    "content", [b'{"trial.json":', b"", b"[]", b"null", b"\xff\xfe\x00", b"[" * 5000, b"{}", b"3", None]
)
def test_damaged_checksums_are_named(store: RunStore, content: bytes | None) -> None:
    path = store.save_trial(evidence(), {}) / "checksums.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    store.write_info(info())
    assert store.complete() == ("b1-c1",)
    with pytest.raises(UsageError, match=r"checksums\.json is not what poolbench wrote.*--resume") as caught:
        store.read()
    assert "\n" not in caught.value.cause


@pytest.mark.parametrize("name", ["b1-c1.bak", "b1-c2"])
def test_a_trial_under_another_name_is_refused(store: RunStore, name: str) -> None:
    store.write_info(info())
    folder = store.save_trial(evidence(), {})
    shutil.copytree(folder, folder.with_name(name))
    with pytest.raises(UsageError, match=rf"{name} holds the trial b1-c1, not {name}.*Move it out"):
        store.read()


@pytest.mark.parametrize(
    "launch",
    [launch_of(cell(), 2), launch_of(replace(cell(), id="c3"), 1), replace(LAUNCH, id="b1-c1-once-more")],
    ids=["block", "cell", "name"],
)
def test_a_trial_that_the_run_cannot_have_made_is_refused(store: RunStore, launch: Launch) -> None:
    store.write_info(info())
    store.save_trial(replace(evidence(), trial=replace(trial(), id=launch.id, launch=launch)), {})
    with pytest.raises(UsageError, match=rf"{launch.id} is no trial that this run can have made.*Move it out"):
        store.read()


def test_pilots_are_kept_apart_from_what_is_measured(store: RunStore) -> None:
    store.write_info(info())
    for launch in (launch_of(cell(), PILOT_BLOCK), LAUNCH, launch_of(cell(), 1, again=True)):
        store.save_trial(replace(evidence(), trial=replace(trial(), id=launch.id, launch=launch)), {})
    run = store.read()
    assert [own.trial.id for own in run.pilots] == ["b0-c1"]
    assert [own.trial.id for own in run.trials] == ["b1-c1", "b1-c1-again"]
    assert store.measured() == ("b1-c1", "b1-c1-again")


def test_a_trial_that_cannot_be_written_leaves_nothing(store: RunStore) -> None:
    whole = evidence()
    unwritable = TrialEvidence(
        trial=whole.trial,
        requests=pd.DataFrame({"x": [object()]}),
        activity=whole.activity,
        probe=whole.probe,
        process=whole.process,
    )
    with pytest.raises(pa.ArrowInvalid):
        store.save_trial(unwritable, {})
    assert list((store.path / "trials").iterdir()) == []


def test_a_file_that_cannot_be_written_leaves_nothing(store: RunStore) -> None:
    (store.path / "summary.csv").mkdir()
    with pytest.raises(OSError, match="directory"):
        store.write("summary.csv", b"x")
    assert sorted(path.name for path in store.path.iterdir()) == ["sittings", "summary.csv", "trials"]


def test_runs_in_which_nothing_was_measured_are_forgotten_in_time(tmp_path: Path) -> None:
    names = ("killed", "climbing", "measured", "aside", "recent", "running")
    killed, climbing, measured, aside, recent, running = (RunStore.create(tmp_path, name) for name in names)
    (killed.path / "trials" / ".b1-c1.partial").mkdir()
    (climbing.path / "trials" / "b0-c1").mkdir()
    for store in (measured, aside):
        store.save_trial(evidence(), {})
    aside.set_aside(["b1-c1"])
    stranger = tmp_path / "notes"
    (stranger / "trials").mkdir(parents=True)
    with running.lock():
        for folder in (killed.path, climbing.path, measured.path, aside.path, running.path, stranger):
            os.utime(folder, (time.time() - 2 * FORGOTTEN_AFTER_S,) * 2)
        new = RunStore.create(tmp_path, "new")
    assert set(tmp_path.iterdir()) == {measured.path, aside.path, recent.path, running.path, new.path, stranger}


def test_results_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be written: Not a directory.*--results"):
        RunStore.create(tmp_path / "file", "demo")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "damaged"),
        ("{}", "damaged: it has no schema_version"),
        ("[]", "damaged"),
        ("null", "damaged"),
        ("[" * 5000, "damaged"),
        ('{"schema_version": 99}', "format 99; this poolbench reads format"),
        ('{"schema_version": "1"}', "damaged: it has no schema_version that is a whole number"),
        ('{"schema_version": true}', "damaged: it has no schema_version that is a whole number"),
        (f'{{"schema_version": {RUN_SCHEMA_VERSION}}}', "damaged: its checksum"),
    ],
)
def test_run_json_that_cannot_be_read(store: RunStore, text: str, message: str) -> None:
    store.write_info(info())
    store.write("run.json", text.encode())
    with pytest.raises(UsageError, match=message) as caught:
        store.read()
    assert "\n" not in caught.value.cause


def test_a_run_json_that_was_changed_is_refused(store: RunStore) -> None:
    store.write_info(info())
    assert store.read_info() == info()
    for old, new in ((b'"launches": 1', b'"launches": 9'), (b'"pool_size": 5', b'"pool_size": 7')):
        store.write("run.json", encode(info()).encode().replace(old, new))
        with pytest.raises(UsageError, match=r"run\.json is damaged: its checksum is not that of run\.json\.sha256"):
            store.read_info()
    store.write_info(info())
    (store.path / "run.json.sha256").unlink()
    with pytest.raises(UsageError, match=r"damaged: its checksum, run\.json\.sha256, is missing"):
        store.read_info()


def test_the_checksum_is_one_that_sha256sum_takes(store: RunStore) -> None:
    store.write_info(info())
    assert subprocess.run(["sha256sum", "-c", "run.json.sha256"], cwd=store.path, check=False).returncode == 0


def test_a_run_json_of_another_shape_is_named_in_one_sentence(store: RunStore) -> None:
    content = encode(info()).replace('"cells"', '"sells"').encode()
    store.write("run.json.sha256", hashlib.sha256(content).hexdigest().encode())
    store.write("run.json", content)
    with pytest.raises(UsageError, match=r"run\.json is damaged: cells: .*required") as caught:
        store.read_info()
    assert "\n" not in caught.value.cause
    assert "http" not in caught.value.cause


def test_latest_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no run"):
        RunStore.latest(tmp_path)
    for name in ("20260101T000000Z-a-0000", "20260102T000000Z-a-0000", "20260103T000000Z-unmeasured-0000"):
        (tmp_path / name / "trials").mkdir(parents=True)
        (tmp_path / name / "run.json").write_text("{}")
        if "unmeasured" not in name:
            (tmp_path / name / "trials" / "b1-c1").mkdir()
    assert RunStore.latest(tmp_path).run_id == "20260102T000000Z-a-0000"
    with pytest.raises(UsageError, match=r"has no run\.json"):
        RunStore.open(tmp_path)


def test_tables_of_a_stored_trial_stay_on_disk_until_asked_for(store: RunStore) -> None:
    store.save_trial(evidence(), {})
    stored = store.read_trial("b1-c1")
    some = stored.table("requests", ["status", "segment"])
    assert list(some.columns) == ["status", "segment"]
    pd.testing.assert_frame_equal(some, evidence().requests[["status", "segment"]])
    (store.path / "trials" / "b1-c1" / "process.parquet").unlink()
    pd.testing.assert_frame_equal(stored.activity, evidence().activity)
    with pytest.raises(FileNotFoundError):
        _ = stored.process
