"""A tune: latency and connections by size, a panel for each key."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from harness.domain.tune import SizeFigures, TunedLadder, Tuning
from harness.present.figures import style
from harness.present.figures.latency import plain_log
from harness.present.figures.style import BLUE, GREEN, INK, MUTED, RED, SKY

_HEIGHT_IN = 2.3
_SHARE = 0.58
"""of the height, the upper part's"""


def tune_figure(tuning: Tuning) -> str:
    """As SVG; empty where nothing was measured."""
    ladders = [ladder for ladder in tuning.ladders if any(size.launches for size in ladder.sizes)]
    if not ladders:
        return ""
    with style.house_style(salt="tune"):
        panels = style.Panels([ladder.key for ladder in ladders], height_in=_HEIGHT_IN, gap_in=0.6)
        for index, (ladder, axes) in enumerate(zip(ladders, panels, strict=True)):
            lower = _split(axes)
            _latency(axes, ladder)
            _connections(lower, ladder)
            lower.set_xlabel(ladder.key)
            if panels.is_left(index):
                axes.set_ylabel("p95, ms")
                lower.set_ylabel("connections")
        panels.legend(
            [
                Line2D([], [], color=GREEN, marker="o", linestyle="", markersize=6, label="recommended"),
                Line2D([], [], color=BLUE, marker="o", linestyle="", markersize=4.5, label="tried"),
                Line2D([], [], color=RED, marker="^", linestyle="", markersize=5, label="did not carry the load"),
                Patch(facecolor=SKY, label="connections, peak"),
                Line2D([], [], color=INK, marker="_", linestyle="", markersize=9, label="in use, mean"),
            ]
        )
        return style.to_svg(panels.figure)


def _split(axes: Axes) -> Axes:
    """Make room below the axes for further ones with the same sizes."""
    box = axes.get_position()
    lower = axes.figure.add_axes((box.x0, box.y0, box.width, box.height * (1 - _SHARE) * 0.82))
    axes.set_position((box.x0, box.y0 + box.height * (1 - _SHARE), box.width, box.height * _SHARE))
    axes.tick_params(axis="x", labelbottom=False)
    return lower


def _latency(axes: Axes, ladder: TunedLadder) -> None:
    known = [size.p95_ms for size in ladder.sizes if math.isfinite(size.p95_ms)]
    top_ms, bottom_ms = (1.5 * max(known), 0.75 * min(known)) if known else (1000.0, 1.0)
    axes.set_yscale("log")
    axes.set_ylim(bottom_ms, top_ms)
    plain_log(axes, "y")
    _places(axes, ladder)
    for place, size in enumerate(ladder.sizes):
        if not size.launches:
            continue
        failed = not math.isfinite(size.p95_ms)
        chosen = size.value == ladder.answer
        axes.plot(
            [place],
            [0.93 * top_ms if failed else size.p95_ms],
            marker="^" if failed else "o",
            color=RED if failed else GREEN if chosen else BLUE,
            markersize=7 if chosen else 5,
            markeredgecolor=INK if size.fresh else MUTED,
            markeredgewidth=0.6,
            linestyle="",
        )
    if (reference := _reference(ladder)) is not None:
        axes.axhline(reference.p95_ms, color=MUTED, linewidth=0.8, linestyle=":")


def _reference(ladder: TunedLadder) -> SizeFigures | None:
    return next((own for own in ladder.sizes if own.value == ladder.reference and math.isfinite(own.p95_ms)), None)


def _connections(axes: Axes, ladder: TunedLadder) -> None:
    _places(axes, ladder)
    for place, size in enumerate(ladder.sizes):
        if size.launches:
            axes.bar([place], [size.connections_peak], width=0.6, color=SKY, linewidth=0)
            if math.isfinite(size.connections_mean):
                axes.plot([place], [size.connections_mean], marker="_", markersize=11, color=INK, linestyle="")
    axes.set_ylim(0, 1.15 * max((size.connections_peak for size in ladder.sizes), default=0) or 1)


def _places(axes: Axes, ladder: TunedLadder) -> None:
    axes.set_xlim(-0.6, len(ladder.sizes) - 0.4)
    axes.set_xticks(range(len(ladder.sizes)), [str(size.value) for size in ladder.sizes])
