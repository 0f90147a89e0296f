"""A run's figures in the forms of other programs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from harness.domain.verdict import Bounds, CellSummary, EndpointSummary, Report
from harness.present.numbers import UNKNOWN, interval
from harness.present.view import quantity

Entry = Mapping[str, Any]


def benchmark_entries(report: Report) -> tuple[list[Entry], list[str]]:
    """What `github-action-benchmark` reads as customSmallerIsBetter, and the names of figures that are no number.

    A figure is infinite where too much failed. JSON has no such number, and a large one would be made up: the failed
    share, which is always there, tells of it.
    """
    entries: list[Entry] = []
    left_out: list[str] = []
    for cell in report.summary.cells:
        for entry in _entries(cell):
            if math.isfinite(entry["value"]):
                entries.append(entry)
            elif math.isinf(entry["value"]):
                left_out.append(entry["name"])
    return entries, left_out


def left_out_text(names: list[str]) -> str:
    """What is said of figures that the form cannot hold."""
    return f"infinite figures are left out, since too much failed: {', '.join(names)}"


def _entries(cell: CellSummary) -> Iterator[Entry]:
    if not cell.valid:
        return
    for summary in (cell.all, *cell.endpoints):
        yield from _latencies(cell.cell.label, summary)
    yield _entry(cell.cell.label, "CPU a request", "ms", cell.cpu_ms_per_request)


def _latencies(label: str, summary: EndpointSummary) -> Iterator[Entry]:
    of = "" if summary.endpoint == "*" else f" of {summary.endpoint}"
    for name, bounds in (("p50", summary.p50_ms), ("p95", summary.p95_ms), ("p99", summary.p99_ms)):
        yield _entry(label, f"{name}{of}", "ms", bounds.value, bounds, launches=summary.launches)
    yield _entry(label, f"failed{of}", "%", 100 * summary.error_rate, launches=summary.launches)


def _entry(
    label: str, name: str, unit: str, value: float, bounds: Bounds | None = None, *, launches: int | None = None
) -> Entry:
    entry = {"name": f"{label}: {name}", "unit": unit, "value": value}
    if (known := interval(bounds)) != UNKNOWN:
        entry["range"] = known
    if launches is not None:
        entry["extra"] = quantity(launches, "launch")
    return entry
