from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from harness.domain.cell import Cell
from harness.domain.experiment import Limits, Pool, ProbeUser, Slo, Target
from harness.domain.load import Segment, Sitting, Turn, launch_of
from harness.domain.verdict import Report
from harness.present import plan_table, print_report
from harness.present.fitting_table import Column, FittingTable
from harness.present.terminal import ranked_table

MakeReport = Callable[..., Report]
PATH = "/somewhere/deep/results/20261122T144155Z-quickstart-4f1a/report.html"


def shown(report: Report, width: int) -> list[str]:
    stream = io.StringIO()
    print_report(report, Console(file=stream, width=width), {"report.html": PATH})
    return stream.getvalue().splitlines()


def rendered(renderable: RenderableType, width: int = 80) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width).print(renderable)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("width", [60, 80, 110, 200])
def test_no_line_is_wider_than_the_terminal_but_the_path(make_report: MakeReport, width: int) -> None:
    lines = shown(make_report(failing=frozenset({5})), width)
    assert lines[-1] == f"report.html: {PATH}"
    assert all(cell_len(line) <= width for line in lines[:-1])


def test_80_columns_keep_what_decides(make_report: MakeReport) -> None:
    lines = shown(make_report(failing=frozenset({5})), 80)
    assert lines[0].startswith("Run with driver asyncpg, pool_size 2: p95 6.21 ms (95 % interval 5.54\u20136.95 ms")
    place = lines.index("") + 1
    head = " ".join(lines[place : place + 2]).split()
    assert {"rank", "apart", "cell", "p50", "p95", "interval", "failed", "SLO"} <= set(head)
    first = next(line for line in lines if "asyncpg, pool 2" in line and line.startswith("   1 "))
    assert first.split() == ["1", "2", "asyncpg,", "pool", "2", "3.10", "6.21", "5.54\u20136.95", "0", "yes"]
    last = next(line for line in lines if line.lstrip().startswith("6 "))
    assert last.split()[:2] == ["6", "none"]
    assert last.split()[-2:] == ["2.34", "no"]


def test_a_promise_that_was_not_given_needs_no_room(make_report: MakeReport) -> None:
    cells = tuple(replace(cell, slo=None) for cell in make_report().summary.cells)
    head = " ".join(rendered(ranked_table(cells), 80)[:2]).split()
    assert "SLO" not in head
    assert "answered" in head


def test_each_promise_has_a_row_of_its_own(make_report: MakeReport) -> None:
    """Of one endpoint more is promised than it keeps, of another something that nobody sent."""
    slo = Slo(p95_ms=25, endpoints={"GET /heroes": Limits(p99_ms=5), "GET /heros": Limits(error_rate=0)})
    report = make_report(drivers=1, sizes=2, slo=slo, kept={"*": "met", "GET /heroes": "not_met"})
    rows = [re.split(r"  +", line.strip()) for line in shown(report, 160)]
    assert [row for row in rows if row[0] == "asyncpg, pool 2"] == [
        ["asyncpg, pool 2", "everything", "p95 at most 25 ms", "6.21", "5.54\u20136.95", "0", "yes"],
        ["asyncpg, pool 2", "GET /heroes", "p99 at most 5 ms", "6.21", "5.54\u20136.95", "0", "no"],
        ["asyncpg, pool 2", "GET /heros", "at most 0 % failed", "\u2013", "\u2013", "\u2013", "unclear"],
    ]
    assert not any("promise of" in line for line in shown(make_report(), 160)), "nothing is promised of an endpoint"


def test_a_probe_user_has_a_row_of_its_own_with_or_without_a_promise(make_report: MakeReport) -> None:
    report = make_report(drivers=1, sizes=2, slo=Slo())
    for limits, kept, said in (
        (Limits(), None, ("\u2013", "\u2013")),
        (Limits(p95_ms=9), "met", ("p95 at most 9 ms", "yes")),
    ):
        asked = ProbeUser(request="GET /ready", slo=limits)
        info = replace(report.info, experiment=replace(report.info.experiment, probe_user=asked))
        cells = tuple(
            replace(own, probe_user=replace(own.all, endpoint=asked.name, slo=kept)) for own in report.summary.cells
        )
        lines = shown(replace(report, info=info, summary=replace(report.summary, cells=cells)), 160)
        rows = [re.split(r"  +", line.strip()) for line in lines]
        row = ["asyncpg, pool 2", "probe user GET /ready", said[0], "6.21", "5.54\u20136.95", "0", said[1]]
        assert row in rows


def test_of_saturated_cells_what_they_carry_matters_more_than_a_median(make_report: MakeReport) -> None:
    cells = tuple(replace(cell, saturated=True) for cell in make_report().summary.cells)
    head = " ".join(rendered(ranked_table(cells), 80)[:2]).split()
    assert "answered" in head
    assert "p50" not in head


def test_a_wide_terminal_shows_every_column(make_report: MakeReport) -> None:
    head = " ".join(rendered(ranked_table(make_report().summary.cells), 200)[:2]).split()
    assert head.count("interval") == 2
    assert {"answered", "connections", "wait", "SLO", "p99"} <= set(head)


def test_what_is_recommended_stands_out_and_not_the_first_rank(make_report: MakeReport) -> None:
    cells = make_report(invalid=frozenset({5})).summary.cells
    table = ranked_table(cells, cells[3].cell.id)
    assert isinstance(table, FittingTable)
    assert table.styles == {3: "bold", 5: "dim"}


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_rows_stay_one_line_when_labels_are_short(make_report: MakeReport, width: int) -> None:
    lines = rendered(ranked_table(make_report(label="c{size}{driver:.1}").summary.cells), width)
    assert len(lines) == 3 + 6


def test_a_long_label_folds_between_words(make_report: MakeReport) -> None:
    report = make_report(label="driver={driver} pool_size={size} expire_on_commit=False")
    text = "\n".join(rendered(ranked_table(report.summary.cells), 80))
    assert "expire_on_commit=False" in text


def test_findings_notes_and_invalid_launches_are_listed(make_report: MakeReport) -> None:
    text = "\n".join(shown(make_report(failing=frozenset({5}), invalid=frozenset({4})), 100))
    assert "errors: driver psycopg_sync, pool_size 5: more failed than slo.error_rate allows" in text
    assert "3 of 18 launches are invalid and feed no figure (driver psycopg_sync, pool_size 2): lag 3x." in text
    assert "This run is not complete" not in text


def test_a_partial_run_says_so(make_report: MakeReport) -> None:
    assert any(
        "This run is not complete: only the launches that are over are shown." in line
        for line in shown(replace(make_report(), complete=False), 100)
    )


def test_brackets_in_labels_are_text(make_report: MakeReport) -> None:
    assert any("[red]asyncpg[/]" in line for line in shown(make_report(label="[red]{driver}[/] {size}"), 120))


@pytest.mark.parametrize(
    ("width", "kept"),
    [(100, ["a", "label", "b", "c"]), (21, ["a", "label", "b", "c"]), (20, ["a", "label", "c"]), (3, ["label"])],
)
def test_fitting_gives_up_the_least_needed_first(width: int, kept: list[str]) -> None:
    columns = (
        Column(header="a", of=lambda _: "1", need=3),
        Column(header="label", of=lambda _: "12345", need=9),
        Column(header="b", of=lambda _: "1234", need=1),
        Column(header="c", of=lambda _: "12345", need=2),
    )
    table = FittingTable(rows=[None], columns=columns, label=1)
    assert [column.header for column in table.fitting(width)] == kept


def build_sitting(cells: tuple[Cell, ...], block: int) -> Sitting:
    """All cells of a block hot together, each with ten turns of half a second."""
    launches = tuple(launch_of(cell, block) for cell in cells)
    segments = tuple(
        Segment(
            index=place,
            launch_id=launch.id,
            phase="measure",
            start_s=0.0,
            duration_s=5.0,
            model="open",
            rate_rps=298.8,
            users=None,
            arrivals="poisson",
            seed=place,
        )
        for place, launch in enumerate(launches)
    )
    turns = tuple(Turn(launch_id=launch.id, duration_s=0.5) for _ in range(10) for launch in launches)
    return Sitting(index=block - 1, purpose="measure", launches=launches, segments=segments, turns=turns, pause_s=0.15)


def test_plan_shows_cells_ceilings_order_and_duration(make_report: MakeReport) -> None:
    info = make_report().info
    sittings = [build_sitting(info.cells, block) for block in (1, 2, 3)]
    lines = rendered(plan_table(info.cells, sittings, 117.3, ["p99 takes more launches."]))
    assert lines[0] == "6 cells, 18 launches, about 1 min 57 s."
    assert any(line.split()[-4:] == ["2", "+", "1", "3"] for line in lines if line.startswith("c01"))
    block = next(line for line in lines if line.startswith("block 1"))
    assert block.split() == ["block", "1", "6", "30", "39", "s", *(f"c0{number}" for number in range(1, 7))]
    assert sum(line.startswith("block") for line in lines) == 3
    assert lines[-1] == "note: p99 takes more launches."


def test_plan_of_a_pool_without_limit(make_report: MakeReport) -> None:
    info = make_report(drivers=1, sizes=1, launches=1).info
    cell = replace(info.cells[0], pool=Pool(pool_class="null"))
    sitting = replace(build_sitting((cell,), 0), purpose="staircase")
    lines = rendered(plan_table([cell], [sitting], 3))
    assert lines[0] == "1 cell, 0 launches, about 3 s."
    assert next(line for line in lines if line.startswith("c01")).split()[-2] == "∞"
    assert any(line.startswith("staircase") and "∞" in line for line in lines)


@pytest.mark.parametrize(
    ("target", "named", "shown_"),
    [
        (Target(), (), ["asyncpg", "1", "2", "+", "1", "3", "mixed"]),
        (Target(app="shop:app"), ("pool.pool_size",), ["\u2013", "1", "\u2013", "\u2013", "mixed"]),
        (Target(app="shop:app"), ("pool.pool_size", "pool.max_overflow"), ["\u2013", "1", "2", "+", "1", "3", "mixed"]),
        (Target(url="http://shop"), (), ["\u2013", "\u2013", "\u2013", "\u2013", "mixed"]),
    ],
)
def test_plan_shows_no_setting_that_is_the_services_own(
    make_report: MakeReport, target: Target, named: tuple[str, ...], shown_: list[str]
) -> None:
    info = make_report(drivers=1, sizes=1, launches=1, label="cell").info
    cell = replace(info.cells[0], target=target, named=named)
    lines = rendered(plan_table([cell], [build_sitting((cell,), 1)], 3), 120)
    assert next(line for line in lines if line.startswith("c01")).split()[2:] == shown_
    assert next(line for line in lines if line.startswith("block 1")).split()[3] == shown_[-2]
