"""What whoever publishes a run relies on, of every renderer there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.domain.verdict import Report, Verdict
from harness.present import RENDERERS

MakeReport = Callable[..., Report]
Render = Callable[[Report], bytes]


@pytest.fixture(params=RENDERERS)
def render(request: pytest.FixtureRequest) -> Render:
    return RENDERERS[request.param]


def test_the_same_report_gives_the_same_bytes(render: Render, make_report: MakeReport) -> None:
    """A report made again differs where its evidence or poolbench does, and nowhere else."""
    page = render(make_report(failing=frozenset({5}), figures=False))
    assert isinstance(page, bytes)
    assert page == render(make_report(failing=frozenset({5}), figures=False))


def test_a_run_that_was_cut_before_its_first_trial_is_rendered(render: Render, make_report: MakeReport) -> None:
    report = make_report(figures=False)
    nothing = Verdict(state="nothing_complete", cell_id=None, recommendation=None, smallest_visible=None)
    coverage = replace(report.summary.coverage, measured=0, fewest_requests=None, postgres_processes=None)
    summary = replace(report.summary, cells=(), pairs=(), certificates={}, coverage=coverage, verdict=nothing)
    empty = render(replace(report, summary=summary, series={}, complete=False))
    assert empty
    assert empty != render(report)
