"""Doubts that stand beside the figures: what is thin, what was left out, what could not be seen."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from harness.domain.design import design_kind
from harness.domain.observed import RelayReadings
from harness.domain.verdict import CellSummary, Report
from harness.present.numbers import count, number
from harness.present.phrases import blocked_text, driver_pool_texts, listed, not_sent, settings_text

FEW_LAUNCHES = 5
WIDE = 1.25
"""How many times its lower end the upper one of an interval is from which on more launches are advised."""
FEW_REQUESTS_FOR_P99 = 1000
INSTRUMENT_SHARE = 0.1
"""The instrument's share of a p95 from which on it is worth a note."""
OWN_SHARE = 0.1
"""The scenario's own share of a p95, likewise."""


def notes(report: Report) -> tuple[str, ...]:
    """Every doubt that applies, the gravest first."""
    found = (
        _partial(report),
        _changed_meanwhile(report),
        _excluded(report),
        _replaced(report),
        _blocked(report),
        _limited(report),
        _bad_requests(report),
        _unaccounted(report),
        _echo(report),
        _still_at_work(report),
        *_not_sent(report),
        _probe_user(report),
        _not_settled(report),
        _empty_tasks(report),
        _closed(report),
        _different_loads(report),
        _different_servers(report),
        _few_launches(report),
        _few_requests(report),
        _instrument(report),
        _told_apart_but_for_it(report),
        _no_leg(report),
        _own_time(report),
        _from_outside(report),
        _no_probe(report),
        _no_activity(report),
        _no_postgres_processes(report),
        _superuser(report),
        *_relays(report.summary.coverage.relays),
        *report.summary.coverage.scenario_notes,
    )
    return tuple(note for note in found if note)


def _partial(report: Report) -> str:
    coverage = report.summary.coverage
    if coverage.measured >= coverage.planned:
        return ""
    return f"Partial run: {coverage.measured} of {coverage.planned} launches."


def _changed_meanwhile(report: Report) -> str:
    changed = [cell for cell in report.summary.cells if len(cell.versions) > 1]
    if not changed:
        return ""
    return (
        f"The code was changed while it was measured: launches of {_named(changed)} did not all start the same. "
        "With target.ref they start one commit, whatever is edited meanwhile."
    )


def _excluded(report: Report) -> str:
    coverage, cells = report.summary.coverage, report.summary.cells
    left_out = sum(cell.invalid_launches for cell in cells)
    if not left_out:
        return ""
    own = [cell for cell in cells if cell.invalid_launches]
    of = f" ({_named(own)})" if len(own) < len(cells) else ""
    why = ", ".join(f"{code} {times}x" for code, times in sorted(coverage.excluded.items(), key=lambda item: -item[1]))
    are = "is invalid and feeds" if left_out == 1 else "are invalid and feed"
    return f"{left_out} of {coverage.measured} launches {are} no figure{of}: {why}."


def _replaced(report: Report) -> str:
    coverage = report.summary.coverage
    if not coverage.replaced:
        return ""
    were = "1 launch was" if coverage.replaced == 1 else f"{coverage.replaced} launches were"
    return (
        f"{were} measured again, since an instrument failed beside them ({', '.join(coverage.replaced_for)}): fresh "
        "ones stand in their place."
    )


def _blocked(report: Report) -> str:
    _, reason = design_kind(report.info.experiment, report.info.cells)
    return blocked_text(reason) if reason and len(report.info.cells) > 1 else ""


def _limited(report: Report) -> str:
    limited, cells = _answered(report, 429)
    if not limited:
        return ""
    return (
        f"The service answered {limited} with 429 ({cells}): a rate limiter refuses them, so these figures are its "
        "own, and no pool changes them. Raise its limit or turn it off for the run, for example in [target] env."
    )


def _bad_requests(report: Report) -> str:
    refused, cells = _answered(report, 400)
    if not refused:
        return ""
    return (
        f"The service answered {refused} with 400 ({cells}): what the scenario sends is wrong, or a check of the host "
        "(TrustedHostMiddleware) refuses 127.0.0.1. Allow that host for the run, or correct the scenario."
    )


def _answered(report: Report, status: int) -> tuple[str, str]:
    """How many requests were refused by this status, and in which cells; "" where none was."""
    cells = [cell for cell in _valid(report) if any(failure.status == status for failure in cell.failures)]
    times = sum(failure.count for cell in cells for failure in cell.failures if failure.status == status)
    return (f"{count(times)} {'request' if times == 1 else 'requests'}" if times else ""), _which(cells, report)


def _unaccounted(report: Report) -> str:
    beyond = report.summary.coverage.unaccounted
    if not beyond:
        return ""
    are = "1 connection was" if beyond == 1 else f"{beyond} connections were"
    held = f"{are} open that no engine of the service holds"
    if pools := report.summary.coverage.driver_pools:
        return f"{held}. {' '.join(driver_pool_texts(pools))}"
    return (
        f"{held}: a pool of the driver's own (asyncpg, psycopg_pool), another "
        "program, or an engine in a process that was not seen. No setting of the experiment reaches them."
    )


def _echo(report: Report) -> str:
    if not report.summary.coverage.echo_off:
        return ""
    return (
        "The service has its engine log every statement (echo); it was turned off for the run. With it the service is "
        "slower than these figures."
    )


def _in_turns(report: Report) -> bool:
    """Whether launches were hot together."""
    kind, _ = design_kind(report.info.experiment, report.info.cells)
    return kind == "interleaved" and len(report.info.cells) > 1


def _still_at_work(report: Report) -> str:
    busy = [cell for cell in report.summary.cells if "still_at_work" in cell.findings]
    if not busy:
        return ""
    went_on = "was still at work on requests that its users had given up when its load had ended"
    if not _in_turns(report):
        return f"A service {went_on}: {_named(busy)}."
    return f'A service {went_on}, in others\' turns: {_named(busy)}. design.kind = "blocked" keeps them apart.'


def _not_settled(report: Report) -> str:
    cells = [cell for cell in _valid(report) if cell.from_empty and not cell.saturated]
    if not cells:
        return ""
    return (
        f"The queue had not settled with {_which(cells, report)}: in a steady state latency is higher. "
        "A longer load.measure_s comes closer."
    )


def _not_sent(report: Report) -> Iterator[str]:
    """Endpoints of which something is promised, and that no launch sent: a name may be mistaken."""
    slo, valid = report.info.experiment.slo, _valid(report)
    sent = sorted({own.endpoint for cell in valid for own in cell.endpoints})
    for name in slo.endpoints:
        without = [cell for cell in valid if name in not_sent(cell, slo)]
        if not without:
            continue
        launch = "no launch" if len(without) == len(valid) else f"no launch of {_named(without)}"
        near = [] if name in sent else difflib.get_close_matches(name, sent, n=1, cutoff=0.5)
        known = f" These were sent: {listed(sent)}." if sent and name not in sent else ""
        yield (
            f"Whether the SLO of {name} is met is unclear: {launch} sent such a request."
            f"{f' Did you mean {near[0]}?' if near else known}"
        )


def _probe_user(report: Report) -> str:
    """Answers too few for the percentile that is shown: how many there were, and the worst."""
    few = [cell for cell in _valid(report) if cell.probe_user is not None and math.isnan(cell.probe_user.p95_ms.value)]
    if not few:
        return ""
    met = listed([f"{settings_text(cell.cell)} {_met(cell)}" for cell in few])
    return (
        f"The {report.info.experiment.probe_user.name} asked too seldom for a p95: {met}. A higher "
        "probe_user.rate_rps, a longer load.measure_s or more launches give more answers."
    )


def _met(cell: CellSummary) -> str:
    asked = 0 if cell.probe_user is None else cell.probe_user.requests
    times = f"{count(asked)} {'time' if asked == 1 else 'times'}"
    if not asked:
        return times
    worst_ms = cell.probe_user_worst_ms
    return f"{times}, the worst {f'{number(worst_ms)} ms' if math.isfinite(worst_ms) else 'without a good answer'}"


def _empty_tasks(report: Report) -> str:
    cells = [cell for cell in _valid(report) if "empty_tasks" in cell.findings and cell.empty_tasks]
    if not cells:
        return ""
    empty = sum(cell.empty_tasks for cell in cells)
    sent = "1 arrival sent" if empty == 1 else f"{count(empty)} arrivals sent"
    return f"{sent} no request ({_which(cells, report)}): that is neither success nor failure."


def _closed(report: Report) -> str:
    if not any(cell.load.model == "closed" for cell in report.info.cells):
        return ""
    return (
        "Closed model: latency counts from the send. Users who wait for an answer send nothing meanwhile, so a pause "
        "of the target delays few requests here; do not compare with an open model's figures."
    )


def _different_loads(report: Report) -> str:
    loads = {(c.load.model, c.rate_rps, c.load.users, c.load.scenario) for c in report.info.cells}
    return "The cells carry different loads: their latencies differ for that reason too." if len(loads) > 1 else ""


def _different_servers(report: Report) -> str:
    """The fingerprint is of the server that was up as the run began."""
    specs = {repr(cell.database) for cell in report.info.cells if cell.takes_settings}
    if len(specs) < 2:
        return ""
    return f"The environment names the Postgres of {settings_text(report.info.cells[0])}; others have one of their own."


def _few_launches(report: Report) -> str:
    fewest = min((cell.all.launches for cell in _valid(report)), default=FEW_LAUNCHES)
    if fewest >= FEW_LAUNCHES:
        return ""
    if fewest == 1:
        once = [cell for cell in _valid(report) if cell.all.launches == 1]
        return f"One launch has no interval ({_which(once, report)}): how much a fresh start changes is unknown."
    wide = [cell for cell in _valid(report) if _width(cell) > WIDE]
    if not wide:
        return ""
    return f"{fewest} launches leave the p95 of {_which(wide, report)} a wide interval; five or more narrow it."


def _width(cell: CellSummary) -> float:
    """How many times the lower end of its p95's interval the upper one is; infinite where the interval is open."""
    p95 = cell.all.p95_ms
    return p95.high / p95.low if p95.low and p95.high else math.inf


def _few_requests(report: Report) -> str:
    fewest = report.summary.coverage.fewest_requests
    if fewest is None or fewest >= FEW_REQUESTS_FOR_P99:
        return ""
    few = f"a launch has as few as {fewest} {'arrival' if fewest == 1 else 'arrivals'}"
    beyond = fewest // 100
    if beyond == 0:
        return f"p99 is only the slowest arrival: {few}."
    return f"p99 is thin: {few}, of which {beyond} {'lies' if beyond == 1 else 'lie'} beyond it."


def _instrument(report: Report) -> str:
    """By how much the instrument can have moved the p95 of a cell, where that is a good part of it."""
    moved = [cell for cell in _valid(report) if _instrument_share(cell) > INSTRUMENT_SHARE]
    if not moved:
        return ""
    worst = max(moved, key=_instrument_share)
    way = (
        ""
        if math.isnan(worst.leg_p95_ms)
        else f", and the way to a service and back took 95 requests in a hundred up to {number(worst.leg_p95_ms)} ms"
    )
    return (
        f"A good part of the p95 of {settings_text(worst.cell)} may be the instrument's: it is between "
        f"{number(worst.all.p95_bound_low_ms)} and {number(worst.all.p95_ms.value)} ms. One arrival in a hundred was "
        f"sent {number(worst.late_p99_ms)} ms late or more{way}. A machine that does nothing else may narrow this."
    )


def _told_apart_but_for_it(report: Report) -> str:
    pairs = [pair for pair in report.summary.pairs if pair.instrument]
    if not pairs:
        return ""
    cells = {cell.cell.id: settings_text(cell.cell) for cell in report.summary.cells}
    named = listed([f"{cells[pair.first]} from {cells[pair.second]}" for pair in pairs])
    return (
        f"Inconclusive (instrument): the launches would tell apart {named}, but what the instrument may have added is "
        "as much as the difference."
    )


def _no_leg(report: Report) -> str:
    unseen = [cell for cell in _valid(report) if math.isnan(cell.leg_p95_ms)]
    if not unseen:
        return ""
    remote = any(cell.cell.load.workers is not None for cell in unseen)
    why = (
        "load generators on other machines have no service beside them that does nothing"
        if remote
        else "the service that does nothing gave no answer"
    )
    return (
        f"How long the way to the service and back takes is not known for {_which(unseen, report, every='any cell')}: "
        f"{why}. So the instrument may have added more than is "
        "allowed for."
    )


def _instrument_share(cell: CellSummary) -> float:
    p95_ms = cell.all.p95_ms.value
    return 1 - cell.all.p95_bound_low_ms / p95_ms if math.isfinite(p95_ms) and p95_ms > 0 else 0.0


def _own_time(report: Report) -> str:
    slow = [cell for cell in _valid(report) if cell.own_mean_ms > OWN_SHARE * cell.all.p50_ms.value]
    if not slow:
        return ""
    own_ms = max(cell.own_mean_ms for cell in slow)
    return (
        f"The scenario's tasks pause or compute for up to {number(own_ms)} ms on average before and between their "
        "requests; that is part of the latency of a task (the row for everything), and of no endpoint's."
    )


def _from_outside(report: Report) -> str:
    urls = sorted({cell.target.url for cell in report.info.cells if cell.target.url})
    if not urls:
        return ""
    was, its = ("was", "its") if len(urls) == 1 else ("were", "their")
    outside = [cell for cell in _valid(report) if not cell.cell.takes_settings]
    waits = f"{its} pool waits, " if all(math.isnan(cell.all.pool_share) for cell in outside) else ""
    return (
        f"{listed(urls)} ran already and {was} measured from outside: {waits}{its} connections and {its} processes "
        "were not seen."
    )


def _no_probe(report: Report) -> str:
    unseen = [cell for cell in _deployed(report) if math.isnan(cell.all.pool_share)]
    if not unseen:
        return ""
    why = "no answer carried the probe's figures"
    if not report.info.experiment.observe.probe:
        ended = ", so that turns were ended by what the client knew of its requests" if _in_turns(report) else ""
        why = f"the probe was off{ended}"
    return f"Pool wait and database time are not known for {_which(unseen, report, every='any cell')}: {why}."


def _no_activity(report: Report) -> str:
    unseen = [cell for cell in _deployed(report) if math.isnan(cell.connections_active_mean)]
    if not unseen:
        return ""
    return f"Connections were not seen for {_which(unseen, report, every='any cell')}: pg_stat_activity gave nothing."


def _no_postgres_processes(report: Report) -> str:
    if report.summary.coverage.postgres_processes is not False:
        return ""
    return "CPU and memory of Postgres are not known: its processes cannot be seen from here."


def _superuser(report: Report) -> str:
    postgres = report.info.environment.get("postgres")
    if not isinstance(postgres, Mapping) or postgres.get("app_role") != "superuser" or not _deployed(report):
        return ""
    return (
        "The service connected as a superuser, for whom Postgres keeps connections that an ordinary role is refused: "
        "max_connections leaves it more than in production."
    )


def _relays(relays: Sequence[RelayReadings]) -> Iterator[str]:
    """One note for each round trip that was added, nearest first; what is measured is the median over launches."""
    for rtt_ms in sorted({relay.rtt_ms for relay in relays}):
        own = [relay for relay in relays if relay.rtt_ms == rtt_ms]
        measured_ms = median(relay.rtt_ms_measured for relay in own)
        late_ms = max(relay.late_ms_p99 for relay in own)
        cpu_ms = 1000 * sum(relay.cpu_s for relay in own) / max(1, sum(relay.round_trips for relay in own))
        drops = sum(relay.idle_drops for relay in own)
        dropped = f" It dropped {drops} idle {'connection' if drops == 1 else 'connections'}." if drops else ""
        yield (
            f"Between target and Postgres a relay added {number(measured_ms)} ms a round trip ({rtt_ms:g} ms asked "
            f"for); under load it was up to {number(late_ms)} ms late each way (p99) and took {number(cpu_ms)} ms of "
            f"CPU a round trip.{dropped}"
        )


def _valid(report: Report) -> list[CellSummary]:
    return [cell for cell in report.summary.cells if cell.valid]


def _deployed(report: Report) -> list[CellSummary]:
    """Valid cells whose service poolbench started itself: there was something to see."""
    return [cell for cell in _valid(report) if cell.cell.takes_settings]


def _which(some: Sequence[CellSummary], report: Report, *, every: str = "every cell") -> str:
    """Valid cells by name, or `every` where these are all of several."""
    valid = _valid(report)
    return every if len(some) == len(valid) > 1 else _named(some)


def _named(cells: Sequence[CellSummary]) -> str:
    return listed([settings_text(cell.cell) for cell in cells])
