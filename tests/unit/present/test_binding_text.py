"""Which resource binds, in words: each sentence is true of its data, and is said once of all cells it is true of."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import get_args

import pytest
from rich.console import Console

from harness.domain.binding import Binding, Resource
from harness.domain.verdict import Report
from harness.present import print_report, render_html
from harness.present.binding_text import MOVED_BY, binding_lines, binding_rows, binding_text
from harness.present.phrases import verdict_text
from harness.present.resource_names import NAMES

MakeReport = Callable[..., Report]
CPU = Binding(
    resource="worker_cpu",
    share=0.93,
    queue="pool",
    waits={"pool": 0.6, "worker_cpu": 0.33},
    used={"worker_cpu": 0.97, "pool": 1.0},
)
A_LARGER_POOL = "A larger pool carries no more."


def bound(report: Report, found: Sequence[Binding]) -> Report:
    """The report with these answers of its cells."""
    cells = tuple(replace(cell, binding=own) for cell, own in zip(report.summary.cells, found, strict=True))
    return replace(report, summary=replace(report.summary, cells=cells))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([Binding(resource="load")], "nothing at this load, which is carried with room to spare."),
        (
            [
                Binding(resource="load", used={"pool": 0.5, "worker_cpu": 0.3}, next="pool"),
                Binding(resource="load", used={"pool": 0.4}, next="pool"),
                Binding(resource="load", used={"pool": 0.2, "worker_cpu": 0.3}, next="worker_cpu"),
            ],
            (
                "nothing at this load, which is carried with room to spare; what is used most, and would bind "
                "first, is the pool (40 to 50 %) or one worker's CPU (30 %)."
            ),
        ),
        (
            [Binding(resource="pool", share=0.45, used={"pool": 0.9}), Binding(resource="pool", share=0.6)],
            (
                "the pool (90 % in use): slow requests spend 45 to 60 % of their time waiting for it. More "
                "connections, or shorter holds, move it."
            ),
        ),
        (
            [CPU],
            (
                "one worker's CPU (97 % in use): slow requests spend 93 % of their time waiting for it, most of it "
                "before the pool, held for so long by those who wait for it. More workers, or less CPU time a "
                "request, move it. A larger pool carries no more."
            ),
        ),
        (
            [Binding(resource="locks", share=0.5, waits={"locks": 0.5, "dial": 0.3})],
            (
                "locks in Postgres: slow requests spend 50 % of their time waiting for them, and 30 % for dialling. "
                "Shorter transactions, or fewer that want the same rows, move it. A larger pool carries no more."
            ),
        ),
        (
            [Binding(resource="postgres_cpu", share=0.5, used={"postgres_cpu": 0.79})],
            (
                "Postgres's CPU (79 % of all cores' time): slow requests spend 50 % of their time waiting for it. "
                "Cheaper queries, or more cores for Postgres, move it. A larger pool carries no more."
            ),
        ),
        (
            [Binding(resource="worker_cpu", share=0.1, used={"worker_cpu": 0.97})],
            (
                "one worker's CPU (97 % in use): what comes one after the other keeps it busy. More workers, or "
                "less CPU time a request, move it. A larger pool carries no more."
            ),
        ),
        (
            [Binding(resource="generator")],
            (
                "the load generator: it could not send what was asked for. More generator processes "
                "(load.processes), or a machine of their own, move it."
            ),
        ),
        (
            [Binding(resource="limiter", share=0.5)],
            "a rate limiter: of the slowest requests 50 % were refused by it. Its limit alone moves it, no pool does.",
        ),
        (
            [Binding(resource="unknown", share=0.4, why="no_probe")],
            "cannot be told: slow requests spend 40 % of their time on something unseen, and no probe saw the pool.",
        ),
        (
            [Binding(resource="unknown", share=0.4, why="unseen")],
            (
                "cannot be told: slow requests spend 40 % of their time waiting within the service, and not for "
                "its pool, threads, database or event loop: for another service, or a lock or limiter of its own."
            ),
        ),
        (
            [Binding(resource="unknown", share=0.4, why="failures")],
            "cannot be told: of the slowest requests 40 % failed for reasons of their own.",
        ),
        (
            [Binding(resource="unknown", why="no_wait")],
            "cannot be told: less is carried than is offered, and nothing was seen to be waited for.",
        ),
    ],
)
def test_the_answer_in_words(found: list[Binding], said: str) -> None:
    assert binding_text(found) == said


@pytest.mark.parametrize(
    ("resource", "moved_by"),
    [
        ("machine_cpu", "More cores, or less that runs on them, move it."),
        (
            "event_loop",
            "A driver that is awaited, or def in place of async def, frees it. A larger pool carries no more.",
        ),
        ("gc", "target.gc_freeze, or fewer objects that live long, move it."),
        ("threads", "More of them (target.threadpool_tokens), or less time in each, move it."),
        ("dial", "Connections that are kept and opened beforehand (a queue pool, pool_prewarm, no overflow) avoid it."),
        ("postgres_io", "A faster disk, or less to read and to commit, move it."),
        ("max_connections", "A higher max_connections, or fewer connections of all services together, move it."),
    ],
)
def test_what_moves_it(resource: Resource, moved_by: str) -> None:
    assert moved_by in binding_text([Binding(resource=resource, share=0.5)])


def test_a_blocked_loop_is_no_full_one() -> None:
    text = binding_text([Binding(resource="event_loop", share=0.5, used={"worker_cpu": 0.1})])
    assert text.startswith("a blocked event loop: slow requests spend 50 % of their time waiting for it.")


def test_every_resource_has_a_name_and_what_moves_it() -> None:
    assert set(get_args(Resource)) | {"unseen", "failures"} == set(NAMES)
    assert set(MOVED_BY) == set(get_args(Resource)) - {"load", "unknown"}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (CPU, True),
        (replace(CPU, queue=None, waits={"worker_cpu": 0.9}), True),
        # a larger pool might: a fourth of the time is waiting for connections that are not held for lack of CPU
        (replace(CPU, queue=None, waits={"worker_cpu": 0.6, "pool": 0.25}), False),
        (Binding(resource="pool", share=0.5), False),
        (Binding(resource="threads", share=0.5), False),
    ],
)
def test_a_larger_pool_is_spoken_against_only_where_it_would_not_help(found: Binding, said: bool) -> None:
    assert (A_LARGER_POOL in binding_text([found])) == said


def test_cells_of_one_answer_are_said_together(make_report: MakeReport) -> None:
    report = make_report(drivers=1, sizes=3)
    ((which, text),) = binding_lines(bound(report, [CPU, replace(CPU, share=0.95), CPU]))
    assert which == "every cell"
    assert "93 to 95 %" in text
    pool = Binding(resource="pool", share=0.5)
    first, second = binding_lines(bound(report, [pool, CPU, CPU]))
    assert first[0] == "driver asyncpg, pool_size 2"
    assert second[0] == "driver asyncpg, pool_size 5; driver asyncpg, pool_size 10"


def test_what_was_not_measured_is_left_to_others_unless_the_generator_failed(make_report: MakeReport) -> None:
    report = make_report(drivers=1, sizes=2, invalid=frozenset({1}))
    valid = [cell.valid for cell in report.summary.cells]
    unknown = [CPU if own else Binding(resource="unknown", why="instrument") for own in valid]
    assert [which for which, _ in binding_lines(bound(report, unknown))] == ["driver asyncpg, pool_size 2"]
    failed = [CPU if own else Binding(resource="generator") for own in valid]
    assert len(list(binding_lines(bound(report, failed)))) == 2
    assert len(binding_rows(bound(report, failed))) == 1


def test_terminal_and_report_say_it(make_report: MakeReport) -> None:
    report = make_report(drivers=1, sizes=2, figures=False)
    report = bound(report, [CPU, Binding(resource="load", waits={"pool": 0.05, "dial": 0.001})])
    stream = io.StringIO()
    print_report(report, Console(file=stream, width=120), {})
    shown = " ".join(stream.getvalue().split())
    page = render_html(report).decode()
    assert "binds: driver asyncpg, pool_size 2: one worker's CPU (97 % in use)" in shown
    assert "<b>driver asyncpg, pool_size 5</b>: nothing at this load" in page
    assert "the pool 60 %, one worker&#39;s CPU 33 %" in page
    assert "the pool 100 %, one worker&#39;s CPU 97 %" in page
    assert "dialling" not in page.split('id="binding"')[1].split("</section>")[0]
    assert (
        "What binds is where more would lower the p95, or let a cell carry more, by a fifth: what slow requests wait "
        "for most. Time in a queue counts for what those wait for who hold what is queued for. Slow requests are those "
        "of ranks 90 to 98 in a hundred, failures last; what they take beside these waits is work." in page
    )
    assert "slow requests wait for" in page


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (CPU, " What binds it is not the pool but one worker's CPU."),
        (Binding(resource="pool"), " What binds it is the pool."),
        (Binding(resource="load"), ""),
        (Binding(resource="unknown"), ""),
    ],
)
def test_the_verdict_says_whether_it_is_the_pool(make_report: MakeReport, found: Binding, said: str) -> None:
    report = make_report(drivers=1, sizes=2)
    text = verdict_text(bound(report, [found] * 2))
    assert ("What binds it" in text) == bool(said)
    assert said in text
