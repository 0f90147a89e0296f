"""Who holds the connections, in words: sentences for terminal and report, and the rows of the report's table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.domain.cliffs import Cliff
from harness.domain.holds import PARTS, EndpointHolds, Leak
from harness.domain.verdict import CellSummary, Report
from harness.present.numbers import UNKNOWN, count, duration, hold_text, number
from harness.present.phrases import listed, percent_text, settings_text

WORTH_SAYING = 0.5
"""Share of a hold without a query, and of a pool in use, from which on the terminal speaks of it."""
WAITING = 0.05
"""Share of the latency that is spent waiting for a connection, likewise."""
NEAR = 0.5
"""Of a cliff's requests at once, likewise."""
MOST_SITES = 10
"""of a cell"""
_WITHOUT_QUERY = {
    "idle_transaction": "waits for something else in an open transaction",
    "idle": "waits for something else outside of any transaction",
    "after": "goes on after the response has started, as a session does that lives as long as its request",
}


def holder_texts(report: Report) -> tuple[str, ...]:
    """All there is to say of who holds connections: of the cell that the run comes to, and what any cell leaks."""
    pick = _pick(report)
    said = (*_leaks(report), *_cliffs(report))
    return said if pick is None else (*said, *_most(pick), *_several(pick))


def terminal_texts(report: Report) -> tuple[str, ...]:
    """What of that matters without being asked for."""
    pick, first = _pick(report), (*_leaks(report), *_cliffs(report, near=True))
    if pick is None:
        return first
    tight = pick.all.pool_share >= WAITING or pick.pool_used_share >= WORTH_SAYING
    idle = 1 - pick.holds[0].share("query") >= WORTH_SAYING
    return (*first, *(_most(pick) if tight and idle else ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderRow:
    """One endpoint of one cell in the report's table."""

    label: str
    endpoint: str
    in_use: str
    at_once: str
    hold_ms: str
    shares: tuple[str, ...]
    """of a hold, in the order of PARTS"""
    statements: str
    left: str


def holder_rows(report: Report) -> tuple[HolderRow, ...]:
    """Every cell and endpoint that had a connection."""
    return tuple(
        HolderRow(
            label=cell.cell.label,
            endpoint=own.endpoint,
            in_use=number(own.in_use),
            at_once=str(own.connections),
            hold_ms=number(own.hold_ms),
            shares=tuple(UNKNOWN if math.isnan(own.share(part)) else percent_text(own.share(part)) for part in PARTS),
            statements=number(own.statements_per_hold),
            left=str(own.left) if own.left else UNKNOWN,
        )
        for cell in report.summary.cells
        for own in cell.holds
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRow:
    """A line of the service that takes connections, in the report's table."""

    label: str
    endpoint: str
    site: str
    holds: str
    hold: str
    longest: str


def site_rows(report: Report) -> tuple[SiteRow, ...]:
    """Of each cell the lines whose connections are held longest in all; nothing without observe.detail."""
    return tuple(
        SiteRow(
            label=cell.cell.label,
            endpoint=own.endpoint,
            site=own.site or "no line of the service's own",
            holds=count(own.holds),
            hold=hold_text(1000 * own.held_s / own.holds),
            longest=hold_text(1000 * own.longest_s),
        )
        for cell in report.summary.cells
        for own in cell.hold_sites[:MOST_SITES]
    )


def _pick(report: Report) -> CellSummary | None:
    """The cell to speak of; None where nobody saw who holds its connections."""
    seen = [cell for cell in report.summary.cells if cell.valid and cell.holds]
    return next((cell for cell in seen if cell.cell.id == report.summary.verdict.cell_id), seen[0] if seen else None)


def _most(cell: CellSummary) -> Iterator[str]:
    """Who has most connections out, and what is done with them meanwhile."""
    first = cell.holds[0]
    if math.isnan(first.hold_ms):
        return
    total = sum(own.in_use for own in cell.holds)
    of_all = "all" if len(cell.holds) == 1 else percent_text(first.in_use / total)
    parts = listed([text for part in PARTS if (text := _part(first, part))])
    longest = max(_WITHOUT_QUERY, key=first.share)
    mostly = f". Most of it {_WITHOUT_QUERY[longest]}" if first.share(longest) >= WORTH_SAYING else ""
    statements = number(first.statements_per_hold).rstrip("0").rstrip(".")
    back = " and come back" if any(own.left for own in cell.holds) else ""
    yield (
        f"In {settings_text(cell.cell)}, {first.endpoint} holds {of_all} of the connections that are out{back} "
        f"({number(total)} on average): each for {hold_text(first.hold_ms)}, with "
        f"{statements} {'statement' if statements == '1' else 'statements'}: {parts}{mostly}."
    )


def _part(own: EndpointHolds, part: str) -> str:
    words = {
        "query": "in a query",
        "idle_transaction": "idle in a transaction",
        "idle": "idle in none",
        "after": "after the response had started",
    }
    return f"{percent_text(own.share(part))} {words[part]}" if own.share(part) >= 0.005 else ""


def _several(cell: CellSummary) -> Iterator[str]:
    """Endpoints whose requests have more than one connection at once."""
    several = [own for own in cell.holds if own.connections > 1]
    if several:
        named = listed([f"{own.endpoint} (up to {own.connections})" for own in several])
        yield f"Single requests have several connections at once: {named}."


def _cliffs(report: Report, *, near: bool = False) -> Iterator[str]:
    """Each cliff once for all cells that have it, and which of them came how far; those that some came near, or all."""
    cells = [cell for cell in report.summary.cells if cell.valid]
    for cliff in dict.fromkeys(cliff for cell in cells for cliff in cell.cliffs):
        own = [cell for cell in cells if cliff in cell.cliffs]
        if near and max(cell.in_flight_peak for cell in own) < NEAR * cliff.requests:
            continue
        whose = "" if len(own) == len(cells) else f" ({listed([settings_text(cell.cell) for cell in own])})"
        yield f"{cliff_text(cliff)}{whose} {_shown(cliff, own)}"


def cliff_text(cliff: Cliff) -> str:
    """From how many requests at once on everything may stand still, why, and what keeps it from that."""
    whose = listed(cliff.endpoints)
    begin = f"From {cliff.requests} requests at once in a process on it may stand still until pool_timeout has passed:"
    if cliff.kind == "threads":
        return (
            f"{begin} {whose} needs a thread while it holds a connection, so that {cliff.threads} threads can wait for "
            f"the {cliff.pool} connections whose holders wait for a thread. A session that is closed before its "
            "thread is given back (its own for each operation) removes that; fewer threads bring it nearer."
        )
    if cliff.kind == "connections":
        each = "N" if cliff.connections == 2 else f"{cliff.connections - 1} N"
        return (
            f"{begin} a request of {whose} has {cliff.connections} connections at once, so that {cliff.requests} of "
            f"them can hold all {cliff.pool} while each waits for one more. N such requests at once are safe with "
            f"{each} + 1 connections; with one connection a request there is no such limit."
        )
    return (
        f"{begin} {whose} takes its connection on the event loop with a driver that stops the loop while it waits, and "
        f"one is kept while the loop goes on: with all {cliff.pool} out, one more request stops the loop that the "
        "others need to give theirs back. An async driver, or def endpoints, remove that."
    )


def _shown(cliff: Cliff, cells: Sequence[CellSummary]) -> str:
    """Whether it came to that. The load is spread over a service's processes, evenly at best."""
    beyond = [cell for cell in cells if cell.in_flight_peak >= cliff.requests * cell.cell.target.workers]
    if not beyond:
        most = max(cell.in_flight_peak for cell in cells)
        return (
            f"It was not reached: at most {most} were in flight. One process and users of the closed model show both "
            f"sides of it (load.users = [{cliff.requests - 1}, {cliff.requests}])."
        )
    stood = [cell for cell in beyond if "pool_timeouts" in cell.findings]
    if not stood:
        return "It was reached, and did not come to that."
    return f"It came to that: the pool gave up on waits in {listed([settings_text(cell.cell) for cell in stood])}."


def _leaks(report: Report) -> Iterator[str]:
    for cell in report.summary.cells:
        if cell.leak is not None:
            yield f"{settings_text(cell.cell)}: {leak_text(cell.leak)}"


def leak_text(leak: Leak) -> str:
    """ "a leak of 0.5/s (0.3 to 0.8 ...): the pool of 15 is empty after 30 s; no size helps." """
    whose = listed([endpoint or "work outside of any request" for endpoint in leak.endpoints])
    whose += f" ({listed(leak.sites)})" if leak.sites else ""
    empty = leak.empty_after_s
    end = "" if empty is None else f": the pool of {leak.pool} is empty after {duration(empty)}"
    return (
        f"a leak of {number(leak.per_s)} connections/s (95 % interval {number(leak.low_per_s)} to "
        f"{number(leak.high_per_s)}; {leak.lost} taken by {whose} in {duration(leak.exposed_s)} of load never came "
        f"back){end}; no size helps."
    )
