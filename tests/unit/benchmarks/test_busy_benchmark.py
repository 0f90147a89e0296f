"""What counts as a wrong verdict of a busy run."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.busy import _standing, verdict_errors


def run(*labels: str, ties: dict[str, tuple[str, ...]] | None = None, invalid: tuple[str, ...] = ()) -> dict[str, Any]:
    """Cells, best first; their ids are their labels."""
    return {
        "cells": [
            {
                "id": label,
                "label": label,
                "rank": place,
                "ties": (ties or {}).get(label, ()),
                "valid": label not in invalid,
            }
            for place, label in enumerate(labels, start=1)
        ]
    }


@pytest.mark.parametrize(
    ("busy", "errors"),
    [
        (run("a", "b", "c"), []),
        (run("a", "b", "c", ties={"b": ("c",)}), ["b and c are not told apart"]),
        (run("a", "c", "b"), ["b and c are in the wrong order"]),
        (run("a", "b", "c", invalid=("c",)), ["a and c are not told apart", "b and c are not told apart"]),
    ],
)
def test_what_a_quiet_run_tells_apart_a_busy_one_has_to(busy: dict[str, Any], errors: list[str]) -> None:
    assert list(verdict_errors(run("a", "b", "c"), busy)) == errors


def test_a_tie_of_the_quiet_run_asks_for_nothing() -> None:
    tied = run("a", "b", ties={"a": ("b",)})
    assert [list(verdict_errors(tied, busy)) for busy in (run("a", "b"), run("b", "a"), tied)] == [[], [], []]


def test_a_launch_that_was_measured_again_is_not_counted() -> None:
    made = {"b1-c1": {"valid": False}, "b1-c1-again": {"valid": True}, "b2-c1": {"valid": False}}
    assert _standing(made) == [{"valid": True}, {"valid": False}]
