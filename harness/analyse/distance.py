"""How well the distance between target and Postgres was kept, one sentence for each that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from harness.domain.evidence import RelayReadings, Run


def relay_notes(run: Run) -> tuple[str, ...]:
    """One note for each round trip that was added, nearest first; what is measured is the median over launches."""
    by_rtt: dict[float, list[RelayReadings]] = {}
    for evidence in run.trials:
        if (relay := evidence.trial.relay) is not None:
            by_rtt.setdefault(relay.rtt_ms, []).append(relay)
    return tuple(_note(rtt_ms, by_rtt[rtt_ms]) for rtt_ms in sorted(by_rtt))


def _note(rtt_ms: float, relays: Sequence[RelayReadings]) -> str:
    measured_ms = median(relay.rtt_ms_measured for relay in relays)
    late_ms = max(relay.late_ms_p99 for relay in relays)
    cpu_ms = 1000 * sum(relay.cpu_s for relay in relays) / max(1, sum(relay.round_trips for relay in relays))
    drops = sum(relay.idle_drops for relay in relays)
    dropped = f" It dropped {drops} idle connections." if drops else ""
    return (
        f"Between target and Postgres a relay added {measured_ms:.2f} ms a round trip ({rtt_ms:g} ms asked for); under "
        f"load it was up to {late_ms:.2g} ms late each way (p99) and took {cpu_ms:.2g} ms of CPU a round trip.{dropped}"
    )
