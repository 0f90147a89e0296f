"""The rows of summary.csv."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pandas as pd

from harness.domain.cell import Cell
from harness.domain.evidence import Run, RunInfo
from harness.domain.verdict import CellSummary, EndpointSummary, Summary

SETTINGS = {
    "driver": "target.driver",
    "workers": "target.workers",
    "pool_size": "pool.pool_size",
    "max_overflow": "pool.max_overflow",
    "pool_timeout_s": "pool.pool_timeout_s",
    "pool_pre_ping": "pool.pool_pre_ping",
    "pool_recycle_s": "pool.pool_recycle_s",
    "expire_on_commit": "session.expire_on_commit",
    "scenario": "load.scenario",
    "model": "load.model",
    "rate_rps": "load.rate_rps",
}
"""Columns that are always there, whether the matrix varies them or not, and the key each stands for."""


def summary_rows(run: Run, summary: Summary) -> pd.DataFrame:
    """One row per cell and endpoint ("*" = all), best cell first.

    The varied settings that are not among SETTINGS come before these, under the last word of their key, or under the
    whole key where that word would stand twice.
    """
    varied = _varied_columns(run.info)
    rows = [
        {"cell": own.cell.id, "endpoint": figures.endpoint}
        | _factors(own.cell, varied)
        | _settings(own.cell)
        | _figures(own, figures)
        for own in summary.cells
        for figures in (own.all, *own.endpoints, *(() if own.probe_user is None else (own.probe_user,)))
    ]
    return pd.DataFrame(rows)


def _varied_columns(info: RunInfo) -> dict[str, str]:
    """Column name by key, for the varied keys that have no column of their own."""
    keys = list(dict.fromkeys(key for cell in info.cells for key, _ in cell.factors))
    others = [key for key in keys if key not in SETTINGS.values()]
    words_used = Counter([*SETTINGS, "cell", "endpoint", *(_short_key(key) for key in others)])
    return {key: _short_key(key) if words_used[_short_key(key)] == 1 else key for key in others}


def _factors(cell: Cell, varied: dict[str, str]) -> dict[str, Any]:
    values = dict(cell.factors)
    return {column: values.get(key) for key, column in varied.items()}


def _settings(cell: Cell) -> dict[str, Any]:
    """The cell's values; None for a setting that the service decides for itself."""
    found = {}
    for column, key in SETTINGS.items():
        section, name = key.split(".")
        is_known = section == "load" or (cell.takes_settings and cell.has_say(key))
        found[column] = getattr(getattr(cell, section), name) if is_known else None
    return found | {"rate_rps": cell.rate_rps}


def _short_key(key: str) -> str:
    """ "pool.pool_size" -> "pool_size" """
    return key.rsplit(".", 1)[-1]


def _figures(own: CellSummary, figures: EndpointSummary) -> dict[str, Any]:
    seen = not math.isnan(own.connections_active_mean)
    promise = own.slo if figures is own.all else figures.slo
    return {
        "launches": figures.launches,
        "requests": figures.requests,
        "achieved_rps": figures.achieved_rps,
        "carried_rps": figures.carried_rps,
        "goodput_rps": figures.goodput_rps,
        "p50_ms": figures.p50_ms.value,
        "p50_low_ms": figures.p50_ms.low,
        "p50_high_ms": figures.p50_ms.high,
        "p90_ms": figures.p90_ms.value,
        "p95_ms": figures.p95_ms.value,
        "p95_low_ms": figures.p95_ms.low,
        "p95_high_ms": figures.p95_ms.high,
        "p95_bound_low_ms": figures.p95_bound_low_ms,
        "p99_ms": figures.p99_ms.value,
        "served_p99_ms": figures.served_p99_ms,
        "error_rate": figures.error_rate,
        "dropped": figures.dropped,
        "pool_wait_p95_ms": figures.pool_ms_p95,
        "connections_peak": own.connections_peak if seen else None,
        "connections_active_mean": own.connections_active_mean,
        "cpu_ms_per_request": own.cpu_ms_per_request,
        "binds": own.binding.resource,
        "slo_met": {"met": True, "not_met": False}.get(promise or "", promise),
        "saturated": own.saturated,
        "from_empty": own.from_empty,
        "turns": own.turns,
        "arm": own.cell.arm,
        "empty_tasks": own.empty_tasks,
        "not_applied": ";".join(own.not_applied),
        "valid": own.valid,
        "findings": ";".join(own.findings),
    }
