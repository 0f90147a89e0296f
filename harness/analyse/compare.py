"""Which cells differ, and by how much at least and at most: one analysis of all cells and launches of a run.

Model. The log of a launch's figure is y[block, cell] = drift of the block + effect of the cell + noise, fitted by
least squares; launches may be missing. Where none is, the difference of two effects is the mean of their paired log
ratios. The noise is shrunk as `spread` says, and the variance of a difference follows from the launches it rests on.

Pairs. Intervals of all pairs hold at once, at 95 % (Tukey; Kramer 1956 for unequal numbers). Two cells are told apart
if and only if their interval does not include 1, so that verdict and interval never contradict each other. A stepwise
test has no intervals, and tells the slowest cell from the fastest no more often: that pair is its first step.

Bounds of slowdowns. "At most so much slower than the best" asks less than all pairs: whichever cell is truly the best,
only differences to that one have to hold at once (Hsu 1984, Annals of Statistics 12:1136; Dunnett's one-sided value).

A cell's own figure scatters with the drift of the blocks as well as with its noise, and its interval has both: drift
as the block effects show it, noise as shrunk, their half widths added in quadrature (Howe 1974; MOVER, Zou and Donner
2008, Statistics in Medicine 27:1693), since three blocks say much less about the drift than all launches about the
noise. Intervals of all cells hold at once (Sidak).

What cannot be said is None: a cell with fewer than two launches, and whatever the launches leave open by more than a
factor of ten each way.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from harness.analyse.arrays import Floats
from harness.analyse.critical import CONFIDENCE, against_one, all_pairs, each
from harness.analyse.spread import Prior
from harness.analyse.two_way import fit_two_way, noise_of, own_variances
from harness.domain.verdict import Bounds, Pair

OPEN_LOG = math.log(10)
"""An interval that reaches further than this to each side says nothing."""
FORESEEABLE = 100
"""More launches than this are no advice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure, or a difference of two, with a two-sided interval that holds for it alone."""

    value: float
    half: float
    """NaN where nothing can be said"""
    freedom: float
    """degrees of freedom that `half` rests on; at most that many where it has several parts"""
    raised: float
    """by how much the instrument can have raised the figure at most; of a difference, the second cell's"""
    raised_other: float
    """of a difference, the first cell's"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """All cells of a run against each other; made by `compare`. Figures are logs, arrays are by place in `cells`."""

    cells: tuple[str, ...]
    """those that have a figure"""
    launches: tuple[int, ...]
    """of each cell"""
    figure: Floats
    """mean over the cell's launches"""
    difference: Floats
    """of the second cell to the first, drift of the blocks taken out; NaN where no launches connect them"""
    difference_sd: Floats
    """its standard error; NaN where nothing can be said"""
    difference_freedom: Floats
    """degrees of freedom of that"""
    all_pairs_half: Floats
    """half width of the interval of `difference` that holds for all pairs at once"""
    against_best_half: Floats
    """distance of the one-sided bound of `difference` that holds for all cells against whichever is the best"""
    noise_sd: Floats
    """of one launch, shrunk; NaN where the run shows no noise"""
    noise_freedom: Floats
    prior_freedom: float
    """degrees of freedom that the run has from the calibration"""
    own_drift_sd: Floats
    """what the drift of the blocks adds to the standard error of `figure`; NaN where nothing can be said"""
    own_noise_sd: Floats
    """what noise adds to it beyond that"""
    drift_freedom: int
    instrument: Floats
    """by how much the instrument can have raised each figure by itself, at most; 0 where it is exact or not known"""
    leg: Floats
    """by how much the way to a service and back can have raised it beyond that: the machine's, and so everybody's"""

    def pair(self, first: str, second: str) -> Pair:
        """Return how many times `first` the `second` is, with its interval.

        Raises:
            KeyError: one of them has no figure.
        """
        one, other = self._place(first), self._place(second)
        difference, half = float(self.difference[one, other]), float(self.all_pairs_half[one, other])
        low, high = difference - half - self._raised(other, one), difference + half + self._raised(one, other)
        said = half <= OPEN_LOG
        told_apart = said and (low > 0 or high < 0)
        return Pair(
            first=first,
            second=second,
            ratio=_exp(difference),
            low=_exp(low) if said else None,
            high=_exp(high) if said else None,
            told_apart=bool(told_apart),
            instrument=bool(said and abs(difference) > half and not told_apart),
        )

    def not_told_apart(self, cell: str) -> frozenset[str]:
        """Return the other cells that the launches do not tell `cell` apart from."""
        return frozenset(other for other in self.cells if other != cell and not self.pair(cell, other).told_apart)

    def own(self, cell: str) -> Bounds:
        """Return the geometric mean of the cell's launches with an interval that holds for all cells at once."""
        every = CONFIDENCE ** (1 / len(self.cells))
        # drift is common to all cells: it has to be covered once
        return self._own(cell, drift=(1 + CONFIDENCE) / 2, noise=(1 + every) / 2)

    def one_sided(self, cell: str) -> Bounds:
        """Return the same mean with its lower and its upper 95 % bound, each for itself and for this cell alone."""
        return self._own(cell, drift=CONFIDENCE, noise=CONFIDENCE)

    def difference_at(self, first: str, second: str, confidence: float) -> Interval:
        """Return by how much `second` exceeds `first`, on the scale of the figures, for this pair alone.

        Raises:
            KeyError: one of them has no figure.
        """
        from scipy.special import stdtrit

        one, other = self._place(first), self._place(second)
        freedom = float(self.difference_freedom[one, other])
        return Interval(
            value=float(self.difference[one, other]),
            half=float(stdtrit(freedom, (1 + confidence) / 2) * self.difference_sd[one, other]),
            freedom=freedom,
            raised=self._raised(other, one),
            raised_other=self._raised(one, other),
        )

    def own_at(self, cell: str, confidence: float) -> Interval:
        """Return the mean of the cell's launches, on the scale of the figures, for this cell alone.

        Raises:
            KeyError: it has no figure.
        """
        place, quantile = self._place(cell), (1 + confidence) / 2
        half, raised = self._own_half(place, drift=quantile, noise=quantile)
        return Interval(
            value=float(self.figure[place]),
            half=half,
            freedom=float(self.drift_freedom),
            raised=raised,
            raised_other=0.0,
        )

    def slowdown_at_most(self, cell: str, than: str) -> float | None:
        """Return by which share `cell` is slower than the cell `than` at most; negative where it is surely faster.

        Bounds of all cells against whichever is the best hold at once, one-sided at 95 %; so the largest of a cell's
        bounds is by how much it is slower than the best other one at most.
        """
        one, other = self._place(than), self._place(cell)
        half = float(self.against_best_half[one, other])
        bound = _exp(self.difference[one, other] + half + self._raised(one, other)) - 1
        return bound if half <= OPEN_LOG and math.isfinite(bound) else None

    def launches_until(self, cells: Iterable[str], share: float) -> int | None:
        """Return with how many launches of each cell one of `cells` would be at most `share` slower than every other.

        More than there are now. Figures and noise are taken to stay as they are, so it comes true about every other
        time. None where more launches would not help, or where more than 100 would be needed.
        """
        now = max(self.launches, default=0)
        room, freedom = max((self._room(self._place(cell), math.log1p(share)) for cell in cells), default=(0.0, 1.0))

        def enough(launches: int) -> bool:
            critical = against_one(self._compared, freedom * (launches - 1) / (now - 1))
            return critical * math.sqrt(now / launches) <= room

        if not room > 0 or now >= FORESEEABLE or not enough(FORESEEABLE):
            return None
        return bisect_left(range(FORESEEABLE), True, lo=now + 1, key=enough)

    @property
    def smallest_visible(self) -> float | None:
        """The difference from which on two cells are told apart, as a share: of half the pairs, it is smaller."""
        halves = self.all_pairs_half[np.triu_indices(len(self.cells), 1)]
        halves = halves[np.isfinite(halves)]
        half = float(np.median(halves)) if len(halves) else math.inf
        return math.expm1(half) if half <= OPEN_LOG else None

    @property
    def _compared(self) -> int:
        """How many cells have launches enough to be compared."""
        return sum(count > 1 for count in self.launches)

    def _room(self, place: int, log_share: float) -> tuple[float, float]:
        """Return how many of today's standard errors lie between a cell's slowdown against its worst rival and the
        share, and their degrees of freedom; 0 where nothing can be said."""
        rivals = np.flatnonzero(np.arange(len(self.cells)) != place)
        raised = np.array([self._raised(int(rival), place) for rival in rivals])
        left = log_share - self.difference[rivals, place] - raised
        room = left / self.difference_sd[rivals, place]
        if len(rivals) == 0 or np.isnan(room).any():
            return 0.0, 1.0
        worst = int(np.argmin(room))
        return float(room[worst]), float(self.difference_freedom[rivals[worst], place])

    def without_instrument(self) -> Comparison:
        """Return what the launches alone say, as if every figure were the service's to the last digit."""
        none = np.zeros(len(self.cells))
        return replace(self, instrument=none, leg=none)

    def _raised(self, one: int, other: int) -> float:
        """Return by how much the instrument can have raised the figure of `one` against that of `other`, as a log.

        Of the leg, which is the machine's, as large a part is real in the one as in the other: all of it, or none.
        """
        more = self.leg[one] - self.leg[other] if math.isfinite(self.leg[one]) else self.leg[one]
        return float(self.instrument[one] + max(0.0, more))

    def _place(self, cell: str) -> int:
        try:
            return self.cells.index(cell)
        except ValueError:
            raise KeyError(cell) from None

    def _own(self, cell: str, *, drift: float, noise: float) -> Bounds:
        place = self._place(cell)
        half, raised = self._own_half(place, drift=drift, noise=noise)
        return _around(float(self.figure[place]), half, instrument=raised)

    def _own_half(self, place: int, *, drift: float, noise: float) -> tuple[float, float]:
        """Half width of a cell's own interval, at these quantiles, and by how much its figure can have been raised."""
        from scipy.special import stdtrit

        half_drift = stdtrit(self.drift_freedom, drift) * self.own_drift_sd[place]
        own = self.own_noise_sd[place]
        # a single cell's noise cannot be told from the drift, which has it all
        half_noise = stdtrit(self.noise_freedom[place], noise) * own if own else 0.0
        return math.hypot(half_drift, half_noise), float(self.instrument[place] + self.leg[place])


def _around(log: float, half: float, *, instrument: float) -> Bounds:
    """Return exp(log) with its interval, or without one where `half` is unknown (NaN) or leaves everything open."""
    if not half <= OPEN_LOG:
        return Bounds(value=_exp(log), low=None, high=None)
    return Bounds(value=_exp(log), low=_exp(log - half - instrument), high=_exp(log + half))


def _exp(log: float) -> float:
    # figures of any size are compared: their ratio may be beyond any float
    with np.errstate(over="ignore"):
        return float(np.exp(log))


def compare(
    logs: Mapping[str, Mapping[int, float]],
    prior: Prior | None = None,
    instrument: Mapping[str, float] | None = None,
    leg: Mapping[str, float] | None = None,
) -> Comparison:
    """Compare all cells of a run.

    Args:
        logs: cell id -> block -> log of the launch's figure. Launches without a finite figure are to be left out; cells
            without any are.
        prior: the noise a calibration of this machine found. It never makes up for launches: a run with one launch a
            cell tells nothing apart.
        instrument: cell id -> by how much, as a log, the instrument can have raised its figure at most. A verdict holds
            at every point within that, or it is none.
        leg: likewise, by how much the way to a service and back can have raised it beyond that; common to all cells.
    """
    cells = tuple(cell for cell, by_block in logs.items() if by_block)
    fit = fit_two_way([logs[cell] for cell in cells])
    spread = noise_of(fit, prior)
    # of a cell's own noise one launch shows nothing, so that nothing is claimed about it
    seen = fit.launches > 1
    difference_sd, freedom = np.full_like(fit.linked, np.nan, np.float64), np.full_like(fit.linked, np.nan, np.float64)
    if spread is not None:
        known = fit.linked & seen[:, None] & seen[None, :] & ~np.eye(len(cells), dtype=np.bool_)
        variance, freedom = fit.difference_variances(spread)
        difference_sd, freedom = np.sqrt(np.where(known, variance, np.nan)), np.where(known, freedom, np.nan)
    compared = int(seen.sum())
    drift, noise = own_variances(fit, spread)
    nothing = np.full(len(cells), np.nan)
    return Comparison(
        cells=cells,
        launches=tuple(map(int, fit.launches)),
        figure=fit.mean,
        difference=np.where(fit.linked, fit.effect[None, :] - fit.effect[:, None], np.nan),
        difference_sd=difference_sd,
        difference_freedom=freedom,
        all_pairs_half=each(all_pairs, compared, freedom) * difference_sd,
        against_best_half=each(against_one, compared, freedom) * difference_sd,
        noise_sd=nothing if spread is None else np.sqrt(spread.cells),
        noise_freedom=nothing if spread is None else spread.cells_freedom,
        prior_freedom=0.0 if spread is None else float(spread.run_freedom) - fit.freedom,
        own_drift_sd=np.sqrt(np.where(seen, drift / fit.launches, np.nan)),
        own_noise_sd=np.sqrt(np.where(seen, noise / fit.launches, np.nan)),
        drift_freedom=len(fit.drift) - 1,
        instrument=np.array([(instrument or {}).get(cell, 0.0) for cell in cells]),
        leg=np.array([(leg or {}).get(cell, 0.0) for cell in cells]),
    )
