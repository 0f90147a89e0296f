"""What the terminal and the report both say about a run, in words: ranks, facts, findings, the fingerprint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.domain.design import design_kind
from harness.domain.evidence import RunInfo
from harness.domain.experiment import Cell
from harness.domain.verdict import CellSummary, Report, Summary
from harness.present.numbers import UNKNOWN, count, duration, number
from harness.present.phrases import promise_text

if TYPE_CHECKING:
    import pandas as pd


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
    """Most connections at once; none seen means that nobody looked, since a service that answers holds some."""
    return count(cell.connections_peak or None)


def findings_text(cell: CellSummary) -> str:
    """Everything found about a cell, invalid launches first."""
    invalid = (quantity(cell.invalid_launches, "invalid launch"),)
    return "; ".join((*(invalid if cell.invalid_launches else ()), *cell.findings))


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


def planned_launches(info: RunInfo) -> int:
    """Launches that are to be measured, over the whole run."""
    return sum(len(sitting.launches) for sitting in info.sittings if sitting.purpose == "measure")


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
        ("Load", _load_fact(info)),
        ("Time", _time_fact(info)),
        ("Order", _design_fact(info)),
        ("Promise (SLO)", slo_text(info)),
        ("Service", _service_fact(info)),
        ("Database", _database_fact(info)),
        ("Machine", _machine_fact(info.environment)),
    )
    return tuple((name, value) for name, value in named if value)


def slo_text(info: RunInfo) -> str:
    """The service level objective in one line."""
    return promise_text(info.experiment.slo)


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
    text += f", {quantity(info.experiment.design.launches, 'launch')} each"
    certificates = report.summary.certificates.values()
    valid = sum(certificate.valid for certificate in certificates)
    return f"{text}; {valid} valid of {len(certificates)} measured and {planned_launches(info)} planned"


def _load_fact(info: RunInfo) -> str:
    load = info.experiment.load
    scenario = _distinct(info.cells, lambda cell: cell.load.scenario)
    model = _distinct(info.cells, lambda cell: cell.load.model)
    if model != "open":
        users = _distinct(info.cells, lambda cell: cell.load.users)
        return f"scenario {scenario}; {model}: {users} users that wait for each answer, latency from send"
    rate = number(info.rate_rps) if info.rate_rps is not None else _distinct(info.cells, lambda c: c.load.rate_rps)
    source = f" ({info.rate_source})" if info.rate_source else ""
    return (
        f"scenario {scenario}; open: {rate} arrivals/s, {load.arrivals} gaps{source}; "
        f"latency from the intended time, timeout {duration(load.request_timeout_s)}"
    )


def _time_fact(info: RunInfo) -> str:
    load = info.experiment.load
    total_s = sum(sitting.duration_s for sitting in info.sittings)
    return (
        f"{duration(load.measure_s)} measured after {duration(load.warmup_s)} of warm-up per launch, "
        f"{duration(total_s)} of load in all; {info.created_utc}"
    )


def _design_fact(info: RunInfo) -> str:
    design = info.experiment.design
    kind, why_blocked = design_kind(info.experiment, info.cells)
    if kind == "interleaved":
        return (
            f"interleaved: the cells of a block run side by side and take turns of at least "
            f"{duration(design.segment_s)}, in balanced order, so that the machine's drift touches all alike; a turn "
            f"ends where the service has nothing in progress, so that all turns together are one run; "
            f"seed {design.seed}"
        )
    because = f" (because {why_blocked})" if why_blocked else ""
    return f"blocked{because}: one cell at a time, in balanced order over the blocks; seed {design.seed}"


def _service_fact(info: RunInfo) -> str:
    url = info.experiment.target.url
    if url:
        return f"already running at {url}"
    app = _distinct(info.cells, lambda cell: cell.target.app)
    driver = _distinct(info.cells, lambda cell: cell.target.driver)
    workers = _distinct(info.cells, lambda cell: cell.target.workers)
    return f"{app}; driver {driver}; workers {workers}"


def _database_fact(info: RunInfo) -> str:
    database = info.experiment.database
    server = _section(info.environment, "postgres")
    version = server.get("version")
    parts = (
        f"Postgres {version}" if version else "Postgres",
        f"{count(database.rows)} rows",
        str(server.get("transport", "")),
        f"provider {database.provider}",
        *(f"{key} = {value}" for key, value in database.settings.items()),
    )
    return "; ".join(part for part in parts if part)


def _machine_fact(environment: Mapping[str, Any]) -> str:
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


def _section(environment: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = environment.get(name)
    return section if isinstance(section, Mapping) else {}


def _distinct(cells: Sequence[Cell], of: Callable[[Cell], Any]) -> str:
    """The value all cells share, or every value there is."""
    values = dict.fromkeys(of(cell) for cell in cells)
    return ", ".join(UNKNOWN if value is None else str(value) for value in values)
