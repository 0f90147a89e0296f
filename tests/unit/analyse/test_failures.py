"""Why requests failed, counted by what came back."""

from __future__ import annotations

from types import ModuleType

import pandas as pd

from harness.analyse import analyse


def test_failures_are_named_most_frequent_first_and_of_the_measurement_alone(build: ModuleType) -> None:
    warmup = build.segment(0, phase="warmup")
    measured = build.segment(1)
    early = build.rows([10.0] * 20, segment=0, outcome=["error"] * 20).assign(error=pd.Categorical(["HTTP 500"] * 20))
    kinds = ["ok"] * 50 + ["error"] * 30 + ["timeout"] * 15 + ["dropped"] * 5
    late = build.rows([10.0] * 100, segment=1, outcome=kinds, start_ns=build.START_NS + 1_000_000_000)
    messages = [""] * 50 + ["HTTP 503"] * 30 + ["timeout"] * 15 + [""] * 5
    late = late.assign(error=pd.Categorical(messages))
    rows = pd.concat([early, late], ignore_index=True).astype({"error": "category"})
    trials = [build.trial(build.cell(), block, rows, segments=[warmup, measured]) for block in (1, 2)]
    (summary,) = analyse(build.run(trials)).summary.cells
    found = [(own.outcome, own.message, own.count) for own in summary.failures]
    assert found == [("error", "HTTP 503", 60), ("timeout", "timeout", 30), ("dropped", "", 10)]


def test_a_service_without_failures_has_none(build: ModuleType) -> None:
    (summary,) = analyse(build.run([build.trial(build.cell(), 1, build.rows([10.0] * 50))])).summary.cells
    assert summary.failures == ()
