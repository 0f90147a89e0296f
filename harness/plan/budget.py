"""A fleet's description, from a services file or a command's options, checked before it is weighed or planned for."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from harness.domain.budget import COUNT_MAX, SERVICE, Fleet, PgBouncer, Service
from harness.domain.capacity_plan import Wanted
from harness.domain.rate import SHARE
from harness.errors import UsageError
from harness.plan.lines import Source, key_lines
from harness.plan.parse import check_depth, read_text, read_toml
from harness.plan.rules import NAME
from harness.plan.schema import checked

SERVICE_KEYS = ("replicas", "workers", "engines", "pool_size", "max_overflow", "jobs", "surge")
LIMIT_KEYS = ("max_connections", "reserved")
POOLER_KEYS = ("default_pool_size", "max_client_conn")
"""the keys of a fleet of one service that commands have options for"""
PLANNED_KEYS = ("replicas", "workers", "jobs", "surge", *LIMIT_KEYS, *POOLER_KEYS)
"""of these, what is given to a plan: a replica has the engines and pools that it was measured with"""
_SURGE = re.compile(r"(\d{1,6})(%?)", re.ASCII)


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


def fleet_of(given: Mapping[str, Any], command: str = "poolbench budget") -> Fleet:
    """Return a fleet of one service, from a command's options by their keys. Raises UsageError."""
    options = Source(name=command)

    def of(keys: Iterable[str]) -> dict[str, Any]:
        return {key: given[key] for key in keys if key in given}

    pgbouncer = of(POOLER_KEYS) or None
    only = checked(Service, of(SERVICE_KEYS) | {"pgbouncer": pgbouncer is not None}, options, known=())
    pooler = None if pgbouncer is None else checked(PgBouncer, pgbouncer, options, known=())
    fleet = replace(checked(Fleet, of(LIMIT_KEYS), options, known=()), services={SERVICE: only}, pgbouncer=pooler)
    _check(fleet, options)
    return fleet


def wanted_of(given: Mapping[str, Any], *, peak_rps: float | None, headroom: str) -> Wanted:
    """Return what a fleet is planned for, from the options of `poolbench capacity --report`. Raises UsageError."""
    command = "poolbench capacity"
    if unknown := sorted(given.keys() - set(PLANNED_KEYS)):
        raise UsageError(
            f"{command}: {', '.join(unknown)} cannot be given.",
            next_step=f"What can be given is {', '.join(PLANNED_KEYS)}; pools are those that were measured.",
        )
    if peak_rps is not None and not 0 < peak_rps < math.inf:
        raise UsageError(
            f"{command}: peak must be a rate above 0, not {peak_rps:g}.",
            next_step="Give the arrivals a second that the fleet is to carry: --peak 300.",
        )
    share = SHARE.fullmatch(headroom.strip())
    if share is None or float(share[1]) >= 100:
        raise UsageError(
            f'{command}: headroom must be a percentage from 0% up to less than 100%, not "{headroom[:40]}".',
            next_step="Give the share of what the fleet carries that is to stay free at the peak: --headroom 30%.",
        )
    return Wanted(
        limits=fleet_of({"replicas": 1, **given}, command),
        named=frozenset(given),
        headroom=float(share[1]) / 100,
        peak_rps=peak_rps,
    )


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
