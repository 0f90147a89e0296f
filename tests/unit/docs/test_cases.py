"""Each public case is told once, says what settles it, and what came out is its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness import claims

ROOT = Path(__file__).parents[3]
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (ROOT / "docs" / "cases.md").read_text().splitlines()
    if re.match(r"\| \d", line)
]
NUMBERS = {own.claim.number for own in claims.chosen(()).experiments}


def test_there_are_all_cases() -> None:
    assert [int(number) for number, *_ in ROWS] == list(range(1, 23))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_settles_a_case_exists(row: list[str]) -> None:
    settled_by = row[3]
    claimed = [int(number) for text in re.findall(r"claims? ([\d, ]+)\]", settled_by) for number in text.split(",")]
    named = re.findall(r"`((?:tests|experiments)/[^`]+)`", settled_by)
    assert set(claimed) <= NUMBERS
    assert all((ROOT / path).exists() for path in named)
    assert claimed or named or "poolbench" in settled_by or "python -m benchmarks" in settled_by


def test_what_came_out_is_of_one_case_alone() -> None:
    came_out = [row[4] for row in ROWS]
    assert len(set(came_out)) == len(ROWS)
    for text in came_out:
        others = [other for other in came_out if other is not text]
        assert not any(other.startswith(text[:60]) for other in others), text
