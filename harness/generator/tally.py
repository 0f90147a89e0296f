"""The ledger as it is counted, arrival by arrival and request by request, independent of the rows."""

from __future__ import annotations

from collections.abc import Iterable

from harness.domain.load import EndpointCount, Ledger, TaskCount, TurnRun
from harness.domain.rows import ERROR, OK, TIMEOUT


class Tally:
    """Counters of one load plan. A key names a segment and a task, or a segment and an endpoint."""

    __slots__ = ("_done", "_dropped", "_offered", "_requests", "_unfinished")

    def __init__(self) -> None:
        self._offered: dict[tuple[int, str], int] = {}
        self._done: dict[tuple[int, str], int] = {}
        self._dropped: dict[tuple[int, str], int] = {}
        self._unfinished: dict[tuple[int, str], int] = {}
        self._requests: dict[tuple[int, str], list[int]] = {}

    def offered(self, segment: int, task: str) -> None:
        _increment(self._offered, (segment, task))

    def done(self, segment: int, task: str) -> None:
        _increment(self._done, (segment, task))

    def dropped(self, segment: int, task: str) -> None:
        _increment(self._dropped, (segment, task))

    def unfinished(self, segment: int, task: str) -> None:
        _increment(self._unfinished, (segment, task))

    def request(self, segment: int, endpoint: str, outcome: int) -> None:
        """Count a request that ended; `outcome` is OK, ERROR or TIMEOUT."""
        self._requests.setdefault((segment, endpoint), [0, 0, 0])[outcome] += 1

    def close(self, turns: Iterable[TurnRun]) -> Ledger:
        """The ledger. Raises AssertionError when an arrival is unaccounted for, which is a bug of the engine."""
        tasks = tuple(self._task(key) for key in sorted(self._offered))
        for count in tasks:
            if count.offered != count.done + count.dropped + count.unfinished:
                raise AssertionError(f"arrivals are unaccounted for: {count}")
        return Ledger(tasks=tasks, endpoints=tuple(self._endpoints()), turns=tuple(turns))

    def _task(self, key: tuple[int, str]) -> TaskCount:
        return TaskCount(
            segment=key[0],
            task=key[1],
            offered=self._offered[key],
            done=self._done.get(key, 0),
            dropped=self._dropped.get(key, 0),
            unfinished=self._unfinished.get(key, 0),
        )

    def _endpoints(self) -> Iterable[EndpointCount]:
        for (segment, endpoint), counts in sorted(self._requests.items()):
            yield EndpointCount(
                segment=segment,
                endpoint=endpoint,
                requests=sum(counts),
                ok=counts[OK],
                error=counts[ERROR],
                timeout=counts[TIMEOUT],
            )


def _increment(counts: dict[tuple[int, str], int], key: tuple[int, str]) -> None:
    counts[key] = counts.get(key, 0) + 1
