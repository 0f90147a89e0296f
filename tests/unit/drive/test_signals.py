"""What crosses between orchestrator and generator arrives as it was."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from harness.domain.load import EndpointCount, Ledger, TaskCount, TurnRun
from harness.errors import InfrastructureError, PoolbenchError, UsageError
from harness.signals import error_of, failure, ledger_of, publish

LEDGER = Ledger(
    tasks=(TaskCount(segment=0, task="browse", offered=3, done=1, dropped=1, unfinished=1),),
    endpoints=(EndpointCount(segment=0, endpoint="GET /", requests=3, ok=1, error=1, timeout=1),),
    turns=(
        TurnRun(
            launch_id="b1-c1",
            start_ns=5,
            end_ns=9,
            load_start_ns=0,
            cut="end",
            idle_ns=10,
            idle=True,
            in_flight_peak=2,
        ),
    ),
)


def test_a_ledger_is_read_as_it_was_published(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    publish(path, asdict(LEDGER) | {"start_ns": 5, "notes": []})
    assert ledger_of(json.loads(path.read_text())) == LEDGER
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", [UsageError, InfrastructureError, PoolbenchError])
def test_an_error_is_raised_as_it_was_reported(kind: type[PoolbenchError]) -> None:
    error = kind("It went wrong.", next_step="Mend it.", detail="line 1\nline 2")
    again = error_of(json.loads(json.dumps(failure(error))))
    assert type(again) is kind
    assert (again.cause, again.next_step, again.detail) == (error.cause, error.next_step, error.detail)
    assert again.exit_code == error.exit_code


def test_an_error_of_a_kind_between_is_the_nearest_that_the_other_side_knows() -> None:
    class PortTakenError(InfrastructureError):
        pass

    assert type(error_of(failure(PortTakenError("It is taken.")))) is InfrastructureError
