"""What a relay between target and Postgres means for a certificate and for the report's notes."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from harness.analyse import analyse
from harness.domain.certificate import Certificate
from harness.domain.observed import RelayReadings
from harness.domain.tables import PROBE_COLUMNS, PROCESS_COLUMNS, SERVER_COLUMNS
from harness.present.notes import notes

SECOND = 1_000_000_000
RELAY = RelayReadings(
    rtt_ms=20.0,
    rtt_ms_measured=20.3,
    late_ms_p50=0.05,
    late_ms_p99=0.8,
    round_trips=400,
    connections=6,
    idle_drops=0,
    cpu_s=0.08,
)


def far_away(build: ModuleType) -> dict[str, pd.DataFrame]:
    """200 checkouts of 30 ms, of which Postgres saw 10: each was a round trip of 20 ms away."""
    probe = build.table(PROBE_COLUMNS, t_ns=[build.start_ns + SECOND * i // 10 for i in range(31)], pid=7)
    for name in ("connection_used_integral_s", "connection_use_time_s", "transaction_time_s"):
        probe[name] = np.linspace(0, 6.0, 31)
    probe["connection_checkouts"] = 200
    t_ns = build.start_ns + 3 * SECOND
    rows = {"t_ns": [t_ns, t_ns], "key": ["active_s", "idle_in_transaction_s"], "value": [1.0, 1.0]}
    return {"probe": probe, "server": pd.DataFrame(rows).astype(dict(SERVER_COLUMNS))}


def test_time_on_the_way_is_no_contradiction(build: ModuleType) -> None:
    assert build.certificate(relay=RELAY, **far_away(build)) == Certificate(valid=True)
    (reason,) = build.certificate(**far_away(build)).reasons
    assert reason.code == "littles_law_postgres"


def test_time_in_a_queue_before_postgres_is_none_either(build: ModuleType) -> None:
    assert build.certificate(outlasting=True, **far_away(build)).valid
    evidence = far_away(build)
    evidence["server"]["value"] = 4.0  # 8 s in Postgres, more than the 6 s that the pool held connections
    (reason,) = build.certificate(outlasting=True, **evidence).reasons
    assert reason.code == "littles_law_postgres"


def about_relays(build: ModuleType, *relays: RelayReadings | None) -> list[str]:
    trials = [build.trial(build.cell(1), block, build.rows([10.0] * 100)) for block, _ in enumerate(relays, start=1)]
    run = build.run(
        [
            replace(evidence, trial=replace(evidence.trial, relay=relay))
            for evidence, relay in zip(trials, relays, strict=True)
        ]
    )
    return [note for note in notes(analyse(run)) if "relay" in note]


def test_the_notes_say_how_the_distance_was_kept(build: ModuleType) -> None:
    assert about_relays(build, None, None) == []
    nearer = replace(RELAY, rtt_ms=5.0, rtt_ms_measured=5.26, late_ms_p99=1.39, idle_drops=3)
    slower = replace(RELAY, rtt_ms_measured=20.5, late_ms_p99=2.07)
    first, second = about_relays(build, RELAY, nearer, slower)
    assert first == (
        "Between target and Postgres a relay added 5.26 ms a round trip (5 ms asked for); under load it was up to "
        "1.39 ms late each way (p99) and took 0.200 ms of CPU a round trip. It dropped 3 idle connections."
    )
    assert second.startswith("Between target and Postgres a relay added 20.4 ms a round trip (20 ms asked for)")
    assert "2.07 ms late" in second


@pytest.mark.parametrize(("role", "known"), [("postgres", True), ("target", False)])
def test_a_server_whose_processes_cannot_be_seen_is_named(build: ModuleType, role: str, known: bool) -> None:
    process = build.table(PROCESS_COLUMNS, t_ns=[build.start_ns], role=[role])
    run = build.run([build.trial(build.cell(1), 1, build.rows([10.0] * 100), process=process)])
    told = "CPU and memory of Postgres are not known: its processes cannot be seen from here."
    deployed = replace(run, info=replace(run.info, environment={"postgres": {"version": "18"}}))
    assert analyse(deployed).summary.coverage.postgres_processes is known
    assert (told in notes(analyse(deployed))) is not known
    assert told not in notes(analyse(run))
