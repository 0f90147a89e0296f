"""The data of the report's figures: one table each, ready to draw.

Every figure is of the measure phase and of the launches that count, like the summary; a table is empty where nothing
was recorded (no probe, no pg_stat_activity). Latencies are of what was offered, failures infinite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.analyse.endpoint_figures import SHARES
from harness.analyse.estimate import geometric_mean, quantiles
from harness.analyse.exact_counts import COUNTED
from harness.analyse.launch_figures import CDF_SHARES, LaunchFigures
from harness.analyse.launches import Launches, median_launch
from harness.analyse.measured import ALL
from harness.domain.holds import PARTS
from harness.domain.prediction import Curve
from harness.domain.tables import OUTCOMES
from harness.domain.verdict import Bounds, CellSummary, EndpointSummary

Columns = Mapping[str, Any]
"""arrays or lists of one length by name; none at all where nothing was recorded"""


def figure_tables(
    cells: Sequence[CellSummary], launches: Launches, curves: Sequence[Curve] = ()
) -> dict[str, pd.DataFrame]:
    """Every figure's table by the figure's name; cells in the given order."""
    measured = {summary.cell.id: launches.of(summary.cell.id) for summary in cells if summary.valid}
    return {
        "latency_percentiles": _latency_percentiles([summary for summary in cells if summary.valid]),
        "latency_cdf": _by_cell(measured, _latency_cdf, ("share", "latency_ms")),
        "latency_over_time": _by_cell(measured, _latency_over_time, ("t_s", "p50_ms", "p95_ms")),
        "connections": _by_cell(measured, _connections, ("t_s", "state", "connections")),
        "breakdown": _by_cell(measured, _breakdown, ("pool_ms", "db_ms", "app_ms", "other_ms", "pool_share")),
        "outcomes": _by_cell(measured, _outcomes, OUTCOMES),
        "prediction": _prediction(curves),
        "holds": _holds([summary for summary in cells if summary.valid]),
        "exact": _by_cell(measured, _exact, tuple(f"{name}_per_request" for name in COUNTED)),
    }


def _by_cell(
    measured: Mapping[str, Sequence[LaunchFigures]],
    draw: Callable[[Sequence[LaunchFigures]], Columns],
    columns: Sequence[str],
) -> pd.DataFrame:
    """One table of what is drawn of each cell: made once, as each table costs more than the little that is in it."""
    drawn = {cell_id: draw(of_cell) for cell_id, of_cell in measured.items()}
    lengths = {cell_id: len(own[columns[0]]) for cell_id, own in drawn.items() if own}
    if not any(lengths.values()):
        return pd.DataFrame({name: [] for name in ("cell_id", *columns)})
    cell_ids = np.repeat(np.array(list(lengths), dtype=object), list(lengths.values()))
    filled = {name: np.concatenate([drawn[cell_id][name] for cell_id in lengths]) for name in columns}
    return pd.DataFrame({"cell_id": cell_ids, **filled})


def _latency_percentiles(cells: Sequence[CellSummary]) -> pd.DataFrame:
    rows = [
        (summary.cell.id, round(100 * share), estimate.value, _or_nan(estimate.low), _or_nan(estimate.high))
        for summary in cells
        for share, estimate in zip(SHARES, _percentiles(summary.all), strict=True)
    ]
    return pd.DataFrame(rows, columns=["cell_id", "percentile", "latency_ms", "low_ms", "high_ms"])


def _or_nan(bound: float | None) -> float:
    return math.nan if bound is None else bound


def _percentiles(figures: EndpointSummary) -> tuple[Bounds, ...]:
    return figures.p50_ms, figures.p90_ms, figures.p95_ms, figures.p99_ms


def _latency_cdf(of_cell: Sequence[LaunchFigures]) -> Columns:
    """Combined over launches as the summary's percentiles are, so that the curve passes through them."""
    by_launch = np.array([launch.cdf_ms for launch in of_cell])
    return {"share": CDF_SHARES, "latency_ms": geometric_mean(by_launch)}


def _latency_over_time(of_cell: Sequence[LaunchFigures]) -> Columns:
    """Requests of all launches by the bin of measured time in which they were intended; t_s is its middle."""
    bin_s = of_cell[0].over_time.bin_s  # launches of a cell measure equally long
    number = np.concatenate([launch.over_time.number for launch in of_cell])
    order = np.argsort(number, kind="stable")
    latency_ms = np.concatenate([launch.over_time.latency_ms for launch in of_cell])[order]
    bins, first = np.unique(number[order], return_index=True)
    shares = np.array([0.50, 0.95])
    figures = np.array([quantiles(np.sort(part), shares) for part in np.split(latency_ms, first[1:])])
    return {"t_s": (bins + 0.5) * bin_s, "p50_ms": figures[:, 0], "p95_ms": figures[:, 1]}


def _connections(of_cell: Sequence[LaunchFigures]) -> Columns:
    """Readings of the launch in the middle by p95, over its own measured time.

    Its segments are glued together: in an interleaved design the turns of the others would be gaps of idleness.
    """
    readings = median_launch(of_cell).connections
    return {
        "t_s": np.repeat(readings.time_s, len(readings.states)),
        "state": np.tile(np.array(readings.states, dtype=object), len(readings.time_s)),
        "connections": readings.counts.ravel(),
    }


def _breakdown(of_cell: Sequence[LaunchFigures]) -> Columns:
    """Means over the served requests that the probe saw.

    Other is what the process never saw: the network, and waiting before the application took the request on.
    """
    figures = [launch.all for launch in of_cell]
    served = sum(own.probed for own in figures)
    if not served:
        return {}
    pool_ms, db_ms, app_ms, latency_ms = (
        sum(sums) / served
        for sums in zip(
            *((own.pool_sum_ms, own.db_sum_ms, own.app_sum_ms, own.latency_sum_ms) for own in figures), strict=True
        )
    )
    row = {
        "pool_ms": pool_ms,
        "db_ms": db_ms,
        "app_ms": app_ms,
        "other_ms": max(0.0, latency_ms - pool_ms - db_ms - app_ms),
        "pool_share": pool_ms / latency_ms,
    }
    return {name: [value] for name, value in row.items()}


def _exact(of_cell: Sequence[LaunchFigures]) -> Columns:
    """What an average request took of the database, exactly; of the first launch that was counted."""
    counted = [launch.exact[ALL] for launch in of_cell if launch.exact]
    return {name: [value] for name, value in counted[0].items()} if counted else {}


def _holds(cells: Sequence[CellSummary]) -> pd.DataFrame:
    """Connections out on average by endpoint and by what is done with them; most first within a cell."""
    rows = [
        (summary.cell.id, own.endpoint, *(own.in_use * own.share(part) for part in PARTS), own.hold_ms)
        for summary in cells
        for own in summary.holds
        if own.holds
    ]
    return pd.DataFrame(rows, columns=["cell_id", "endpoint", *PARTS, "hold_ms"])


def _prediction(curves: Sequence[Curve]) -> pd.DataFrame:
    """What each curve, by its number, predicts of each number of connections; without those that it declines."""
    rows = [
        (place, own.setting.connections, own.latency_ms_p95, own.wait_ms_p95, own.erlang_wait_ms_p95)
        for place, curve in enumerate(curves)
        for own in curve.predicted
        if own.declined is None
    ]
    return pd.DataFrame(rows, columns=["curve", "connections", "latency_ms", "wait_ms", "erlang_ms"])


def _outcomes(of_cell: Sequence[LaunchFigures]) -> Columns:
    counts = np.sum([launch.outcomes for launch in of_cell], axis=0)
    return {outcome: [count] for outcome, count in zip(OUTCOMES, counts, strict=True)}
