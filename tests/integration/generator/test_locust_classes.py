"""Locust's user classes in the open model, as people write them."""

from __future__ import annotations

import json

import pytest
from load_stub import Answer, Run, Seen, closed, segment

from harness.errors import UsageError

FEW = (segment(duration_s=0.6),)


def test_on_start_logs_in_before_the_plan_and_state_stays_with_the_user(run: Run) -> None:
    source = """
        from locust import FastHttpUser, task

        class User(FastHttpUser):
            def on_start(self):
                self.token = self.client.post("/login", json={"user": "x"}).json()["token"]

            @task
            def read(self):
                self.client.get("/private", headers={"authorization": self.token})
    """
    tokens: list[str] = []

    def behave(seen: Seen) -> Answer:
        if seen.path == "/login":
            tokens.append(f"t{len(tokens)}")
            return Answer(body=json.dumps({"token": tokens[-1]}).encode(), headers={"Set-Cookie": f"s={tokens[-1]}"})
        cookie = seen.headers.get("cookie", "").removeprefix("s=")
        return Answer(status=200 if seen.headers["authorization"] == cookie else 401)

    result = run(source, behave, segments=FEW)
    assert set(result.rows.outcome) == {"ok"}
    assert set(result.rows.endpoint) == {"GET /private"}
    assert len(result.setup) == len(tokens) >= 4
    assert set(result.setup.endpoint) == {"POST /login"}
    assert set(result.setup.phase) == {"setup"}
    assert (result.setup.finished_ns < result.output.start_ns).all()
    assert not [note for note in result.output.notes if "during the load" in note]


def test_an_on_start_during_the_load_is_said_to_be_part_of_its_arrival(run: Run) -> None:
    """Where no answer comes while the load goes on, each arrival needs another user."""
    source = """
        from locust import FastHttpUser, task

        class User(FastHttpUser):
            def on_start(self):
                self.client.post("/login")

            @task
            def read(self):
                self.client.get("/private")
    """
    result = run(source, lambda seen: Answer(delay_s=1.0 if seen.path == "/private" else 0.0), segments=FEW)
    late = int((result.setup.started_ns >= result.output.start_ns).sum())
    assert late > 0
    (note,) = (note for note in result.output.notes if "during the load" in note)
    assert note.startswith(f"on_start ran {late} times during the load")


def test_several_tasks_by_weight_and_several_requests_in_one(run: Run) -> None:
    source = """
        from locust import FastHttpUser, between, task

        class User(FastHttpUser):
            wait_time = between(1, 5)

            @task(3)
            def one(self):
                self.client.get("/a/1", name="/a/{id}")

            @task
            def two(self):
                with self.client.rename_request("/b"):
                    self.client.post("/b?x=1", json={})
                self.client.request("PUT", "/c", "/c (named)")
    """
    result = run(source, segments=[segment(rate_rps=200.0)])
    rows = result.rows
    one, two = (rows[rows.task == name] for name in ("one", "two"))
    assert set(one.endpoint) == {"GET /a/{id}"}
    assert 0.6 < one.arrival.nunique() / rows.arrival.nunique() < 0.88
    assert two.groupby("arrival").sequence.agg(list).map(tuple).unique().tolist() == [(0, 1)]
    assert set(two[two.sequence == 0].endpoint) == {"POST /b"}
    later = two[two.sequence == 1]
    assert set(later.endpoint) == {"PUT /c (named)"}
    assert (later.intended_ns == later.started_ns).all()
    assert result.output.notes == ("wait_time of User does not apply in the open model: arrivals follow the rate.",)


def test_what_a_with_block_decides_is_what_counts(run: Run) -> None:
    source = """
        from itertools import count
        from locust import FastHttpUser, task
        import time
        turn = count()

        class User(FastHttpUser):
            @task
            def decide(self):
                kind = ("fail", "forgive", "return", "raise", "plain", "slow")[next(turn) % 6]
                path = "/missing" if kind in ("forgive", "plain") else "/there"
                with self.client.get(path, name=kind, catch_response=True) as response:
                    if kind == "fail":
                        response.failure("not what I wanted")
                    elif kind == "forgive":
                        response.success()
                    elif kind == "return":
                        return
                    elif kind == "raise":
                        raise KeyError("token")
                    elif kind == "slow":
                        time.sleep(0.2)
    """
    result = run(source, lambda seen: Answer(status=404 if seen.path == "/missing" else 200), segments=FEW)
    by_endpoint = {
        endpoint: (set(group.outcome), set(group.error))
        for endpoint, group in result.rows.groupby("endpoint", observed=True)
    }
    assert by_endpoint == {
        "GET fail": ({"error"}, {"not what I wanted"}),
        "GET forgive": ({"ok"}, {""}),
        "GET return": ({"ok"}, {""}),
        "GET raise": ({"error"}, {"KeyError: 'token'"}),
        "GET plain": ({"error"}, {"HTTP 404"}),
        "GET slow": ({"ok"}, {""}),
    }
    slow = result.rows[result.rows.endpoint == "GET slow"]
    assert ((slow.finished_ns - slow.started_ns) / 1e6).median() < 100, "the body of the with-block is not the request"


def test_a_task_that_raises_is_an_error_and_one_that_sends_nothing_is_a_row(run: Run) -> None:
    source = """
        from itertools import count
        import gevent
        from locust import FastHttpUser, task
        from locust.exception import InterruptTaskSet, RescheduleTask
        turn = count()

        class User(FastHttpUser):
            @task
            def act(self):
                kind = next(turn) % 6
                if kind == 0:
                    raise ValueError("before")
                if kind == 1:
                    self.client.get("/x")
                    raise ValueError("after")
                if kind == 2:
                    raise RescheduleTask()
                if kind == 3:
                    self.client.get("/x").raise_for_status()
                    raise InterruptTaskSet()
                if kind == 4:
                    raise gevent.Timeout(0.1)
    """
    result = run(source, segments=FEW)
    (count,) = result.output.ledger.tasks
    assert count.offered == count.done == result.rows.arrival.nunique()
    nothing = result.rows[result.rows.endpoint == ""]
    assert set(nothing.error) == {"ValueError: before", "ValueError: after", "timeout", ""}
    assert set(nothing[nothing.error == "ValueError: after"].sequence) == {1}
    assert set(result.rows[result.rows.endpoint == "GET /x"].outcome) == {"ok"}


def test_a_failed_request_raised_by_its_task_counts_once(run: Run) -> None:
    source = """
        from locust import FastHttpUser, HttpUser, task

        class Fast(FastHttpUser):
            @task
            def fast(self):
                self.client.get("/f").raise_for_status()
    """
    result = run(source, lambda _: Answer(status=500), segments=FEW)
    assert set(result.rows.endpoint) == {"GET /f"}
    assert set(result.rows.outcome) == {"error"}
    assert len(result.rows) == result.rows.arrival.nunique()


def test_http_user_with_a_timeout_an_error_and_a_with_block(run: Run) -> None:
    source = """
        from itertools import count
        from locust import HttpUser, task
        turn = count()

        class User(HttpUser):
            @task
            def read(self):
                path = ("/ok?a=1", "/bad", "/silent")[next(turn) % 3]
                if path == "/bad":
                    with self.client.get(path, catch_response=True) as response:
                        if response.status_code == 500:
                            response.failure("as expected")
                else:
                    self.client.get(path)
    """
    answers = {"/ok?a=1": Answer(body=b"four"), "/bad": Answer(status=500), "/silent": Answer(delay_s=None)}
    result = run(source, lambda seen: answers[seen.path], segments=FEW, request_timeout_s=0.3)
    by_endpoint = {
        endpoint: (set(group.outcome), set(group.status), set(group.error))
        for endpoint, group in result.rows.groupby("endpoint", observed=True)
    }
    assert by_endpoint == {
        "GET /ok": ({"ok"}, {200}, {""}),
        "GET /bad": ({"error"}, {500}, {"as expected"}),
        "GET /silent": ({"timeout"}, {0}, {"timeout"}),
    }
    assert set(result.rows[result.rows.endpoint == "GET /ok"].response_bytes) == {4}
    assert all("x-poolbench-arrival" in seen.headers for seen in result.seen)


def test_a_sequential_task_set_is_one_arrival_a_pass(run: Run) -> None:
    source = """
        from locust import FastHttpUser, SequentialTaskSet, task

        class Journey(SequentialTaskSet):
            def on_start(self):
                self.basket = []

            @task
            def look(self):
                self.client.get("/look")

            @task
            def put(self):
                self.basket.append(1)
                self.client.post(f"/put/{len(self.basket)}", name="/put")

            @task
            def pay(self):
                self.client.post("/pay")
                if self.user.fickle:
                    self.interrupt()

            @task
            def thank(self):
                self.client.get("/thanks")

        class Shopper(FastHttpUser):
            tasks = [Journey]
            fickle = False

        class Fickle(FastHttpUser):
            tasks = [Journey]
            fickle = True
    """
    result = run(source, segments=FEW)
    passes = result.rows.groupby(["task", "arrival"], observed=True).endpoint.agg(list)
    steps = ["GET /look", "POST /put", "POST /pay", "GET /thanks"]
    assert {tuple(steps_taken) for steps_taken in passes["Shopper.Journey"]} == {tuple(steps)}
    assert {tuple(steps_taken) for steps_taken in passes["Fickle.Journey"]} == {tuple(steps[:3])}
    assert {seen.path for seen in result.seen} == {"/look", "/put/1", "/pay", "/thanks"}


def test_stop_user_retires_the_instance_and_another_takes_its_place(run: Run) -> None:
    source = """
        from itertools import count
        from locust import FastHttpUser, task
        from locust.exception import StopUser
        numbers = count()

        class User(FastHttpUser):
            def on_start(self):
                self.number = next(numbers)

            @task
            def once(self):
                self.client.get(f"/{self.number}", name="/once")
                raise StopUser()

            def on_stop(self):
                self.client.post(f"/bye/{self.number}", name="/bye")
    """
    result = run(source, segments=FEW)
    paths = [seen.path for seen in result.seen if not seen.path.startswith("/bye")]
    assert len(paths) == len(set(paths)) == len(result.rows)
    assert set(result.rows.outcome) == {"ok"}
    gone = [seen.path.removeprefix("/bye") for seen in result.seen if seen.path.startswith("/bye")]
    assert len(gone) == len(set(gone)), "once each, those that never had a turn when the load is over"
    assert set(gone) > set(paths)


def test_a_locustfile_of_several_modules_with_listeners(run: Run, tmp_path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text("")
    (tmp_path / "shop" / "paths.py").write_text("PATHS = []\n")
    (tmp_path / "beside.py").write_text("from shop.paths import PATHS\n\ndef path():\n    return PATHS[0]\n")
    source = """
        from locust import FastHttpUser, events, task
        from beside import path
        from shop.paths import PATHS

        @events.test_start.add_listener
        def prepare(environment, **_):
            assert not PATHS, "state of another launch"
            PATHS.append("/prepared")

        class User(FastHttpUser):
            @task
            def read(self):
                self.client.get(path())
    """
    both = [segment(0, "A", duration_s=0.3), segment(1, "B", duration_s=0.3)]
    result = run(source, segments=both)
    assert {seen.path for seen in result.seen} == {"/prepared"}
    assert "state of another launch" not in (result.plan.output_dir / "generator.log").read_text()


CUSTOM = """
        from locust import FastHttpUser, User, task

        class Custom(User):
            @task
            def compute(self):
                pass
"""


def test_a_user_without_an_http_client_runs_and_is_noted(run: Run) -> None:
    other = """
        class Reader(FastHttpUser):
            @task
            def read(self):
                self.client.get("/")
    """
    result = run(CUSTOM + other, segments=FEW)
    own = result.rows[result.rows.task == "Custom.compute"]
    assert set(own.endpoint) == {""}
    assert set(own.outcome) == {"ok"}
    assert result.output.notes == (
        "Of Custom, which has none of Locust's HTTP clients, only samples that it fires itself are recorded.",
    )


@pytest.mark.parametrize("segments", [FEW, (closed(duration_s=0.3),)], ids=["open", "closed"])
def test_a_base_class_that_is_not_marked_as_one_takes_no_part(run: Run, segments) -> None:
    source = """
        from locust import FastHttpUser, task

        class Base(FastHttpUser):
            pass

        class Reader(Base):
            @task
            def read(self):
                self.client.get("/")
    """
    result = run(source, segments=segments)
    assert set(result.rows.task) == {"read"}
    assert result.output.notes == ("Base has no task: it takes no part.",)


@pytest.mark.parametrize("segments", [FEW, (closed(duration_s=0.3),)], ids=["open", "closed"])
def test_a_scenario_that_sends_nothing_is_refused_in_one_sentence(run: Run, segments) -> None:
    said = r"scenario\.py sent no request .* and fired no sample in \d+ arrivals: there is nothing to measure\."
    with pytest.raises(UsageError, match=said) as one:
        run(CUSTOM, segments=segments)
    assert "\n" not in str(one.value)
    assert "self.client" in one.value.next_step


def test_a_project_with_a_locust_conf_and_files_of_its_own(run: Run, tmp_path, monkeypatch) -> None:
    """Locust would obey a locust.conf in its folder, and end itself after a second."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "locust.conf").write_text("run-time = 1s\nusers = 50\n")
    (tmp_path / "paths.csv").write_text("/from-a-file")
    source = """
        from locust import FastHttpUser, task

        class User(FastHttpUser):
            @task
            def read(self):
                with open("paths.csv") as file:
                    self.client.get(file.read())
    """
    result = run(source, segments=[segment(duration_s=3.0)])
    assert set(result.rows.endpoint) == {"GET /from-a-file"}
    assert set(result.rows.outcome) == {"ok"}
    assert (result.rows.intended_ns - result.output.start_ns).max() > 2.5e9
