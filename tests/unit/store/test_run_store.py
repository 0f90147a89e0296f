"""The run directory: round trips, atomicity, damage."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.domain.evidence import (
    ACTIVITY_COLUMNS,
    PROBE_COLUMNS,
    PROCESS_COLUMNS,
    REQUEST_COLUMNS,
    SERVER_COLUMNS,
    Certificate,
    Reason,
    RunInfo,
    SamplerGap,
    Trial,
    TrialEvidence,
)
from harness.domain.experiment import Cell, DatabaseSpec, Experiment, Load, Pool, Session, Target
from harness.domain.load import EndpointCount, Launch, Ledger, Segment, Sitting, TaskCount, Turn, TurnRun
from harness.errors import UsageError
from harness.store import RunStore, decode, encode


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

TURN = Turn(launch_id="b1-c1", duration_s=0.5)


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
        certificate=Certificate(
            valid=False,
            reasons=(Reason(kind="instrument", code="lag", message="late", value=math.inf, threshold=5.0),),
        ),
        gaps=(SamplerGap(sampler="postgres", t_ns=5, length_s=1.5),),
    )


def table(columns: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            name: pd.Series(["x", "y"] if kind == "category" else np.arange(2), dtype=kind)
            for name, kind in columns.items()
        }
    )


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
        schema_version=1,
        run_id="r",
        created_utc="2026-01-01T00:00:00Z",
        poolbench_version="0",
        experiment=Experiment(schema_version=1, name="e", matrix={"pool.pool_size": (5, 10)}),
        cells=(cell(),),
        sittings=(
            Sitting(
                index=0,
                purpose="measure",
                launches=(LAUNCH, LAUNCH),
                segments=(SEGMENT,),
                turns=(TURN, TURN),
                pause_s=0.05,
            ),
        ),
        environment={"cores": 2},
        rate_rps=100.0,
        rate_source="given",
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


def test_damage_is_named(store: RunStore) -> None:
    folder = store.save_trial(evidence(), {})
    (folder / "requests.parquet").write_bytes(b"cut")
    with pytest.raises(UsageError, match=r"requests\.parquet is not what poolbench wrote.*--resume"):
        store.read_trial("b1-c1")


def test_results_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be written: Not a directory.*--results"):
        RunStore.create(tmp_path / "file", "demo")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "damaged"),
        ("{}", "damaged"),
        ('{"schema_version": 99}', "format 99"),
        ('{"schema_version": 1}', "damaged"),
    ],
)
def test_run_json_that_cannot_be_read(store: RunStore, text: str, message: str) -> None:
    store.write("run.json", text.encode())
    with pytest.raises(UsageError, match=message):
        store.read()


def test_latest_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no run"):
        RunStore.latest(tmp_path)
    for name in ("20260101T000000Z-a-0000", "20260102T000000Z-a-0000"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}")
    assert RunStore.latest(tmp_path).run_id == "20260102T000000Z-a-0000"
    with pytest.raises(UsageError, match=r"has no run\.json"):
        RunStore.open(tmp_path)


def test_a_trial_saved_before_there_was_a_server_table_is_read(store: RunStore) -> None:
    folder = store.save_trial(evidence(), {})
    (folder / "server.parquet").unlink()
    sums = json.loads((folder / "checksums.json").read_text())
    (folder / "checksums.json").write_text(json.dumps({k: v for k, v in sums.items() if k != "server.parquet"}))
    stored = store.read_trial("b1-c1")
    assert list(stored.server.columns) == list(SERVER_COLUMNS)
    assert stored.server.empty


def test_tables_of_a_stored_trial_stay_on_disk_until_asked_for(store: RunStore) -> None:
    store.save_trial(evidence(), {})
    stored = store.read_trial("b1-c1")
    some = stored.table("requests", ["status", "segment"])
    assert list(some.columns) == ["status", "segment"]
    pd.testing.assert_frame_equal(some, evidence().table("requests", ["status", "segment"]))
    (store.path / "trials" / "b1-c1" / "process.parquet").unlink()
    pd.testing.assert_frame_equal(stored.activity, evidence().activity)
    with pytest.raises(FileNotFoundError):
        _ = stored.process
