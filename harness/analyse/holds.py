"""How requests held connections, by endpoint: what the probe counted, over the launches of a cell."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.domain.holds import PARTS, EndpointHolds, HoldSite
from harness.domain.load import Segment


def measured_holds(holds: pd.DataFrame, segments: Sequence[Segment]) -> pd.DataFrame:
    """The rows of these segments, with their endpoints and the seconds of each part."""
    if holds.empty:  # of a launch without the probe, and of a run of before
        return holds
    own = of_segments(holds, segments)
    return own.assign(
        endpoint=endpoints_of(own),
        query=own["query_s"],
        idle_transaction=own["idle_transaction_s"],
        idle=own["hold_s"] - own["query_s"] - own["idle_transaction_s"],
        after=own["after_s"],
    )


def holds_of(launches: Sequence[pd.DataFrame], seconds: float) -> tuple[EndpointHolds, ...]:
    """By endpoint, the one with most connections out first; nothing where none was seen.

    Args:
        launches: `measured_holds` of each.
        seconds: measured in them all.
    """
    seen = [own for own in launches if len(own)]
    if not seen or not seconds:
        return ()
    found = [_endpoint(str(name), rows, seconds) for name, rows in pd.concat(seen).groupby("endpoint")]
    return tuple(sorted(found, key=lambda own: (-own.in_use, own.endpoint)))


def sites_of(launches: Sequence[pd.DataFrame]) -> tuple[HoldSite, ...]:
    """By endpoint and line of the service, those whose connections are held longest in all first.

    Args:
        launches: the measured rows of SITE_COLUMNS of each.
    """
    seen = [own for own in launches if len(own)]
    if not seen:
        return ()
    rows = pd.concat(seen)
    groups = rows.groupby([endpoints_of(rows), rows["site"].astype(str)])
    sums = groups.agg(holds=("holds", "sum"), held_s=("held_s", "sum"), longest_s=("longest_s", "max"))
    found = [
        HoldSite(endpoint=endpoint, site=site, holds=int(holds), held_s=float(held_s), longest_s=float(longest_s))
        for (endpoint, site), holds, held_s, longest_s in sums.itertuples()
    ]
    return tuple(sorted(found, key=lambda own: (-own.held_s, own.endpoint, own.site)))


def of_segments(rows: pd.DataFrame, segments: Sequence[Segment]) -> pd.DataFrame:
    return rows if rows.empty else rows[rows["segment"].isin([segment.index for segment in segments])]


def endpoints_of(rows: pd.DataFrame) -> pd.Series:
    """ "GET /heroes/{hero_id}", as the app spells it."""
    return rows["method"].astype(str) + " " + rows["route"].astype(str)


def _endpoint(name: str, rows: pd.DataFrame, seconds: float) -> EndpointHolds:
    spent = {part: max(0.0, float(rows[part].sum())) for part in PARTS}  # rounding may leave an idle part below nothing
    return EndpointHolds(
        endpoint=name,
        requests=int(rows["requests"].sum()),
        connections=int(rows["connections"].max()),
        left=int(rows["left"].sum()),
        holds=int(rows["holds"].sum()),
        on_loop=int(rows["on_loop"].sum()),
        threads=int(rows["threads"].sum()),
        statements=int(rows["statements"].sum()),
        seconds=spent,
        in_use=sum(spent.values()) / seconds,
    )
