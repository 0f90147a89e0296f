"""docs/findings.md: every claim with its answer, the dates of its runs, and what was seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.domain.claims import Answer, Behaviour, Recording, Settled
from harness.present.claims_text import claim_called, seen_lines, where_text
from harness.present.numbers import duration

_PACKAGES = ("sqlalchemy", "asyncpg", "psycopg", "fastapi", "uvicorn")
_HEAD = """\
# Findings

What is said about pools, sessions and drivers, and what was seen. Written by `poolbench findings docs/findings` from
what `poolbench claims --record docs/findings` measured; [claims](claims.md) says how an answer comes about.

An answer holds for that machine and these versions. Where two runs at least six hours apart do not agree it is
inconclusive; where there are no two, it says "once".

""".splitlines()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A claim with all its runs that are kept, oldest first."""

    answer: Answer
    apart: bool
    """whether two of them lie at least six hours apart"""
    runs: Sequence[tuple[Recording, Settled]]
    files: Sequence[str]
    """of the runs, as the page links them"""


def findings_page(found: Iterable[Found], behaviours: Iterable[Behaviour]) -> str:
    """docs/findings.md: a row for each claim, in the order of their numbers, and below it what was seen."""
    measured = sorted(found, key=lambda own: own.runs[-1][0].claim.number)
    rows = [
        *((own.runs[-1][0].claim.number, _row(own)) for own in measured),
        *((own.number, _behaviour_row(own)) for own in behaviours),
    ]
    lines = [
        *_HEAD,
        *_machines(measured),
        "",
        "| # | claim | answer | measured | settled by |",
        "| --: | --- | --- | --- | --- |",
        *(row for _, row in sorted(rows)),
        "",
        *(line for own in measured for line in _section(own)),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _machines(found: Sequence[Found]) -> Iterator[str]:
    """What was measured on, once for all runs that were measured on the same."""
    machines = dict.fromkeys(_machine(recording) for own in found for recording, _ in own.runs)
    yield from (f"Measured on {machine}." for machine in machines)


def _machine(recording: Recording) -> str:
    environment = recording.environment
    machine = environment.get("machine") or {}
    postgres = environment.get("postgres") or {}
    packages = environment.get("packages") or {}
    versions = ", ".join(f"{name} {packages[name]}" for name in _PACKAGES if name in packages)
    return (
        f"{machine.get('cpu')}, {machine.get('cores_usable')} cores, {machine.get('system')} {machine.get('kernel')}, "
        f"Postgres {postgres.get('version')} ({postgres.get('provider')}), {environment.get('python')}, {versions}"
    )


def _row(own: Found) -> str:
    recording, settled = own.runs[-1]
    dates = ", ".join(run.measured_utc for run, _ in own.runs)
    answer = own.answer if own.apart else f"{own.answer} (once)"
    place = f"[what was seen](#{_anchor(recording)})"
    said = f"{recording.claim.statement}{where_text(settled)}"
    return f"| {claim_called(recording)} | {said} | {answer} | {dates} | {place} |"


def _behaviour_row(own: Behaviour) -> str:
    path, _, test = own.test.partition("::")
    return f"| {own.number} | {own.statement} | {own.verdict}: {own.because} | each test run | [{test}](../{path}) |"


def _anchor(recording: Recording) -> str:
    return f"{recording.claim.number}-{recording.name}"


def _section(own: Found) -> Iterator[str]:
    last, _ = own.runs[-1]
    yield f'### <a id="{_anchor(last)}"></a>{claim_called(last)}. {last.claim.statement}'
    yield ""
    yield f"Expected if it is so: `{last.claim.expect}`."
    yield ""
    for (recording, settled), file in zip(own.runs, own.files, strict=True):
        answer = f"{recording.measured_utc}: **{settled.answer}**{where_text(settled)}"
        yield f"{answer}, {recording.launches} launches of each cell in {duration(recording.seconds)} ([data]({file}))"
        yield ""
        yield from (f"- {line}" for line in seen_lines(settled))
        yield ""
