"""How much the figures of a cell scatter between launches: each cell's own scatter, the run's, and the calibration's.

Three launches say next to nothing about the noise of one cell: its own variance has less than two degrees of freedom.
All cells of a run together say much more, but where some are noisier than others their common noise is too low for
these. So each cell's variance is shrunk towards the run's as limma's `squeezeVar` does for genes,

    s~^2 = (d0 s0^2 + d s^2) / (d0 + d)    (Smyth 2004, Statistical Applications in Genetics and Molecular Biology 3:3),

and has d0 + d degrees of freedom. Two differences were decided by simulation (what they promise is tested, on simulated
launches, in tests/simulation/test_operating_characteristics.py):

* A run has three to twenty cells where limma has thousands of genes, too few to estimate d0, so it is a constant, small
  enough that equal cells, a quarter of them three times as noisy as the others, are told apart in at most 7 % of runs
  with three launches or more (8 % with two).
* No cell counts as quieter than the run: with two degrees of freedom a low variance is luck more often than not. Such
  a cell has the run's variance and the run's degrees of freedom.

A calibration adds its degrees of freedom to the run's, and speaks for each cell as well. It never counts for more than
the run does, and for less the worse the run agrees with it: noise found under another load is no evidence against what
this run shows itself. What it buys is power: of six cells one that is 30 % slower is found in 80 instead of 57 % of
runs, with three launches, noise of 10 % and a calibration of eight degrees of freedom. What it costs is the promise
where cells are much noisier than what was calibrated: with a quarter of them three times as noisy, equal ones are told
apart in 11 to 15 % of runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.analyse.arrays import Floats

OWN_WEIGHT = 1.5
"""d0 without a calibration: what the run's noise counts for against a cell's own, in degrees of freedom"""
PRIOR_WEIGHT = 2.0
"""what each degree of freedom of the calibration adds to d0"""
AGREES = 0.3
"""Probability of as much noise as the run shows, given the calibration's, from which on the two agree entirely."""
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """The noise a calibration found, in launches that differ in nothing."""

    sd: float
    """of the log of one launch's figure, drift that a block's launches share left out: with launches measured in turns
    that is the sd of the log ratio of two of them over sqrt(2); above 0"""
    freedom: float
    """degrees of freedom it was estimated with, at least 1"""

    def __post_init__(self) -> None:
        if not (self.sd > 0 and self.freedom >= 1):
            raise ValueError(f"noise needs an sd above 0 and a degree of freedom, not {self.sd} and {self.freedom}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Variances of the log of one launch's figure, with their degrees of freedom. The last axis is the cell."""

    cells: Floats
    """shrunk"""
    cells_freedom: Floats
    run_freedom: Floats
    """of all cells together and the calibration: no cell and no difference of two has more; without the last axis"""


def weigh(own: Floats, own_freedom: Floats | float, run: Floats, run_freedom: float, prior: Prior | None) -> Spread:
    """Weigh each cell's own variance against the run's and the calibration's.

    Args:
        own: variance of each cell's launches; the last axis is the cell, axes before it are runs.
        own_freedom: degrees of freedom of each; 0 where a cell has none, whose variance then does not matter.
        run: variance over all cells, without the last axis.
        run_freedom: its degrees of freedom, above 0.
        prior: what a calibration found, if there is one.
    """
    kept = np.zeros_like(run)
    if prior is not None:
        from scipy.special import fdtrc

        # chance of a ratio of variances this large, if the run were as noisy as the calibration (F test)
        chance = fdtrc(run_freedom, prior.freedom, run / prior.sd**2)
        kept = min(prior.freedom, run_freedom) * np.minimum(1.0, chance / AGREES)
        run = (run_freedom * run + kept * prior.sd**2) / (run_freedom + kept)
    weight, most = (OWN_WEIGHT + PRIOR_WEIGHT * kept)[..., None], (run_freedom + kept)[..., None]
    shrunk = (weight * run[..., None] + own_freedom * own) / (weight + own_freedom)
    # two cells of a run always have the same variance, whatever rounding says
    noisier = shrunk > run[..., None] * (1 + ROUNDING)
    return Spread(
        cells=np.where(noisier, shrunk, run[..., None]),
        cells_freedom=np.where(noisier, np.minimum(weight + own_freedom, most), most),
        run_freedom=run_freedom + kept,
    )
