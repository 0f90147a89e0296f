"""What a run's cells would come to with other pools, and the measured cells beside what was predicted of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from statistics import fmean

from harness.analyse.estimate import over_launches
from harness.analyse.launch_figures import LaunchFigures
from harness.analyse.launches import Launches
from harness.analyse.whatif import Fitted, fit, fit_sources, most_alike, predict
from harness.analyse.whatif_source import Source, setting_of, sources_of, spoilt
from harness.domain.cell import Cell
from harness.domain.evidence import Run
from harness.domain.prediction import Asked, Curve, Point, Prediction, Setting, Slowed, is_near

SETTING_KEYS = {
    "pool.pool_size",
    "pool.max_overflow",
    "pool.pool_timeout_s",
    "load.rate_rps",
    "network.rtt_ms",
    "target.workers",
}
LADDER = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 70, 100, 150, 200, 300, 500)
ENOUGH = 3.0
"""times as many connections as are out on average: more would hardly ever be used"""
MAINLY = 0.5
NO_CHANGE = 0.02
"""Less of a hold than this is no change of it: near its limit a queue gets a fifth longer by that at most."""


NOTHING_ASKED = Asked()


def curves(run: Run, measured: Launches, asked: Asked = NOTHING_ASKED) -> tuple[Curve, ...]:
    """One for each load, distance and number of workers that was measured, or is asked for, of cells that are otherwise
    alike."""
    cells = {own.cell_id: own.trial.launch.cell for own in measured.counted}
    family = {cell_id: _family(cell) for cell_id, cell in cells.items()}
    families: dict[str, list[LaunchFigures]] = {}
    for own in measured.counted:
        families.setdefault(family[own.cell_id], []).append(own)
    return tuple(curve for launches in families.values() for curve in _curves(run, launches, asked))


def _family(cell: Cell) -> str:
    """What cells have in common that differ in nothing but a setting."""
    alike = (
        replace(cell.pool, pool_size=1, max_overflow=0, pool_timeout_s=1.0),
        replace(cell.target, workers=1, port=0),
        replace(cell.load, rate_rps=None, rate=None),
        replace(cell.network, rtt_ms=0.0),
        *(cell.session, cell.database, cell.arm, cell.named, cell.commit),
    )
    return repr(alike)


def _curves(run: Run, launches: Sequence[LaunchFigures], asked: Asked) -> Iterator[Curve]:
    measured: dict[tuple[str, Setting], list[LaunchFigures]] = {}
    for own in launches:
        measured.setdefault((own.cell_id, setting_of(own.trial)), []).append(own)
    fitted = fit(run, [own for group in _sources(measured) for own in group])
    points = [_point(run, fitted, setting, own) for (_, setting), own in measured.items()]
    cell = launches[0].trial.launch.cell
    arm = (("arm", cell.arm),) if cell.arm else ()
    factors = (*arm, *(own for own in cell.factors if own[0] not in SETTING_KEYS))
    loads = {load for _, setting in measured for load in _asked(asked, _load(setting))}
    for rate_rps, rtt_ms, workers in sorted(loads):
        there = [own for own in points if _load(own.predicted.setting) == (rate_rps, rtt_ms, workers)]
        setting = replace(fitted.setting, rate_rps=rate_rps, rtt_ms=rtt_ms, workers=workers)
        if asked.max_overflow is not None:
            setting = replace(setting, max_overflow=asked.max_overflow)
        yield Curve(
            setting=setting,
            factors=factors,
            source="" if fitted.declined else most_alike(fitted, setting)[0].label,
            declined=fitted.declined,
            predicted=() if fitted.declined else tuple(_sizes(fitted, setting, there, asked.pool_sizes)),
            points=tuple(sorted(there, key=lambda own: own.predicted.setting.connections)),
        )


def _sources(measured: Mapping[tuple[str, Setting], list[LaunchFigures]]) -> Iterator[list[LaunchFigures]]:
    """Of each load the cell to predict from: the largest that carries it, or else the largest.

    To look at requests takes as long as all other analysis does, and those of smaller pools would tell no more.
    """
    by_load: dict[tuple[float, float, int], list[tuple[bool, int, list[LaunchFigures]]]] = {}
    for (_, setting), own in measured.items():
        carries = all(spoilt(launch) is None for launch in own)
        by_load.setdefault(_load(setting), []).append((carries, setting.connections, own))
    yield from (max(cells, key=lambda own: own[:2])[2] for cells in by_load.values())


def _load(setting: Setting) -> tuple[float, float, int]:
    return setting.rate_rps, setting.rtt_ms, setting.workers


def _asked(asked: Asked, load: tuple[float, float, int]) -> Iterator[tuple[float, float, int]]:
    """What is wanted instead of a load that was measured; itself where nothing else is."""
    rate_rps, rtt_ms, workers = load
    yield from product(asked.rates_rps or (rate_rps,), asked.rtts_ms or (rtt_ms,), asked.workers or (workers,))


def _sizes(fitted: Fitted, setting: Setting, points: Sequence[Point], wanted: Sequence[int]) -> Iterator[Prediction]:
    """Of the sizes that are asked for; else from where the queue would grow to where nobody waits, those that were
    measured among them."""
    if wanted:
        sizes = {*wanted}
    else:
        first = predict(fitted, replace(setting, pool_size=fitted.setting.pool_size))
        needed = 0.0 if first.declined else first.in_use / setting.workers
        measured = {own.predicted.setting.pool_size for own in points}
        most = max(ENOUGH * needed, *measured, 1)
        sizes = measured | {size for size in LADDER if needed - 1 <= size + setting.max_overflow and size <= most}
    yield from (predict(fitted, replace(setting, pool_size=size)) for size in sorted(sizes))


def _point(run: Run, fitted: Fitted, setting: Setting, launches: Sequence[LaunchFigures]) -> Point:
    """A measured cell at one rate."""
    cell, predicted = launches[0].trial.launch.cell, predict(fitted, setting)
    latency_ms = over_launches(own.p95_ms for own in launches)
    point = Point(
        cell_id=cell.id,
        label=cell.label,
        predicted=predicted,
        is_source=not fitted.declined and cell.label in {own.label for own in most_alike(fitted, setting)},
        wait_ms_p95=fmean(own.all.pool_p95_ms for own in launches),
        latency_ms_p95=latency_ms,
        failed=fmean(own.all.error_rate for own in launches),
        slowed=None,
    )
    if predicted.declined is not None or is_near(predicted.latency_ms_p95, latency_ms):
        return point
    sources = [own for own in sources_of(run, launches) if isinstance(own, Source)]
    return _explained(point, predict(fit_sources(sources), setting)) if sources else point


def _explained(point: Point, again: Prediction) -> Point:
    """Say why a cell is not as predicted; `again` is what its own requests come to, sent through its pool once more.

    If that is what was measured it is its holds, or what its requests take beside, else the queue.
    """
    predicted, latency_ms = point.predicted, point.latency_ms_p95
    if again.hold_ms is None or predicted.hold_ms is None:
        return replace(point, slowed="cpu" if again.declined == "worker_cpu" else None)
    point = replace(point, again_ms=again.latency_ms_p95)
    if not is_near(again.latency_ms_p95, latency_ms):
        return replace(point, slowed="queue")
    longer: dict[Slowed, float] = {
        "database": again.hold_ms["database"] - predicted.hold_ms["database"],
        "loop": again.hold_ms["loop"] - predicted.hold_ms["loop"],
    }
    sign = 1 if latency_ms > predicted.latency_ms_p95 else -1
    outside_ms = again.outside_ms - predicted.outside_ms
    if sign * outside_ms >= MAINLY * abs(latency_ms - predicted.latency_ms_p95):  # no queue makes more of it
        longer["outside"] = outside_ms
    part = max(longer, key=lambda name: sign * longer[name])
    if sign * longer[part] < NO_CHANGE * sum(predicted.hold_ms.values()):
        return replace(point, slowed="spread")
    return replace(point, slowed=part, by_ms=longer[part])
