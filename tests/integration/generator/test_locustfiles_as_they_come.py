"""What people's locustfiles do beside sending requests: each of it works as under Locust, or is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from load_stub import Answer, Result, Run, Seen, closed, segment

from harness.errors import UsageError

FEW = (segment(duration_s=0.5),)
BOTH = pytest.mark.parametrize("segments", [FEW, (closed(duration_s=0.4),)], ids=["open", "closed"])
READER = """
class Reader(FastHttpUser):
    wait_time = constant(0.02)

    @task
    def read(self):
        self.client.get("/read")
"""


def log_of(result: Result) -> str:
    return (result.plan.output_dir / "generator.log").read_text()


def paths(result: Result) -> set[str]:
    return {seen.path for seen in result.seen}


@BOTH
def test_arguments_classes_and_tags_choose_what_is_sent(run: Run, segments) -> None:
    source = """
        from locust import FastHttpUser, constant, events, tag, task

        @events.init_command_line_parser.add_listener
        def _(parser):
            parser.add_argument("--shop-token", required=True)

        class Shopper(FastHttpUser):
            wait_time = constant(0.01)

            @tag("browse", "fast")
            @task
            def look(self):
                token = self.environment.parsed_options.shop_token
                self.client.get("/look", headers={"x-token": token})

            @tag("browse", "slow")
            @task
            def search(self):
                self.client.get("/search")

            @task
            def buy(self):
                self.client.get("/buy")

        class Clerk(FastHttpUser):
            wait_time = constant(0.01)

            @tag("slow")
            @task
            def stock(self):
                self.client.get("/stock")

            @tag("browse")
            @task
            def sell(self):
                self.client.get("/sell")
    """
    arguments = {"shop-token": "hunter2"}
    result = run(source, segments=segments, arguments=arguments, tags=("browse",), exclude_tags=("slow",))
    assert paths(result) == {"/look", "/sell"}
    assert {seen.headers["x-token"] for seen in result.seen if seen.path == "/look"} == {"hunter2"}
    written = (result.plan.output_dir / "loadplan.json").read_text()
    assert "hunter2" not in written, "the file stays in the run's folder"
    only = run(source, segments=segments, arguments=arguments, user_classes=("Clerk",))
    assert paths(only) == {"/stock", "/sell"}
    left = run(source, segments=segments, arguments=arguments, tags=("fast",))
    assert paths(left) == {"/look"}
    assert "The tags leave Clerk no task: it takes no part." in left.output.notes


WRONG = {
    "a required argument without a value": ({}, "arguments: the following arguments are required: --token"),
    "an argument it does not have": ({"arguments": {"tokn": "x"}}, "has no argument 'tokn'"),
    "a class it does not have": (
        {"arguments": {"token": "x"}, "user_classes": ("Raeder",)},
        r"has no user class Raeder\. Did you mean Reader\?",
    ),
    "a tag on nothing": (
        {"arguments": {"token": "x"}, "exclude_tags": ("slwo",)},
        r"No task in .* has the tag 'slwo'\. Its tags are slow\.",
    ),
    "tags that leave nothing": (
        {"arguments": {"token": "x"}, "exclude_tags": ("slow",)},
        "The tags leave no task of",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_the_scenario_does_not_have_is_refused(run: Run, name: str) -> None:
    source = """
        from locust import FastHttpUser, events, tag, task

        @events.init_command_line_parser.add_listener
        def _(parser):
            parser.add_argument("--token", required=True)

        class Reader(FastHttpUser):
            @tag("slow")
            @task
            def read(self):
                self.client.get("/")
    """
    load, sentence = WRONG[name]
    with pytest.raises(UsageError, match=sentence):
        run(source, **load)


LIFE = """
    import json
    from pathlib import Path
    from locust import FastHttpUser, constant, events, task

    HAPPENED = []

    def listen(name):
        @getattr(events, name).add_listener
        def _(**arguments):
            HAPPENED.append([name, sorted(arguments)])
            if name == "quit":
                Path("happened.json").write_text(json.dumps(HAPPENED))

    for name in ("init", "test_start", "spawning_complete", "test_stopping", "test_stop", "quitting", "quit"):
        listen(name)

    class User(FastHttpUser):
        wait_time = constant(0.02)

        def on_start(self):
            HAPPENED.append("on_start")
            self.client.post("/login")

        @task
        def read(self):
            self.client.get("/read")

        def on_stop(self):
            HAPPENED.append("on_stop")
            self.client.post("/logout")
"""


@BOTH
def test_a_scenarios_whole_life_is_told_in_locusts_order(run: Run, tmp_path: Path, monkeypatch, segments) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(LIFE, segments=segments)
    happened = json.loads((tmp_path / "happened.json").read_text())
    assert list(dict.fromkeys(each if isinstance(each, str) else each[0] for each in happened)) == [
        *("init", "test_start", "on_start", "spawning_complete"),
        *("test_stopping", "on_stop", "test_stop", "quitting", "quit"),
    ]
    assert {each[0]: each[1] for each in happened if not isinstance(each, str)} == {
        "init": ["environment", "runner", "web_ui"],
        "test_start": ["environment"],
        "spawning_complete": ["user_count"],
        "test_stopping": ["environment"],
        "test_stop": ["environment"],
        "quitting": ["environment"],
        "quit": ["exit_code"],
    }
    assert happened.count("on_start") == happened.count("on_stop") == len(result.setup) / 2
    assert set(result.setup.endpoint) == {"POST /login", "POST /logout"}
    ends_ns = result.output.ledger.turns[-1].end_ns
    assert (result.setup[result.setup.task == "on_stop"].started_ns >= ends_ns).all(), "in no figure"
    assert set(result.rows.endpoint) == {"GET /read"}


@BOTH
def test_what_goes_wrong_after_the_load_is_noted_and_spoils_nothing(run: Run, monkeypatch, segments) -> None:
    monkeypatch.setenv("POOLBENCH_GOODBYE_S", "1")
    source = """
        import sys, time
        from locust import FastHttpUser, constant, events, task

        @events.test_stop.add_listener
        def _(**_):
            raise ValueError("no report server")

        @events.quitting.add_listener
        def _(environment, **_):
            environment.runner.quit()
            time.sleep(60)

        @events.quit.add_listener
        def _(**_):
            sys.exit(3)

        class User(FastHttpUser):
            wait_time = constant(0.02)

            @task
            def read(self):
                self.client.get("/read")

            def on_stop(self):
                raise KeyError("basket")
    """
    result = run(source, segments=segments)
    assert set(result.rows.outcome) == {"ok"}
    assert [note for note in result.output.notes if "wait_time" not in note] == [
        "on_stop of User raised KeyError: 'basket'.",
        "A listener of test_stop raised ValueError: no report server.",
        "quitting of scenario.py took too long after the load, and was cut off.",
        "A listener of quit raised SystemExit: 3.",
    ]


FATAL = {
    "an error in init": ('raise KeyError("token")', r"A listener of init in .* raised KeyError: 'token'\."),
    "an exit in init": ('raise SystemExit("no licence")', r"A listener of init in .* raised SystemExit: no licence\."),
    "starting users": ("environment.runner.start(5, spawn_rate=1)", r"asks for environment\.runner\.start\(\)"),
    "its greenlets": ("environment.runner.greenlet.spawn(print)", r"asks for environment\.runner\.greenlet,"),
    "quitting, hidden": (
        "try:\n                environment.runner.quit()\n            except Exception:\n                pass",
        r"asks for environment\.runner\.quit\(\)",
    ),
}


def test_a_test_start_that_fails_ends_the_run(run: Run) -> None:
    source = """
        from locust import FastHttpUser, events, task

        @events.test_start.add_listener
        def _(**_):
            raise KeyError("vault")

        class User(FastHttpUser):
            @task
            def read(self):
                self.client.get("/")
    """
    with pytest.raises(UsageError, match=r"A listener of test_start in .* raised KeyError: 'vault'\."):
        run(source)


@pytest.mark.parametrize("name", FATAL)
def test_an_init_that_cannot_be_had_is_refused(run: Run, name: str) -> None:
    does, sentence = FATAL[name]
    source = f"""
        from locust import FastHttpUser, events, task

        @events.init.add_listener
        def _(environment, **_):
            {does}

        class User(FastHttpUser):
            @task
            def read(self):
                self.client.get("/")
    """
    with pytest.raises(UsageError, match=sentence):
        run(source)


@BOTH
def test_quitting_during_the_load_is_refused_wherever_it_is_asked_for(run: Run, segments) -> None:
    source = """
        import gevent
        from locust import FastHttpUser, constant, events, task

        def check(environment):
            while environment.runner.stats.total.num_requests < 3:
                gevent.sleep(0.05)
            environment.runner.quit()

        @events.test_start.add_listener
        def _(environment, **_):
            gevent.spawn(check, environment)

        class User(FastHttpUser):
            wait_time = constant(0.02)

            @task
            def read(self):
                self.client.get("/")
    """
    with pytest.raises(UsageError, match=r"scenario\.py asks for environment\.runner\.quit\(\), which poolbench does"):
        run(source, segments=segments)


def test_a_load_shape_is_refused_by_name(run: Run) -> None:
    shape = """
        from locust import FastHttpUser, LoadTestShape, task

        class Steps(LoadTestShape):
            def tick(self):
                return (10, 10)

        class User(FastHttpUser):
            @task
            def read(self):
                self.client.get("/")
    """
    with pytest.raises(UsageError, match="has the load shape Steps, which cannot apply"):
        run(shape)


@BOTH
def test_the_runner_answers_counts_state_messages_and_figures(run: Run, tmp_path: Path, monkeypatch, segments) -> None:
    monkeypatch.chdir(tmp_path)
    source = """
        import json
        from pathlib import Path
        from locust import FastHttpUser, constant, events, task
        from locust.runners import LocalRunner, MasterRunner, WorkerRunner

        SEEN = {"states": [], "names": []}

        @events.init.add_listener
        def _(environment, runner, **_):
            assert environment.runner is runner
            kinds = (LocalRunner, MasterRunner, WorkerRunner)
            SEEN["kind"] = [isinstance(environment.runner, kind) for kind in kinds]
            runner.register_message("names", lambda environment, msg, **_: SEEN["names"].extend(msg.data))
            SEEN["states"].append(runner.state)

        @events.test_start.add_listener
        def _(environment, **_):
            runner = environment.runner
            runner.send_message("names", [f"user{n}" for n in range(runner.target_user_count)])
            SEEN.update(target=runner.target_user_count, options=environment.parsed_options.num_users)
            SEEN.update(index=runner.worker_index, workers=runner.worker_count)
            SEEN["states"].append(runner.state)

        @events.spawning_complete.add_listener
        def _(user_count, **_):
            SEEN["spawned"] = user_count

        @events.test_stopping.add_listener
        def _(environment, **_):
            SEEN.update(alive=environment.runner.user_count, by_class=environment.runner.user_classes_count)
            SEEN["states"].append(environment.runner.state)

        @events.quitting.add_listener
        def _(environment, **_):
            total = environment.stats.total
            entry = environment.stats.get("/read", "GET")
            SEEN.update(requests=total.num_requests, failures=total.num_failures, reads=entry.num_requests)
            SEEN.update(slow=environment.runner.stats.total.max_response_time >= 5)
            Path("seen.json").write_text(json.dumps(SEEN))

        class User(FastHttpUser):
            wait_time = constant(0.02)

            def on_start(self):
                SEEN["states"].append(self.environment.runner.state)

            @task
            def read(self):
                SEEN["states"].append(self.environment.runner.state)
                self.client.get("/read")
                self.client.get("/gone")
    """
    result = run(
        source, lambda seen: Answer(status=404 if seen.path == "/gone" else 200, delay_s=0.005), segments=segments
    )
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen["kind"] == [True, False, False]
    assert list(dict.fromkeys(seen["states"])) == ["ready", "spawning", "running", "cleanup"]
    if segments[0].model == "closed":
        assert seen["target"] == 3
    assert seen["target"] == seen["options"] == seen["spawned"] == len(seen["names"]) > 0
    assert seen["alive"] >= seen["target"]
    assert seen["by_class"] == {"User": seen["alive"]}
    assert (seen["index"], seen["workers"]) == (0, 1)
    assert seen["requests"] == len(result.rows)
    assert seen["reads"] == seen["failures"] == (result.rows.endpoint == "GET /read").sum()
    assert seen["slow"] is True


def test_a_total_rate_that_is_divided_by_the_runners_count_is_kept(run: Run) -> None:
    """As `constant_total_ips` of locust-plugins does; without a runner each user alone would make the whole rate."""
    source = """
        from locust import FastHttpUser, task

        class User(FastHttpUser):
            def wait_time(self):
                return self.environment.runner.target_user_count / 10

            @task
            def read(self):
                self.client.get("/")
    """
    result = run(source, segments=[closed(users=5, duration_s=1.4)])
    assert len(result.rows) <= 5 * 3, "10/s, each of five users every half second; 70 if each took itself for the only"


@BOTH
def test_users_may_wait_for_each_other_until_spawning_is_complete(run: Run, segments) -> None:
    source = """
        from gevent.lock import Semaphore
        from locust import FastHttpUser, constant, events, task

        everybody_is_here = Semaphore()
        everybody_is_here.acquire()

        @events.spawning_complete.add_listener
        def _(**_):
            everybody_is_here.release()

        class User(FastHttpUser):
            wait_time = constant(0.02)

            def on_start(self):
                everybody_is_here.wait()
                self.client.post("/ready")

            @task
            def read(self):
                self.client.get("/read")
    """
    segments = [segment(duration_s=0.5)] if segments[0].model == "open" else [closed(users=15, duration_s=0.4)]
    result = run(source, segments=segments)
    assert set(result.setup.endpoint) == {"POST /ready"}
    assert set(result.rows.outcome) == {"ok"}
    if segments[0].model == "closed":
        assert len(result.setup) == 15


@BOTH
def test_an_on_start_that_waits_in_vain_is_named(run: Run, monkeypatch, segments) -> None:
    monkeypatch.setenv("POOLBENCH_ON_START_S", "0.3")
    source = """
        from gevent.event import Event
        from locust import FastHttpUser, task

        class User(FastHttpUser):
            def on_start(self):
                Event().wait()

            @task
            def read(self):
                self.client.get("/read")
    """
    with pytest.raises(UsageError, match=r"on_start of User in .* did not end within 0\.3 s"):
        run(source, segments=segments)


@BOTH
def test_samples_that_the_scenario_fires_are_endpoints_of_their_own(run: Run, segments) -> None:
    source = """
        import time
        import gevent
        from locust import FastHttpUser, User, constant, events, task
        from locust.clients import HttpSession

        class Shopper(FastHttpUser):
            wait_time = constant(0.02)

            def on_start(self):
                hook = self.environment.events.request
                self.other = HttpSession(base_url=self.host, request_event=hook, user=self)
                self.third = HttpSession(base_url=self.host, request_event=self.client.request_event, user=self)

            @task
            def shop(self):
                with self.environment.events.request.measure("manual", "whole") as sample:
                    self.client.get("/look")
                    with self.client.get("/put", catch_response=True) as response:
                        response.success()
                    gevent.joinall([gevent.spawn(self.other.get, "/elsewhere")])
                    self.third.get("/third")
                    sample["response_length"] = 7

        class Custom(User):
            wait_time = constant(0.02)

            @task
            def call(self):
                started = time.monotonic()
                gevent.sleep(0.01)
                took_ms = (time.monotonic() - started) * 1000
                broken = ValueError("no route")
                events.request.fire(
                    request_type="grpc", name="Call", response_time=took_ms, response_length=0, exception=None
                )
                events.request.fire(
                    request_type="grpc", name="Close", response_time=None, response_length=0, exception=broken
                )
                raise broken
    """
    result = run(source, lambda _: Answer(delay_s=0.005), segments=segments)
    rows = result.rows.assign(took_ms=(result.rows.finished_ns - result.rows.started_ns) / 1e6)
    assert set(rows.endpoint) == {
        *("GET /look", "GET /put", "sample: GET /elsewhere", "sample: GET /third", "sample: manual whole"),
        *("sample: grpc Call", "sample: grpc Close"),
    }
    whole = rows[rows.endpoint == "sample: manual whole"]
    assert (whole.took_ms > 20).all()
    assert (whole.sequence == 4).all()
    calls = rows[rows.endpoint == "sample: grpc Call"]
    assert calls.took_ms.between(10, 500).all()
    assert (calls.sequence == 0).all()
    closes = rows[rows.endpoint == "sample: grpc Close"]
    assert set(closes.error) == {"ValueError: no route"}, "what the task raises again is not counted twice"
    assert len(closes) == len(calls) == (rows.task == "Custom.call").sum() / 2


def test_a_sample_outside_of_any_task_is_noted(run: Run) -> None:
    source = """
        from locust import FastHttpUser, constant, events, task

        @events.test_start.add_listener
        def _(environment, **_):
            environment.events.request.fire(
                request_type="setup", name="seed", response_time=1, response_length=0, exception=None
            )
    """
    result = run(source.replace("\n        ", "\n") + READER, segments=[closed(duration_s=0.3)])
    assert result.output.notes == ("Samples that the scenario fires outside of its users' tasks are not recorded.",)
    assert set(result.rows.endpoint) == {"GET /read"}


def test_requests_of_a_task_begun_in_the_warm_up_count_where_they_are_sent(run: Run) -> None:
    source = """
        import gevent
        from locust import FastHttpUser, task

        class Patient(FastHttpUser):
            @task
            def view_all(self):
                gevent.sleep(0.2)
                for _ in range(100):
                    self.client.get("/item")
                    gevent.sleep(0.05)
    """
    segments = [closed(0, 2, phase="warmup", duration_s=0.1), closed(1, 2, start_s=0.1, duration_s=0.8)]
    arrivals: set[str] = set()

    def behave(seen: Seen) -> Answer:
        arrivals.add(seen.headers["x-poolbench-arrival"].partition("-")[0])
        return Answer()

    result = run(source, behave, segments=segments, request_timeout_s=0.5)
    (turn,) = result.output.ledger.turns
    measured = result.rows[(result.rows.segment == 1) & (result.rows.endpoint == "GET /item")]
    in_time = measured[measured.started_ns < turn.end_ns]
    assert 2 * 5 <= len(in_time) <= 2 * 14
    assert "1" in arrivals, "the probe counts them there as well"
    (count,) = result.output.ledger.tasks
    assert (count.segment, count.offered) == (0, 2), "a task is where it began"


def test_fixed_counts_come_first_in_the_closed_model(run: Run) -> None:
    source = """
        from locust import FastHttpUser, constant, task

        class Reader(FastHttpUser):
            wait_time = constant(0.02)
            weight = 3

            @task
            def read(self):
                self.client.get("/read")

        class Admin(Reader):
            fixed_count = 1
            weight = 0

            def on_start(self):
                self.client.get("/admin")
    """
    result = run(source, segments=[closed(users=4, duration_s=0.3)])
    assert [seen.path for seen in result.seen].count("/admin") == 1
    share = result.rows.groupby("task", observed=True).size()
    assert set(share.index) == {"Reader.read", "Admin.read"}
    opened = run(source, segments=FEW)
    assert set(opened.rows.task) == {"Reader.read"}
    assert any(
        note.startswith("fixed_count of Admin does not apply in the open model: its weight of 0 leaves it no arrivals")
        for note in opened.output.notes
    )


def test_neighbours_may_be_called_as_ours_are_and_import_the_locustfile(run: Run, tmp_path: Path) -> None:
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "__init__.py").write_text("")
    (tmp_path / "harness" / "errors.py").write_text('PATH = "/theirs"\n')
    (tmp_path / "scenarios.py").write_text("from scenario import NUMBER\n")
    source = """
        NUMBER = 7
        from locust import FastHttpUser, task
        from harness.errors import PATH
        from scenarios import NUMBER as seven

        class User(FastHttpUser):
            @task
            def read(self):
                self.client.get(f"{PATH}/{seven}")
    """
    result = run(source, segments=[segment(0, "A", duration_s=0.3), segment(1, "B", duration_s=0.3)])
    assert paths(result) == {"/theirs/7"}
    assert "Traceback" not in log_of(result)
