"""The generator's binary rows: fixed-size records, one a request, written there and read by the orchestrator.

Plain data only, so that the generator needs no numpy and the orchestrator none of the generator. The columns are
`tables.REQUEST_COLUMNS` without `phase`, which follows from the segment; task, endpoint and error are positions in
the lists of `names-<launch_id>.json`, outcome is a position in `tables.OUTCOMES`.
"""

from __future__ import annotations

RECORD_FIELDS: tuple[tuple[str, str], ...] = (
    ("segment", "<u4"),
    ("arrival", "<u4"),
    ("sequence", "<u2"),
    ("task", "<u2"),
    ("endpoint", "<u2"),
    ("error", "<u2"),
    ("status", "<u2"),
    ("outcome", "u1"),
    ("padding", "u1"),
    ("intended_ns", "<i8"),
    ("handed_ns", "<i8"),
    ("started_ns", "<i8"),
    ("finished_ns", "<i8"),
    ("uptake_ns", "<u4"),
    ("response_bytes", "<u4"),
    ("pool_ms", "<f4"),
    ("db_ms", "<f4"),
    ("app_ms", "<f4"),
    ("pid", "<u4"),
)
"""Name and numpy type of each field, in order: `numpy.dtype(list(RECORD_FIELDS))` is the record."""

RECORD_FORMAT = "<IIHHHHHBxqqqqIIfffI"
"""The same record for `struct`; the padding byte takes no value."""

RECORD_BYTES = 76

SAMPLE = "sample: "
"""How the endpoints begin whose rows are no client calls but samples that the scenario fired itself."""

OK, ERROR, TIMEOUT, DROPPED, UNFINISHED = range(5)
"""Positions in `tables.OUTCOMES`."""

NULL_LAUNCH = "null"
"""Stands for a launch in the names of the files about the service that does nothing."""


def probe_user_of(launch_id: str) -> str:
    """Stands for a launch in the names of the files about its probe user."""
    return f"{launch_id}-probe-user"


def rows_file(launch_id: str) -> str:
    """Name of the launch's file of records."""
    return f"rows-{launch_id}.bin"


def names_file(launch_id: str) -> str:
    """Name of the launch's file of task, endpoint and error names."""
    return f"names-{launch_id}.json"
