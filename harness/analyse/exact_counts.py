"""What a request takes of the database, exactly: counted by the probe, not sampled."""

from __future__ import annotations

import pandas as pd

_COUNTED = ("statements", "transactions", "checkouts", "round_trips")


def per_request(counts: pd.DataFrame) -> pd.DataFrame:
    """What a request took on average, by endpoint ("GET /heroes/{hero_id}") and status, over the rows given.

    Columns: endpoint, status, requests, statements_per_request, transactions_per_request, checkouts_per_request,
    round_trips_per_request. What was unknown of one request is NaN.
    """
    endpoint = counts["method"].astype(str) + " " + counts["route"].astype(str)
    sums = (
        counts.assign(endpoint=endpoint)
        .groupby(["endpoint", "status"])[["requests", *_COUNTED]]
        .sum(skipna=False)
        .reset_index()
    )
    shares = {f"{name}_per_request": sums[name].astype("float64") / sums["requests"] for name in _COUNTED}
    return sums[["endpoint", "status", "requests"]].assign(**shares)
