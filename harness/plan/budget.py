"""A fleet's description, from a services file or the command line, checked before it is weighed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from harness.domain.budget import COUNT_MAX, Fleet, PgBouncer, Service
from harness.errors import UsageError
from harness.plan.lines import Source, key_lines
from harness.plan.parse import check_depth, read_text, read_toml
from harness.plan.rules import NAME
from harness.plan.schema import checked

_SURGE = re.compile(r"(\d{1,6})(%?)", re.ASCII)
_COMMAND_LINE = Source(name="poolbench budget")


def load_fleet(path: Path) -> Fleet:
    """Read a services file. Raises UsageError."""
    text = read_text(path, "Is it a services file?")
    raw = read_toml(text, str(path))
    check_depth(raw, str(path))
    source = Source(name=str(path), lines=key_lines(text))
    fleet = checked(Fleet, raw, source, known=_known(raw))
    if not fleet.services:
        raise UsageError(
            f"{path} has no services.", next_step="Write a table for each: [services.web] with replicas = 4."
        )
    if fleet.pgbouncer is not None and fleet.pooler is None:
        raise UsageError(
            f"{source.where('pgbouncer')}: no service goes through the PgBouncer that is described.",
            next_step="Write pgbouncer = true below those that do, or take [pgbouncer] out.",
        )
    _check(fleet, source)
    return fleet


def fleet_of(server: Mapping[str, Any], service: Mapping[str, Any], pgbouncer: Mapping[str, Any] | None) -> Fleet:
    """Return a fleet of one service, from the command line's options by their keys. Raises UsageError."""
    through = {"pgbouncer": pgbouncer is not None}
    only = checked(Service, {**service, **through}, _COMMAND_LINE, known=())
    pooler = None if pgbouncer is None else checked(PgBouncer, pgbouncer, _COMMAND_LINE, known=())
    fleet = replace(checked(Fleet, server, _COMMAND_LINE, known=()), services={"service": only}, pgbouncer=pooler)
    _check(fleet, _COMMAND_LINE)
    return fleet


def _known(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Every dotted key that the file could have, with the names of its own services."""
    services = raw.get("services")
    names = list(services) if isinstance(services, Mapping) else []
    own = [f"services.{name}.{f.name}" for name in names for f in fields(Service)]
    return (*(f.name for f in fields(Fleet)), *(f"pgbouncer.{f.name}" for f in fields(PgBouncer)), *own)


def _check(fleet: Fleet, source: Source) -> None:
    """What no single key tells. Raises UsageError."""
    for name, service in fleet.services.items():
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{source.where(f'services.{name}')}: a service cannot be called {name!r}.",
                next_step="Use up to 60 letters, digits, - and _, beginning with a letter or digit.",
            )
        key = f"services.{name}.surge"
        said = key if source.lines else "surge"
        match = _SURGE.fullmatch(service.surge)
        if match is None:
            raise UsageError(
                f'{source.where(key)}: {said} must be a share ("25%") or a count of replicas ("1"), '
                f'not "{service.surge[:40]}".',
                next_step="Write it as maxSurge of a deployment.",
            )
        most = 100 if match[2] else COUNT_MAX
        if int(match[1]) > most:
            raise UsageError(
                f'{source.where(key)}: {said} must be at most {most}{match[2]}, not "{service.surge}".',
                next_step=f"Change {said}.",
            )
    if fleet.reserved >= fleet.max_connections:
        raise UsageError(
            f"{source.where('max_connections')}: max_connections = {fleet.max_connections} leaves nothing beside "
            f"the {fleet.reserved} that are reserved.",
            next_step="Give the server's own figures: SHOW max_connections, SHOW superuser_reserved_connections.",
        )
