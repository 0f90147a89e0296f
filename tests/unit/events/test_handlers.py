"""Who listens: plain lines, the live view, the events file. A handler that is broken says so in one sentence."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from events_of_a_run import EVENTS, TICK
from fakes import Story
from rich.console import Console
from rich.live import Live

from harness import handlers
from harness.domain.events import Emit, Note, SittingFinished
from harness.errors import InfrastructureError, UsageError
from harness.handlers import EventsFile, LiveView, PlainLines, telling


def console(*, terminal: bool = False) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, width=100, force_terminal=terminal, color_system=None), stream


@pytest.fixture(params=["plain lines", "live view", "events file", "fake"])
def handle(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Emit]:
    """Whoever listens, real or fake."""
    with ExitStack() as stack:
        if request.param == "plain lines":
            yield PlainLines(console()[0]).handle
        elif request.param == "live view":
            yield LiveView(stack.enter_context(Live(console=console(terminal=True)[0], auto_refresh=False))).handle
        elif request.param == "events file":
            file = EventsFile(tmp_path / "events.ndjson")
            stack.callback(file.close)
            yield file.handle
        else:
            yield Story().emit


def test_whoever_listens_takes_every_event_in_any_order(handle: Emit) -> None:
    """What the one who tells relies on: a run does not end because something was told early, or twice."""
    for event in (*EVENTS, *reversed(EVENTS)):
        handle(event)


def test_plain_lines_are_one_an_event_worth_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "PLAIN_EVERY_S", 1e9)
    screen, stream = console()
    plain = PlainLines(screen)
    for event in EVENTS:
        plain.handle(event)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "poolbench: run results/r"
    assert "poolbench: sitting 1 of 3: 2 cells hot together" in lines
    assert "poolbench: note: wait_time does not apply in the open model." in lines
    assert len(lines) == len(EVENTS) - 3  # targets up, a tick and a finished sitting are silent
    assert not any("of load" in line for line in lines)


def test_plain_lines_tell_how_far_the_load_is_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr("harness.handlers.time.monotonic", lambda: now_s)
    screen, stream = console()
    plain = PlainLines(screen)
    for now_s in (1000.0, 1001.0, 1004.9, 1005.0, 1006.0):  # noqa: B007 -- the clock reads it
        plain.handle(TICK)
    assert stream.getvalue().splitlines() == ["poolbench: 12 of 30 s of load, about 50 s left"] * 2


def test_a_label_with_brackets_is_no_markup() -> None:
    screen, stream = console()
    PlainLines(screen).handle(EVENTS[3])
    assert "pool_size [4]" in stream.getvalue()


def test_the_live_view_shows_each_launch_and_clears_when_the_sitting_is_over() -> None:
    screen, stream = console(terminal=True)
    with Live(console=screen, auto_refresh=False, transient=True) as live:
        view = LiveView(live)
        view.handle(EVENTS[5])
        assert "· sitting 1 of 3: 2 cells hot together" in stream.getvalue()
        view.handle(TICK)
        live.refresh()
        shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
        assert "about 50 s left" in shown
        rows = [line.split() for line in shown.splitlines() if line.startswith("pool_size")]
        assert rows == [
            ["pool_size", "1", "120", "100", "12", "∞", "1", "12"],
            ["pool_size", "[4]", "118", "118", "0", "21.3", "\u2013", "\u2013"],
        ]
        stream.truncate(0)
        view.handle(SittingFinished(index=1, trials=()))
        live.refresh()
        assert "about" not in stream.getvalue()


def test_the_live_view_has_something_to_show_before_any_launch_was_sent_anything() -> None:
    screen, stream = console(terminal=True)
    with Live(console=screen, auto_refresh=False) as live:
        LiveView(live).handle(type(TICK)(done_s=0.2, expected_s=30.0, rest_s=0.0))
        live.refresh()
    assert "about 30 s left" in stream.getvalue()


def test_the_events_file_has_a_line_an_event_as_soon_as_it_happens(tmp_path: Path) -> None:
    file = EventsFile(tmp_path / "events.ndjson")
    for count, event in enumerate(EVENTS, start=1):
        file.handle(event)
        assert len((tmp_path / "events.ndjson").read_text().splitlines()) == count
    file.close()
    names = [json.loads(line)["event"] for line in (tmp_path / "events.ndjson").read_text().splitlines()]
    assert names[0] == "run_started"
    assert names[-3:] == ["sitting_finished", "stage_started", "stage_started"]


@pytest.mark.parametrize(("name", "why"), [("nowhere/x", "No such file or directory"), ("", "Is a directory")])
def test_an_events_file_that_cannot_be_written_is_one_sentence(tmp_path: Path, name: str, why: str) -> None:
    path = tmp_path / name
    with pytest.raises(UsageError) as raised, telling(quiet=True, events=path):
        pytest.fail("nothing is measured that nobody could follow")
    assert raised.value.cause == f"The events file {path} cannot be written: {why}."
    assert raised.value.exit_code == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_an_events_file_on_a_full_disk_ends_the_run_by_name() -> None:
    file = EventsFile(Path("/dev/full"))
    with pytest.raises(InfrastructureError, match=r"/dev/full cannot be written: No space left"):
        file.handle(EVENTS[0])


def test_a_note_is_told_once_and_to_everybody(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with telling(quiet=False, events=tmp_path / "e") as emit:
        for text in ("one", "two", "one"):
            emit(Note(text=text))
    assert capfd.readouterr().err.splitlines() == ["poolbench: note: one", "poolbench: note: two"]
    assert [json.loads(line)["text"] for line in (tmp_path / "e").read_text().splitlines()] == ["one", "two"]


def test_quiet_says_nothing_and_still_writes_events(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with telling(quiet=True, events=tmp_path / "e") as emit:
        emit(EVENTS[0])
    assert capfd.readouterr() == ("", "")
    assert len((tmp_path / "e").read_text().splitlines()) == 1
