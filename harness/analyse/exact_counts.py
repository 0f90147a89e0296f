"""What a request takes of the database, exactly: counted by the probe, not sampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from harness.domain.load import Segment

COUNTED = ("statements", "transactions", "checkouts", "round_trips")


def exact_of(counts: pd.DataFrame, segments: Sequence[Segment]) -> Mapping[str, float]:
    """What an average request of these segments took, by metric ("statements_per_request").

    Empty where none was counted, NaN where the driver does not show it.
    """
    own = counts[counts["segment"].isin([segment.index for segment in segments])]
    requests = int(own["requests"].sum())
    if not requests:
        return {}
    return {f"{name}_per_request": float(own[name].sum(skipna=False)) / requests for name in COUNTED}


def per_request(counts: pd.DataFrame) -> pd.DataFrame:
    """What a request took on average, by endpoint ("GET /heroes/{hero_id}") and status, over the rows given.

    Columns: endpoint, status, requests, statements_per_request, transactions_per_request, checkouts_per_request,
    round_trips_per_request. What was unknown of one request is NaN.
    """
    endpoint = counts["method"].astype(str) + " " + counts["route"].astype(str)
    sums = (
        counts.assign(endpoint=endpoint)
        .groupby(["endpoint", "status"])[["requests", *COUNTED]]
        .sum(skipna=False)
        .reset_index()
    )
    shares = {f"{name}_per_request": sums[name].astype("float64") / sums["requests"] for name in COUNTED}
    return sums[["endpoint", "status", "requests"]].assign(**shares)
