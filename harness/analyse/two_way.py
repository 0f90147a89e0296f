"""Least squares of cells and blocks, some launches missing: y = effect of the cell + drift of the block + noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harness.analyse.arrays import Bools, Floats
from harness.analyse.spread import Prior, Spread, weigh

SMALLEST_SD = 1e-3
"""No figure repeats better than to 0.1 %: launches that came out alike, by chance or by rounding, prove nothing."""
DETERMINED = 1e-9
"""Rounding of a projection: less than this is none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TwoWay:
    """A run's launches and what was fitted to them. Effects and drifts have no level of their own: only their
    differences mean something, and those of cells only where `linked`."""

    of_cell: NDArray[np.intp]
    """of each launch"""
    of_block: NDArray[np.intp]
    launches: Floats
    """how many each cell has"""
    mean: Floats
    """of each cell's launches"""
    effect: Floats
    drift: Floats
    residual: Floats
    """of each launch"""
    slack: Floats
    """of each launch: the share of its own noise that is left in its residual"""
    solve: Floats
    """cells x launches: what each launch adds to each effect"""
    linked: Bools
    """cells x cells: whether launches connect the two, if need be through further cells"""
    freedom: int

    def difference_variances(self, spread: Spread) -> tuple[Floats, Floats]:
        """Return cells x cells the variance of the difference of two effects and its degrees of freedom.

        A difference rests on launches of the two cells, and where some are missing on those of others: their variances
        add, and so do the squares of these over their degrees of freedom (Welch and Satterthwaite).
        """
        variance, by_freedom = np.zeros_like(self.linked, dtype=np.float64), np.zeros_like(self.linked, np.float64)
        for cell in range(len(self.effect)):
            solve = self.solve[:, self.of_cell == cell]
            part = _squared_distances(spread.cells[cell] * solve @ solve.T)
            variance += part
            by_freedom += part**2 / spread.cells_freedom[cell]
        with np.errstate(invalid="ignore"):  # a cell less itself has neither
            return variance, np.minimum(variance**2 / by_freedom, spread.run_freedom)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Launched:
    """Which launches there were, and all of a fit that depends on nothing else."""

    of_cell: NDArray[np.intp]
    of_block: NDArray[np.intp]
    count: Floats
    design: Floats
    """launches x (cells, then blocks)"""
    solve: Floats
    slack: Floats
    linked: Bools


def fit_two_way(logs: Sequence[Mapping[int, float]]) -> TwoWay:
    """Fit cells and blocks to the log of each launch's figure, by block, one mapping a cell; none may be empty."""
    blocks = sorted({block for by_block in logs for block in by_block})
    places = {block: place for place, block in enumerate(blocks)}
    by_cell = [sorted(by_block.items()) for by_block in logs]
    own = _launched(tuple(tuple(places[block] for block, _ in of_cell) for of_cell in by_cell), len(blocks))
    y = np.array([log for of_cell in by_cell for _, log in of_cell], dtype=np.float64)
    level = float(y.mean()) if len(y) else 0.0
    coefficients = own.solve @ (y - level)
    return TwoWay(
        of_cell=own.of_cell,
        of_block=own.of_block,
        launches=own.count,
        mean=np.bincount(own.of_cell, y, len(logs)) / own.count,
        effect=coefficients[: len(logs)],
        drift=coefficients[len(logs) :],
        residual=y - level - own.design @ coefficients,
        slack=own.slack,
        solve=own.solve[: len(logs)],
        linked=own.linked,
        freedom=round(float(own.slack.sum())),
    )


@lru_cache(maxsize=64)  # a run's metrics have the same launches, nearly all of them
def _launched(blocks_by_cell: tuple[tuple[int, ...], ...], blocks: int) -> Launched:
    cells = len(blocks_by_cell)
    of_cell = np.array([cell for cell, own in enumerate(blocks_by_cell) for _ in own], dtype=np.intp)
    of_block = np.array([block for own in blocks_by_cell for block in own], dtype=np.intp)
    design = np.hstack([np.eye(cells)[of_cell], np.eye(blocks)[of_block]])
    solve: Floats = np.asarray(np.linalg.pinv(design), dtype=np.float64)
    undetermined = (np.eye(design.shape[1]) - solve @ design)[:cells, :cells]
    return Launched(
        of_cell=of_cell,
        of_block=of_block,
        count=np.bincount(of_cell, minlength=cells).astype(np.float64),
        design=design,
        solve=solve,
        slack=np.clip(1 - np.einsum("ij,ji->i", design, solve), 0.0, 1.0),
        linked=_squared_distances(undetermined) < DETERMINED,
    )


def noise_of(fit: TwoWay, prior: Prior | None) -> Spread | None:
    """Return the noise of the run and of its cells; None where no cell has a launch to spare that would show it."""
    if fit.freedom == 0:
        return None
    cells = len(fit.effect)
    squares = np.bincount(fit.of_cell, fit.residual**2, cells)
    own_freedom: Floats = np.bincount(fit.of_cell, fit.slack, cells).astype(np.float64)
    own = np.maximum(squares / np.maximum(own_freedom, DETERMINED), SMALLEST_SD**2)
    run = np.maximum(np.array(squares.sum() / fit.freedom), SMALLEST_SD**2)
    return weigh(own, own_freedom, run, fit.freedom, prior)


def own_variances(fit: TwoWay, spread: Spread | None) -> tuple[float, Floats]:
    """Return the variance that drift adds to a launch, and that which noise adds beyond it, one a cell.

    The block effects scatter with the drift and with the share of noise that averaging over a block's cells leaves;
    that share is counted with the drift. NaN where blocks do not show it. With one cell there is nothing else.
    """
    cells, blocks = len(fit.effect), len(fit.drift)
    if blocks < 2 or not fit.linked.all() or (spread is None and cells > 1):
        return float("nan"), np.full(cells, np.nan)
    drift = max(float(np.var(fit.drift, ddof=1)), SMALLEST_SD**2)
    if spread is None:
        return drift, np.zeros(cells)
    shared = np.bincount(fit.of_block, spread.cells[fit.of_cell]) / np.bincount(fit.of_block) ** 2
    averaged = float(np.mean(shared))
    return max(drift, averaged), np.maximum(spread.cells - averaged, 0.0)


def _squared_distances(inner: Floats) -> Floats:
    """Return the squared length of row i less row j, given the inner products of all rows."""
    square = np.diag(inner)
    return np.asarray(np.maximum(square[:, None] + square[None, :] - 2 * inner, 0.0))
