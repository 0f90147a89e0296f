"""Locust's own statistics for scenarios that look at them, worked out from the rows when they do.

Nothing of poolbench's uses them, since their percentiles are rounded; keeping them would cost every request.
"""

from __future__ import annotations

from typing import Any

from locust.stats import RequestStats

from harness.domain.rows import DROPPED, OK, RECORD_BYTES, SAMPLE, UNFINISHED
from harness.generator.recorder import RECORD, Recorder


class StatsReader:
    """What a recorder has written since this was last asked."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._read_bytes = 0

    def catch_up(self, stats: RequestStats) -> None:
        """Log every request recorded since, those of on_start too, as Locust would have."""
        self._recorder.flush()
        endpoints, errors = self._recorder.endpoints.listed(), self._recorder.errors.listed()
        with self._recorder.path.open("rb") as file:
            file.seek(self._read_bytes)
            data = file.read()
        self._read_bytes += len(data) // RECORD_BYTES * RECORD_BYTES
        for record in RECORD.iter_unpack(data[: len(data) // RECORD_BYTES * RECORD_BYTES]):
            endpoint, error, outcome = endpoints[record[4]], errors[record[5]], record[7]
            if not endpoint or outcome in (DROPPED, UNFINISHED):
                continue
            method, _, name = endpoint.removeprefix(SAMPLE).partition(" ")
            log: Any = stats
            log.log_request(method, name, (record[11] - record[10]) / 1e6, record[12])
            if outcome != OK:
                log.log_error(method, name, error)
