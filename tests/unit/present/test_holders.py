"""Who holds the connections, in words: what is said of a cell, and when the terminal says it unasked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.domain.cliffs import Cliff, CliffKind
from harness.domain.holds import EndpointHolds, HoldSite, Leak
from harness.domain.verdict import Report
from harness.present.holders import cliff_text, holder_rows, holder_texts, leak_text, site_rows, terminal_texts

MakeReport = Callable[..., Report]
HOLDS = EndpointHolds(
    endpoint="GET /a",
    requests=10,
    connections=1,
    left=0,
    holds=10,
    on_loop=0,
    threads=0,
    statements=20,
    seconds={"query": 0.2, "idle_transaction": 1.6, "idle": 0.1, "after": 0.1},
    in_use=2.0,
)
MOSTLY = (
    "In driver asyncpg, pool_size 2, GET /a holds all of the connections that are out (2.00 on average): each for "
    "200 ms, with 2 statements: 10 % in a query; 80 % idle in a transaction; 5 % idle in none; 5 % after the response "
    "had started. Most of it waits for something else in an open transaction."
)


def held(make_report: MakeReport, *holds: EndpointHolds, pool_share: float = 0.2, used: float = 0.1) -> Report:
    report = make_report(drivers=1, sizes=1, figures=False)
    (cell,) = report.summary.cells
    cell = replace(cell, holds=holds, all=replace(cell.all, pool_share=pool_share), pool_used_share=used)
    return replace(report, summary=replace(report.summary, cells=(cell,)))


def test_who_holds_most_is_said_with_what_it_does_meanwhile(make_report: MakeReport) -> None:
    assert holder_texts(held(make_report, HOLDS)) == (MOSTLY,)


def test_connections_that_nobody_gave_back_are_not_among_those_that_are_held(make_report: MakeReport) -> None:
    (text,) = holder_texts(held(make_report, replace(HOLDS, left=1)))
    assert "GET /a holds all of the connections that are out and come back (2.00 on average)" in text


def test_several_connections_in_one_request_are_said(make_report: MakeReport) -> None:
    busy = replace(HOLDS, seconds=HOLDS.seconds | {"query": 18.0}, connections=2)
    said = "Single requests have several connections at once: GET /a (up to 2)."
    report = held(make_report, busy)
    assert holder_texts(report)[1:] == (said,)


@pytest.mark.parametrize(
    ("pool_share", "used", "said"), [(0.2, 0.1, (MOSTLY,)), (0.01, 0.6, (MOSTLY,)), (0.01, 0.1, ())]
)
def test_the_terminal_speaks_of_idle_holds_where_connections_are_short(
    make_report: MakeReport, pool_share: float, used: float, said: tuple[str, ...]
) -> None:
    assert terminal_texts(held(make_report, HOLDS, pool_share=pool_share, used=used)) == said


def test_nobody_is_accused_of_a_connection_that_is_asked_all_the_time(make_report: MakeReport) -> None:
    assert terminal_texts(held(make_report, replace(HOLDS, seconds=HOLDS.seconds | {"query": 18.0}))) == ()


def test_without_the_probe_nothing_is_said(make_report: MakeReport) -> None:
    report = held(make_report)
    assert holder_texts(report) == terminal_texts(report) == holder_rows(report) == ()


def test_one_who_gave_nothing_back_has_a_row_without_times(make_report: MakeReport) -> None:
    report = held(make_report, replace(HOLDS, holds=0, left=10, seconds=dict.fromkeys(HOLDS.seconds, 0.0)))
    (row,) = holder_rows(report)
    assert (row.left, row.hold_ms, set(row.shares)) == ("10", "\u2013", {"\u2013"})
    assert holder_texts(report) == ()


def test_a_leak_is_said_with_its_rate_and_the_end_of_the_pool(make_report: MakeReport) -> None:
    leak = Leak(lost=10, exposed_s=20.0, low_per_s=0.24, high_per_s=0.92, pool=15, endpoints=("GET /a", ""))
    assert leak_text(leak) == (
        "a leak of 0.500 connections/s (95 % interval 0.240 to 0.920; 10 taken by GET /a; work outside of any request "
        "in 20 s of load never came back): the pool of 15 is empty after 30 s; no size helps."
    )
    assert "10 taken by GET /a (shop/db.py:12) in 20 s" in leak_text(
        replace(leak, endpoints=("GET /a",), sites=("shop/db.py:12",))
    )
    assert leak_text(replace(leak, pool=None)).endswith("never came back); no size helps.")
    report = held(make_report)
    (cell,) = report.summary.cells
    report = replace(report, summary=replace(report.summary, cells=(replace(cell, leak=leak),)))
    assert terminal_texts(report) == holder_texts(report) == (f"driver asyncpg, pool_size 2: {leak_text(leak)}",)


def test_a_cliff_is_said_once_with_its_reason_and_whether_it_came_to_that(make_report: MakeReport) -> None:
    cliff = Cliff(kind="threads", requests=13, pool=3, threads=10, connections=1, endpoints=("GET /a",))
    report = make_report(drivers=1, sizes=2, figures=False)

    def said(*cells: tuple[int, tuple[str, ...]]) -> str:
        own = tuple(
            replace(cell, cliffs=(cliff,), in_flight_peak=peak, findings=findings, holds=())
            for cell, (peak, findings) in zip(report.summary.cells, cells, strict=True)
        )
        changed = replace(report, summary=replace(report.summary, cells=own))
        (text,) = holder_texts(changed)
        assert terminal_texts(changed) == ((text,) if max(peak for peak, _ in cells) > 6 else ())
        assert text.startswith(cliff_text(cliff))
        return text.removeprefix(cliff_text(cliff) + " ")

    for most in (12, 6):
        assert said((most, ()), (5, ())) == (
            f"It was not reached: at most {most} were in flight. One process and users of the closed model show both "
            "sides of it (load.users = [12, 13])."
        )
    assert said((12, ()), (13, ())) == "It was reached, and did not come to that."
    assert said((12, ("pool_timeouts",)), (13, ("pool_timeouts",))) == (
        "It came to that: the pool gave up on waits in driver asyncpg, pool_size 5."
    )


FROM_8 = "From 8 requests at once in a process on it may stand still until pool_timeout has passed:"
REASONS: dict[tuple[CliffKind, int], str] = {
    ("threads", 1): (
        "GET /a needs a thread while it holds a connection, so that 10 threads can wait for the 3 connections whose "
        "holders wait for a thread. A session that is closed before its thread is given back (its own for each "
        "operation) removes that; fewer threads bring it nearer."
    ),
    ("connections", 2): (
        "a request of GET /a has 2 connections at once, so that 8 of them can hold all 3 while each waits for one "
        "more. N such requests at once are safe with N + 1 connections; with one connection a request there is no "
        "such limit."
    ),
    ("connections", 4): (
        "a request of GET /a has 4 connections at once, so that 8 of them can hold all 3 while each waits for one "
        "more. N such requests at once are safe with 3 N + 1 connections; with one connection a request there is no "
        "such limit."
    ),
    ("loop", 1): (
        "GET /a takes its connection on the event loop with a driver that stops the loop while it waits, and one is "
        "kept while the loop goes on: with all 3 out, one more request stops the loop that the others need to give "
        "theirs back. An async driver, or def endpoints, remove that."
    ),
}


@pytest.mark.parametrize(("kind", "connections"), REASONS)
def test_each_kind_of_cliff_has_its_reason(kind: CliffKind, connections: int) -> None:
    cliff = Cliff(kind=kind, requests=8, pool=3, threads=10, connections=connections, endpoints=("GET /a",))
    assert cliff_text(cliff) == f"{FROM_8} {REASONS[kind, connections]}"


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("idle", "waits for something else outside of any transaction"),
        ("after", "goes on after the response has started, as a session does that lives as long as its request"),
    ],
)
def test_what_a_hold_is_spent_on_is_named(make_report: MakeReport, part: str, words: str) -> None:
    (text,) = holder_texts(held(make_report, replace(HOLDS, seconds=HOLDS.seconds | {part: 30.0})))
    assert text.endswith(f". Most of it {words}.")


def test_lines_of_the_service_have_rows_where_they_are_known(make_report: MakeReport) -> None:
    report = held(make_report, HOLDS)
    assert site_rows(report) == ()
    site = HoldSite(endpoint="GET /a", site="shop/db.py:12", holds=4, held_s=2.0, longest_s=1.5)
    (cell,) = report.summary.cells
    cell = replace(cell, hold_sites=(site, replace(site, site="")))
    own, none = site_rows(replace(report, summary=replace(report.summary, cells=(cell,))))
    assert (own.site, own.holds, own.hold, own.longest) == ("shop/db.py:12", "4", "500 ms", "1.5 s")
    assert none.site == "no line of the service's own"
