"""The launcher serves a real app on a real socket, and what it writes says what was done to it."""

from __future__ import annotations

import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness.generator.gauges import Gauges

pytestmark = pytest.mark.postgres

APP = "probe_app:create_app"
SERVER_TIMING = re.compile(r'pool;dur=(\d+e-6), db;dur=(\d+e-6), app;dur=(\d+e-6), pid;desc="(\d+)"')


def server_timing(response: Any) -> tuple[float, float, float, int]:
    """Pool, database and application time in ms, and the process."""
    match = SERVER_TIMING.fullmatch(response.headers["server-timing"])
    assert match, response.headers["server-timing"]
    pool_ms, db_ms, app_ms, pid = match.groups()
    return float(pool_ms), float(db_ms), float(app_ms), int(pid)


def test_a_response_says_where_its_time_went(launcher: Any, driver: str) -> None:
    with launcher.start(APP, DRIVER=driver) as served, ThreadPoolExecutor(2) as threads:
        served.get("/query")
        responses = list(threads.map(served.get, ["/query?seconds=0.4"] * 2))
        timings = sorted(server_timing(response) for response in responses)
        (quick_pool_ms, _, _, pid), (waited_ms, db_ms, app_ms, _) = timings
        line = served.until(lambda lines: [line for line in lines if line["connection_checkouts"] == 3])[0]
    assert quick_pool_ms < waited_ms
    assert 200 < waited_ms < 1000 * responses[0].elapsed.total_seconds() + 1000
    assert db_ms >= 400
    assert app_ms < waited_ms + db_ms
    # Of the two, one did not wait (but for microseconds), so the series' wait is the other's pool time.
    assert line["connection_wait_time_s"] * 1000 == pytest.approx(waited_ms + quick_pool_ms, abs=10)
    assert line["pid"] == pid


def test_work_after_the_response_leaves_a_completion_record(launcher: Any, driver: str) -> None:
    with launcher.start(APP, DRIVER=driver) as served:
        served.get("/background?seconds=0.05", arrival="7-1")
        served.get("/stream?seconds=0.05", arrival="7-2")
        for number in range(10):
            served.get("/ping", arrival=f"8-{number}")
        recorded = {"7-1", "7-2"}
        served.until(lambda lines: recorded <= {line["arrival"] for line in lines}, name="completions")
        time.sleep(0.3)  # three more writes: had the pings left records, they would be there
        records = {record["arrival"]: record for record in served.lines("completions")}
    # A ping is recorded only if something stopped the process for 5 ms just after it was answered.
    assert len(records.keys() - recorded) <= 3
    background, stream = records["7-1"], records["7-2"]
    assert background["kind"] == "background"
    assert background["db_ms"] >= 50
    assert background["pool_ms"] > 0
    assert background["seconds"] * 1000 >= background["db_ms"]
    assert (stream["kind"], stream["db_ms"], stream["pool_ms"]) == ("stream", 0, 0)
    assert stream["seconds"] >= 0.049  # a timer of the event loop may run up to a millisecond early


def counts_of(lines: list[dict[str, Any]]) -> dict[tuple[int, str, int], tuple[int, ...]]:
    """Requests, statements, transactions, checkouts and round trips by segment, route and status."""
    names = ("requests", "statements", "transactions", "checkouts", "round_trips")
    sums: dict[tuple[int, str, int], tuple[int, ...]] = {}
    for line in lines:
        key = (line["segment"], line["route"], line["status"])
        sums[key] = tuple(a + line[name] for a, name in zip(sums.get(key, (0,) * 5), names, strict=True))
    return sums


def test_what_requests_take_of_the_database_is_counted_even_of_a_process_that_is_killed(
    launcher: Any, driver: str
) -> None:
    with launcher.start(APP, DRIVER=driver) as served:
        for number in range(8):
            served.get("/query", arrival=f"1-{number}")
        served.get("/query", arrival="2-1")
        served.get("/background?seconds=0.01", arrival="2-2")
        served.get("/stream?seconds=0.01", arrival="2-3")
        served.client.get("/fail", headers={"connection": "close", "x-poolbench-arrival": "2-4"})
        served.client.get("/query?seconds=none", headers={"x-poolbench-arrival": "2-5"})
        time.sleep(0.7)
        served.process.kill()
        served.process.wait(timeout=15)
        counts = counts_of(served.lines("counts"))
    first = counts.pop((1, "/query", 200))
    assert first[:4] == (8, 8, 8, 8)
    # asyncpg prepares a statement at its first use; psycopg at its sixth, but forgets its uses with every ROLLBACK.
    assert first[4] == 8 * 3 + (driver == "asyncpg")
    assert counts.pop((-1, "/ping", 200))[1:] == (0, 0, 0, 0)
    assert counts == {
        (2, "/query", 200): (1, 1, 1, 1, 3),
        (2, "/background", 200): (1, 1, 1, 1, 3),
        (2, "/stream", 200): (1, 0, 0, 0, 0),
        (2, "/fail", 500): (1, 0, 0, 0, 0),
        (2, "/query", 422): (1, 0, 0, 0, 0),
    }


def test_all_workers_counts_add_up(launcher: Any) -> None:
    with launcher.start(APP, "--workers", "2") as served:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(served.get, ["/query"] * 40))
        served.process.terminate()
        served.process.wait(timeout=15)
        counts = counts_of(served.lines("counts"))
    assert counts[3, "/query", 200][:4] == (40, 40, 40, 40)


def test_every_worker_is_measured(launcher: Any) -> None:
    with launcher.start(APP, "--workers", "2") as served:
        pids = served.until(lambda lines: {line["pid"] for line in lines if line["connection_max"] == 1})
        pids = served.until(lambda lines: len(pids := {line["pid"] for line in lines}) == 2 and pids)
        assert served.process.pid not in pids
        answered = {server_timing(served.get("/ping"))[3] for _ in range(20)}
        assert answered <= pids
        served.process.terminate()
        assert served.process.wait(timeout=15) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_the_gauge_shows_what_is_in_progress_whatever_the_client_waits_for(launcher: Any, workers: int) -> None:
    """The generator's own reader; a client that gives up and one that has its answer leave the service at work."""
    with launcher.start(APP, "--workers", str(workers), POOL_SIZE="3") as served:
        gauges = Gauges(launcher.probe_dir)

        def becomes(count: int) -> None:
            deadline = time.monotonic() + 20
            while gauges.in_progress != count:
                assert time.monotonic() < deadline, (path, gauges.in_progress)
                gauges.look_again()
                time.sleep(0.005)

        for path in ("/query?seconds=1.5", "/background?seconds=1.5", "/stream?seconds=1.5"):
            becomes(0)
            with ThreadPoolExecutor(3) as threads:
                calls = [threads.submit(served.client.get, path) for _ in range(3)]
                becomes(3)
                assert all(call.result().status_code == 200 for call in calls)
        becomes(0)
        files = [file for file in launcher.probe_dir.glob("live-*.bin") if file.stat().st_size]
        assert len(files) >= workers


def test_off_writes_and_answers_nothing_until_on_again(launcher: Any) -> None:
    off = launcher.probe_dir / "off"
    with launcher.start(APP) as served:
        served.get("/query")
        served.until(lambda lines: lines[-1]["connection_checkouts"] == 1)
        off.touch()
        served.client.get("/ping")
        deadline = time.monotonic() + 20
        while "server-timing" in served.get("/ping").headers:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        written = len(served.lines())
        served.get("/query")
        time.sleep(0.35)
        assert len(served.lines()) == written
        off.unlink()
        served.until(lambda lines: len(lines) > written)
        served.get("/query")
        line = served.until(lambda lines: [line for line in lines if line["connection_checkouts"] == 2])[0]
        assert "server-timing" in served.get("/ping").headers
    assert line["connection_connects"] == 1  # the query made while off used the connection there was
    assert line["connection_count_idle"] + line["connection_count_used"] == 1


def test_a_blocked_loop_is_seen_growing_while_it_is_blocked(launcher: Any) -> None:
    with launcher.start(APP) as served:
        served.get("/block?seconds=0.6")
        ended_ns = time.monotonic_ns()
        served.until(lambda lines: lines[-1]["t_ns"] > ended_ns)
        lags_ms = [line["loop_lag_max_ms"] for line in served.lines() if line["t_ns"] < ended_ns]
        worst_ms = max(line["loop_lag_max_ms"] for line in served.lines())
    growing = [lag for lag in lags_ms if lag > 100]
    assert len(growing) >= 3
    assert growing == sorted(growing)
    assert worst_ms > 600 - 100 - 10  # the block may begin a whole idle beat before one is due


def test_collections_and_threads_show(launcher: Any) -> None:
    with launcher.start(APP) as served, ThreadPoolExecutor(3) as threads:
        collected_ms = served.get("/collect").json()["seconds"] * 1000
        worst = served.until(lambda lines: max(line["gc_pause_max_ms"] for line in lines) > collected_ms / 2)
        pauses_ms = served.lines()[-1]["gc_pause_s"] * 1000
        list(threads.map(served.get, ["/thread?seconds=0.4"] * 3))
        lines = served.until(lambda lines: [line for line in lines if line["threadpool_tokens_borrowed"] == 3])
    assert worst
    assert pauses_ms > collected_ms / 2
    assert lines[0]["threadpool_tokens_total"] == 40


def test_tasks_that_wait_for_a_thread_show(launcher: Any) -> None:
    def told(lines: list[dict[str, Any]]) -> list[int]:
        waiting = [line["threadpool_tasks_waiting"] for line in lines]
        return waiting if any(waiting) and waiting[-1] == 0 else []

    with (
        launcher.start(APP, POOLBENCH_OVERRIDES='{"threadpool_tokens": 2}') as served,
        ThreadPoolExecutor(5) as threads,
    ):
        list(threads.map(served.get, ["/thread?seconds=0.4"] * 5))
        waiting = served.until(told)
    assert max(waiting) == 3


def test_a_failing_request_passes_through(launcher: Any) -> None:
    with launcher.start(APP) as served:
        response = served.client.get("/fail", headers={"connection": "close"})
        assert response.status_code == 500
        assert "server-timing" in response.headers
        assert served.get("/ping").status_code == 200


def test_without_the_probe_nothing_is_loaded_or_written(launcher: Any) -> None:
    with launcher.start("plain_app:app", "--no-probe", anew=True) as served:
        response = served.client.get("/ping")
        assert "server-timing" not in response.headers
        modules = response.json()["modules"]
    assert not [name for name in modules if name.startswith("sqlalchemy")]
    assert {name for name in modules if name.startswith("_poolbench_probe.")} == {"_poolbench_probe.serve"}
    assert not list(launcher.probe_dir.iterdir())


def test_an_app_is_served_as_well_as_a_factory(launcher: Any) -> None:
    with launcher.start("plain_app:app", anew=True) as served:
        answer = served.get("/ping")
        assert server_timing(answer)[:2] == (0, 0)
        assert served.lines()
    assert not {"asyncpg", "psycopg", "psycopg2"} & set(answer.json()["modules"]), "drivers that it does not use"


CROWDED = """
import harness, pool, request, serve
async def app(scope, receive, send):
    body = f"{harness.OWNER} {pool.OWNER} {request.OWNER} {serve.OWNER}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_services_own_modules_are_imported_whatever_the_probe_calls_its_own(
    launcher: Any, tmp_path: Path, workers: str
) -> None:
    launcher.cwd = tmp_path / "service"
    launcher.cwd.mkdir()
    (launcher.cwd / "crowded.py").write_text(CROWDED)
    for name in ("harness", "pool", "request", "serve"):
        (launcher.cwd / f"{name}.py").write_text('OWNER = "theirs"')
    with launcher.start("crowded:app", "--workers", workers, anew=True) as served:
        answer = served.get("/ping")
    assert answer.text == "theirs theirs theirs theirs"
    assert server_timing(answer)[:2] == (0, 0)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_ends_a_blocked_process_too(launcher: Any, workers: str) -> None:
    with launcher.start(APP, "--workers", workers) as served, ThreadPoolExecutor(1) as threads:
        blocked = threads.submit(served.client.get, "/block?seconds=25")
        served.until(lambda lines: [line for line in lines if line["loop_lag_max_ms"] > 150])
        began = time.monotonic()
        served.process.terminate()
        served.process.wait(timeout=20)
        elapsed_s = time.monotonic() - began
        assert blocked.exception() is not None
    assert elapsed_s < 20  # not the 25 s of the block


def test_sigterm_writes_the_last_line(launcher: Any) -> None:
    with launcher.start(APP) as served:
        served.get("/query")
        served.process.terminate()
        served.process.wait(timeout=15)
        assert served.lines()[-1]["connection_checkouts"] == 1


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    "app", ["no_such_module:app", "probe_app:no_such_app", "broken_app:app", "failing_start_app:app"]
)
def test_an_app_that_cannot_be_loaded_or_started_ends_the_launcher(launcher: Any, app: str, workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = launcher.spawn(app, "--fd", str(listener.fileno()), "--workers", workers, fd=listener.fileno())
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 3
    assert {"no_such_module:app": "no_such_module", "probe_app:no_such_app": "no_such_app"}.get(
        app, "as asked"
    ) in errors


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (["app", "--fd", "0"], "pkg.module:attribute"),
        (["a:b", "--fd", "0"], "no socket"),
        (["a:b", "--fd", "77"], "no socket"),
        (["a:b", "--fd", "0", "--workers", "0"], "at least 1"),
        (["a:b", "--fd", "0", "--cpus", "x"], "not a list of processor numbers"),
        (["a:b", "--fd", "0", "--cpus", "100000"], "processors"),
    ],
)
def test_a_wrong_command_line_is_answered_with_a_sentence(launcher: Any, arguments: list[str], cause: str) -> None:
    process = launcher.spawn(*arguments)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert cause in errors
    assert "Traceback" not in errors
