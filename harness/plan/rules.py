"""What no single key can say: rules over the keys of a cell, and over the cells of an experiment."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.domain.cell import Cell
from harness.domain.design import against_turns, design_kind
from harness.domain.experiment import (
    MAX_ARRIVALS,
    MAX_LAUNCHES,
    MAX_TURNS,
    DatabaseSpec,
    Design,
    Experiment,
    Load,
    ProbeUser,
)
from harness.domain.rate import rate_share
from harness.errors import UsageError
from harness.plan.ceilings import DEFAULT_MAX_CONNECTIONS, DEFAULT_RESERVED, check_ceilings
from harness.plan.lines import Source
from harness.plan.reach import check_reach
from harness.plan.sense import check_sense

MAX_CELLS = 1000
_REQUEST = re.compile(r"[A-Z]{1,20} /\S{0,2000}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")


def check_cells(matrix: Mapping[str, Sequence[Any]], arms: Mapping[str, Any], source: Source) -> None:
    """Refuse a matrix that nobody could wait for, before it is expanded."""
    sides = max(1, len(arms))
    count = sides * math.prod(len(values) for values in matrix.values())
    if count > MAX_CELLS:
        sizes = " x ".join(str(size) for size in (*([sides] if arms else []), *map(len, matrix.values())))
        holder = "arms and the matrix have" if arms else "matrix has"
        raise UsageError(
            f"{source.where('matrix')}: the {holder} {sizes} = {count} cells, the most is {MAX_CELLS}.",
            next_step="Vary fewer keys at a time.",
        )


def check_size(experiment: Experiment, cells: Sequence[Cell], source: Source) -> None:
    """Refuse a run that nobody could wait for, or whose evidence nobody could keep, before it is scheduled."""
    design = experiment.design
    if (launches := len(cells) * design.launches) > MAX_LAUNCHES:
        raise UsageError(
            f"{source.where('design.launches')}: design.launches = {design.launches} makes {len(cells)} x "
            f"{design.launches} = {launches} launches, the most is {MAX_LAUNCHES}.",
            next_step="Lower design.launches, or vary fewer keys at a time.",
        )
    hot_together = len(cells) > 1 and design_kind(experiment, cells)[0] == "interleaved"
    turns = design.launches * math.fsum(_turns(cell.load, design) for cell in cells)
    if hot_together and turns > MAX_TURNS:
        raise UsageError(
            f"{source.where('design.segment_s')}: design.segment_s = {design.segment_s:g} divides the load into "
            f"{turns:.0f} turns, the most is {MAX_TURNS}.",
            next_step="Raise design.segment_s, or lower load.measure_s or design.launches.",
        )
    lengths = ((cell.load.rate_rps or 0.0) * (cell.load.warmup_s + cell.load.measure_s) for cell in cells)
    arrivals = design.launches * math.fsum(lengths)
    if arrivals > MAX_ARRIVALS:
        raise UsageError(
            f"{_at(source, 'load.rate_rps')}: load.rate_rps makes {arrivals:.0f} arrivals in all, the most is "
            f"{MAX_ARRIVALS}.",
            next_step="Lower load.rate_rps, load.measure_s or design.launches.",
        )


def _turns(load: Load, design: Design) -> float:
    """Of a launch, at most; infinite for a hair's breadth."""
    return load.warmup_s / design.segment_s + load.measure_s / design.segment_s + 1.0


def check(experiment: Experiment, cells: Sequence[Cell], source: Source) -> None:
    """Raise UsageError for the first rule that is broken."""
    check_name(experiment.name, source.where("name"))
    _check_probe_user(experiment, source)
    for cell in cells:
        _check_load(cell.load, source)
        check_reach(cell, source)
        _check_database(cell.database, source)
        _check_network(cell, source)
        check_sense(cell, source)
    _check_duplicates(experiment, cells, source)
    _check_running_target(experiment, cells, source)
    if experiment.design.kind == "interleaved":
        _check_interleaved(cells, source)
    kind, _ = design_kind(experiment, cells)
    for sharing in _by_server(cells):
        max_connections = _max_connections(sharing[0].database, source)
        if max_connections is not None:
            check_ceilings(sharing, kind, max_connections, DEFAULT_RESERVED)


def check_name(name: str, where: str) -> None:
    """Raise UsageError unless runs of an experiment of this name can be kept in a folder named after it."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{where}: name {name!r} cannot name a folder.",
            next_step="Use up to 60 letters, digits, - and _, beginning with a letter or digit.",
        )


def _check_probe_user(experiment: Experiment, source: Source) -> None:
    asked, load = experiment.probe_user, experiment.load
    where = source.where("probe_user.request")
    if not asked.request:
        if asked != ProbeUser():
            raise UsageError(
                f"{where}: probe_user.request is missing: nothing would be asked.",
                next_step='Write what is asked, such as request = "GET /ready".',
            )
        return
    if not _REQUEST.fullmatch(asked.request):
        raise UsageError(
            f'{where}: probe_user.request must be a method and a path, not "{asked.request}".',
            next_step='Write it as "GET /ready".',
        )
    if asked.rate_rps * load.measure_s < 1:
        raise UsageError(
            f"{source.where('probe_user.rate_rps', 'probe_user')}: at {asked.rate_rps:g} a second the probe user may "
            f"ask nothing in the {load.measure_s:g} s that are measured.",
            next_step=f"Raise probe_user.rate_rps, or set load.measure_s to at least {1 / asked.rate_rps:g}.",
        )


def _check_load(load: Load, source: Source) -> None:
    if load.measure_s < load.warmup_s:
        raise UsageError(
            f"{_at(source, 'load.measure_s')}: load.measure_s = {load.measure_s:g} is shorter than "
            f"load.warmup_s = {load.warmup_s:g}: most of the load would not be measured.",
            next_step="Raise load.measure_s or lower load.warmup_s.",
        )
    if load.model == "closed":
        _check_closed(load, source)
    else:
        _check_open(load, source)


def _check_closed(load: Load, source: Source) -> None:
    for key, value in (("load.rate", load.rate), ("load.rate_rps", load.rate_rps)):
        if value is not None:
            raise UsageError(
                f"{_at(source, key)}: {key} belongs to the open model, and load.model is closed.",
                next_step=f'Take {key} out, or set load.model = "open".',
            )
    if load.users is None:
        raise UsageError(
            f"{_at(source, 'load.model')}: a closed load needs load.users.", next_step="Set load.users, for example 16."
        )


def _check_open(load: Load, source: Source) -> None:
    if load.users is not None:
        raise UsageError(
            f"{_at(source, 'load.users')}: load.users belongs to the closed model, and load.model is open.",
            next_step='Take load.users out, or set load.model = "closed".',
        )
    if load.rate is not None and load.rate_rps is not None:
        raise UsageError(
            f"{_at(source, 'load.rate')}: load.rate and load.rate_rps are both given.", next_step="Keep one of them."
        )
    if load.rate is None and load.rate_rps is None:
        raise UsageError(
            f"{_at(source, 'load.model')}: an open load needs load.rate or load.rate_rps.",
            next_step='Set load.rate_rps = 300, or load.rate = "60%" of what a staircase finds.',
        )
    if load.rate is not None and rate_share(load.rate) is None:
        raise UsageError(
            f'{_at(source, "load.rate")}: load.rate must be a share such as "60%", not "{load.rate}".',
            next_step="Give a percentage above 0 and up to 1000, or load.rate_rps for arrivals a second.",
        )
    if load.rate_rps is not None and load.rate_rps * load.measure_s < 1:
        raise UsageError(
            f"{_at(source, 'load.measure_s')}: {load.measure_s:g} s at {load.rate_rps:g} arrivals a second is too short"
            " for one arrival.",
            next_step=f"Set load.measure_s to at least {10 / load.rate_rps:g}, or raise load.rate_rps.",
        )


def _check_database(database: DatabaseSpec, source: Source) -> None:
    if database.provider == "url" and not database.url:
        raise UsageError(
            f'{_at(source, "database.provider")}: database.provider = "url" needs database.url.',
            next_step="Set database.url, or the variable POOLBENCH_DATABASE_URL, to postgresql://user:password@host:port/database.",
        )
    if database.provider != "url" and database.url:
        raise UsageError(
            f'{_at(source, "database.url")}: database.url is not used by database.provider = "{database.provider}".',
            next_step='Take it out, or set database.provider = "url".',
        )


def _check_network(cell: Cell, source: Source) -> None:
    if cell.target.url and cell.network.needs_relay:
        raise UsageError(
            f"{_at(source, 'network.rtt_ms')}: nothing can be put between Postgres and a service that already runs.",
            next_step="Take [network] out, or target.url, so that the app is deployed here.",
        )
    if cell.network.on_idle != "reset" and cell.network.idle_timeout_s is None:
        raise UsageError(
            f"{_at(source, 'network.on_idle')}: network.on_idle has no effect without network.idle_timeout_s.",
            next_step="Set network.idle_timeout_s, for example 60.",
        )


def _check_duplicates(experiment: Experiment, cells: Sequence[Cell], source: Source) -> None:
    seen: dict[str, Cell] = {}
    for cell in cells:
        configuration = repr((cell.arm, cell.pool, cell.session, cell.target, cell.database, cell.network, cell.load))
        if other := seen.get(configuration):
            key = next((k for k, values in experiment.matrix.items() if _repeats(values)), "")
            raise UsageError(
                f"{source.where(f'matrix.{key}')}: cells {other.id} and {cell.id} ({cell.label}) are the same "
                "configuration.",
                next_step=f"Give each value of {key} once." if key else "Give each combination once.",
            )
        seen[configuration] = cell


def _repeats(values: Sequence[Any]) -> bool:
    return any(value in values[:position] for position, value in enumerate(values))


def _check_running_target(experiment: Experiment, cells: Sequence[Cell], source: Source) -> None:
    """A service that already runs keeps the settings it has."""
    if not any(cell.target.url for cell in cells):
        return
    for key, values in experiment.matrix.items():
        if len(values) > 1 and not key.startswith("load.") and key != "target.url":
            raise UsageError(
                f"{source.where(f'matrix.{key}')}: {key} cannot be varied with target.url, since nothing is deployed.",
                next_step="Vary load keys only, or take target.url out.",
            )


def _check_interleaved(cells: Sequence[Cell], source: Source) -> None:
    """Turns were asked for: refuse what they would spoil, by name."""
    reason = next(against_turns(cells), "")
    if reason:
        raise UsageError(
            f"{_at(source, 'design.kind')}: the cells cannot take turns (interleaved): {reason}.",
            next_step='Set design.kind = "blocked", or leave it out.',
        )


def _by_server(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Deployed cells, grouped by the server they will run on."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        if not cell.target.url:
            groups.setdefault(repr(cell.database), []).append(cell)
    return list(groups.values())


def _max_connections(database: DatabaseSpec, source: Source) -> int | None:
    """What the server will allow, as far as the file tells; a server that runs already is asked later."""
    value = database.settings.get("max_connections")
    if value is None:
        return None if database.provider == "url" else DEFAULT_MAX_CONNECTIONS
    try:
        return int(value)
    except ValueError:
        raise UsageError(
            f"{_at(source, 'database.settings.max_connections')}: max_connections must be a whole number, "
            f'not "{value}".',
            next_step="Change database.settings.max_connections.",
        ) from None


def _at(source: Source, key: str) -> str:
    """Where a key is varied or set, else its section."""
    return source.where(f"matrix.{key}", key)
