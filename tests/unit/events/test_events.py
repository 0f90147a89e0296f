"""What a run says: the form for programs, the line for a person, and that no program has to read a sentence."""

from __future__ import annotations

import dataclasses
import json
import math
import time
import typing
from dataclasses import replace
from typing import Any

import pytest
from events_of_a_run import EVENTS, TICK

from harness.domain import events
from harness.domain.events import Event, LoadTick, Note, RateChosen, SittingStarted, as_line
from harness.present.progress import CELL_COLUMNS, cell_cells, left_text, line_of, load_line, rate_text

KINDS = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event) and kind != Event]
NAMES = {
    *("run_id", "path", "provider", "command", "last_line", "label", "launch_id"),
    *("cells", "launches", "trials", "purpose", "stage"),
}
"""Fields that hold text and are no sentence: names, a word of a few, or what somebody else's command said."""


def test_there_is_one_of_each_event_to_test_with() -> None:
    assert {type(event) for event in EVENTS} == set(KINDS)


@pytest.mark.parametrize("kind", [*KINDS, events.CellTick], ids=lambda kind: kind.__name__)
def test_no_event_but_a_note_holds_a_sentence(kind: type) -> None:
    types = typing.get_type_hints(kind)
    texts = {field.name for field in dataclasses.fields(kind) if "str" in repr(types[field.name])}
    assert texts <= NAMES | ({"text"} if kind is Note else set())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_events_are_frozen_and_know_when_they_happened(kind: type) -> None:
    event: Any
    (event,) = [event for event in EVENTS if type(event) is kind][:1]
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.at_ns = 3
    before_ns = time.monotonic_ns()
    now = replace(event, at_ns=Note(text="").at_ns)
    assert before_ns <= now.at_ns <= time.monotonic_ns()


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_a_line_is_strict_json_with_version_name_time_and_every_field(event: Event) -> None:
    line = as_line(event)
    assert "\n" not in line
    read = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert list(read)[:3] == ["version", "event", "at_ns"]
    assert (read["version"], read["at_ns"]) == (1, event.at_ns)
    assert read["event"].replace("_", "") == type(event).__name__.lower()
    assert set(read) == {"version", "event", *(field.name for field in dataclasses.fields(event))}


def test_a_line_says_what_the_event_says() -> None:
    read = json.loads(as_line(TICK))
    assert (read["event"], read["done_s"], read["expected_s"]) == ("load_tick", 12.2, 30.0)
    first, second = read["cells"]
    assert first == {
        "launch_id": "b1-c1",
        "label": "pool_size 1",
        "offered": 120,
        "answered": 100,
        "failed": 8,
        "dropped": 4,
        "p95_ms": None,  # infinite: JSON has no word for it
        "pool_used": 1,
        "pool_waiting": 12,
    }
    assert (second["p95_ms"], second["pool_used"]) == (21.34, None)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_figure_that_is_no_number_is_null(value: float) -> None:
    assert json.loads(as_line(replace(TICK, done_s=value)))["done_s"] is None


LINES = [
    "run results/r",
    "Postgres (embedded), 10\u202f000 rows to seed",
    "filling the database, by alembic upgrade head, for 20 s so far: Running upgrade",
    "staircase over pool_size [4]: what can this machine carry?",
    "270 arrivals/s: 60% of the 450 arrivals/s that the strongest of 3 pilots sustained in a staircase (pool_size [4])",
    "sitting 1 of 3: 2 cells hot together",
    "",
    "",
    "note: wait_time does not apply in the open model.",
    "",
    "generator: up to 12 rates against a stub that answers at once",
    "noise: the same cell twice, 5 launches each",
]


@pytest.mark.parametrize(("event", "line"), list(zip(EVENTS, LINES, strict=True)), ids=lambda each: type(each).__name__)
def test_what_a_person_reads_of_an_event(event: Event, line: str) -> None:
    assert line_of(event) == line


def test_a_sitting_says_that_it_is_measured_afresh() -> None:
    sitting = next(event for event in EVENTS if isinstance(event, SittingStarted) and event.purpose == "measure")
    assert line_of(replace(sitting, again=True)) == f"{line_of(sitting)}, again: an instrument had failed"


def test_a_command_that_wrote_nothing_has_no_last_line() -> None:
    assert line_of(replace(EVENTS[2], last_line="")).endswith("by alembic upgrade head, for 20 s so far")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "60% of the 450 arrivals/s that the strongest of 3 pilots sustained in a staircase (pool_size [4])"),
        ({"pilots": 1}, "60% of the 450 arrivals/s that the pilot sustained in a staircase (pool_size [4])"),
        ({"share": 0.125, "capacity_rps": 10.44, "pilots": 1}, "12.5% of the 10.4 arrivals/s that the pilot sustained"),
    ],
)
def test_how_the_rate_was_found(changes: dict[str, float], text: str) -> None:
    chosen = next(event for event in EVENTS if isinstance(event, RateChosen))
    assert rate_text(replace(chosen, **changes)).startswith(text)


@pytest.mark.parametrize(
    ("tick", "line"),
    [
        (LoadTick(done_s=12.2, expected_s=30.0, rest_s=32.0), "12 of 30 s of load, about 50 s left"),
        (LoadTick(done_s=0.0, expected_s=30.0, rest_s=600.0), "0 of 30 s of load, about 10 min left"),
        # a turn ends where its service is clear: one that never is makes the load longer than planned
        (LoadTick(done_s=41.0, expected_s=30.0, rest_s=5.0), "41 s (planned 30 s) of load, about 5 s left"),
    ],
)
def test_how_far_the_load_is(tick: LoadTick, line: str) -> None:
    assert load_line(tick) == line


@pytest.mark.parametrize(
    ("rest_s", "text"), [(0.0, "0 s"), (99.4, "99 s"), (99.6, "100 s"), (100.0, "2 min"), (3600.0, "60 min")]
)
def test_what_is_left(rest_s: float, text: str) -> None:
    assert left_text(LoadTick(done_s=3.0, expected_s=2.0, rest_s=rest_s)) == text


def test_a_launchs_figures_in_the_order_of_the_columns() -> None:
    first, second = (dict(zip(CELL_COLUMNS, cell_cells(cell), strict=True)) for cell in TICK.cells)
    assert first == {
        "cell": "pool_size 1",
        "offered": "120",
        "answered": "100",
        "failed": "12",  # dropped ones too
        "p95 ms": "∞",
        "pool used": "1",
        "waiting": "12",
    }
    assert (second["p95 ms"], second["pool used"], second["waiting"]) == ("21.3", "\u2013", "\u2013")
