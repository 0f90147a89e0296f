"""What the terminal shows: plain when there is no terminal, and never wider than it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.domain.capacity import CellCapacity
from harness.domain.capacity_plan import CapacityPlan
from harness.domain.cell import Cell
from harness.domain.evidence import RunInfo
from harness.domain.experiment import Gate
from harness.domain.gate import GateVerdict
from harness.domain.load import Sitting
from harness.domain.tune import Tuning
from harness.domain.verdict import CellSummary, Report
from harness.present.binding_text import binding_lines
from harness.present.capacity_plan import plan_text
from harness.present.capacity_text import StepRow, capacity_text, left_out_text, step_rows
from harness.present.findings import findings
from harness.present.fitting_table import Column, FittingTable
from harness.present.gate_text import PartRow, RuleRow, gate_text, part_rows, rule_rows
from harness.present.holders import terminal_texts
from harness.present.notes import notes
from harness.present.numbers import INFINITE, UNKNOWN, duration, interval, number, percent, promise_word
from harness.present.phrases import PARTIAL, failures_text, logged_text, verdict_text
from harness.present.tune_text import SizeRow, paste_line, tune_lines, tune_text, tuned_rows
from harness.present.view import (
    Kept,
    chosen_cell,
    driver_text,
    peak_text,
    promises,
    quantity,
    rank_text,
    ties_text,
)


def print_report(report: Report, console: Console, paths: Mapping[str, str]) -> None:
    """Verdict, ranked table, findings, doubts, and where the files are."""
    console.print(Text(verdict_text(report), style="bold"))
    if not report.complete:
        console.print(Text(PARTIAL, style="yellow"))
    console.print()
    if report.gate is not None:
        _print_sides(report.gate, console)
    console.print(ranked_table(report.summary.cells, chosen_cell(report.summary)))
    if kept := promises(report):
        console.print()
        console.print(promise_table(kept))
    _print_binding(report, console)
    _print_findings(report, console)
    for text in terminal_texts(report):
        console.print(bullet("connections", text))
    for note in notes(report):
        console.print(bullet("note", note))
    _print_files(paths, console)


def print_capacity(
    info: RunInfo,
    cells: Sequence[CellCapacity],
    console: Console,
    paths: Mapping[str, str],
    plan: CapacityPlan | None = None,
) -> None:
    """The plan if there is one, what was found of each cell, every launch that led there, and where the files are."""
    experiment = info.experiment
    if plan is not None:
        console.print(Text(plan_text(plan, experiment), style="bold"))
        console.print()
    for cell in cells:
        style = "bold" if plan is None else ""
        console.print(Text(capacity_text(cell, experiment), style=style))
    if rows := step_rows(cells):
        console.print()
        console.print(step_table(rows))
    if left_out := left_out_text(cells):
        console.print(bullet("left out", left_out))
    _print_files(paths, console)


def print_tune(info: RunInfo, tuning: Tuning, console: Console, paths: Mapping[str, str]) -> None:
    """The answer, the line to paste, why not another size, every size, and where the files are."""
    console.print(Text(tune_text(tuning, info.experiment), style="bold"))
    if tuning.recommended is not None:
        console.print()
        console.print(Text(f"    {paste_line(tuning.recommended)}"), soft_wrap=True)
    console.print()
    for line in tune_lines(tuning):
        console.print(Text(line))
    console.print()
    console.print(size_table(tuned_rows(tuning)))
    _print_files(paths, console)


def _print_files(paths: Mapping[str, str], console: Console) -> None:
    console.print()
    for name, path in paths.items():
        console.print(Text(f"{name}: {path}"), soft_wrap=True)


def print_gate(label: str, verdict: GateVerdict, gate: Gate, console: Console) -> None:
    """What two runs that were measured before come to, for one of their cells."""
    console.print(Text(f"{label}: {gate_text(verdict, gate)}", style="bold"))
    console.print()
    _print_sides(verdict, console)


def _print_sides(verdict: GateVerdict, console: Console) -> None:
    console.print(rule_table(verdict))
    console.print()
    if verdict.parts:
        console.print(part_table(verdict))
        console.print()


def ranked_table(cells: Sequence[CellSummary], chosen: str | None = None) -> RenderableType:
    """Every cell, best first; the `chosen` one bold, invalid ones dimmed."""

    promised = any(cell.slo is not None for cell in cells)
    columns: tuple[Column[CellSummary], ...] = (
        Column(header="rank", of=rank_text, need=100),
        Column(header="not apart\nfrom", of=lambda c: ties_text(c, cells), need=88),
        Column(header="cell", of=lambda c: c.cell.label, need=100, left=True),
        Column(header="p50\nms", of=lambda c: number(c.all.p50_ms.value), need=80),
        Column(header="95 %\ninterval", of=lambda c: interval(c.all.p50_ms), need=20),
        Column(header="p95\nms", of=lambda c: number(c.all.p95_ms.value), need=95),
        Column(header="95 %\ninterval", of=lambda c: interval(c.all.p95_ms), need=90),
        Column(header="p99\nms", of=lambda c: number(c.all.p99_ms.value), need=70),
        Column(header="failed\n%", of=lambda c: percent(c.all.error_rate), need=85),
        Column(
            header="answered\nwell, /s",
            of=lambda c: number(c.all.carried_rps),
            need=84 if any(cell.saturated for cell in cells) else 72,  # what such cells are ranked by
        ),
        Column(header="pool wait\np95, ms", of=lambda c: number(c.all.pool_ms_p95), need=60),
        Column(header="connections\npeak", of=peak_text, need=50),
        Column(header="SLO\nmet", of=lambda c: promise_word(c.slo), need=86 if promised else 10),
    )
    styles = {row: "dim" for row, cell in enumerate(cells) if not cell.valid}
    styles |= {row: "bold" for row, cell in enumerate(cells) if cell.cell.id == chosen}
    return FittingTable(rows=cells, columns=columns, label=2, styles=styles)


def rule_table(verdict: GateVerdict) -> RenderableType:
    """What each rule of a comparison comes to."""
    rows = rule_rows(verdict)

    columns: tuple[Column[RuleRow], ...] = (
        Column(header="verdict", of=lambda row: row.verdict, need=100, left=True),
        Column(header="metric", of=lambda row: row.metric, need=100, left=True),
        Column(header="endpoint", of=lambda row: row.endpoint, need=95, left=True),
        Column(header="base", of=lambda row: row.base, need=80),
        Column(header="head", of=lambda row: row.head, need=85),
        Column(header="change", of=lambda row: row.change, need=90),
        Column(header="95 %\ninterval", of=lambda row: row.interval, need=75),
        Column(header="would\nbe seen", of=lambda row: row.smallest, need=50),
        Column(header="", of=lambda row: row.note, need=40, left=True),
    )
    styles = {place: "bold red" for place, row in enumerate(rows) if row.regressed}
    return FittingTable(rows=rows, columns=columns, label=2, styles=styles)


def part_table(verdict: GateVerdict) -> RenderableType:
    """Where the time of an average request went on both sides."""
    columns: tuple[Column[PartRow], ...] = (
        Column(header="an average request, ms", of=lambda row: row.name, need=100, left=True),
        Column(header="base", of=lambda row: row.base, need=90),
        Column(header="head", of=lambda row: row.head, need=90),
        Column(header="difference,\n95 % interval", of=lambda row: row.difference, need=80),
    )
    return FittingTable(rows=part_rows(verdict), columns=columns, label=0)


def promise_table(kept: Sequence[Kept]) -> RenderableType:
    """What is promised of everything and of single endpoints, cell by cell."""

    columns: tuple[Column[Kept], ...] = (
        Column(header="cell", of=lambda own: own.label, need=95, left=True),
        Column(header="promise of", of=lambda own: own.of, need=100, left=True),
        Column(header="that", of=lambda own: own.promised, need=70, left=True),
        Column(header="p95\nms", of=lambda own: number(own.p95_ms.value), need=90),
        Column(header="95 %\ninterval", of=lambda own: interval(own.p95_ms), need=60),
        Column(header="failed\n%", of=lambda own: percent(own.error_rate), need=80),
        Column(header="SLO\nmet", of=lambda own: promise_word(own.kept), need=100),
    )
    return FittingTable(rows=kept, columns=columns, label=0)


def step_table(rows: Sequence[StepRow]) -> RenderableType:
    """Every launch of a search for a capacity."""
    columns: tuple[Column[StepRow], ...] = (
        Column(header="cell", of=lambda row: row.cell, need=90, left=True),
        Column(header="for", of=lambda row: row.kind, need=85, left=True),
        Column(header="offered\n/s", of=lambda row: row.rate, need=100),
        Column(header="SLO", of=lambda row: row.result, need=100, left=True),
        Column(header="p95\nms", of=lambda row: row.p95, need=95),
        Column(header="failed\n%", of=lambda row: row.failed, need=80),
        Column(header="answered\nwell, /s", of=lambda row: row.carried, need=60),
        Column(header="connections\npeak", of=lambda row: row.connections, need=50),
        Column(header="pool\nused, %", of=lambda row: row.pool, need=55),
        Column(header="CPU of\na core, %", of=lambda row: row.cpu, need=70),
        Column(header="not kept", of=lambda row: row.why, need=65, left=True),
    )
    return FittingTable(rows=rows, columns=columns, label=0)


def size_table(rows: Sequence[SizeRow]) -> RenderableType:
    """Every size that was looked at for the smallest."""
    columns: tuple[Column[SizeRow], ...] = (
        Column(header="key", of=lambda row: row.key, need=60, left=True),
        Column(header="value", of=lambda row: row.value, need=100),
        Column(header="launches", of=lambda row: row.launches, need=70),
        Column(header="of these\nfresh", of=lambda row: row.fresh, need=65),
        Column(header="p95\nms", of=lambda row: row.p95, need=95),
        Column(header="slower\nby, %", of=lambda row: row.slower, need=90),
        Column(header="answered\nwell, /s", of=lambda row: row.carried, need=50),
        Column(header="connections\npeak", of=lambda row: row.peak, need=80),
        Column(header="in use\nmean", of=lambda row: row.used, need=75),
        Column(header="", of=lambda row: row.why, need=98, left=True),
    )
    return FittingTable(rows=rows, columns=columns, label=0)


def plan_table(
    cells: Sequence[Cell], sittings: Sequence[Sitting], duration_s: float, notes: Sequence[str] = ()
) -> RenderableType:
    """What `poolbench plan` shows: the cells, the order they are launched in, how long it takes, and the ceilings."""
    launches = sum(len(sitting.launches) for sitting in sittings if sitting.purpose == "measure")
    head = f"{quantity(len(cells), 'cell')}, {quantity(launches, 'launch')}, about {duration(duration_s)}."
    parts: list[RenderableType] = [
        Text(head, style="bold"),
        Text(""),
        _cell_table(cells),
        Text(""),
        _order_table(sittings),
    ]
    parts += [bullet("note", note) for note in notes]
    return Group(*parts)


def _cell_table(cells: Sequence[Cell]) -> FittingTable[Cell]:
    columns: tuple[Column[Cell], ...] = (
        Column(header="id", of=lambda c: c.id, need=100, left=True),
        Column(header="cell", of=lambda c: c.label, need=100, left=True),
        Column(header="driver", of=driver_text, need=40, left=True),
        Column(header="workers", of=lambda c: str(c.target.workers) if c.takes_settings else UNKNOWN, need=60),
        Column(header="pool_size\n+ overflow", of=_pool_text, need=70),
        Column(header="connections\nat most", of=lambda c: _ceiling_text([c]), need=90),
        Column(header="scenario", of=lambda c: c.load.scenario, need=30, left=True),
    )
    return FittingTable(rows=cells, columns=columns, label=1)


def _order_table(sittings: Sequence[Sitting]) -> FittingTable[list[Sitting]]:
    """A row a block: its sittings are launched in this order, launches of one sitting together."""
    columns: tuple[Column[list[Sitting]], ...] = (
        Column(header="step", of=_step_text, need=100, left=True),
        Column(header="hot\ntogether", of=lambda block: str(max(len(own.launches) for own in block)), need=60),
        Column(header="connections\nat most", of=_most_connections, need=70),
        Column(header="load", of=lambda block: duration(sum(own.duration_s for own in block)), need=80),
        Column(header="launched in this order", of=_order_text, need=90, left=True),
    )
    return FittingTable(rows=[list(group) for _, group in groupby(sittings, key=_block)], columns=columns, label=4)


def _block(sitting: Sitting) -> tuple[str, int]:
    return sitting.purpose, sitting.launches[0].block if sitting.launches else 0


def _step_text(block: Sequence[Sitting]) -> str:
    purpose, number_ = _block(block[0])
    return "staircase" if purpose == "staircase" else f"block {number_}"


def _order_text(block: Sequence[Sitting]) -> str:
    return " ".join(launch.cell.id for sitting in block for launch in sitting.launches)


def _most_connections(block: Sequence[Sitting]) -> str:
    totals = [_ceiling_text([launch.cell for launch in sitting.launches]) for sitting in block]
    return next((text for text in (INFINITE, UNKNOWN) if text in totals), "") or max(totals, key=int)


def _ceiling_text(cells: Sequence[Cell]) -> str:
    """Connections these cells may make Postgres hold at once; unknown where the service decides."""
    if not all(cell.decides_pool for cell in cells):
        return UNKNOWN
    ceilings = [cell.server_ceiling for cell in cells]
    return INFINITE if None in ceilings else str(sum(ceiling for ceiling in ceilings if ceiling is not None))


def _pool_text(cell: Cell) -> str:
    if not cell.decides_pool:
        return UNKNOWN
    return "no pool" if cell.pool.ceiling is None else f"{cell.pool.pool_size} + {cell.pool.max_overflow}"


def _print_binding(report: Report, console: Console) -> None:
    lines = list(binding_lines(report))
    if lines:
        console.print()
    for which, text in lines:
        console.print(bullet("binds", text if len(report.summary.cells) == 1 else f"{which}: {text}"))


def _print_findings(report: Report, console: Console) -> None:
    found = list(findings(report))
    if found:
        console.print()
    for code, text in found:
        console.print(bullet(code, text))
    for cell in report.summary.cells:
        if text := failures_text(cell):
            console.print(bullet(f"{cell.cell.label} failed", text))
        if text := logged_text(cell):
            console.print(bullet(f"{cell.cell.label} logged then", text))


def bullet(name: str, text: str) -> RenderableType:
    """A line with a name, its continuation indented."""
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(max_width=40, overflow="fold")
    table.add_column(overflow="fold")
    table.add_row(Text(f"{name}:", style="bold"), Text(text))
    return table
