"""Values to bytes: the terminal's tables and the files that can be made again from a run's folder at any time.

A renderer is one function of a `Report`; a new one is a new file and a line in `RENDERERS`.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.domain.verdict import Report
from harness.present.baselines_text import baseline_table, baselines_dict
from harness.present.budget import budget_dict, budget_page
from harness.present.capacity_plan import assumptions, capacity_plan_dict, plan_text
from harness.present.capacity_text import capacity_dict
from harness.present.check_text import check_dict, check_table
from harness.present.ci import GATE_SCHEMA, gate_markdown, gated_of, github_lines, junit_xml
from harness.present.claims_page import findings_page
from harness.present.claims_text import (
    CLAIMS_SCHEMA_VERSION,
    behaviour_dict,
    behaviour_text,
    claim_called,
    claim_dict,
    claim_text,
    seen_lines,
    settled_dict,
    settled_text,
)
from harness.present.discovered_text import discovered_texts
from harness.present.export import benchmark_entries, left_out_text
from harness.present.gate_text import FROZEN, RUN_OR_COMPARE, comparison_text
from harness.present.html import render_capacity, render_html, render_plan, render_tune
from harness.present.plan_notes import crowded_text, plan_notes, working_tree_text
from harness.present.prediction_text import predict_dict, predict_page
from harness.present.progress import rate_text
from harness.present.summary_json import as_dict, gate_dict
from harness.present.terminal import plan_table, print_capacity, print_gate, print_report, print_tune
from harness.present.tune_text import tune_dict

RENDERERS: dict[str, Callable[[Report], bytes]] = {"report.html": render_html}
"""File name in the run's folder -> what writes it."""

__all__ = [
    "CLAIMS_SCHEMA_VERSION",
    "FROZEN",
    "GATE_SCHEMA",
    "RENDERERS",
    "RUN_OR_COMPARE",
    "as_dict",
    "assumptions",
    "baseline_table",
    "baselines_dict",
    "behaviour_dict",
    "behaviour_text",
    "benchmark_entries",
    "budget_dict",
    "budget_page",
    "capacity_dict",
    "capacity_plan_dict",
    "check_dict",
    "check_table",
    "claim_called",
    "claim_dict",
    "claim_text",
    "comparison_text",
    "crowded_text",
    "discovered_texts",
    "findings_page",
    "gate_dict",
    "gate_markdown",
    "gated_of",
    "github_lines",
    "junit_xml",
    "left_out_text",
    "plan_notes",
    "plan_table",
    "plan_text",
    "predict_dict",
    "predict_page",
    "print_capacity",
    "print_gate",
    "print_report",
    "print_tune",
    "rate_text",
    "render_capacity",
    "render_html",
    "render_plan",
    "render_tune",
    "seen_lines",
    "settled_dict",
    "settled_text",
    "tune_dict",
    "working_tree_text",
]
