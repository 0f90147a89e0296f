"""Doubts that stand beside the figures: what is thin, what was left out, what could not be seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.analyse import words
from harness.analyse.distance import relay_notes
from harness.analyse.launches import Launches
from harness.domain.evidence import Run
from harness.domain.verdict import CellSummary

FEW_LAUNCHES = 5
FEW_REQUESTS_FOR_P99 = 1000


def doubts(run: Run, cells: Sequence[CellSummary], launches: Launches) -> tuple[str, ...]:
    """Every doubt that applies, the gravest first."""
    found = (
        _partial(run),
        _excluded(launches),
        _still_at_work(launches),
        _closed(run),
        _different_loads(run),
        _few_launches(launches),
        _few_requests(launches),
        _from_outside(run),
        _no_probe(run, cells),
        _no_activity(cells),
        _no_postgres_processes(run),
        *relay_notes(run),
    )
    return tuple(note for note in found if note)


def _partial(run: Run) -> str:
    complete = len(run.trials)
    return f"Partial run: {complete} of {run.planned_trials} launches." if complete < run.planned_trials else ""


def _excluded(launches: Launches) -> str:
    count, total = len(launches.excluded), len(launches.excluded) + len(launches.counted)
    return f"{count} of {total} launches are invalid and feed no figure: {launches.why_excluded}." if count else ""


def _still_at_work(launches: Launches) -> str:
    """Services that went on with abandoned requests while others had their turn."""
    trials = [launch.trial for launch in launches.counted] + [launch.trial for launch in launches.excluded]
    busy = {trial.launch.cell.label for trial in trials if any(not turn.idle for turn in trial.ledger.turns)}
    if not busy:
        return ""
    return (
        f"Services went on with requests that their users had given up, while others had their turn: "
        f'{words.listed(sorted(busy))}. design.kind = "blocked" keeps them apart.'
    )


def _closed(run: Run) -> str:
    if not any(cell.load.model == "closed" for cell in run.info.cells):
        return ""
    return (
        "Closed model: latency counts from the send. Users who wait for an answer send nothing meanwhile, so a pause "
        "of the target delays few requests here; do not compare with an open model's figures."
    )


def _different_loads(run: Run) -> str:
    loads = {(c.load.model, words.rate_rps(c, run.info), c.load.users, c.load.scenario) for c in run.info.cells}
    return "The cells carry different loads: their latencies differ for that reason too." if len(loads) > 1 else ""


def _few_launches(launches: Launches) -> str:
    counts: dict[str, int] = {}
    for launch in launches.counted:
        counts[launch.cell_id] = counts.get(launch.cell_id, 0) + 1
    fewest = min(counts.values(), default=FEW_LAUNCHES)
    if fewest >= FEW_LAUNCHES:
        return ""
    if fewest == 1:
        return "One launch has no interval: how much a fresh start changes is unknown."
    return f"{fewest} launches give wide intervals; five or more narrow them markedly."


def _few_requests(launches: Launches) -> str:
    fewest = min((launch.all.requests for launch in launches.counted), default=FEW_REQUESTS_FOR_P99)
    if fewest >= FEW_REQUESTS_FOR_P99:
        return ""
    beyond = max(1, fewest // 100)
    return f"p99 is thin: a launch has as few as {fewest} requests, so about {beyond} of them lie beyond it."


def _from_outside(run: Run) -> str:
    urls = sorted({cell.target.url for cell in run.info.cells if cell.target.url})
    if not urls:
        return ""
    return (
        f"{words.listed(urls)} ran already and was measured from outside: its pool waits, its connections and its "
        "processes were not seen."
    )


def _no_probe(run: Run, cells: Sequence[CellSummary]) -> str:
    unseen = [summary for summary in _deployed(cells) if math.isnan(summary.all.pool_share)]
    if not unseen:
        return ""
    why = "no request named it" if run.info.experiment.observe.probe else "the probe was off"
    return f"Pool wait and database time are not known for {_which(unseen, cells)}: {why}."


def _no_activity(cells: Sequence[CellSummary]) -> str:
    unseen = [summary for summary in _deployed(cells) if math.isnan(summary.connections_active_mean)]
    return f"Connections were not seen for {_which(unseen, cells)}: pg_stat_activity gave nothing." if unseen else ""


def _deployed(cells: Sequence[CellSummary]) -> list[CellSummary]:
    """Valid cells whose service poolbench started itself: there was something to see."""
    return [summary for summary in cells if summary.valid and summary.cell.target.url is None]


def _no_postgres_processes(run: Run) -> str:
    """A server elsewhere, or in a container whose processes this machine does not see; one trial tells for all."""
    if not run.info.environment.get("postgres") or not run.trials:
        return ""
    roles = run.trials[0].table("process", ["role"])["role"]
    seen = bool((roles == "postgres").any())
    return "" if seen else "CPU and memory of Postgres are not known: its processes cannot be seen from here."


def _which(some: Sequence[CellSummary], cells: Sequence[CellSummary]) -> str:
    valid = [summary for summary in cells if summary.valid]
    return "any cell" if len(some) == len(valid) else words.listed([words.settings(summary.cell) for summary in some])
