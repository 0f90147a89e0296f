"""What the terminal and the report both say about a run, in words: ranks, facts, findings, the fingerprint."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from harness.domain.cell import Cell
from harness.domain.design import design_kind
from harness.domain.evidence import RunInfo
from harness.domain.experiment import Limits
from harness.domain.verdict import Bounds, CellSummary, Promise, Report, Summary
from harness.present.numbers import UNKNOWN, count, duration, number
from harness.present.phrases import listed, promise_text, slo_text, version_text
from harness.present.progress import rate_text

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
NOT_KNOWN = "not known"
"""What a service has of a setting that could not be seen in it."""


def rank_text(cell: CellSummary) -> str:
    """ "1", or a dash when the cell has no valid launch to rank."""
    return str(cell.rank) if cell.valid else UNKNOWN


def ties_text(cell: CellSummary, cells: Sequence[CellSummary]) -> str:
    """The ranks of the cells that it is not told apart from: "2, 3"; "all" of several, "none" where there are none."""
    if not cell.valid:
        return UNKNOWN
    others = [other for other in cells if other.valid and other is not cell]
    tied = [str(other.rank) for other in others if other.cell.id in cell.ties]
    if not tied:
        return "none" if others else UNKNOWN
    return "all" if len(tied) == len(others) > 2 else ", ".join(tied)


def chosen_cell(summary: Summary) -> str | None:
    """The id of the cell to run with, the one to stand out; None where none is recommended."""
    recommendation = summary.verdict.recommendation
    return None if recommendation is None else recommendation.recommended


def peak_text(cell: CellSummary) -> str:
    """Most connections at once, as far as anybody looked."""
    return count(None if math.isnan(cell.connections_active_mean) else cell.connections_peak)


def driver_text(cell: Cell) -> str:
    """The driver that the reference app is asked to use; another app has one of its own."""
    return cell.target.driver if cell.takes_settings and cell.target.is_reference else UNKNOWN


def titled(cell: CellSummary) -> str:
    """A cell's name in a figure: rank and label, an en space between, which folding leaves alone."""
    return f"{rank_text(cell)}\u2002{cell.cell.label}"


def seen_cells(report: Report, frame: pd.DataFrame) -> list[CellSummary]:
    """The cells a series knows something about, best first."""
    known = set(frame["cell_id"].astype(str))
    return [cell for cell in report.summary.cells if cell.cell.id in known]


def by_cell(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """A series with one row a cell, as that row's values by cell id."""
    return {str(row["cell_id"]): {str(name): value for name, value in row.items()} for row in frame.to_dict("records")}


def quantity(number_: int, noun: str) -> str:
    """ "1 cell", "3 launches"."""
    return f"{number_} {noun}" if number_ == 1 else f"{number_} {noun}{'es' if noun.endswith('ch') else 's'}"


def max_connections(report: Report, cell: Cell) -> int | None:
    """The server's limit: what the cell asked for, else what the fingerprint recorded."""
    recorded = _section(report.info.environment, "postgres").get("max_connections")
    value = cell.database.settings.get("max_connections", recorded)
    return int(value) if value is not None else None


def facts(report: Report) -> tuple[tuple[str, str], ...]:
    """What was run, and on what: name and value of each line, in reading order."""
    info = report.info
    named = (
        ("Question", info.experiment.question),
        ("Cells", _cells_fact(report)),
        ("Load", _load_fact(report)),
        ("Time", _time_fact(report)),
        ("Order", _design_fact(info)),
        ("Promise (SLO)", slo_text(info.experiment)),
        ("Probe user", _probe_user_fact(info)),
        ("Service", _service_fact(report)),
        ("Code", code_text(report)),
        ("Database", database_text(info)),
        ("Machine", machine_text(info.environment)),
    )
    return tuple((name, value) for name, value in named if value)


def applied_rows(report: Report) -> tuple[tuple[str, str, str], ...]:
    """Of each setting what the experiment has, and what was read back from the services of the cells that have it."""
    found: dict[tuple[str, str], list[str]] = {}
    for cell in sorted(report.summary.cells, key=lambda own: own.cell.id):
        for key, values in cell.applied.items():
            section, name = key.split(".")
            asked = str(getattr(getattr(cell.cell, section), name)) if cell.cell.has_say(key) else UNKNOWN
            found.setdefault((key, asked), []).extend(map(str, values))
    settings = list(dict.fromkeys(key for key, _ in found))
    ordered = sorted(found.items(), key=lambda row: settings.index(row[0][0]))
    return tuple((key, asked, ", ".join(dict.fromkeys(own)) or NOT_KNOWN) for (key, asked), own in ordered)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One promise and what became of it in one cell."""

    label: str
    of: str
    """an endpoint, or "everything" """
    promised: str
    p95_ms: Bounds
    error_rate: float
    kept: Promise | None


def promises(report: Report) -> tuple[Kept, ...]:
    """Each promise in each valid cell, best cell first, and what a probe user met.

    None where nothing is promised of a single endpoint, and nobody asks beside the load.
    """
    slo, asked = report.info.experiment.slo, report.info.experiment.probe_user
    of_each = {**slo.promised, **({asked.name: asked.slo} if asked.request else {})}
    if not slo.endpoints and not asked.request:
        return ()
    valid = [cell for cell in report.summary.cells if cell.valid]
    return tuple(_kept(cell, name, limits) for cell in valid for name, limits in of_each.items())


def _kept(cell: CellSummary, name: str, limits: Limits) -> Kept:
    known = (cell.all, *cell.endpoints, *(() if cell.probe_user is None else (cell.probe_user,)))
    own = next((own for own in known if own.endpoint == name), None)
    return Kept(
        label=cell.cell.label,
        of="everything" if name == "*" else name,
        promised=promise_text(limits) or UNKNOWN,
        p95_ms=Bounds(value=math.nan, low=None, high=None) if own is None else own.p95_ms,
        error_rate=math.nan if own is None else own.error_rate,
        kept="unclear" if own is None else own.slo,
    )


def _probe_user_fact(info: RunInfo) -> str:
    asked = info.experiment.probe_user
    if not asked.request:
        return ""
    return f"{asked.request} {asked.rate_rps:g} times a second beside the load, in no other figure"


def fingerprint(environment: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The environment as flat lines: dotted name, value."""
    return tuple(_flatten(environment, ""))


def _flatten(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flatten(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        yield name, ", ".join(map(str, value)) or UNKNOWN
    else:
        yield name, UNKNOWN if value is None else str(value)


def _cells_fact(report: Report) -> str:
    info = report.info
    varied = " \u00d7 ".join(info.experiment.matrix)
    text = quantity(len(info.cells), "cell") + (f" ({varied})" if varied else "")
    coverage = report.summary.coverage
    text += f", {quantity(coverage.planned // max(1, len(info.cells)), 'launch')} each"
    measured = coverage.measured
    valid = measured - sum(cell.invalid_launches for cell in report.summary.cells)
    return f"{text}; {valid} valid of {measured} measured and {coverage.planned} planned"


def _load_fact(report: Report) -> str:
    return "; ".join((*_open_load(report), *_closed_load(report.info)))


def _open_load(report: Report) -> Iterator[str]:
    cells = [cell for cell in report.info.cells if cell.load.model == "open"]
    if not cells:
        return
    chosen = report.chosen_rate if any(cell.load.rate is not None for cell in cells) else None
    source = "given" if chosen is None else rate_text(chosen)
    yield (
        f"scenario {_distinct(cells, lambda c: c.load.scenario)}; "
        f"open: {_distinct(cells, lambda c: number(c.rate_rps))} arrivals/s, "
        f"{_distinct(cells, lambda c: c.load.arrivals)} gaps ({source}); "
        f"latency from the intended time, timeout {_distinct(cells, lambda c: duration(c.load.request_timeout_s))}"
    )


def load_terms(cells: Sequence[Cell]) -> str:
    """What open load is made of, whatever its rate."""
    return (
        f"scenario {_distinct(cells, lambda c: c.load.scenario)}, {_distinct(cells, lambda c: c.load.arrivals)} gaps, "
        f"timeout {_distinct(cells, lambda c: duration(c.load.request_timeout_s))}"
    )


def _closed_load(info: RunInfo) -> Iterator[str]:
    cells = [cell for cell in info.cells if cell.load.model == "closed"]
    if cells:
        yield (
            f"scenario {_distinct(cells, lambda c: c.load.scenario)}; "
            f"closed: {_distinct(cells, lambda c: c.load.users)} users that wait for each answer, "
            f"latency from send, timeout {_distinct(cells, lambda c: duration(c.load.request_timeout_s))}"
        )


def _time_fact(report: Report) -> str:
    info = report.info
    measured, warmup = (
        _distinct(info.cells, lambda c: duration(c.load.measure_s)),
        _distinct(info.cells, lambda c: duration(c.load.warmup_s)),
    )
    launches = report.summary.coverage.planned / max(1, len(info.cells))
    total_s = launches * sum(cell.load.warmup_s + cell.load.measure_s for cell in info.cells)
    return (
        f"{measured} measured after {warmup} of warm-up per launch, {duration(total_s)} of load planned; "
        f"{info.created_utc}"
    )


def _design_fact(info: RunInfo) -> str:
    """How launches were ordered; a single cell has nothing to take turns with."""
    design = info.experiment.design
    if len(info.cells) == 1:
        return f"one cell, one launch after the other; seed {design.seed}"
    kind, why_blocked = design_kind(info.experiment, info.cells)
    if kind == "interleaved":
        closed = any(cell.load.model == "closed" for cell in info.cells)
        clear = "the service has nothing in progress" if info.experiment.observe.probe else "its requests are answered"
        return (
            f"interleaved: the cells of a block run side by side and take turns of at least "
            f"{duration(design.segment_s)}, in balanced order, so that the machine's drift touches all alike; a turn "
            f"ends where {'its users have their answers' if closed else clear}, so that all turns together are one "
            f"run; seed {design.seed}"
        )
    because = f" (because {why_blocked})" if why_blocked else ""
    return f"blocked{because}: one cell at a time, in balanced order over the blocks; seed {design.seed}"


def _service_fact(report: Report) -> str:
    cells = report.info.cells
    urls = list(dict.fromkeys(cell.target.url for cell in cells if cell.target.url))
    started = [cell for cell in cells if cell.takes_settings]
    parts = [f"already running at {', '.join(urls)}"] if urls else []
    if started:
        reference = [cell for cell in started if cell.target.is_reference]
        drivers = _distinct(reference, driver_text) or ", ".join(report.summary.coverage.drivers)
        parts.append(_distinct(started, lambda cell: cell.target.title))
        parts += [f"driver {drivers}"] if drivers else []
        parts.append(f"workers {_distinct(started, lambda cell: cell.target.workers)}")
    return "; ".join(parts)


def code_text(report: Report) -> str:
    """Which commits were measured, and of which side where they differ; "" where git does not say."""
    sides: dict[str, list[str]] = {}
    for cell in sorted(report.summary.cells, key=lambda own: own.cell.id):
        for version in cell.versions:
            named = f"{cell.cell.target.ref}, " if cell.cell.target.ref else ""
            sides.setdefault(f"{named}{version_text(version)}", []).append(cell.cell.arm)
    if len(sides) == 1:
        return next(iter(sides))
    arms = {text: listed(list(dict.fromkeys(filter(None, own)))) for text, own in sides.items()}
    return "; ".join(f"{own}: {text}" if own else text for text, own in arms.items())


def database_text(info: RunInfo) -> str:
    """The databases that were made for the launches; "" where the service has one of its own."""
    cells = [cell for cell in info.cells if cell.takes_settings]
    if not cells:
        return ""
    specs = [cell.database for cell in cells]
    # the fingerprint is that of the first cell's server
    alike = len({(spec.provider, spec.url, spec.image) for spec in specs}) == 1
    server = _section(info.environment, "postgres") if alike else {}
    settings = {key: [spec.settings.get(key) for spec in specs] for spec in specs for key in spec.settings}
    parts = (
        f"Postgres {server['version']}" if server.get("version") else "Postgres",
        *dict.fromkeys(_filled_text(cell) for cell in cells),
        str(server.get("transport", "")),
        f"provider {_distinct(specs, lambda spec: spec.provider)}",
        *(f"{key} = {_distinct(values, str)}" for key, values in settings.items()),
    )
    return "; ".join(part for part in parts if part)


def _filled_text(cell: Cell) -> str:
    """What a launch's database holds: heroes are the reference app's, and what a command puts there is not known."""
    if commands := (*cell.database.commands, *cell.target.seeding):
        return f"filled by {', then '.join(map(' '.join, commands))}"
    return f"{count(cell.database.rows)} rows" if cell.target.is_reference else "empty at first"


def machine_text(environment: Mapping[str, Any]) -> str:
    """The few lines of the fingerprint that a reader compares first; all of it stands at the report's end."""
    machine = _section(environment, "machine")
    memory_bytes = machine.get("memory_bytes")
    parts = (
        machine.get("cpu"),
        f"{machine['cores']} cores" if machine.get("cores") else None,
        f"{number(memory_bytes / 2**30)} GiB of memory" if memory_bytes else None,
        " ".join(str(machine[key]) for key in ("system", "kernel") if machine.get(key)),
        environment.get("python"),
    )
    return "; ".join(str(part) for part in parts if part)


def cores_of(environment: Mapping[str, Any]) -> int | None:
    """The machine's, None where the fingerprint does not say."""
    cores = _section(environment, "machine").get("cores")
    return None if cores is None else int(cores)


def _section(environment: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = environment.get(name)
    return section if isinstance(section, Mapping) else {}


def _distinct(things: Sequence[T], of: Callable[[T], Any]) -> str:
    """The value all things share, or every value there is."""
    values = dict.fromkeys(of(thing) for thing in things)
    return ", ".join(UNKNOWN if value is None else str(value) for value in values)
