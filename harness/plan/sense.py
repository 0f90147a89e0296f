"""Settings of the service that cannot be had together, or would be without effect: refused before anything starts.

The reference app refuses the same at its start; another app may ignore them, but a cell that varies what has no effect
measures nothing in any app.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.domain.cell import Cell
from harness.domain.experiment import PLACEHOLDERS, Target
from harness.errors import UsageError
from harness.plan.lines import Source

_PSYCOPG = ("psycopg", "psycopg_sync", "psycopg_blocking")
_ASYNC = ("asyncpg", "psycopg")
_DEFAULTS = Target()

Objection = tuple[str, str, str]
"""key, cause, next step"""


def check_sense(cell: Cell, source: Source) -> None:
    """Raise UsageError for the first combination of the cell's settings that makes no sense."""
    objections = (_of_environment, _of_ref, _of_command, _of_driver, _of_pgbouncer, _of_session)
    for key, cause, next_step in (found for of in objections for found in of(cell)):
        where = source.where(f"matrix.{key}", key)
        raise UsageError(f"{where}: {key} {cause} (cell {cell.id}: {cell.label}).", next_step=next_step)


def _of_environment(cell: Cell) -> Iterator[Objection]:
    for value in cell.target.env.values():
        for name in re.findall(r"\{(db_\w*)", value):
            if name not in PLACEHOLDERS:
                known = ", ".join(f"{{{one}}}" for one in PLACEHOLDERS)
                yield "target.env", f"has a placeholder {{{name}}} that stands for nothing", f"There are {known}."


def _of_ref(cell: Cell) -> Iterator[Objection]:
    if cell.target.ref is not None and cell.target.url is not None:
        cause = "is a commit of a service that poolbench starts, and nothing is deployed with target.url"
        yield "target.ref", cause, "Take one of the two out."


def _of_command(cell: Cell) -> Iterator[Objection]:
    target = cell.target
    if target.prepare and target.url:
        cause = "fills a database through a service that poolbench starts, and nothing is deployed with target.url"
        yield "target.prepare", cause, "Fill that service's database beforehand, and take it out."
    if not target.command:
        return
    if not any("{port}" in text for text in (*target.command, *target.env.values())):
        yield (
            "target.command",
            "does not say where the service is to listen",
            'Give it {port}, or set a variable that it reads: target.env = { PORT = "{port}" }.',
        )
    if target.cpus:
        yield "target.cpus", "pins what poolbench serves, not what a command does", "Pin it there: taskset -c 0,1."


def _of_driver(cell: Cell) -> Iterator[Objection]:
    if not cell.has_say("target.driver"):
        return  # an own app has the driver that it has
    driver = cell.target.driver
    if cell.pool.pool_class == "psycopg_pool" and driver not in _PSYCOPG:
        yield (
            "pool.pool_class",
            f"psycopg_pool holds psycopg's connections, not those of {driver}",
            f"Use it with target.driver {', '.join(_PSYCOPG)}.",
        )
    if cell.session.repository == "run_sync" and driver not in _ASYNC:
        yield "session.repository", f"run_sync is for async drivers, not {driver}", 'Set it to "native".'
    for name in ("prepared_statement_cache_size", "statement_cache_size"):
        if getattr(cell.target, name) != getattr(_DEFAULTS, name) and driver != "asyncpg":
            yield f"target.{name}", f"is asyncpg's and has no effect with {driver}", "Take it out."
    if cell.target.prepare_threshold != _DEFAULTS.prepare_threshold and driver not in _PSYCOPG:
        yield "target.prepare_threshold", f"is psycopg's and has no effect with {driver}", "Take it out."


def _of_pgbouncer(cell: Cell) -> Iterator[Objection]:
    if not cell.target.pgbouncer:
        return
    if cell.target.url:
        yield (
            "target.pgbouncer",
            "puts a PgBouncer between Postgres and the app, but nothing is deployed with target.url",
            "Take it out, or target.url, so that the app is deployed here.",
        )
    session = cell.session
    if cell.target.driver == "asyncpg" and (session.autocommit_reads or session.isolation == "AUTOCOMMIT"):
        yield (
            "target.pgbouncer",
            "cannot serve asyncpg without transactions: it prepares and executes in two steps, maybe on two servers",
            'Set session.autocommit_reads = false and another session.isolation, or target.driver = "psycopg".',
        )
    for name in ("statement_timeout_ms", "idle_in_transaction_session_timeout_ms"):
        if getattr(session, name):
            yield (
                f"session.{name}",
                "is refused by PgBouncer, which takes no timeouts from clients",
                "Set it on the server, in database.settings.",
            )


def _of_session(cell: Cell) -> Iterator[Objection]:
    session = cell.session
    if session.isolation == "AUTOCOMMIT" and session.update_mode in ("for_update", "repeatable_read"):
        yield (
            "session.update_mode",
            f"{session.update_mode} needs a transaction, and session.isolation AUTOCOMMIT has none",
            "Choose another isolation, or update_mode version or last_wins.",
        )
    if session.mistake == "global_session" and (session.session_scope != "request" or session.autocommit_reads):
        yield (
            "session.mistake",
            "global_session replaces the session of each request, so its scope and autocommit_reads have no effect",
            'Set session.session_scope = "request" and session.autocommit_reads = false.',
        )
