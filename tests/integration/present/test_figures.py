from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.domain.experiment import Pool, Target
from harness.domain.gate import GateVerdict, RuleVerdict
from harness.domain.verdict import Report
from harness.present.figures import FIGURES, Picture, draw
from harness.present.figures.load import limit_lines
from harness.present.figures.style import house_style

KINDS = {kind.series: kind for kind in FIGURES}
MakeReport = Callable[..., Report]


@contextmanager
def drawn(report: Report, series: str) -> Iterator[Figure]:
    with house_style(series):
        figure = KINDS[series].draw(report, report.series[series])
        assert figure is not None
        yield figure


def artists(axes: Axes, gid: str) -> list[Any]:
    return [artist for artist in axes.get_children() if artist.get_gid() == gid]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def panel_titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left").replace("\n", " ") for axes in figure.axes]


def with_pool(report: Report, pool: Pool, *, workers: int = 1) -> Report:
    """The same report whose every cell has this pool."""

    def changed(summary: Any) -> Any:
        return replace(summary, cell=replace(summary.cell, pool=pool, target=Target(workers=workers)))

    return replace(report, summary=replace(report.summary, cells=tuple(map(changed, report.summary.cells))))


def test_percentiles_show_each_cell_in_rank_order_with_dot_and_interval(make_report: MakeReport) -> None:
    with drawn(make_report(), "latency_percentiles") as figure:
        assert panel_titles(figure) == ["p50", "p90", "p95", "p99"]
        names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert names[0] == "1\u2002asyncpg, pool 2"
        assert names[5] == "6\u2002psycopg_sync, pool 5"
        p50 = figure.axes[0]
        assert [dot.get_ydata()[0] for dot in artists(p50, "dot")] == list(range(6))
        assert artists(p50, "dot")[0].get_xdata()[0] == pytest.approx(3.1)
        assert list(artists(p50, "interval")[0].get_xdata()) == pytest.approx([3.1 / 1.06, 3.1 * 1.06])
        bottom, top = p50.get_ylim()
        assert bottom > top, "the best cell stands on top"


def test_percentiles_of_a_single_launch_have_no_interval(make_report: MakeReport) -> None:
    with drawn(make_report(launches=1), "latency_percentiles") as figure:
        assert not any(artists(axes, "interval") for axes in figure.axes)
        assert len(artists(figure.axes[0], "dot")) == 6


def test_an_infinite_percentile_is_an_arrow_that_says_how_much_failed(make_report: MakeReport) -> None:
    with drawn(make_report(failing=frozenset({5})), "latency_percentiles") as figure:
        p99 = figure.axes[3]
        assert len(artists(p99, "failed")) == 1
        assert len(artists(p99, "dot")) == 5
        assert "2.34 % failed" in [text.get_text() for text in p99.texts]
        assert not artists(figure.axes[0], "failed")


@pytest.mark.parametrize(("sizes", "scale"), [(2, "linear"), (6, "log")])
def test_percentiles_turn_logarithmic_when_they_are_far_apart(make_report: MakeReport, sizes: int, scale: str) -> None:
    with drawn(make_report(sizes=sizes), "latency_percentiles") as figure:
        assert figure.axes[0].get_xscale() == scale


def test_distribution_ends_where_the_rest_failed(make_report: MakeReport) -> None:
    with drawn(make_report(failing=frozenset({5})), "latency_cdf") as figure:
        whole, cut = (artists(figure.axes[place], "own")[0] for place in (0, 5))
        assert whole.get_ydata()[-1] == pytest.approx(3)
        assert cut.get_ydata()[-1] == pytest.approx(-math.log10(0.0234), abs=0.25)
        assert np.isfinite(cut.get_xdata()).all()
        assert len(figure.axes[0].lines) == 6


def test_distribution_of_many_cells_keeps_only_the_best_behind_each(make_report: MakeReport) -> None:
    with drawn(make_report(drivers=3, sizes=5), "latency_cdf") as figure:
        assert len(figure.axes) == 15
        assert {len(axes.lines) for axes in figure.axes[1:]} == {2}


def test_over_time_draws_both_percentiles_and_marks_moments_that_failed(make_report: MakeReport) -> None:
    with drawn(make_report(failing=frozenset({5})), "latency_over_time") as figure:
        for axes in figure.axes:
            assert len(artists(axes, "p50_ms")) == len(artists(axes, "p95_ms")) == 1
        assert not artists(figure.axes[0], "failed")
        assert list(artists(figure.axes[5], "failed")[0].get_xdata()) == pytest.approx([2.75, 3.25, 3.75])
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["p95", "p50", "more than 5 % failed"]
        assert len({axes.get_ylim() for axes in figure.axes}) == 1, "panels share a scale"


def test_connections_have_lines_at_the_limits_near_the_data(make_report: MakeReport) -> None:
    with drawn(make_report(drivers=1, sizes=1), "connections") as figure:
        lines = artists(figure.axes[0], "limit")
        assert [line.get_ydata()[0] for line in lines] == [2, 3]
        labels = [text.get_text() for text in figure.axes[0].texts]
        assert labels == ["pool_size 2", "pool_size + max_overflow = 3", "max_connections 100 ↑"]
        assert figure.axes[0].get_ylim()[1] < 6, "a limit far above does not squash the picture"
        assert len(figure.axes[0].collections) == 4


def test_two_sides_have_their_connections_on_one_scale(make_report: MakeReport) -> None:
    alone = make_report(drivers=1, sizes=2)
    with drawn(alone, "connections") as figure:
        assert len({axes.get_ylim() for axes in figure.axes}) == 2
    rule: Any = RuleVerdict(
        kind="exact",
        metric="x",
        endpoint="*",
        scale="difference",
        base=1,
        head=1,
        effect=0,
        low=None,
        high=None,
        verdict="equivalent",
    )
    gate = GateVerdict(
        verdict="equivalent",
        primary=rule,
        rules=(rule,),
        blocks=1,
        fresh_blocks=0,
        planned_blocks=1,
        alarm=False,
        noise=None,
        paired=True,
        identical=False,
    )
    with drawn(replace(alone, gate=gate), "connections") as figure:
        assert len({axes.get_ylim() for axes in figure.axes}) == 1


def test_connections_name_what_is_far_above_without_a_line(make_report: MakeReport) -> None:
    report = with_pool(make_report(drivers=1, sizes=1), Pool(pool_size=40, max_overflow=20))
    with drawn(report, "connections") as figure:
        assert not artists(figure.axes[0], "limit")
        assert "pool_size 40 ↑" in texts(figure)
        assert "pool_size + max_overflow = 60 ↑" in texts(figure)


@pytest.mark.parametrize(
    ("pool", "workers", "limit", "expected"),
    [
        (Pool(pool_size=5, max_overflow=10), 1, 100, [5, 15, 100]),
        (Pool(pool_size=5, max_overflow=10), 4, None, [20, 60]),
        (Pool(pool_size=5, max_overflow=0), 1, 100, [5, 100]),
        (Pool(pool_size=80, max_overflow=40), 1, 100, [80, 100, 120]),
        (Pool(pool_class="null"), 1, 100, [100]),
        (Pool(pool_class="null"), 1, None, []),
    ],
)
def test_limits(make_report: MakeReport, pool: Pool, workers: int, limit: int | None, expected: list[int]) -> None:
    cell = with_pool(make_report(drivers=1, sizes=1), pool, workers=workers).summary.cells[0]
    assert [line.value for line in limit_lines(cell, limit)] == expected


def test_limit_labels_never_overlap_each_other(make_report: MakeReport) -> None:
    report = with_pool(make_report(drivers=1, sizes=1), Pool(pool_size=2, max_overflow=1))
    report = replace(report, info=replace(report.info, environment={"postgres": {"max_connections": 4}}))
    with drawn(report, "connections") as figure:
        axes = figure.axes[0]
        boxes = sorted((text.get_window_extent() for text in axes.texts), key=lambda box: box.y0)
        assert len(boxes) == 3
        assert all(lower.y1 <= upper.y0 + 1 for lower, upper in pairwise(boxes))


def test_breakdown_bars_add_up_to_all_and_show_the_share_of_waiting(make_report: MakeReport) -> None:
    with drawn(make_report(), "breakdown") as figure:
        bars: list[Any] = list(figure.axes[0].patches)
        for row in range(6):
            widths = [bar.get_width() for bar in bars if round(bar.get_y() + bar.get_height() / 2) == row]
            assert sum(widths) == pytest.approx(100)
        assert "12.0 %" in texts(figure)
        assert "27.0 %" in texts(figure)


def test_other_sizes_are_a_curve_with_the_measured_cells_on_it(make_report: MakeReport) -> None:
    with drawn(make_report(), "prediction") as figure:
        assert panel_titles(figure) == ["300/s", "200/s"]
        first, second = figure.axes
        (latency,) = artists(first, "latency_ms")
        assert list(latency.get_xdata()) == [2, 3, 5, 10]
        assert latency.get_ydata()[1:] == pytest.approx([42, 14, 12])
        assert math.isnan(latency.get_ydata()[0]), "what fails has no place on the curve"
        marks = artists(first, "measured")
        assert [(mark.get_xdata()[0], mark.get_marker()) for mark in marks] == [(2, "^"), (5, "o"), (10, "o")]
        assert len({mark.get_markerfacecolor() for mark in marks[:2]}) == 1
        assert marks[2].get_markerfacecolor() != marks[0].get_markerfacecolor(), "the source is hollow"
        assert artists(second, "measured") == []


def test_outcomes_show_the_failed_share(make_report: MakeReport) -> None:
    with drawn(make_report(failing=frozenset({5})), "outcomes") as figure:
        bars: list[Any] = list(figure.axes[0].patches)
        widths = [bar.get_width() for bar in bars]
        assert widths == pytest.approx([100 * count / 9056 for count in (17, 3, 41)])
        assert texts(figure) == ["none"] * 5 + ["61 of 9\u202f056"]


def test_outcomes_without_a_failure_need_no_picture(make_report: MakeReport) -> None:
    assert draw(KINDS["outcomes"], make_report()).svg == ""


@pytest.mark.parametrize("series", KINDS)
def test_a_missing_or_empty_series_gives_no_picture(
    make_report: MakeReport, pictures: Mapping[str, Picture], series: str
) -> None:
    assert pictures[series].svg.startswith("<svg")
    report = make_report(drivers=1, failing=frozenset({1}))
    empty = report.series[series].iloc[:0]
    assert draw(KINDS[series], replace(report, series={series: empty})).svg == ""
    assert draw(KINDS[series], replace(report, series={})).svg == ""


@pytest.mark.parametrize("series", KINDS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5)])
def test_nothing_is_cut_off_at_the_edges(make_report: MakeReport, series: str, shape: tuple[int, int]) -> None:
    label = "driver={driver} pool_size={size} expire_on_commit=False"
    report = make_report(drivers=shape[0], sizes=shape[1], failing=frozenset({0}), label=label)
    with drawn(report, series) as figure:
        width, height = figure.get_size_inches()
        box = figure.get_tightbbox()
        assert min(box.x0, box.y0) >= 0
        assert box.x1 <= width
        assert box.y1 <= height


@pytest.mark.parametrize("series", ["latency_over_time", "connections"])
def test_a_single_moment_is_drawn_over_one_second(make_report: MakeReport, series: str) -> None:
    report = make_report(drivers=1)
    frame = report.series[series]
    once = frame[frame["t_s"] == frame["t_s"].min()].assign(t_s=0.0)
    with drawn(replace(report, series={series: once}), series) as figure:
        assert {axes.get_xlim() for axes in figure.axes} == {(0, 1)}


@pytest.mark.parametrize("series", KINDS)
def test_the_same_report_gives_the_same_bytes(
    make_report: MakeReport, pictures: Mapping[str, Picture], series: str
) -> None:
    assert draw(KINDS[series], make_report(drivers=1, failing=frozenset({1}))) == pictures[series]


def test_drawing_leaves_nothing_global_behind(make_report: MakeReport) -> None:
    before = dict(mpl.rcParams)
    draw(KINDS["connections"], make_report(drivers=1))
    assert dict(mpl.rcParams) == before


def test_the_users_own_style_does_not_show(make_report: MakeReport, pictures: Mapping[str, Picture]) -> None:
    report = make_report(drivers=1, failing=frozenset({1}))
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 30, "svg.fonttype": "path"}):
        assert draw(KINDS["breakdown"], report) == pictures["breakdown"]


def test_svg_text_takes_the_pages_colours_and_a_dollar_is_a_dollar(make_report: MakeReport) -> None:
    svg = draw(KINDS["latency_percentiles"], make_report(drivers=1, label="$a$ {driver} <b>&{size}")).svg
    assert "$a$ asyncpg &lt;b&gt;&amp;2" in svg
    assert "var(--ink)" in svg
    assert "#1b1f24" not in svg
    assert "<metadata" not in svg


def test_a_figure_that_is_drawn_has_nothing_missing(pictures: Mapping[str, Picture]) -> None:
    assert {series: picture.missing for series, picture in pictures.items()} == dict.fromkeys(KINDS, "")
