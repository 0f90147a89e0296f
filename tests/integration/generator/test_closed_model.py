"""The closed model: Locust's own users, counted and recorded."""

from __future__ import annotations

from load_stub import Answer, Run, Seen, closed


def in_flight_peak(rows) -> int:
    steps = sorted([(t, 1) for t in rows.started_ns] + [(t, -1) for t in rows.finished_ns])
    now = peak = 0
    for _, step in steps:
        now += step
        peak = max(peak, now)
    return peak


def test_n_users_wait_for_their_answers(run: Run) -> None:
    source = """
        from locust import FastHttpUser, task

        class User(FastHttpUser):
            @task
            def read(self):
                self.client.get("/x")
    """
    result = run(source, lambda _: Answer(delay_s=0.05), segments=[closed(users=4)])
    rows = result.rows
    assert in_flight_peak(rows) == 4
    assert 30 < len(rows) <= 84, "four users, fifty milliseconds a request, one second"
    assert (rows.intended_ns == rows.started_ns).all()
    (count,) = result.output.ledger.tasks
    assert (count.offered, count.done) == (len(rows), len(rows))


def test_wait_time_applies_and_users_are_held_between_their_turns(run: Run) -> None:
    source = """
        from locust import FastHttpUser, constant, task

        class User(FastHttpUser):
            wait_time = constant(0.1)

            def on_start(self):
                self.client.post("/login")

            @task
            def read(self):
                self.client.get("/x")
    """
    segments = [closed(0, 3, "A", duration_s=0.5), closed(1, 5, "A", start_s=0.5, duration_s=0.5)]
    segments += [closed(2, 2, "B", duration_s=0.4)]
    result = run(source, segments=segments, turns=[("A", 0.5), ("B", 0.4), ("A", 0.5)])
    assert len(result.setup) == 5, "every user logs in once"
    first, _, second = result.output.ledger.turns
    assert [each.cut for each in result.output.ledger.turns] == ["clear", "end", "end"]
    for index, users, ran in ((0, 3, first), (1, 5, second)):
        rows = result.rows[result.rows.segment == index]
        assert rows.started_ns.between(ran.start_ns, ran.end_ns).all()
        assert users * 3 <= len(rows) <= users * 5


def test_the_boundary_of_two_segments_lies_within_a_turn(run: Run) -> None:
    source = """
        from locust import FastHttpUser, constant, task

        class User(FastHttpUser):
            wait_time = constant(0.01)

            @task
            def read(self):
                self.client.get("/x")
    """
    segments = [closed(0, 2, phase="warmup", duration_s=0.4), closed(1, 4, start_s=0.4, duration_s=0.4)]
    result = run(source, segments=segments)
    (turn,) = result.output.ledger.turns
    assert turn.load_end_ns == 800_000_000
    boundary_ns = turn.start_ns + 400_000_000
    for index, users, phase in ((0, 2, "warmup"), (1, 4, "measure")):
        rows = result.rows[result.rows.segment == index]
        assert set(rows.phase) == {phase}
        assert len(rows) > 5 * users
        assert in_flight_peak(rows) <= users
    assert (result.rows[result.rows.segment == 0].started_ns < boundary_ns + 5e6).all()
    assert (result.rows[result.rows.segment == 1].started_ns >= boundary_ns).all()


def test_nested_task_sets_exceptions_and_stopped_users(run: Run) -> None:
    source = """
        from itertools import count
        from locust import FastHttpUser, TaskSet, constant, task
        from locust.exception import StopUser
        turn = count()

        class Inner(TaskSet):
            @task
            def read(self):
                kind = next(turn) % 4
                self.client.get("/inner")
                if kind == 1:
                    raise ValueError("inner")
                if kind == 2:
                    raise StopUser()
                self.wait()
                if kind == 3:
                    self.interrupt()

        class User(FastHttpUser):
            wait_time = constant(0.01)
            tasks = [Inner]
    """
    result = run(source, segments=[closed(users=4)])
    rows = result.rows
    assert set(rows.task) == {"read"}
    assert len(rows[rows.endpoint == "GET /inner"]) > 50, "whoever stops is replaced, whatever raises goes on"
    assert set(rows[rows.outcome == "error"].error) == {"ValueError: inner"}


def test_a_turn_ends_when_its_users_have_their_answers(run: Run) -> None:
    source = """
        from locust import FastHttpUser, task

        class User(FastHttpUser):
            @task
            def read(self):
                self.client.get("/x")
    """
    once = iter([0.9] * 2)

    def slow_at_first(_: Seen) -> Answer:
        return Answer(delay_s=next(once, 0.01))

    segments = [closed(0, 2, "A", duration_s=0.6), closed(1, 2, "B", duration_s=0.3)]
    result = run(source, slow_at_first, segments=segments, turns=[("A", 0.3), ("B", 0.3), ("A", 0.3)])
    first, second, third = result.output.ledger.turns
    assert first.end_ns == first.start_ns + 300_000_000, "the load clock stands still from here on"
    slow = result.rows.sort_values("started_ns").head(2)
    assert (slow.finished_ns > first.start_ns + 0.9e9).all()
    assert slow.finished_ns.max() <= first.idle_ns < second.start_ns
    assert (first.idle, second.idle) == (True, True)
    assert third.load_start_ns == first.load_end_ns
    assert result.rows.started_ns.between(third.start_ns, third.end_ns).sum() == len(result.rows) - 2


def test_several_classes_share_the_users_by_weight(run: Run) -> None:
    source = """
        from locust import FastHttpUser, constant, task

        class Often(FastHttpUser):
            weight = 3
            wait_time = constant(0.05)

            @task
            def a(self):
                self.client.get("/often")

        class Seldom(FastHttpUser):
            wait_time = constant(0.05)

            @task
            def b(self):
                self.client.get("/seldom")
    """
    result = run(source, segments=[closed(users=8)])
    sizes = result.rows.groupby("task", observed=True).size()
    assert set(sizes.index) == {"Often.a", "Seldom.b"}
    assert 2 < sizes["Often.a"] / sizes["Seldom.b"] < 4.5


def test_sequences_and_markov_chains_keep_their_order(run: Run) -> None:
    source = """
        from locust import FastHttpUser, MarkovTaskSet, SequentialTaskSet, constant, task, transition

        class Steps(SequentialTaskSet):
            @task
            def one(self):
                self.client.get("/1")

            @task
            def two(self):
                self.client.get("/2")
                self.interrupt()

        class Chain(MarkovTaskSet):
            @transition("later")
            def first(self):
                self.client.get("/first")

            @transition("first")
            def later(self):
                self.client.get("/later")

        class Walker(FastHttpUser):
            wait_time = constant(0.01)
            tasks = [Steps]

        class Wanderer(FastHttpUser):
            wait_time = constant(0.01)
            tasks = [Chain]
    """
    result = run(source, segments=[closed(users=2)])
    by_task = {task: group.sort_values("started_ns") for task, group in result.rows.groupby("task", observed=True)}
    assert set(by_task) == {"Walker.one", "Walker.two", "Wanderer.first", "Wanderer.later"}
    for pair in (("GET /1", "GET /2"), ("GET /first", "GET /later")):
        walked = result.rows[result.rows.endpoint.isin(pair)].sort_values("started_ns").endpoint.tolist()
        assert len(walked) > 10
        assert walked == [pair[step % 2] for step in range(len(walked))]
