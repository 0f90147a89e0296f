"""A report as plain values, for `--json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from harness.domain.gate import GateVerdict
from harness.domain.holds import EndpointHolds
from harness.domain.verdict import CellSummary, EndpointSummary, Report
from harness.present.notes import notes
from harness.present.phrases import verdict_text
from harness.present.prediction_text import predict_dict
from harness.present.progress import rate_text


def as_dict(report: Report) -> Mapping[str, Any]:
    """What a program would want: the verdict, every cell and its endpoints, notes, certificates."""
    info, summary, chosen = report.info, report.summary, report.chosen_rate
    return {
        "run_id": info.run_id,
        "complete": report.complete,
        "rate_rps": info.experiment.load.rate_rps if chosen is None else chosen.rate_rps,
        "rate_source": "given" if chosen is None else rate_text(chosen),
        "model": info.experiment.load.model,
        "verdict": verdict_text(report),
        "state": summary.verdict.state,
        "recommended": None if summary.verdict.recommendation is None else summary.verdict.recommendation.recommended,
        "recommendation": None if summary.verdict.recommendation is None else asdict(summary.verdict.recommendation),
        "smallest_visible": summary.verdict.smallest_visible,
        "pairs": [asdict(pair) for pair in summary.pairs],
        "cells": [_cell(cell) for cell in summary.cells],
        "gate": None if report.gate is None else gate_dict(report.gate),
        "curves": predict_dict(report.curves)["curves"],
        "notes": list(notes(report)),
        "certificates": {trial: asdict(certificate) for trial, certificate in summary.certificates.items()},
        "environment": dict(info.environment),
    }


GATE_SCHEMA_VERSION = 1


def gate_dict(verdict: GateVerdict) -> Mapping[str, Any]:
    """What two sides come to, as `compare` and `gate` print it with --json."""
    return {
        "schema_version": GATE_SCHEMA_VERSION,
        "verdict": verdict.verdict,
        "primary": verdict.primary.metric,
        "metrics": [asdict(own) for own in verdict.rules],
        "smallest_visible": verdict.primary.smallest_visible,
        "launches": {"first": verdict.blocks, "fresh": verdict.fresh_blocks},
        "alarm": verdict.alarm,
        "noise": verdict.noise,
        "paired": verdict.paired,
        "identical": verdict.identical,
        "parts": [asdict(own) for own in verdict.parts],
    }


def _cell(cell: CellSummary) -> Mapping[str, Any]:
    return {
        "id": cell.cell.id,
        "label": cell.cell.label,
        "arm": cell.cell.arm,
        "factors": dict(cell.cell.factors),
        "rank": cell.rank,
        "ties": list(cell.ties),
        **_endpoint(cell.all),
        "versus_best": None if cell.versus_best is None else asdict(cell.versus_best),
        "connections_peak": cell.connections_peak,
        "connections_active_mean": cell.connections_active_mean,
        "cpu_ms_per_request": cell.cpu_ms_per_request,
        "binding": asdict(cell.binding),
        "slo": cell.slo,
        "broke_down": cell.broke_down,
        "slo_instrument": cell.slo_instrument,
        "saturated": cell.saturated,
        "near_its_limit": cell.near_its_limit,
        "from_empty": cell.from_empty,
        "utilisation": cell.utilisation,
        "pool_used_share": cell.pool_used_share,
        "empty_tasks": cell.empty_tasks,
        "valid": cell.valid,
        "findings": list(cell.findings),
        "applied": {key: list(found) for key, found in cell.applied.items()},
        "not_applied": {key: list(found) for key, found in cell.not_applied.items()},
        "failures": [asdict(failure) for failure in cell.failures],
        "logged": dict(cell.logged),
        "versions": [asdict(version) for version in cell.versions],
        "holds": [_holds(own) for own in cell.holds],
        "hold_sites": [asdict(own) for own in cell.hold_sites],
        "cliffs": [asdict(cliff) for cliff in cell.cliffs],
        "in_flight_peak": cell.in_flight_peak,
        "leak": None if cell.leak is None else {**asdict(cell.leak), "empty_after_s": cell.leak.empty_after_s},
        "probe_user": None
        if cell.probe_user is None
        else {
            "endpoint": cell.probe_user.endpoint,
            **_endpoint(cell.probe_user),
            "worst_ms": cell.probe_user_worst_ms,
        },
        "endpoints": [{"endpoint": each.endpoint, **_endpoint(each)} for each in cell.endpoints],
    }


def _holds(own: EndpointHolds) -> Mapping[str, Any]:
    figures = {name: getattr(own, name) for name in ("hold_ms", "statements_per_hold")}
    return {**asdict(own), "seconds": dict(own.seconds), **figures}


def _endpoint(summary: EndpointSummary) -> Mapping[str, Any]:
    return {name: value for name, value in asdict(summary).items() if name not in {"cell_id", "endpoint"}}
