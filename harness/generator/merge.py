"""Several processes' ledgers of one load plan as one: counts are added, never percentiles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from harness.domain.load import SETUP_SEGMENT, EndpointCount, Ledger, TaskCount, TurnRun

Count = TypeVar("Count", TaskCount, EndpointCount)
_TASK = ("offered", "done", "dropped", "unfinished")
_ENDPOINT = ("requests", "ok", "error", "timeout")


def merge_ledgers(ledgers: Sequence[Ledger]) -> Ledger:
    """What all have counted together.

    A turn began when the first process began it and ended with the last; its peak is the sum of peaks, which is at
    least the true one, since they need not coincide.
    """
    return Ledger(
        tasks=_added((count for ledger in ledgers for count in ledger.tasks), ("segment", "task"), _TASK),
        endpoints=_added(
            (count for ledger in ledgers for count in ledger.endpoints), ("segment", "endpoint"), _ENDPOINT
        ),
        turns=tuple(_one_turn(runs) for runs in zip(*(ledger.turns for ledger in ledgers), strict=True)),
    )


def is_silent(ledger: Ledger) -> bool:
    """Whether every arrival was executed and none of them sent anything, as far as that was seen."""
    executed = sum(count.offered - count.dropped for count in ledger.tasks)
    sent = any(count.endpoint for count in ledger.endpoints if count.segment != SETUP_SEGMENT)
    return executed > 0 and not sent and executed == sum(count.done for count in ledger.tasks)


def _added(counts: Iterable[Count], key: tuple[str, str], figures: Sequence[str]) -> tuple[Count, ...]:
    sums: dict[tuple[Any, ...], Count] = {}
    for count in counts:
        place = tuple(getattr(count, name) for name in key)
        known = sums.get(place)
        if known is not None:
            added = {name: getattr(known, name) + getattr(count, name) for name in figures}
            count = type(count)(**dict(zip(key, place, strict=True)), **added)  # noqa: PLW2901 -- the sum so far
        sums[place] = count
    return tuple(sums[place] for place in sorted(sums))


def _one_turn(runs: Sequence[TurnRun]) -> TurnRun:
    first = runs[0]
    return TurnRun(
        launch_id=first.launch_id,
        start_ns=min(run.start_ns for run in runs),
        end_ns=max(run.end_ns for run in runs),
        load_start_ns=first.load_start_ns,
        cut=first.cut,
        idle_ns=max(run.idle_ns for run in runs),
        idle=all(run.idle for run in runs),
        in_flight_peak=sum(run.in_flight_peak for run in runs),
    )
