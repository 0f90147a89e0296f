"""Why requests failed: what came back, or what was raised, by endpoint and how often."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from harness.analyse.measured import category_codes, is_in
from harness.analyse.windows import Windows
from harness.domain.logs import lines_of
from harness.domain.verdict import Failure

MOST = 5
"""Kinds of failures that a cell names; the rest is counted together by the ledger."""
MOST_LOGGED = 3
LINE_LENGTH = 200
AROUND_NS = 1_000_000_000
"""A line that a service wrote at most this long before or after a failure may be about it."""
_LEVEL = re.compile(r"\b(?:ERROR|CRITICAL|FATAL)\b")
_SAYS_NOTHING = "Exception in ASGI application"
"""uvicorn's words before each traceback"""
_NUMBERS = re.compile(r"[0-9a-fA-F]*\d[0-9a-fA-F]*")


def failures_of(rows: pd.DataFrame, measured: Windows) -> Counter[tuple[str, str, int, str]]:
    """How many of a launch's measured requests failed, by endpoint, outcome, status and message.

    Args:
        rows: the trial's requests, MEASURED_COLUMNS.
        measured: when the measurement was on.
    """
    failed = (category_codes(rows["outcome"], {"ok": 0}) != 0) & is_in(rows["segment"].to_numpy(), measured)
    if not np.any(failed):
        return Counter()
    keys = rows.loc[failed, ["endpoint", "outcome", "status", "error"]]
    columns = (keys[name].tolist() for name in ("endpoint", "outcome", "status", "error"))
    return Counter(zip(*columns, strict=True))


def most_frequent(launches: list[Mapping[tuple[str, str, int, str], int]]) -> tuple[Failure, ...]:
    """The most frequent kinds of a cell's failures, over all its launches."""
    total: Counter[tuple[str, str, int, str]] = Counter()
    for counts in launches:
        total.update(counts)
    return tuple(
        Failure(endpoint=endpoint, outcome=outcome, status=status, message=message, count=count)
        for (endpoint, outcome, status, message), count in total.most_common(MOST)
    )


def logged_around(rows: pd.DataFrame, measured: Windows, log: bytes, lengths: pd.DataFrame) -> Counter[str]:
    """What a service wrote within AROUND_NS of its failures: the errors in it, or without any all that it wrote then.

    Args:
        rows: as of `failures_of`.
        measured: likewise.
        log: what the service wrote.
        lengths: LOG_COLUMNS.
    """
    failed = (category_codes(rows["outcome"], {"ok": 0}) != 0) & is_in(rows["segment"].to_numpy(), measured)
    if not np.any(failed) or lengths.empty:
        return Counter()
    of_failed = rows.loc[failed, ["intended_ns", "started_ns", "finished_ns"]].max(axis=1)
    failed_ns = np.sort(of_failed.to_numpy(dtype=np.int64))
    lengths = lengths.sort_values("t_ns")
    earliest = np.searchsorted(failed_ns, lengths["since_ns"].to_numpy() - AROUND_NS)
    near = earliest < np.searchsorted(failed_ns, lengths["t_ns"].to_numpy() + AROUND_NS, side="right")
    near[0] = False  # what the first reading found was written nobody knows when
    lines, ends = zip(*lines_of(log), strict=True) if log else ((), ())
    reading = np.searchsorted(lengths["bytes"].to_numpy(), np.array(ends, dtype=np.int64))
    shown = np.append(near, False)[reading]
    around = [line for line, is_shown in zip(lines, shown, strict=True) if is_shown]
    return alike(errors_logged(around) or Counter(line.strip()[:LINE_LENGTH] for line in around if line.strip()))


def errors_logged(lines: Iterable[str]) -> Counter[str]:
    """Errors in a service's log: the last line of each traceback, after the message that was logged with it, and
    messages at level ERROR without one."""
    found: Counter[str] = Counter()
    message, within = "", False
    for line in (*lines, ""):
        if line.startswith("Traceback "):
            within = True
        elif not within:
            if message:
                found[message[:LINE_LENGTH]] += 1
            message = line.strip() if _LEVEL.search(line) and not line.endswith(_SAYS_NOTHING) else ""
        elif line[:1] not in ("", " ", "|", "+"):
            said = f"{message[: LINE_LENGTH // 2]}: " if message else ""
            found[f"{said}{line}"[:LINE_LENGTH]] += 1
            message, within = "", False
    return found


def alike(counts: Mapping[str, int]) -> Counter[str]:
    """Lines that differ in their numbers alone, such as times and ids, counted together under the first of them."""
    first: dict[str, str] = {}
    total: Counter[str] = Counter()
    for line, count in counts.items():
        total[first.setdefault(_NUMBERS.sub("#", line), line)] += count
    return total


def most_logged(launches: list[Counter[str]]) -> dict[str, int]:
    """The most frequent lines that the services of a cell's launches wrote around failures."""
    total: Counter[str] = Counter()
    for counts in launches:
        total.update(counts)
    return dict(alike(total).most_common(MOST_LOGGED))
