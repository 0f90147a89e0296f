"""What a check found: the evidence of a sitting in which each task was sent once, as answers and problems."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from harness.analyse.applied import driver_pools, not_applied
from harness.analyse.failures import errors_logged
from harness.analyse.resources import unaccounted
from harness.domain.checked import Checked, Problem, SentRequest, SentTask
from harness.domain.evidence import Evidence
from harness.domain.load import SETUP_SEGMENT
from harness.domain.logs import lines_of

ON_START = "on_start"
PROBE_USER = "probe user"


def checked(evidence: Evidence, tasks: Sequence[str], *, asked: str = "") -> Checked:
    """Return what came of each task.

    Args:
        evidence: of the one launch.
        tasks: in the order of their segments; empty in the closed model, where users decide what is sent.
        asked: what the probe user asks for, "GET /ready"; empty without one.
    """
    trial, rows = evidence.trial, evidence.requests
    setup = (rows["segment"] == SETUP_SEGMENT).to_numpy()
    sent = [SentTask(name=ON_START, requests=_requests(rows[setup]))] if setup.any() else []
    for number, name in enumerate(tasks):
        statements, checkouts = _counted(evidence.counts, number)
        own = _requests(rows[(rows["segment"] == number).to_numpy()])
        sent.append(SentTask(name=name, requests=own, statements=statements, checkouts=checkouts))
    if not tasks:
        names = rows["task"][~setup].astype(str)
        sent += [SentTask(name=name, requests=_requests(rows[~setup][names == name])) for name in names.unique()]
    if asked:
        answers = evidence.probe_user.assign(endpoint=asked, arrival=0, sequence=0, pool_ms=math.nan)
        sent.append(SentTask(name=PROBE_USER, requests=_requests(answers)))
    target = trial.launch.cell.target
    return Checked(
        target=target.url or target.title,
        tasks=tuple(sent),
        engines=trial.applied,
        driver_pools=driver_pools([trial]),
        problems=(*_of_tasks(sent, evidence.target_log), *_of_service(evidence)),
        notes=trial.context.scenario_notes,
    )


def _requests(rows: pd.DataFrame) -> tuple[SentRequest, ...]:
    ordered: Any = rows.sort_values(["arrival", "sequence"])
    return tuple(
        SentRequest(
            endpoint=str(row.endpoint),
            outcome=str(row.outcome),
            status=int(row.status),
            error=str(row.error),
            latency_ms=(row.finished_ns - row.started_ns) / 1e6 if row.finished_ns >= 0 <= row.started_ns else None,
            pool_ms=None if math.isnan(row.pool_ms) else float(row.pool_ms),
        )
        for row in ordered.itertuples()
    )


def _counted(counts: pd.DataFrame, segment: int) -> tuple[int | None, int | None]:
    """Statements and checkouts of one segment's requests; None where none was counted."""
    own = counts[(counts["segment"] == segment).to_numpy()]
    return (int(own["statements"].sum()), int(own["checkouts"].sum())) if len(own) else (None, None)


def _of_tasks(sent: Sequence[SentTask], log: bytes) -> Iterator[Problem]:
    """Each kind of failure of a task once."""
    logged = next(iter(errors_logged([line for line, _ in lines_of(log)])), "")
    for task in sent:
        if not task.requests:
            yield Problem(kind="not_sent", about=task.name)
        for request in dict.fromkeys((r.endpoint, r.outcome, r.status, r.error) for r in task.requests):
            endpoint, outcome, status, error = request
            about = ", ".join(filter(None, (task.name, endpoint)))
            if outcome == "unfinished":
                yield Problem(kind="unfinished", about=about)
            elif outcome != "ok":
                detail = logged if status >= 500 and logged else error
                yield Problem(kind="failed", about=about, status=status, detail=detail)
            elif not endpoint:
                yield Problem(kind="silent", about=about)


def _of_service(evidence: Evidence) -> Iterator[Problem]:
    trial = evidence.trial
    for death in trial.deaths:
        yield Problem(kind="ended", about=death.role, detail="" if death.code is None else f"exit code {death.code}")
    used = evidence.server[(evidence.server["key"] == "transactions").to_numpy()]["value"]
    if len(used) and used.iloc[-1] == 0 and len(evidence.requests):
        yield Problem(kind="no_connection")
    for wrong in not_applied(trial):
        found = " and ".join(map(str, wrong.found))
        yield Problem(kind="not_applied", about=wrong.key, detail=f"{found}, not {wrong.asked}")
    strangers = unaccounted(evidence.probe, evidence.activity)
    if strangers and not driver_pools([trial]):
        yield Problem(kind="unaccounted", count=strangers)
