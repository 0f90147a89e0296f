"""Why requests failed: what came back, or what was raised, by endpoint and how often."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd

from harness.analyse.measured import is_in
from harness.analyse.windows import Windows
from harness.domain.verdict import Failure

MOST = 5
"""Kinds of failures that a cell names; the rest is counted together by the ledger."""
MOST_LOGGED = 3
LINE_LENGTH = 200
_LEVEL = re.compile(r"\b(?:ERROR|CRITICAL|FATAL)\b")


def failures_of(rows: pd.DataFrame, measured: Windows) -> Counter[tuple[str, str, int, str]]:
    """How many of a launch's measured requests failed, by endpoint, outcome, status and message.

    Args:
        rows: the trial's requests, MEASURED_COLUMNS.
        measured: when the measurement was on.
    """
    failed = (rows["outcome"] != "ok").to_numpy() & is_in(rows["segment"].to_numpy(), measured)
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


def errors_logged(text: str) -> Counter[str]:
    """Errors in a service's log: the last line of each traceback, or without any what it says at level ERROR."""
    raised: Counter[str] = Counter()
    within = False
    for line in text.splitlines():
        if line.startswith("Traceback "):
            within = True
        elif within and line[:1] not in ("", " ", "|", "+"):
            within = False
            raised[line[:LINE_LENGTH]] += 1
    return raised or Counter(line.strip()[:LINE_LENGTH] for line in text.splitlines() if _LEVEL.search(line))


def most_logged(launches: list[Counter[str]]) -> dict[str, int]:
    """The most frequent errors in the logs of a cell's launches."""
    total: Counter[str] = Counter()
    for counts in launches:
        total.update(counts)
    return dict(total.most_common(MOST_LOGGED))
