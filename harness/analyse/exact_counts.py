"""What a request takes of the database, exactly: counted by the probe, not sampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from harness.analyse.measured import ALL
from harness.domain.load import Segment

COUNTED = ("statements", "transactions", "checkouts", "round_trips")


def exact_of(counts: pd.DataFrame, segments: Sequence[Segment]) -> Mapping[str, Mapping[str, float]]:
    """What an average request of these segments took, by endpoint and metric ("statements_per_request").

    Endpoints are "*", each as the app spells it ("GET /heroes/{hero_id}"), and each with a status behind it ("GET
    /heroes/{hero_id} 404"). Empty where none was counted, NaN where the driver does not show it.
    """
    if counts.empty:
        return {}
    own = counts[counts["segment"].isin([segment.index for segment in segments])]
    if not own["requests"].sum():
        return {}
    endpoint = own["method"].astype(str) + " " + own["route"].astype(str)
    sums: dict[str, Mapping[str, float]] = {ALL: _per_request(own)}
    for name in (endpoint, endpoint + " " + own["status"].astype(str)):
        sums |= {str(key): _per_request(rows) for key, rows in own.groupby(name)}
    return sums


def _per_request(rows: pd.DataFrame) -> Mapping[str, float]:
    requests = int(rows["requests"].sum())
    return {f"{name}_per_request": float(rows[name].sum(skipna=False)) / requests for name in COUNTED}
