"""Rules of a gate as the analysis would hand them over: what tests of their words and forms begin with."""

from __future__ import annotations

from harness.domain.gate import RuleVerdict

P95 = RuleVerdict(
    kind="statistical",
    metric="p95_ms",
    endpoint="*",
    scale="ratio",
    base=20.0,
    head=21.0,
    effect=0.05,
    low=-0.02,
    high=0.12,
    verdict="inconclusive",
    smallest_visible=0.11,
)
STATEMENTS = RuleVerdict(
    kind="exact",
    metric="statements_per_request",
    endpoint="GET /teams 200",
    scale="difference",
    base=2.0,
    head=4.0,
    effect=2.0,
    low=None,
    high=None,
    verdict="regressed",
)
