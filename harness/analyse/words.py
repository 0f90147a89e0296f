"""How settings, figures and loads are named in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.domain.evidence import RunInfo
from harness.domain.experiment import Cell, Slo
from harness.domain.verdict import EndpointSummary, Estimate


def number(value: float) -> str:
    """Three significant digits, never in powers of ten."""
    if not math.isfinite(value):
        return "infinite" if math.isinf(value) else "unknown"
    if value == 0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{value:,.0f}" if digits <= 0 else f"{round(value, digits):.{min(digits, 6)}f}"


def percent(share: float) -> str:
    """A share as a percentage of three significant digits, without idle zeros."""
    text = number(100 * share)
    return (text.rstrip("0").rstrip(".") if "." in text else text) + " %"


def short_key(key: str) -> str:
    """ "pool.pool_size" -> "pool_size" """
    return key.rsplit(".", 1)[-1]


def settings(cell: Cell) -> str:
    """The varied settings of a cell: "driver asyncpg, pool_size 5"; its label when nothing is varied."""
    named = [f"{short_key(key)} {_value(value)}" for key, value in cell.factors]
    return ", ".join(named) or cell.label


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def rate_rps(cell: Cell, info: RunInfo) -> float | None:
    """The arrivals a second that a cell is offered; None in the closed model."""
    if cell.load.model == "closed":
        return None
    return cell.load.rate_rps if cell.load.rate_rps is not None else info.rate_rps


def load(cells: Sequence[Cell], info: RunInfo) -> str:
    """The load that the cells share, as "at 300 arrivals/s of mixed"."""
    loads = {(cell.load.model, rate_rps(cell, info), cell.load.users, cell.load.scenario) for cell in cells}
    if len(loads) != 1:
        return "under its own load"
    model, rate, users, scenario = next(iter(loads))
    if model == "closed":
        return f"with {users} users of {scenario} (closed: latency from send)"
    return f"at {'an unknown number of' if rate is None else f'{rate:g}'} arrivals/s of {scenario}"


def p95(figures: EndpointSummary) -> str:
    """The p95 with its interval, or why there is none."""
    value = f"p95 {number(figures.p95_ms.value)} ms"
    if math.isfinite(figures.p95_ms.low):
        return f"{value} (95 % interval {interval(figures.p95_ms)} ms over {figures.launches} launches)"
    return f"{value} (one launch, so no interval)" if figures.launches == 1 else value


def interval(estimate: Estimate) -> str:
    """ "11.0 to 13.8" """
    return f"{number(estimate.low)} to {number(estimate.high)}"


def promise(slo: Slo) -> str:
    """The SLO as "p95 at most 50 ms, at most 1 % failed"."""
    limits = (("p50", slo.p50_ms), ("p95", slo.p95_ms), ("p99", slo.p99_ms))
    parts = [f"{name} at most {limit:g} ms" for name, limit in limits if limit is not None]
    failed = [] if slo.error_rate is None else [f"at most {percent(slo.error_rate)} failed"]
    return ", ".join([*parts, *failed])


def listed(names: Sequence[str], most: int = 4) -> str:
    """Names in a row, the many cut short: "a; b and 3 more"."""
    more = len(names) - most
    return "; ".join(names) if more <= 0 else f"{'; '.join(names[:most])} and {more} more"
