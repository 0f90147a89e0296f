"""What a run could find, known before it starts: by the estimator that will judge it, on simulated launches."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from harness.analyse.critical import all_pairs, each
from harness.analyse.estimate import quantile_of
from harness.analyse.spread import Prior, weigh

POWER = 0.80
DRAWS = 60_000
"""Launches simulated, over all runs: the difference that is found is then known to 1 or 2 % of itself."""


@lru_cache(maxsize=64)
def smallest_findable(cells: int, launches: int, noise_sd: float, prior_freedom: float = 0.0) -> float | None:
    """Return the smallest difference between two cells that a run would tell apart 4 times in 5, as a share.

    The two stand among `cells` cells that are all compared, with `launches` launches each, all equally noisy. A
    difference is found where it exceeds the critical value times its standard error, less what chance adds to it; the
    smallest that is found often enough is a quantile of that, over simulated runs whose seed is fixed.

    Args:
        cells: how many the run has; None is returned for fewer than two.
        launches: of each cell; None is returned for one, which tells nothing apart.
        noise_sd: of the log of one launch's figure, drift that a block's launches share left out.
        prior_freedom: degrees of freedom of a calibration that found this noise; 0 without one.
    """
    if cells < 2 or launches < 2:
        return None
    noise = np.random.default_rng(12).standard_normal((DRAWS // (launches * cells), launches, cells)) * noise_sd
    means = noise.mean(axis=1)
    residual = noise - means[:, None, :] - noise.mean(axis=2, keepdims=True) + means.mean(axis=1)[:, None, None]
    squares = np.square(residual).sum(axis=1)
    own_freedom, freedom = (launches - 1) * (1 - 1 / cells), (launches - 1) * (cells - 1)
    prior = Prior(sd=noise_sd, freedom=prior_freedom) if prior_freedom else None
    spread = weigh(squares / own_freedom, own_freedom, squares.sum(axis=1) / freedom, freedom, prior)
    # every two cells of a run stand for the pair in question; each cell is used once
    one, other = slice(0, cells // 2), slice(cells - cells // 2, cells)
    first, second = spread.cells[:, one], spread.cells[:, other]
    by_freedom = first**2 / spread.cells_freedom[:, one] + second**2 / spread.cells_freedom[:, other]
    satterthwaite = np.minimum((first + second) ** 2 / by_freedom, spread.run_freedom[:, None])
    needed = each(all_pairs, cells, satterthwaite) * np.sqrt((first + second) / launches)
    chance = means[:, other] - means[:, one]
    return math.expm1(quantile_of((needed - chance).ravel(), POWER))
