"""A line of the time series: what is read, and how it is written.

Readings are taken ten times a second while the service waits for the interpreter, and with cold caches: each part
gives a tuple of whole numbers. Names, units and JSON are left to the moment at which several lines are written at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

Reading = tuple[int, ...]
"""the values of `COLUMNS`, or a part of them, in this order; times in nanoseconds"""
Line = dict[str, float]

_COUNT, _NS_A_SECOND, _NS_A_MILLISECOND = 1, 1e9, 1e6

COLUMNS: Mapping[str, float] = {
    "t_ns": _COUNT,
    "pid": _COUNT,
    # of the engines' pools:
    "connection_max": _COUNT,
    "connection_count_used": _COUNT,
    "connection_count_idle": _COUNT,
    "connection_overflow": _COUNT,
    "connection_pending_requests": _COUNT,
    # of the counters:
    "connection_checkouts": _COUNT,
    "connection_timeouts": _COUNT,
    "connection_connects": _COUNT,
    "connection_closes": _COUNT,
    "connection_invalidations": _COUNT,
    "connection_wait_time_s": _NS_A_SECOND,
    "connection_create_time_s": _NS_A_SECOND,
    "connection_ping_time_s": _NS_A_SECOND,
    "connection_use_time_s": _NS_A_SECOND,
    "connection_used_integral_s": _NS_A_SECOND,
    "transaction_time_s": _NS_A_SECOND,
    "connection_handovers": _COUNT,
    "connection_handover_time_s": _NS_A_SECOND,
    # of the interpreter:
    "gc_pauses": _COUNT,
    "gc_pause_s": _NS_A_SECOND,
    "gc_pause_max_ms": _NS_A_MILLISECOND,
    "loop_lag_max_ms": _NS_A_MILLISECOND,
    "loop_lag_s": _NS_A_SECOND,
    "loop_beats": _COUNT,
    "threadpool_tokens_borrowed": _COUNT,
    "threadpool_tokens_total": _COUNT,
    "threadpool_tasks_waiting": _COUNT,
}
"""What a value is divided by to be what its name says; for the meaning see `harness.domain.tables.PROBE_COLUMNS`."""


def line_of(reading: Reading) -> Line:
    """A whole reading by name, in the names' units. Counts stay whole numbers."""
    return {name: value if unit == _COUNT else value / unit for (name, unit), value in zip(COLUMNS.items(), reading)}


def text_of(reading: Reading) -> str:
    return json.dumps(line_of(reading)) + "\n"
