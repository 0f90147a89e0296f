"""What a service's processes have of each setting, beside what the experiment has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from harness.domain.verdict import Report
from harness.present.html import render_html
from harness.present.phrases import verdict_text
from harness.present.view import applied_rows


def with_cells(report: Report, **changes: Mapping[str, Any]) -> Report:
    cells = tuple(replace(cell, **changes) for cell in report.summary.cells)
    return replace(report, summary=replace(report.summary, cells=cells))


def test_a_setting_has_a_row_for_each_value_of_the_experiment(make_report: Callable[..., Report]) -> None:
    found = {"pool.pool_size": (5,), "session.expire_on_commit": (), "target.driver": ("asyncpg", "psycopg2")}
    report = with_cells(make_report(drivers=1, sizes=2, figures=False), applied=found)
    assert applied_rows(report) == (
        ("pool.pool_size", "2", "5"),
        ("pool.pool_size", "5", "5"),
        ("session.expire_on_commit", "False", "not known"),
        ("target.driver", "asyncpg", "asyncpg, psycopg2"),
    )
    html = render_html(report).decode()
    assert "<td><code>session.expire_on_commit</code></td><td>False</td><td>not known</td>" in html


def test_a_report_of_which_nothing_was_read_back_says_nothing(make_report: Callable[..., Report]) -> None:
    assert "What took effect" not in render_html(make_report(drivers=1, sizes=1, figures=False)).decode()


def test_connections_alone_say_that_a_pool_is_another(make_report: Callable[..., Report]) -> None:
    report = with_cells(make_report(drivers=1, sizes=2), not_applied={"connections": (9,)})
    verdict = replace(report.summary.verdict, state="not_applied", recommendation=None)
    assert verdict_text(replace(report, summary=replace(report.summary, verdict=verdict))) == (
        "Nothing can be concluded: up to 9 connections were open, more than the pools of the experiment allow. Let the "
        "service take the setting from its environment (docs/formats.md names the variables), and run again."
    )
