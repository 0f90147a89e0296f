"""Rules of a gate as they stand in a file: read whole, and mistakes named by line, key and what was meant."""

from __future__ import annotations

import pytest

from harness.domain.experiment import Gate, Rule
from harness.errors import UsageError
from harness.plan import parse_experiment

HEAD = 'schema_version = 1\nname = "x"\n[load]\nrate_rps = 10\n'


def gate(text: str) -> Gate:
    return parse_experiment(HEAD + text, source="x.toml").gate


def test_rules_are_read_in_their_order() -> None:
    found = gate(
        '[gate]\nmargin = "5%"\n[[gate.rule]]\nmetric = "p99_ms"\nmax = 500\n'
        '[[gate.rule]]\nmetric = "statements_per_request"\nendpoint = "GET /heroes 200"\nmax_increase = 1\n'
    )
    assert found.margin == "5%"
    assert found.rule == (
        Rule(metric="p99_ms", max=500.0),
        Rule(metric="statements_per_request", endpoint="GET /heroes 200", max_increase=1.0),
    )


@pytest.mark.parametrize(
    ("text", "cause", "next_step"),
    [
        ('[[gate.rule]]\nmetrics = "p95_ms"', "unknown key 'gate.rule.metrics'", "Did you mean 'gate.rule.metric'?"),
        ('[[gate.rule]]\nmargin = "5%"', "gate.rule.metric is missing", "Add gate.rule.metric"),
        (
            '[[gate.rule]]\nmetric = "p95_ms"\n[[gate.rule]]\nmetric = "p99_ms"\nmargin = 5',
            "gate.rule.margin must be text in quotes, not 5",
            "Change gate.rule.margin",
        ),
        ("[gate]\nrule = 5", "gate.rule must be a list, not 5", "Change gate.rule"),
        ('[gate]\non_inconclusive = "maybe"', "gate.on_inconclusive must be one of 'pass' or 'fail'", "Change"),
        ("[gate]\nstage_limit_s = 0", "gate.stage_limit_s must be more than 0, not 0", "Change"),
        ('[gate]\nprimry = "p95_ms"', "unknown key 'gate.primry'", "Did you mean 'gate.primary'?"),
    ],
)
def test_mistakes(text: str, cause: str, next_step: str) -> None:
    with pytest.raises(UsageError) as refused:
        gate(text)
    assert cause in refused.value.cause
    assert refused.value.cause.startswith("x.toml:")
    assert next_step in refused.value.next_step
