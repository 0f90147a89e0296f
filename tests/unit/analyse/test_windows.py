"""Where the load clock stood: the turns of a launch, put together, are its load, once and whole."""

from __future__ import annotations

from itertools import pairwise
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analyse import analyse
from harness.analyse.windows import loaded_segments, measured_segments, windows
from harness.domain.evidence import Run
from harness.domain.load import Segment, TurnRun
from harness.present.notes import notes

SECOND = 1_000_000_000
WARMUP_NS, MEASURE_NS = 3 * SECOND, 7 * SECOND
LOAD_NS = WARMUP_NS + MEASURE_NS


@st.composite
def launches(draw: st.DrawFn) -> list[TurnRun]:
    """The turns of a launch of ten seconds: cut anywhere, any time between them, work after any of them."""
    cuts = sorted(draw(st.sets(st.integers(1, LOAD_NS - 1), max_size=6)))
    turns, now_ns = [], draw(st.integers(0, SECOND))
    for begun_ns, ended_ns in pairwise([0, *cuts, LOAD_NS]):
        end_ns = now_ns + ended_ns - begun_ns
        idle_ns = end_ns + draw(st.integers(0, SECOND))
        turns.append(
            TurnRun(
                launch_id="b1-c1",
                start_ns=now_ns,
                end_ns=end_ns,
                load_start_ns=begun_ns,
                cut="clear",
                idle_ns=idle_ns,
                idle=True,
                in_flight_peak=1,
            )
        )
        now_ns = idle_ns + draw(st.integers(1, 3 * SECOND))
    return turns


def load_of(build: ModuleType) -> list[Segment]:
    return [
        build.segment(0, phase="warmup", start_s=0.0, duration_s=WARMUP_NS / SECOND),
        build.segment(1, start_s=WARMUP_NS / SECOND, duration_s=MEASURE_NS / SECOND),
    ]


def load_clock_ns(turns: list[TurnRun], t_ns: int) -> set[int]:
    """What the load clock showed, by the definition: it runs during the launch's turns. Empty while it stood still."""
    return {turn.load_start_ns + t_ns - turn.start_ns for turn in turns if turn.start_ns <= t_ns <= turn.end_ns}


@given(turns=launches(), at_ns=st.lists(st.integers(-SECOND, 40 * SECOND), max_size=20))
def test_turns_put_together_are_the_load_exactly_once(
    build: ModuleType, turns: list[TurnRun], at_ns: list[int]
) -> None:
    segments = load_of(build)
    spans = {
        "measure": windows(measured_segments(segments), turns[::-1]),
        "load": windows(loaded_segments(segments), turns),
    }
    for name, from_ns in (("measure", WARMUP_NS), ("load", 0)):
        own = spans[name]
        lengths_ns = own.end_ns - own.start_ns
        assert int(lengths_ns.sum()) == LOAD_NS - from_ns
        assert own.seconds == pytest.approx((LOAD_NS - from_ns) / SECOND)
        assert (lengths_ns > 0).all()
        assert (own.start_ns[1:] >= own.end_ns[:-1]).all()
        # each stretch begins on the load clock where the one before it ended
        assert own.load_s == pytest.approx(np.concatenate([[0], np.cumsum(lengths_ns)[:-1]]) / SECOND)
        inside, load_s = own.locate(np.array(at_ns, dtype=np.int64))
        assert own.contain(np.array(at_ns, dtype=np.int64)).tolist() == inside.tolist()
        for t_ns, within, found_s in zip(at_ns, inside, load_s, strict=True):
            clock_ns = {shown for shown in load_clock_ns(turns, t_ns) if from_ns <= shown <= LOAD_NS}
            assert bool(within) == bool(clock_ns)
            if within:  # where one stretch ends as the next begins, both show the same
                assert any(found_s == pytest.approx((shown - from_ns) / SECOND, abs=1e-8) for shown in clock_ns)


@given(turns=launches(), at_ns=st.lists(st.integers(0, 40 * SECOND), max_size=20))
def test_work_after_a_turn_is_the_turns_only_at_its_end(
    build: ModuleType, turns: list[TurnRun], at_ns: list[int]
) -> None:
    spans = windows(loaded_segments(load_of(build)), turns)
    inside, _ = spans.locate(np.array(at_ns, dtype=np.int64), until_idle=True)
    expected = [any(turn.start_ns <= t_ns <= turn.idle_ns for turn in turns) for t_ns in at_ns]
    assert inside.tolist() == expected


def test_the_warm_up_ends_within_a_turn(build: ModuleType) -> None:
    """Turns of four seconds on a warm-up of three: the first holds the last of it and the first of the measurement."""
    segments = load_of(build)
    turns = [build.turn(0.0, 4.0, idle_s=0.5), build.turn(4.0, 10.0, at_s=20.0, idle_s=0.25)]
    spans = windows(measured_segments(segments), turns)
    assert ((spans.start_ns - build.START_NS) / SECOND).tolist() == [3.0, 20.0]
    assert ((spans.end_ns - build.START_NS) / SECOND).tolist() == [4.0, 26.0]
    assert ((spans.idle_ns - build.START_NS) / SECOND).tolist() == [4.5, 26.25]
    assert spans.load_s.tolist() == [0.0, 1.0]
    warmup = windows(segments[:1], turns)
    assert ((warmup.idle_ns - build.START_NS) / SECOND).tolist() == [3.0]  # its turn went on


def test_what_a_turn_did_not_come_to_has_no_stretch(build: ModuleType) -> None:
    spans = windows([build.segment(5, start_s=5.0)], [build.turn(0.0, 4.0)])
    assert spans.seconds == 0
    assert spans.locate(np.array([build.START_NS], dtype=np.int64))[0].tolist() == [False]
    assert windows([build.segment(0)], []).seconds == 0


def two_in_turns(build: ModuleType, cut: str, idle: bool) -> Run:
    """Two cells in four turns each; in its third turn the first answers in 100 ms and the second in 200."""
    trials = []
    for number in (1, 2):
        launch_id = f"b0-c{number}"
        segments = [build.segment(0, launch_id, duration_s=4.0)]
        turns = [
            build.turn(own, own + 1, launch_id, at_s=2.0 * own + number - 1, cut=cut, idle=idle) for own in range(4)
        ]
        rows = pd.concat(
            [
                build.rows([100.0 * number if own == 2 else 10.0] * 20, start_ns=turn.start_ns)
                for own, turn in enumerate(turns)
            ],
            ignore_index=True,
        )
        trials.append(build.trial(build.cell(number), 0, rows, segments=segments, turns=turns, sitting=0))
    return build.run(trials)


@pytest.mark.parametrize("idle", [True, False])
@pytest.mark.parametrize("cut", ["clear", "unqueued", "end"])
def test_nothing_is_left_out_however_a_turn_ended(build: ModuleType, cut: str, idle: bool) -> None:
    """The rule that left out turns whose predecessor was still at work made [10, 10] of [100, 200]."""
    report = analyse(two_in_turns(build, cut, idle))
    summary = report.summary
    assert {own.cell.id: own.all.p95_ms.value for own in summary.cells} == {
        "c1": pytest.approx(100),
        "c2": pytest.approx(200),
    }
    assert [(own.all.requests, own.turns, own.valid) for own in summary.cells] == [(80, 4, True)] * 2
    assert [own.all.achieved_rps for own in summary.cells] == [pytest.approx(20)] * 2
    assert not any("left out" in note or "feed no figure" in note for note in notes(report))
