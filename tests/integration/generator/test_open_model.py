"""The open model against a stub, in a real Locust process."""

from __future__ import annotations

import base64
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from load_stub import Answer, Run, Seen, segment

from harness.generator.arrivals import schedule

READ = """
    from locust import FastHttpUser, task

    class User(FastHttpUser):
        @task
        def read(self):
            self.client.get("/items?id=1")
"""


def latency_ms(rows: pd.DataFrame) -> pd.Series[float]:
    return (rows.finished_ns - rows.intended_ns) / 1e6


def outcomes(rows: pd.DataFrame) -> dict[str, int]:
    return {str(name): n for name, n in rows.outcome.value_counts().items() if n}


def test_a_constant_delay_is_measured_from_the_intended_time(run: Run) -> None:
    result = run(READ, lambda _: Answer(delay_s=0.05, body=b"hello"), segments=[segment(rate_rps=100.0)])
    rows = result.rows
    assert 60 < len(rows) < 145
    assert set(rows.endpoint) == {"GET /items"}
    assert set(rows.task) == {"read"}
    assert (rows.status == 200).all()
    assert (rows.response_bytes == 5).all()
    assert (rows.started_ns >= rows.intended_ns).all()
    assert latency_ms(rows).min() >= 50.0
    assert latency_ms(rows).median() < 75.0
    start_ns = result.output.start_ns
    assert rows.intended_ns.between(start_ns, start_ns + 1e9).all()
    assert rows.arrival.nunique() == len(rows) == len(result.seen)


def test_the_same_seed_gives_the_same_schedule_whatever_the_target_does(run: Run) -> None:
    first = run(READ)
    second = run(READ, lambda _: Answer(status=503, delay_s=0.1))
    offsets = [np.sort(r.rows.intended_ns - r.output.ledger.turns[0].start_ns) for r in (first, second)]
    assert offsets[0].tolist() == offsets[1].tolist()


def test_a_freeze_shows_in_the_latency_of_all_that_were_due_meanwhile(run: Run) -> None:
    """The server answers nothing from 0.4 s to 0.9 s after its first request: who is due then waits for the end."""
    begun: list[float] = []

    def freezing(_: Seen) -> Answer:
        import time

        now_s = time.monotonic()
        begun.append(now_s)
        offset_s = now_s - begun[0]
        return Answer(delay_s=0.9 - offset_s if 0.4 < offset_s < 0.9 else 0.0)

    rows = run(READ, freezing, segments=[segment(rate_rps=200.0)]).rows
    thaw_ns = begun[0] * 1e9 + 0.9e9
    caught = rows[(rows.started_ns > begun[0] * 1e9 + 0.42e9) & (rows.started_ns < thaw_ns - 0.02e9)]
    expected_ms = (thaw_ns - caught.intended_ns) / 1e6
    assert len(caught) > 50
    assert (latency_ms(caught) >= expected_ms - 1).all()
    assert np.median(latency_ms(caught) - expected_ms) < 500  # a hundred answers at once, on a busy machine


def test_beyond_the_cap_arrivals_are_dropped_and_counted(run: Run) -> None:
    """Each answer takes longer than the segment, so exactly the cap gets through."""
    result = run(READ, lambda _: Answer(delay_s=1.5), segments=[segment(rate_rps=100.0)], max_in_flight=10)
    (count,) = result.output.ledger.tasks
    assert (count.done, count.unfinished) == (10, 0)
    assert count.dropped == count.offered - 10 > 40
    assert outcomes(result.rows) == {"ok": 10, "dropped": count.dropped}
    dropped = result.rows[result.rows.outcome == "dropped"]
    assert (dropped.started_ns == -1).all()
    assert (dropped.endpoint == "").all()
    assert (dropped.task == "read").all()
    assert dropped.intended_ns.is_monotonic_increasing
    assert result.output.ledger.turns[0].in_flight_peak == 10
    assert len(result.seen) == 10


def test_a_request_without_an_answer_is_a_timeout_and_its_user_goes_on(run: Run) -> None:
    silent = iter([True] * 5)
    result = run(
        READ,
        lambda _: Answer(delay_s=None if next(silent, False) else 0.0),
        segments=[segment(rate_rps=50.0, duration_s=1.5)],
        request_timeout_s=0.3,
        max_in_flight=6,
    )
    assert outcomes(result.rows)["timeout"] == 5
    timeouts = result.rows[result.rows.outcome == "timeout"]
    waited_ms = (timeouts.finished_ns - timeouts.started_ns) / 1e6
    assert waited_ms.between(299, 600).all()
    assert set(timeouts.error) == {"timeout"}
    after = result.rows[result.rows.intended_ns > timeouts.finished_ns.max()]
    assert len(after) > 20
    assert set(after.outcome) == {"ok"}


def test_what_never_comes_back_is_unfinished(run: Run) -> None:
    """A task that asks again and again outlives the patience at the end of the plan."""
    source = """
        from locust import FastHttpUser, task

        class Stubborn(FastHttpUser):
            @task
            def ask(self):
                while True:
                    self.client.get("/never")
    """
    result = run(source, lambda _: Answer(delay_s=None), segments=[segment(rate_rps=20.0)], request_timeout_s=0.5)
    (count,) = result.output.ledger.tasks
    assert count.unfinished == count.offered > 5
    unfinished = result.rows[result.rows.outcome == "unfinished"]
    assert unfinished.arrival.nunique() == len(unfinished) == count.unfinished
    assert (unfinished.finished_ns == -1).all()
    assert outcomes(result.rows)["timeout"] > 0


def test_a_refused_connection_is_an_error(run: Run) -> None:
    result = run(READ, host="http://127.0.0.1:1")
    assert set(result.rows.outcome) == {"error"}
    assert set(result.rows.error) == {"ConnectionRefusedError: [Errno 111] Connection refused"}


def test_server_timing_and_the_arrival_header(run: Run) -> None:
    timing = 'pool;dur=1.25, db;dur=3.5, app;dur=2.0, pid;desc="4321"'
    result = run(READ, lambda _: Answer(headers={"Server-Timing": timing}))
    row = result.rows.iloc[0]
    assert (row.pool_ms, row.db_ms, row.app_ms, row.pid) == (1.25, 3.5, 2.0, 4321)
    sent = {seen.headers["x-poolbench-arrival"] for seen in result.seen}
    assert sent == {f"0-{arrival}" for arrival in result.rows.arrival}


def test_the_next_turn_begins_when_the_last_answers_of_this_one_are_there(run: Run) -> None:
    """A's last answers take 0.8 s each; B begins after them, however short the pause is planned."""
    segments = [segment(0, "A", duration_s=0.5), segment(1, "B", duration_s=0.3)]
    slow = iter([0.8] * 10)
    result = run(READ, lambda _: Answer(delay_s=next(slow, 0.0)), segments=segments)
    first, second = result.output.ledger.turns
    assert (first.cut, first.idle) == ("end", True)
    last_answer_ns = int(result.all_rows["A"].finished_ns.max())
    assert last_answer_ns <= first.idle_ns < second.start_ns
    assert second.start_ns - first.idle_ns >= 0.05e9


def test_turns_of_two_launches_go_on_where_they_were_and_share_no_state(run: Run) -> None:
    source = """
        from locust import FastHttpUser, task
        made = []

        class User(FastHttpUser):
            @task
            def read(self):
                made.append(1)
                self.client.get(f"/{len(made)}", name="/n")
    """
    segments = [segment(0, "A", duration_s=1.0, seed=3), segment(1, "B", duration_s=0.4)]
    turns = [("A", 0.3), ("B", 0.4), ("A", 0.3), ("A", 0.4)]
    result = run(source, segments=segments, turns=turns)
    runs = result.output.ledger.turns
    assert [each.launch_id for each in runs] == ["A", "B", "A", "A"]
    assert runs[0].start_ns == result.output.start_ns
    for one, following in pairwise(runs):
        assert following.start_ns >= one.idle_ns + 50_000_000
    own = [each for each in runs if each.launch_id == "A"]
    assert [each.load_start_ns for each in own] == [0, own[0].load_end_ns, own[1].load_end_ns]
    assert own[-1].load_end_ns == 1_000_000_000
    assert len(result.rows) == len(list(schedule(segments[:1], [1.0])))
    numbers = sorted(int(seen.path[1:]) for seen in result.seen)
    counts = [len(rows) for rows in result.all_rows.values()]
    assert numbers == sorted([*range(1, counts[0] + 1), *range(1, counts[1] + 1)]), "each launch counts for itself"


def test_a_saturated_staircase_ends_early_and_the_next_pilot_moves_forward(run: Run) -> None:
    """One answer a time, 20 ms each: 50/s. 25/s is fine, 100/s is not, 200/s and 400/s are left out."""
    free_s = [0.0]

    def one_at_a_time(_: Seen) -> Answer:
        import time

        begin_s = max(time.monotonic(), free_s[0])
        free_s[0] = begin_s + 0.02
        return Answer(delay_s=free_s[0] - time.monotonic())

    rates = (25.0, 100.0, 200.0, 400.0)
    steps = [
        segment(i, "A", phase="staircase", rate_rps=rate, start_s=1.2 * i, arrivals="uniform")
        for i, rate in enumerate(rates)
    ]
    last = segment(4, "B", phase="staircase", duration_s=0.3, rate_rps=20.0, arrivals="uniform")
    result = run(READ, one_at_a_time, segments=[*steps, last], turns=[("A", 4.8), ("B", 0.5)], pause_s=0.2)
    first, second = result.output.ledger.turns
    assert set(result.all_rows["A"].segment) == {0, 1}, "nothing of the steps that are left out was sent"
    assert (first.load_start_ns, first.load_end_ns) == (0, 2_200_000_000)
    assert (first.cut, second.cut) == ("end", "end")
    assert first.idle_ns + 200_000_000 <= second.start_ns < result.output.start_ns + 4_800_000_000
    assert set(result.all_rows["B"].segment) == {4}


def test_a_password_in_the_address_is_sent_and_written_nowhere(run: Run, tmp_path: Path) -> None:
    source = """
        from locust import FastHttpUser, HttpUser, task

        class Fast(FastHttpUser):
            @task
            def ask(self):
                self.client.get("/fast")

        class Plain(HttpUser):
            @task
            def ask(self):
                self.client.get("/plain")
    """
    result = run(source, credentials="alice:SECRETPW-7", segments=[segment(rate_rps=40.0, duration_s=0.5)])
    expected = "Basic " + base64.b64encode(b"alice:SECRETPW-7").decode()
    assert {seen.headers["authorization"] for seen in result.seen} == {expected}
    assert {seen.path for seen in result.seen} == {"/fast", "/plain"}
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {"loadplan.json", "generator.log", "ledger.json"} <= {path.name for path in written}
    assert [path for path in written if b"SECRETPW-7" in path.read_bytes()] == []
