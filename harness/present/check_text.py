"""What `poolbench run --check` shows: a row a request, and what would go wrong, each with its cause and a next step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from operator import itemgetter
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from harness.domain.checked import Checked, Problem, SentRequest, SentTask
from harness.present.fitting_table import Column, FittingTable
from harness.present.numbers import UNKNOWN, count, number
from harness.present.phrases import driver_pool_texts
from harness.present.terminal import bullet

NOTHING = SentRequest(endpoint="", outcome="ok", status=0, error="", latency_ms=None, pool_ms=None)
_CAUSES: Mapping[int, str] = {
    400: "it was not understood, or a trusted-host check does not know 127.0.0.1: allow that host.",
    401: "it wants a login: log in as the scenario begins (test_start, or on_start).",
    403: "it may not be asked so: log in as the scenario begins (test_start, or on_start), or as somebody who may.",
    404: "nothing is there: the path is another, or the database lacks it, which [database] prepare fills.",
    405: "the path does not take this method: correct the scenario.",
    422: "path, query or body are not as the service wants them: correct the scenario.",
    429: "a limiter refuses it, and under load nearly all others: raise its limit through [target] env.",
}


def check_table(checks: Sequence[Checked]) -> RenderableType:
    """What the terminal shows of every target that was checked."""
    parts: list[RenderableType] = []
    for checked in checks:
        parts += [Text(checked.target, style="bold"), _request_table(checked), Text("")]
        parts += [bullet("engine", text) for text in engine_texts(checked)]
        parts += [bullet("note", note) for note in (*driver_pool_texts(checked.driver_pools), *checked.notes)]
        parts += [bullet("would go wrong", problem_text(problem)) for problem in checked.problems]
    if not any(checked.problems for checked in checks):
        parts.append(Text("Each task was sent once, and nothing went wrong."))
    return Group(*parts)


def check_dict(checks: Sequence[Checked]) -> Mapping[str, Any]:
    """For `--json`."""
    return {
        "well": not any(checked.problems for checked in checks),
        "targets": [
            {
                "target": checked.target,
                "tasks": [asdict(task) for task in checked.tasks],
                "engines": engine_texts(checked),
                "problems": [{"kind": each.kind, "text": problem_text(each)} for each in checked.problems],
                "notes": (*driver_pool_texts(checked.driver_pools), *checked.notes),
            }
            for checked in checks
        ],
    }


def _request_table(checked: Checked) -> FittingTable[tuple[str, ...]]:
    rows = [row for task in checked.tasks for row in _rows(task)]
    heads = ("task", "request", "status", "ms", "pool wait\nms", "statements", "checkouts")
    needs = (100, 90, 100, 80, 40, 60, 50)
    columns: tuple[Column[tuple[str, ...]], ...] = tuple(
        Column(header=head, of=itemgetter(place), need=need, left=place < 2)
        for place, (head, need) in enumerate(zip(heads, needs, strict=True))
    )
    return FittingTable(rows=rows, columns=columns, label=1)


def _rows(task: SentTask) -> Iterator[tuple[str, ...]]:
    """One for each request of a task; the first has its name and what all of them took."""
    name, taken = task.name, (count(task.statements), count(task.checkouts))
    for request in task.requests or (NOTHING,):
        if request.endpoint:
            status = str(request.status or request.outcome)
            yield (name, request.endpoint, status, number(request.latency_ms), number(request.pool_ms), *taken)
        else:
            yield (name, "nothing", "" if request.outcome == "ok" else request.outcome, "", "", *taken)
        name, taken = "", ("", "")


def engine_texts(checked: Checked) -> tuple[str, ...]:
    """Each engine once, with how many processes have one: "1: asyncpg, AsyncAdaptedQueuePool 5 + 10"."""
    texts: dict[str, None] = {}
    for engine in checked.engines:
        size = UNKNOWN if engine.pool_size is None else f"{engine.pool_size} + {engine.max_overflow}"
        texts[f"{engine.driver}, {engine.pool_class} {size}"] = None
    return tuple(texts)


def problem_text(problem: Problem) -> str:
    """One sentence with its cause, and what to do."""
    return " ".join(_problem(problem))


def _problem(problem: Problem) -> Iterator[str]:
    about, detail = problem.about, problem.detail
    match problem.kind:
        case "failed" if problem.status >= 500:
            yield f"{about}: the service answered {problem.status}: {detail or 'its log says nothing of it'}."
            yield "If a table or a row is missing, [database] prepare makes it."
        case "failed" if problem.status:
            yield f"{about}: {problem.status},"
            yield _CAUSES.get(problem.status, f"which the scenario takes for a failure: {detail}.")
        case "failed":
            yield f"{about}: {detail or 'no answer came in time'}."
        case "unfinished":
            yield f"{about}: it had not ended when its time was over (load.request_timeout_s)."
        case "silent":
            yield f"{about} sent nothing: it may need what another task leaves behind."
        case "not_sent":
            yield f"{about} was not begun: the load ended before its turn."
        case "ended":
            yield f"A process ended meanwhile: {', '.join(filter(None, (about, detail)))}."
        case "no_connection":
            yield "The service opened no connection to the database it was given: nothing that was sent needs it, or"
            yield 'it finds its database elsewhere; then say so in [target] env, as { DB_HOST = "{db_host}" }.'
        case "not_applied":
            yield f"{about} would not take effect: the service has {detail}."
        case "unaccounted":
            yield f"Connections that belong to none of its engines: {count(problem.count)}."
            yield "No pool setting reaches them; the driver's own pool may have made them."
