"""Where the engine ends a turn, with a service that says by its gauge what it is still at."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from load_stub import Answer, Run, Seen, segment

from harness.generator.arrivals import NS_PER_S, schedule
from harness.probe.live import LiveCount

READ = """
    from locust import FastHttpUser, task

    class User(FastHttpUser):
        @task(3)
        def read(self):
            self.client.get("/read")

        @task
        def write(self):
            self.client.post("/write", json={})
"""
WEIGHTS = [3.0, 1.0]


def due_ns(turns, intended_ns: int) -> int:
    """Where the launch's load clock stood at a moment of one of its turns."""
    (turn,) = (each for each in turns if each.start_ns < intended_ns <= each.end_ns)
    return intended_ns - turn.start_ns + turn.load_start_ns


def test_arrivals_go_on_from_turn_to_turn_and_the_measurement_begins_within_one(run: Run) -> None:
    """Whatever the service makes of them: some are slow, some get no answer in time."""
    slow = iter([0.0, 0.15, 0.0, 0.02, None] * 1000)
    segments = [
        segment(0, "A", phase="warmup", duration_s=0.5, rate_rps=60.0),
        segment(1, "A", start_s=0.5, duration_s=1.0, rate_rps=40.0, seed=8),
        segment(2, "B", duration_s=0.6, rate_rps=30.0),
    ]
    turns = [("A", 0.3), ("B", 0.3), ("A", 0.3), ("B", 0.3), ("A", 0.3), ("A", 0.3), ("A", 0.3)]
    result = run(READ, lambda _: Answer(delay_s=next(slow)), segments=segments, turns=turns, request_timeout_s=0.3)
    for launch_id, own in (("A", segments[:2]), ("B", segments[2:])):
        went = [each for each in result.output.ledger.turns if each.launch_id == launch_id]
        assert went[0].load_start_ns == 0
        assert all(following.load_start_ns == one.load_end_ns for one, following in pairwise(went))
        assert went[-1].load_end_ns == round(own[-1].end_s * NS_PER_S)
        assert all(each.cut == "clear" for each in went[:-1])
        assert went[-1].cut == "end"
        rows = result.all_rows[launch_id]
        arrivals = rows[(rows.sequence == 0) & (rows.phase != "setup")]
        happened = sorted(
            (int(row.segment), int(row.arrival), due_ns(went, int(row.intended_ns)), ["read", "write"].index(row.task))
            for row in arrivals.itertuples()
        )
        assert happened == [tuple(arrival) for arrival in schedule(own, WEIGHTS)], "none lost, none moved, none twice"
    first = next(each for each in result.output.ledger.turns if each.load_start_ns <= 500_000_000 < each.load_end_ns)
    phases = set(result.rows[result.rows.intended_ns.between(first.start_ns, first.end_ns)].phase)
    assert phases == {"warmup", "measure"}, "the measurement begins within a turn"


class Gauged:
    """A service whose gauge shows what it is at, however little of that the client waits for."""

    def __init__(self, folder: Path, hold_s: float) -> None:
        self.gauge = LiveCount(folder)
        self.hold_s = hold_s
        self.done_ns: list[int] = []

    def behave(self, _: Seen) -> Answer:
        """The first one is held for long, all others are answered at once."""
        hold_s, self.hold_s = self.hold_s, 0.0
        if hold_s:
            self.gauge.value[0] += 1
            asyncio.get_running_loop().call_later(hold_s, self._done)
        return Answer(delay_s=hold_s)

    def _done(self) -> None:
        self.done_ns.append(time.monotonic_ns())
        self.gauge.value[0] -= 1


def test_a_turn_goes_on_while_the_service_is_at_work_although_the_client_gave_up(run: Run, tmp_path: Path) -> None:
    service = Gauged(tmp_path, hold_s=1.2)
    segments = [segment(0, "A", duration_s=4.0, rate_rps=20.0), segment(1, "B", duration_s=0.2)]
    turns = [("A", 0.3), ("B", 0.2), ("A", 3.7)]
    result = run(READ, service.behave, segments=segments, turns=turns, request_timeout_s=0.2, gauges=tmp_path)
    first, second, third = result.output.ledger.turns
    (done_ns,) = service.done_ns
    assert (result.rows.outcome == "timeout").sum() >= 1
    assert result.rows[result.rows.outcome == "timeout"].finished_ns.min() < done_ns
    assert first.end_ns >= done_ns
    assert (first.cut, first.idle, third.cut) == ("clear", True, "end")
    assert second.start_ns > first.idle_ns >= done_ns


def test_without_a_gauge_the_clients_count_has_to_do(run: Run, tmp_path: Path) -> None:
    service = Gauged(tmp_path, hold_s=1.5)
    segments = [segment(0, "A", duration_s=3.0, rate_rps=20.0), segment(1, "B", duration_s=0.2)]
    turns = [("A", 0.3), ("B", 0.2), ("A", 2.7)]
    result = run(READ, service.behave, segments=segments, turns=turns, request_timeout_s=0.2)
    assert result.output.ledger.turns[0].end_ns < service.done_ns[0]


@pytest.fixture
def other_process(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with a gauge that says 1 for ever."""
    with subprocess.Popen(["sleep", "600"]) as process:
        (tmp_path / f"live-{process.pid}.bin").write_bytes((1).to_bytes(8, "little"))
        try:
            yield process
        finally:
            process.kill()


def test_a_process_that_died_at_work_does_not_hold_the_turn(
    run: Run, tmp_path: Path, other_process: subprocess.Popen[bytes]
) -> None:
    """Nobody has asked for its end yet, so it is still listed."""
    began_ns = time.monotonic_ns()
    killed_ns: list[int] = []
    seen: list[Seen] = []

    def killing(request: Seen) -> Answer:
        seen.append(request)
        if len(seen) == 12 and not killed_ns:
            killed_ns.append(time.monotonic_ns())
            other_process.kill()
        return Answer()

    segments = [segment(0, "A", duration_s=5.0, rate_rps=20.0), segment(1, "B", duration_s=0.2)]
    result = run(READ, killing, segments=segments, turns=[("A", 0.2), ("B", 0.2), ("A", 4.8)], gauges=tmp_path)
    first = result.output.ledger.turns[0]
    assert began_ns < killed_ns[0] <= first.end_ns
    assert (first.cut, first.idle) == ("clear", True)
    assert Path(f"/proc/{other_process.pid}").exists()


def test_a_service_that_never_comes_to_rest_has_one_turn_and_the_next_launch_has_its_own(
    run: Run, tmp_path: Path, other_process: subprocess.Popen[bytes]
) -> None:
    del other_process  # alive, at work for ever
    segments = [segment(0, "A", duration_s=0.8), segment(1, "B", duration_s=0.2)]
    turns = [("A", 0.2), ("B", 0.2), ("A", 0.2), ("A", 0.4)]
    result = run(READ, segments=segments, turns=turns, gauges=tmp_path, request_timeout_s=0.2)
    first, second = result.output.ledger.turns
    assert (first.launch_id, first.cut, first.idle) == ("A", "end", False)
    assert first.load_end_ns == 800_000_000
    assert (second.launch_id, second.cut) == ("B", "end")


def test_where_one_of_many_connections_is_always_in_use_a_turn_ends_when_all_in_flight_is_fresh(run: Run) -> None:
    """An arrival each 50 ms takes 60 ms: never clear; when one has its answer, the other was sent 10 ms ago."""
    segments = [
        segment(0, "A", duration_s=6.0, rate_rps=20.0, arrivals="uniform"),
        segment(1, "B", duration_s=0.2, arrivals="uniform"),
    ]
    turns = [("A", 1.0), ("B", 0.2), ("A", 1.0), ("A", 4.0)]
    result = run(READ, lambda _: Answer(delay_s=0.06), segments=segments, turns=turns, connections=4)
    first = result.output.ledger.turns[0]
    assert first.cut == "unqueued"
    assert first.load_end_ns >= 2 * NS_PER_S, "a turn of grace comes first"
    assert first.idle
    assert sorted(result.rows.arrival) == list(range(120))
