"""A probe user asks beside the load, at its own rate and on connections of its own, and is in no count of the load."""

from __future__ import annotations

from load_stub import Answer, Run, Seen, closed, segment

from harness import drive
from harness.domain.load import ProbeRequest
from harness.domain.tables import PROBE_USER_COLUMNS

READ = """
    from locust import FastHttpUser, task

    class User(FastHttpUser):
        @task
        def read(self):
            self.client.get("/read")
"""
READY = ProbeRequest(method="HEAD", path="/ready?deep=1", rate_rps=10.0)


def ready(seen: Seen) -> bool:
    return seen.path == "/ready?deep=1"


def test_it_asks_evenly_on_the_load_clock_and_is_in_no_count(run: Run) -> None:
    result = run(READ, segments=[segment()], probe_user=READY)
    rows = drive.read_probe_user(result.plan.output_dir, "L")
    assert {name: str(kind) for name, kind in rows.dtypes.items()} == dict(PROBE_USER_COLUMNS)
    (turn,) = result.output.ledger.turns
    due_ms = (rows.intended_ns.sort_values() - turn.start_ns) / 1e6
    assert due_ms.round(3).tolist() == [50.0 + 100.0 * place for place in range(10)]
    assert set(rows.outcome) == {"ok"}
    assert {count.endpoint for count in result.output.ledger.endpoints} == {"GET /read"}
    assert set(result.all_rows["L"].endpoint) == {"GET /read"}
    asked = [seen for seen in result.seen if ready(seen)]
    assert {(seen.method, seen.headers["connection"]) for seen in asked} == {("HEAD", "close")}
    assert len(asked) == 10


def test_it_asks_a_launch_only_while_that_has_its_turn(run: Run) -> None:
    segments = [segment(0, "A", duration_s=0.4), segment(1, "B", duration_s=0.4)]
    turns = [("A", 0.2), ("B", 0.2), ("A", 0.2), ("B", 0.2)]
    result = run(READ, segments=segments, turns=turns, probe_user=READY)
    for launch_id in ("A", "B"):
        own = [turn for turn in result.output.ledger.turns if turn.launch_id == launch_id]
        due_ns = drive.read_probe_user(result.plan.output_dir, launch_id).intended_ns.sort_values()
        on_clock_ms = [
            (at_ns - turn.start_ns + turn.load_start_ns) / 1e6
            for at_ns in due_ns
            for turn in own
            if turn.start_ns <= at_ns <= turn.end_ns
        ]
        assert [round(at_ms, 3) for at_ms in on_clock_ms] == [50.0, 150.0, 250.0, 350.0]


def test_whoever_waits_does_not_keep_it_from_asking(run: Run) -> None:
    """No check is ever answered: each is a timeout, and the next is due when it is due."""

    def silent(seen: Seen) -> Answer:
        return Answer(delay_s=None) if ready(seen) else Answer()

    result = run(READ, silent, segments=[segment()], probe_user=READY, request_timeout_s=0.5)
    rows = drive.read_probe_user(result.plan.output_dir, "L")
    assert rows.outcome.tolist() == ["timeout"] * 10
    assert (result.rows.outcome == "ok").all()


def test_a_check_that_fails_says_how(run: Run) -> None:
    result = run(READ, lambda seen: Answer(status=503 if ready(seen) else 200), segments=[closed()], probe_user=READY)
    rows = drive.read_probe_user(result.plan.output_dir, "L")
    assert set(zip(rows.outcome, rows.status, rows.error, strict=True)) == {("error", 503, "HTTP 503")}


def test_nobody_asks_unless_it_is_asked_for(run: Run) -> None:
    result = run(READ, segments=[segment(duration_s=0.2)])
    assert drive.read_probe_user(result.plan.output_dir, "L").empty
    assert {seen.path for seen in result.seen} == {"/read"}
