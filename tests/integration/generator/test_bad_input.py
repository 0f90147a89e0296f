"""Targets that misbehave, scenarios that do, and rates out of reach: each is counted, and the ledger stays whole."""

from __future__ import annotations

import pytest
from load_stub import Answer, Run, Seen, segment

from harness.generator.arrivals import schedule

EVERY_WAY = """
    from itertools import count
    from locust import FastHttpUser, HttpUser, task
    turn = count()
    PATHS = ("/ok", "/503", "/404", "/close", "/nonsense", "/cut", "/reset", "/silent", "/raise", "/nothing")

    class Fast(FastHttpUser):
        @task
        def ask(self):
            path = PATHS[next(turn) % len(PATHS)]
            if path == "/raise":
                raise ValueError("no luck")
            if path != "/nothing":
                self.client.get(path)

    class Plain(HttpUser):
        tasks = [Fast.ask]
"""
ANSWERS = {
    "/ok": Answer(),
    "/503": Answer(status=503),
    "/404": Answer(status=404),
    "/close": Answer(close=True),
    "/nonsense": Answer(raw=b"nonsense\r\n\r\n", close=True),
    "/cut": Answer(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\ncut", close=True),
    "/reset": Answer(reset=True),
    "/silent": Answer(delay_s=None),
}
FAST = {
    "GET /ok": ("ok", 200, ""),
    "GET /503": ("error", 503, "HTTP 503"),
    "GET /404": ("error", 404, "HTTP 404"),
    "GET /close": ("error", 0, "HTTPConnectionClosed"),
    "GET /nonsense": ("error", 0, "HTTPParseError"),
    "GET /cut": ("error", 200, ""),
    "GET /reset": ("error", 0, ""),
    "GET /silent": ("timeout", 0, "timeout"),
}
PLAIN = FAST | {
    "GET /close": ("error", 0, "RemoteDisconnected"),
    "GET /nonsense": ("error", 0, "BadStatusLine"),
    "GET /cut": ("error", 0, "ChunkedEncodingError"),
}


def test_whatever_goes_wrong_is_counted_as_what_it_is(run: Run) -> None:
    def behave(seen: Seen) -> Answer:
        return ANSWERS[seen.path]

    result = run(EVERY_WAY, behave, segments=[segment(rate_rps=120.0, duration_s=1.5)], request_timeout_s=0.4)
    rows = result.rows
    sent = rows[rows.endpoint != ""]
    for task, expected in (("Fast.ask", FAST), ("Plain.ask", PLAIN)):
        for endpoint, (outcome, status, error) in expected.items():
            own = sent[(sent.task == task) & (sent.endpoint == endpoint)]
            assert len(own) > 2, (task, endpoint)
            assert set(own.outcome) == {outcome}, (task, endpoint)
            assert set(own.status) == {status}, (task, endpoint)
            assert all(text.startswith(error) and bool(text) == (outcome != "ok") for text in own.error), set(own.error)
    silent = rows[rows.endpoint == ""]
    assert {(str(outcome), str(error)) for outcome, error in zip(silent.outcome, silent.error, strict=True)} == {
        ("error", "ValueError: no luck"),
        ("ok", ""),
    }
    assert len(result.seen) == len(sent), "each request is sent once"


def test_a_rate_out_of_reach_is_offered_in_full_and_what_finds_no_place_is_dropped(run: Run) -> None:
    source = """
        from locust import FastHttpUser, task

        class User(FastHttpUser):
            @task
            def read(self):
                self.client.get("/")
    """
    wild = segment(rate_rps=60_000.0, duration_s=0.5)
    result = run(source, segments=[wild], max_in_flight=50)
    (count,) = result.output.ledger.tasks
    assert count.offered == len(list(schedule([wild], [1.0])))
    assert count.dropped > count.offered / 2
    assert count.unfinished == 0
    served = result.rows[result.rows.outcome == "ok"]
    assert len(served) == count.done >= 50
    assert result.output.ledger.turns[0].in_flight_peak == 50


@pytest.mark.parametrize("rate_rps", [0.001, 0.0])
def test_a_segment_without_a_single_arrival_is_an_empty_one(run: Run, rate_rps: float) -> None:
    source = """
        from locust import FastHttpUser, task

        class User(FastHttpUser):
            @task
            def read(self):
                self.client.get("/")
    """
    result = run(source, segments=[segment(rate_rps=rate_rps, duration_s=0.3)])
    assert result.output.ledger.tasks == ()
    assert len(result.rows) == 0
    assert [each.cut for each in result.output.ledger.turns] == ["end"]
