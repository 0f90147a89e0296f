"""What a request takes of the database, exactly: counted by the probe, not sampled."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.analyse.measured import ALL
from harness.domain.gate import Histogram, Taken
from harness.domain.load import Segment

COUNTED = ("statements", "transactions", "checkouts", "round_trips")


def exact_of(counts: pd.DataFrame, segments: Sequence[Segment]) -> Mapping[str, Mapping[str, float]]:
    """What an average request of these segments took, by endpoint and metric ("statements_per_request").

    Endpoints are "*", each as the app spells it ("GET /heroes/{hero_id}"), and each with a status behind it ("GET
    /heroes/{hero_id} 404"). Empty where none was counted, NaN where the driver does not show it.
    """
    rows = _by_endpoint(counts, segments)
    return {endpoint: _per_request(own) for endpoint, own in rows.items()}


def taken_of(counts: pd.DataFrame, segments: Sequence[Segment]) -> Mapping[str, Mapping[str, Taken]]:
    """How many requests of these segments took how many, likewise.

    Left out are round trips that a statement takes the first time that a connection meets it. Without what is not
    known, because requests were too unlike, the driver does not show it, or the run was made before it was kept.
    """
    rows = _by_endpoint(counts, segments)
    return {endpoint: _taken(own) for endpoint, own in rows.items()}


_Row = Mapping[Any, Any]


def _by_endpoint(counts: pd.DataFrame, segments: Sequence[Segment]) -> Mapping[str, list[_Row]]:
    """The rows of these segments that have requests, under each of their endpoint's names."""
    found: dict[str, list[_Row]] = {}
    numbers = {segment.index for segment in segments}
    # a few dozen rows at most, for which pandas takes many times as long
    for row in counts.to_dict("records") if len(counts) else ():
        if row["segment"] in numbers and row["requests"]:
            endpoint = f"{row['method']} {row['route']}"
            for name in (ALL, endpoint, f"{endpoint} {row['status']}"):
                found.setdefault(name, []).append(row)
    return found


def _per_request(rows: Sequence[_Row]) -> Mapping[str, float]:
    requests = sum(row["requests"] for row in rows)
    return {f"{name}_per_request": float(sum(row[name] for row in rows)) / requests for name in COUNTED}


def _taken(rows: Sequence[_Row]) -> Mapping[str, Taken]:
    if not all(row["alike"] is True for row in rows):
        return {}
    used, fresh = ([row for row in rows if row["fresh"] is kind] for kind in (False, True))
    found = {name: Taken(used=_histogram(used, name), fresh=_histogram(fresh, name)) for name in COUNTED}
    return {
        f"{name}_per_request": own
        for name, own in found.items()
        if not any(math.isnan(value) for value, _ in (*own.used, *own.fresh))
    }


def _histogram(rows: Sequence[_Row], name: str) -> Histogram:
    taken: Counter[float] = Counter()
    for row in rows:
        first = row["first_round_trips"] if name == "round_trips" else 0
        taken[(row[name] - first) / row["requests"]] += row["requests"]
    return tuple(sorted(taken.items()))
