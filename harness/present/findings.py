"""What was found, in words: each finding once, with what it means for the figures and the cells it is of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.domain.certificate import Certificate, Reason
from harness.domain.load import cell_id_of
from harness.domain.verdict import CellSummary, Report
from harness.present.phrases import listed, settings_text

WORDS: Mapping[str, str] = {
    "saturated": "offered more than it can carry, so its latency only says how long the load went on",
    "near_its_limit": "may be offered more than it can carry",
    "from_empty": "its queue had not settled, and in a steady state latency is higher",
    "dropped": "arrivals were dropped because as many were in flight as may be; they count as failed",
    "errors": "more failed than slo.error_rate allows (1 % where it is not given)",
    "timeouts": "requests had no answer within load.request_timeout_s; they count as failed",
    "unfinished": "requests never came back; they count as failed",
    "died": "the service, a worker of it, PgBouncer or Postgres ended under load; what failed of it counts as failed",
    "stood_still": "the service, PgBouncer or Postgres was stopped under load; what waited for it counts as it came",
    "setting_not_applied": "the service does not have the settings that are asked for",
    "still_at_work": "the service went on working when its load had ended",
    "empty_tasks": "tasks sent no request, which is neither success nor failure",
    "no_connection": "the service opened no connection to the database it was given; does it read DATABASE_URL?",
    "gc_pause": "garbage collections stopped the service; that is in the figures",
    "loop_lag": "the service's event loop came round late, blocked or without a core; that is in the figures",
    "pool_timeouts": "requests gave up waiting for a connection (pool.pool_timeout_s)",
    "leak": "connections were taken and not given back; no pool is large enough for that",
    "imbalance": "one worker of the service answered far more than its share",
    "checkpoint": "Postgres wrote a checkpoint meanwhile, which may be in the figures",
    "autovacuum": "autovacuum was at work meanwhile, which may be in the figures",
    "warmup": (
        "latency was still changing when the measurement began, so the figures hold some of the start; a longer "
        "load.warmup_s leaves it out"
    ),
    "harness_cpu": (
        "the machine was busy, and what measures the service took CPU time that it could have used: alone on the "
        "machine it would have more"
    ),
    "unchecked": "measured too briefly to see whether the load generator kept up; a longer load.measure_s shows it",
    "steal": "a hypervisor took time from this machine, which may be in the figures",
    "throttled": "a CPU limit held poolbench's processes up, which may be in the figures",
    "not measured": "no launch of it is complete",
}
"""By code: what is to be known of the figures."""
OF_THE_MACHINE = frozenset({"steal", "throttled"})
"""Whichever launch was under way: said once, not of each cell."""


def findings(report: Report) -> Iterator[tuple[str, str]]:
    """Each code that was found, with its words and its cells; what befell the machine with how many launches it was."""
    cells = report.summary.cells
    for code in dict.fromkeys(code for cell in cells for code in cell.findings if code in WORDS):
        own = [cell for cell in cells if code in cell.findings]
        if code in OF_THE_MACHINE:
            certificates = report.summary.certificates.values()
            times = sum(any(reason.code == code for reason in certificate.reasons) for certificate in certificates)
            yield code, f"{WORDS[code]} (in {times} of {len(certificates)} launches)"
        else:
            named = "every cell" if len(own) == len(cells) > 1 else listed([settings_text(cell.cell) for cell in own])
            yield code, f"{named}: {WORDS[code]}"


def own_findings(cell: CellSummary) -> tuple[str, ...]:
    """The codes that are the cell's, not the machine's."""
    return tuple(code for code in cell.findings if code not in OF_THE_MACHINE)


def reasons(report: Report, kind: str) -> Iterator[tuple[str, str, Reason]]:
    """Trial, cell label and reason, of every certificate's reasons of one kind; the machine's worst once for all."""
    labels = {cell.id: cell.label for cell in report.info.cells}
    yield from reasons_of(report.summary.certificates, labels, kind)


def reasons_of(
    certificates: Mapping[str, Certificate], labels: Mapping[str, str], kind: str
) -> Iterator[tuple[str, str, Reason]]:
    """The same of these certificates, by trial; labels are by cell."""
    own = [(trial, reason) for trial, made in certificates.items() for reason in made.reasons if reason.kind == kind]
    for code in sorted(OF_THE_MACHINE):
        of_machine = [reason for _, reason in own if reason.code == code]
        if of_machine:
            worst = max(of_machine, key=lambda reason: reason.value)
            yield f"{len(of_machine)} of {len(certificates)}", "this machine, at worst", worst
    for trial, reason in own:
        if reason.code not in OF_THE_MACHINE:
            yield trial, labels.get(cell_id_of(trial), ""), reason
