"""Server-Timing headers, `self.wait()` in bytecode, and errors as one line."""

from __future__ import annotations

import math
import threading
from typing import Any

import pytest

from harness.domain.rows import ERROR, OK, TIMEOUT
from harness.generator.book import describe, outcome_of
from harness.generator.server_timing import UNSEEN, parse_server_timing
from harness.generator.waiting import calls_wait


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('pool;dur=1.25, db;dur=3.5, app;dur=2.0, pid;desc="4321"', (1.25, 3.5, 2.0, 4321)),
        ('pool;dur=1250000e-6, db;dur=0e-6, app;dur=2000000e-6, pid;desc="4321"', (1.25, 0.0, 2.0, 4321)),
        ("pool;dur=1.25", (1.25, math.nan, math.nan, 0)),
        ('pid;desc="7",pool; dur=2', (2.0, math.nan, math.nan, 7)),
        ("cdn-cache;desc=HIT, edge;dur=1, db;dur=4", (math.nan, 4.0, math.nan, 0)),
        ("pool;dur=fast, db, ;;=, pid;desc=x", (math.nan, math.nan, math.nan, 0)),
        ("db;dur=1e300", (math.nan, 1e9, math.nan, 0)),
    ],
)
def test_server_timing(header: str, expected: tuple[float, ...]) -> None:
    assert tuple(parse_server_timing(header)) == pytest.approx(expected, nan_ok=True)


def test_nothing_seen_is_nan() -> None:
    assert all(math.isnan(value) for value in UNSEEN[:3])


def waits(self: Any) -> None:
    self.client.get("/")
    self.wait()


def waits_through_its_user(self: Any) -> None:
    if self.client:
        self.user.wait()


def waits_for_an_event(self: Any) -> None:
    done = threading.Event()
    done.wait(self.timeout)
    self.client.wait()


def without_arguments() -> None:
    return None


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (waits, True),
        (waits_through_its_user, True),
        (waits_for_an_event, False),
        (without_arguments, False),
        (len, False),
    ],
)
def test_calls_wait(function: Any, expected: bool) -> None:
    assert calls_wait(function) is expected


class Wrapped(Exception):  # noqa: N818 -- stands for a client's exception that carries another
    def __init__(self, original: BaseException | None) -> None:
        super().__init__("Retries exceeded")
        self.original = original


@pytest.mark.parametrize(
    ("error", "outcome", "text"),
    [
        (None, OK, ""),
        (ConnectionResetError(104, "reset by peer"), ERROR, "ConnectionResetError: [Errno 104] reset by peer"),
        (Wrapped(TimeoutError("timed out")), TIMEOUT, "timeout"),
        (Wrapped(BrokenPipeError(32, "Broken pipe")), ERROR, "BrokenPipeError: [Errno 32] Broken pipe"),
        (Wrapped(None), ERROR, "Wrapped: Retries exceeded"),
        (ValueError("a\n  b" + "c" * 500), ERROR, "ValueError: a b" + "c" * 197),
        (ValueError(), ERROR, "ValueError"),
    ],
)
def test_an_error_is_one_line_and_has_an_outcome(error: BaseException | None, outcome: int, text: str) -> None:
    assert outcome_of(error) == outcome
    if error is not None:
        assert describe(error, 0) == text
