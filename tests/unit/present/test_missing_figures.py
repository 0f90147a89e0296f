"""What stands where a figure has nothing to draw: why, and never a reason that the data contradict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.domain.experiment import Observe, Target
from harness.domain.verdict import Report
from harness.present.figures import FIGURES, draw

MakeReport = Callable[..., Report]
ABOUT = {
    "latency_percentiles": "There is no latency to show: ",
    "latency_cdf": "There is no latency to show: ",
    "latency_over_time": "There is no latency to show: ",
    "connections": "There are no connections to show: ",
    "breakdown": "There is no latency to divide: ",
    "holds": "Nobody is known to have held a connection: ",
    "prediction": "Nothing can be predicted: ",
    "outcomes": "There are no arrivals to show: ",
}


def missing(report: Report, **kept: object) -> dict[str, str]:
    report = replace(report, series=kept)
    return {kind.series: draw(kind, report).missing for kind in FIGURES}


@pytest.mark.parametrize(("measured", "why"), [(True, "no launch is valid."), (False, "no launch is complete.")])
def test_without_a_launch_that_counts_that_is_the_reason(make_report: MakeReport, measured: bool, why: str) -> None:
    report = make_report(drivers=1, sizes=1, invalid=frozenset({0}))
    if not measured:
        report = replace(report, summary=replace(report.summary, certificates={}))
    assert missing(report) == {series: about + why for series, about in ABOUT.items()}


def test_with_a_launch_that_counts_each_figure_has_a_reason_of_its_own(make_report: MakeReport) -> None:
    assert missing(make_report(drivers=1)) == {
        "latency_percentiles": "There is no latency to show: no arrival was measured.",
        "latency_cdf": "There is no latency to show: no arrival was measured.",
        "latency_over_time": "There is no latency to show: no arrival was measured.",
        "connections": "Connections could not be seen: pg_stat_activity gave nothing.",
        "breakdown": "Pool wait could not be seen: no good answer carried the probe's figures.",
        "holds": "No request had a connection of a pool that the probe can see.",
        "prediction": "Nothing is predicted: sides are compared.",
        "outcomes": "No arrival failed: no errors, timeouts or drops.",
    }


def test_without_the_probe_that_is_the_reason(make_report: MakeReport) -> None:
    report = make_report(drivers=1)
    info = replace(report.info, experiment=replace(report.info.experiment, observe=Observe(probe=False)))
    said = missing(replace(report, info=info))
    assert said["breakdown"] == "Pool wait could not be seen: the target ran without the probe."
    assert said["holds"] == "Who held connections could not be seen: the target ran without the probe."


def test_of_a_service_that_ran_already_neither_probe_nor_sampler_is_blamed(make_report: MakeReport) -> None:
    report = make_report(drivers=1)
    cells = tuple(replace(cell, target=Target(url="http://shop")) for cell in report.info.cells)
    said = missing(replace(report, info=replace(report.info, cells=cells)))
    assert said["connections"] == "Connections could not be seen: the service ran already, and its database is its own."
    assert said["breakdown"] == "Pool wait could not be seen: the service ran already, without the probe."
    assert said["holds"] == "Who held connections could not be seen: the service ran already, without the probe."
