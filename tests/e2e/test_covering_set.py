"""Every pair of settings that a service can have, each in some launch: no certificate says that the instrument failed.

What a certificate allows for must hold on whatever machine runs this, busy or quiet: a reason that comes because
others are at work as well is the certificate's defect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from covering import Row, covering

from harness import schedule
from harness.analyse import analyse
from harness.domain.cell import Cell
from harness.domain.evidence import Run, RunInfo
from harness.domain.experiment import Experiment
from harness.errors import UsageError
from harness.places import PlaceFor, places
from harness.plan import expand, parse_experiment
from harness.sitting import run_sitting, trials

pytestmark = [pytest.mark.postgres, pytest.mark.usefixtures("pgbouncer"), pytest.mark.timeout(400)]

LIGHT = """\
schema_version = 1
name = "covering"

[load]
rate_rps = 30
warmup_s = 0.5
measure_s = 2

[target]
start_timeout_s = 120

[design]
kind = "interleaved"
launches = 1

[database]
rows = 500
"""

FACTORS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "driver": {
        **{name: [f"target.driver={name}"] for name in ("psycopg", "psycopg_sync", "psycopg_blocking", "psycopg2")},
        "asyncpg": ["target.driver=asyncpg"],
        "asyncpg, nothing kept prepared": [
            "target.driver=asyncpg",
            "target.statement_cache_size=0",
            "target.prepared_statement_cache_size=0",
        ],
    },
    "pool": {
        "kept": [],
        "overflowing": ["pool.pool_size=1"],
        "null": ["pool.pool_class=null"],
        "the driver's": ["pool.pool_class=psycopg_pool"],
    },
    "ping": {"off": [], "on": ["pool.pool_pre_ping=true"]},
    "transactions": {
        "READ COMMITTED": [],
        "SERIALIZABLE": ["session.isolation=SERIALIZABLE"],
        "AUTOCOMMIT": ["session.isolation=AUTOCOMMIT"],
        "reads in AUTOCOMMIT": ["session.autocommit_reads=true"],
    },
    "scope": {name: [f"session.session_scope={name}"] for name in ("request", "function", "operation")},
    "bouncer": {"none": [], "one": ["target.pgbouncer=true"]},
    "distance": {"none": [], "5 ms": ["network.rtt_ms=5"]},
}
"""What a service may differ in, and how an experiment says so."""


def experiment_of(row: Row) -> Experiment:
    overrides = [text for factor, value in zip(FACTORS.values(), row, strict=True) for text in factor[value]]
    return parse_experiment(LIGHT, source="covering", overrides=overrides)


def may_be_had(row: Row) -> bool:
    """Whether `plan` does not refuse it."""
    try:
        experiment_of(row)
    except UsageError:
        return False
    return True


@cache
def cells() -> tuple[Cell, ...]:
    """Of the covering set, one a launch."""
    found = covering([list(values) for values in FACTORS.values()], may_be_had)
    return tuple(
        replace(*expand(experiment_of(row)), id=f"c{number:02}", label=", ".join(row))
        for number, row in enumerate(found, start=1)
    )


SITTINGS = 5
"""into which they are dealt: as many targets as they are launches are up at the same time"""


@pytest.fixture(scope="module")
def place_for() -> Iterator[PlaceFor]:
    with places("covering", lambda _event: None) as found:
        yield found


@pytest.mark.parametrize("sitting", range(SITTINGS))
def test_no_reason_to_doubt_the_instrument(sitting: int, place_for: PlaceFor, tmp_path: Path) -> None:
    run = measured(cells()[sitting::SITTINGS], place_for, tmp_path)
    certificates = analyse(run).summary.certificates
    doubts = {
        (evidence.trial.launch.cell.label, reason.code, reason.message)
        for evidence in run.trials
        for reason in certificates[evidence.trial.id].reasons
        if reason.kind == "instrument"
    }
    assert doubts == set()
    # serializable transactions may well be refused now and then
    failing = [e.trial.launch.cell.label for e in run.trials if e.requests["outcome"].eq("ok").mean() < 0.9]
    assert failing == []


def measured(of: Sequence[Cell], place_for: PlaceFor, folder: Path) -> Run:
    """One sitting, which the cells spend hot together."""
    experiment = parse_experiment(LIGHT, source="covering")
    (sitting,) = schedule.FixedDesign(experiment, of).foreseen(())
    raw = run_sitting(sitting, experiment, place_for(of[0]), folder, lambda _event: None)
    info = RunInfo(
        schema_version=3,
        run_id="covering",
        created_utc="",
        poolbench_version="",
        experiment=experiment,
        strategy="fixed",
        cells=tuple(of),
        environment={},
    )
    kept = tuple(trial.evidence for trial in trials(raw, experiment, ceiling_rps=None))
    return Run(info=info, trials=kept)
