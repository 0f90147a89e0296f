"""No sentence without a test: each one that `present` can say is quoted by a test of the data it is said of."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness.present

TRUE_OF_ALL_DATA = {
    "this machine, at worst",  # a row of a table: tested by its cells
    "launched in this order",  # heads and legends
    "pool wait\np95, ms",
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
    "Each dot is a percentile of what was offered, a bar through it",
    "The share of arrivals answered within a time: a panel's own cell in blue",
    "Median and 95th percentile as the measurement went on",
    "What Postgres saw of each cell's connections in the launch in the middle by p95",
    "Where the mean latency was spent; a long hatched part is time lost",
    "The share of offered arrivals that got no good answer, by what happened to them.",
}
TESTS = Path(__file__).parents[2]
WORDS_MIN = 4
ELSEWHERE = {
    "findings.py": "test_findings.py goes through its table",
    "style.py": "the look of figures",
}


def literals(source: str) -> Iterator[str]:
    """Every text of a module that is no docstring; what an f-string fills in is an ellipsis."""
    tree = ast.parse(source)
    passed_over = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "\u2026" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not {id(node)} & (passed_over | parts):
            yield node.value


def sentences() -> list[tuple[str, str]]:
    """Module and text of all that is more than a word or two; a column's name has underscores."""
    modules = sorted(Path(str(harness.present.__file__)).parent.rglob("*.py"))
    return [
        (path.name, text)
        for path in modules
        if path.name not in ELSEWHERE
        for text in literals(path.read_text())
        if len(re.findall(r"[A-Za-z]+", text)) >= WORDS_MIN and " " in text
    ]


@pytest.fixture(scope="module")
def quoted() -> str:
    tests = [
        path
        for folder in ("unit/present", "unit/events", "unit/analyse", "unit/schedule", "integration/present")
        for path in sorted((TESTS / folder).glob("*.py"))
        if path != Path(__file__)
    ]
    return "\n".join(text for path in tests for text in literals(path.read_text()))


@pytest.mark.parametrize(("module", "text"), sentences())
def test_every_sentence_is_quoted_by_a_test(module: str, text: str, quoted: str) -> None:
    longest = max(text.split("\u2026"), key=len).strip(" ;,.()")
    general = any(text.startswith(start) for start in TRUE_OF_ALL_DATA)
    assert general or longest in quoted, f"{module} can say {longest!r}: show the data that make it true, and false"


def test_what_is_true_of_all_data_is_still_said() -> None:
    texts = [text for _, text in sentences()]
    assert [start for start in sorted(TRUE_OF_ALL_DATA) if not any(text.startswith(start) for text in texts)] == [
        "this machine, at worst"
    ]
