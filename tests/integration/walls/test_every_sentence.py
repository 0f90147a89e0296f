"""No sentence without a test: each one that a report can say is quoted by a test of the data it is said of.

They are worded in `present` and its template, and those of the certificates in `analyse`.
"""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Iterator, Set
from pathlib import Path

import pytest

import harness.analyse
import harness.present

TRUE_OF_ALL_DATA = {
    "this machine, at worst",  # a row of a table: tested by its cells
    "launched in this order",  # heads and legends
    "pool wait\np95, ms",
    "CPU of\na core, %",
    "pool_size + max_overflow",
    "\u2026 \u2026 (pool_size + max_overflow)",
    "idle in transaction (aborted)",
    "waiting for a connection",
    "elsewhere (network, server, queue)",
    "share of the mean latency of served requests, %",
    "failed share of offered arrivals, %",
    "Latency percentiles by cell",  # titles and captions: what a figure is, whatever it shows
    "The whole distribution, tail stretched",
    "Pool wait as a share of latency",
    "Share of arrivals that failed",
    "Who holds the connections",
    "connections out on average",
    "after the response had started",
    "Each dot is a percentile of what was offered, a bar through it",
    "The share of arrivals answered within a time: a panel's own cell in blue",
    "Median and 95th percentile as the measurement went on",
    "What Postgres saw of each cell's connections in the launch in the middle by p95",
    "Where the mean latency was spent; a long hatched part is time lost",
    "The share of offered arrivals that got no good answer, by what happened to them.",
    "Connections that an endpoint has out on average and gives back, by what is done with them",
    "What other sizes of the pool would come to",
    "The requests of one measured cell sent through pools of other sizes, by an exact simulation",
    "connections of a worker",
    "wait for a connection, predicted",
    "wait by Erlang's C",
    "Erlang C\nwait, ms",
}
TRUE_OF_ALL_REPORTS = """
pool wait p95, ms

p99 of served, ms

How to read this

Failures are infinitely slow

CPU, ms per request

Small figures are 95 % intervals over launches. \u201cNot apart from\u201d names the ranks of the cells that the
measurement cannot tell this one apart from; such ties are pairs, not groups. \u221e means that more arrivals failed
than the percentile leaves room for.

Percentiles are of what was offered. An arrival that failed, timed out, was dropped or never finished counts as
slower than any other, so that failing fast never ranks first. \u201cp99 of served\u201d leaves failures out.

The 95 % interval says where the figure would lie in further launches; it is computed over launches, never over
requests, because requests of one launch share its luck.

Two cells are not told apart when the interval of the ratio of their p95 includes 1, with all that the instrument
may have added or with none of it. All pairs are compared at once, with the noise of all cells and launches, so that
equal cells are told apart in at most one run in twenty.

A queue that had not settled (from_empty) would be longer in a steady state: its latency is a lower bound. A
saturated cell was offered more than it can carry; its latency only says how long the load went on, so it is ranked
by what it answered well.

A trial is invalid when the measuring itself failed: lost counts, gaps in the samples, a load generator that had no
CPU. By how much a late generator can have moved a p95 is in summary.csv (p95_bound_low_ms), and among the doubts
where that is a good part of it. Errors, drops and saturation are findings: results of the service, which count as
worse.

Time a request waits for a database connection: in the queue, while one is opened, and while it is tested.
"""
"""Heads of columns and what figures mean, in the template; it says the rest only where a test shows that it is true."""
TESTS = Path(__file__).parents[2]
WORDS_MIN = 4
ELSEWHERE = {
    "findings.py": "test_findings.py goes through its table",
    "style.py": "the look of figures",
    "schema.py": "what keys mean, whatever their values; test_ci.py holds them against verdicts",
}


def literals(source: str) -> Iterator[str]:
    """Every text of a module that is no docstring; what an f-string fills in is an ellipsis."""
    return texts_of(ast.parse(source))


def said_by(source: str) -> Iterator[str]:
    """Likewise, without what is raised: a mistake is tested with what refuses it."""
    tree = ast.parse(source)
    raised = {id(node) for error in ast.walk(tree) if isinstance(error, ast.Raise) for node in ast.walk(error)}
    return texts_of(tree, raised)


def texts_of(tree: ast.Module, without: Set[int] = frozenset()) -> Iterator[str]:
    passed_over = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in without:
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "\u2026" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not {id(node)} & (passed_over | parts):
            yield node.value


def is_sentence(text: str) -> bool:
    """More than a word or two; a column's name has underscores."""
    return len(re.findall(r"[A-Za-z]+", text)) >= WORDS_MIN and " " in text


def sentences() -> list[tuple[str, str]]:
    """Module and text of all that can be said."""
    rooms = [Path(str(room.__file__)).parent for room in (harness.present, harness.analyse)]
    return [
        (path.name, text)
        for room in rooms
        for path in sorted(room.rglob("*.py"))
        if path.name not in ELSEWHERE
        for text in said_by(path.read_text())
        if is_sentence(text)
    ]


def general() -> set[str]:
    """What the template says of every report."""
    return {" ".join(text.split()) for text in TRUE_OF_ALL_REPORTS.split("\n\n")}


def of_the_template() -> list[str]:
    """Each text between the marks of the report's template; what is filled in is an ellipsis."""
    template = Path(str(harness.present.__file__)).parent / "templates" / "report.html.j2"
    filled = re.sub(r"\{\{.*?\}\}", "\u2026", template.read_text())
    texts = re.split(r"\{%.*?%\}|<[^>]*>", filled)
    return [text for each in texts if is_sentence(text := " ".join(html.unescape(each).split()))]


@pytest.fixture(scope="module")
def quoted() -> str:
    tests = [
        path
        for folder in (
            "unit/present",
            "unit/events",
            "unit/analyse",
            "unit/claims",
            "unit/schedule",
            "integration",
            "simulation",
        )
        for path in sorted((TESTS / folder).rglob("*.py"))
        if path != Path(__file__)
    ]
    return "\n".join(text for path in tests for text in literals(path.read_text()))


def longest_part(text: str) -> str:
    return max(text.split("\u2026"), key=len).strip(" :;,.()")


def test_every_sentence_is_quoted_by_a_test(quoted: str) -> None:
    """What is named here wants a test that shows the data that make it true, and false."""
    special = [own for own in sentences() if not any(own[1].startswith(start) for start in TRUE_OF_ALL_DATA)]
    assert len(special) > 300
    assert [(module, text) for module, text in special if longest_part(text) not in quoted] == []


def test_every_sentence_of_the_template_is_quoted_by_a_test(quoted: str) -> None:
    """What is named here wants a test that shows when the report says it, and when not."""
    special = [text for text in of_the_template() if text not in general()]
    assert special
    assert [text for text in special if longest_part(text) not in quoted] == []


def test_what_is_true_of_all_reports_is_still_said() -> None:
    assert set(of_the_template()) >= general()


def test_what_is_true_of_all_data_is_still_said() -> None:
    texts = [text for _, text in sentences()]
    assert [start for start in sorted(TRUE_OF_ALL_DATA) if not any(text.startswith(start) for text in texts)] == [
        "this machine, at worst"
    ]
