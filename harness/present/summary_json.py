"""A report as plain values, for `--json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from harness.domain.verdict import CellSummary, EndpointSummary, Report


def as_dict(report: Report) -> Mapping[str, Any]:
    """What a program would want: the verdict, every cell and its endpoints, notes, certificates."""
    info, summary = report.info, report.summary
    return {
        "run_id": info.run_id,
        "complete": report.complete,
        "rate_rps": info.rate_rps,
        "rate_source": info.rate_source,
        "model": info.experiment.load.model,
        "verdict": summary.verdict,
        "cells": [_cell(cell) for cell in summary.cells],
        "notes": list(summary.notes),
        "certificates": {trial: asdict(certificate) for trial, certificate in summary.certificates.items()},
        "environment": dict(info.environment),
    }


def _cell(cell: CellSummary) -> Mapping[str, Any]:
    return {
        "id": cell.cell.id,
        "label": cell.cell.label,
        "factors": dict(cell.cell.factors),
        "rank": cell.rank,
        "tied": cell.tied,
        **_endpoint(cell.all),
        "versus_best": None if cell.versus_best is None else asdict(cell.versus_best),
        "connections_peak": cell.connections_peak,
        "connections_active_mean": cell.connections_active_mean,
        "cpu_ms_per_request": cell.cpu_ms_per_request,
        "slo_met": cell.slo_met,
        "valid": cell.valid,
        "findings": list(cell.findings),
        "endpoints": [{"endpoint": each.endpoint, **_endpoint(each)} for each in cell.endpoints],
    }


def _endpoint(summary: EndpointSummary) -> Mapping[str, Any]:
    return {name: value for name, value in asdict(summary).items() if name not in {"cell_id", "endpoint"}}
