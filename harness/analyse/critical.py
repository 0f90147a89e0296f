"""Critical values of comparisons made all at once, as multiples of the standard error of one difference.

Both are roots of a double integral over z, the place of one cell's mean, and s, how far the estimated noise is from
the true one (s^2 is chi-squared over its freedom). Gauss-Legendre takes about a millisecond where
`scipy.stats.studentized_range` takes sixty; `tests/simulation/test_critical.py` holds one against the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from harness.analyse.arrays import Floats

CONFIDENCE = 0.95
Z_WIDTH = 8.0
"""sds to each side of a mean that are integrated over"""
NODES = 48
"""of each integral"""
S_TAIL = 1e-9
"""probability left out at each end of the noise's distribution"""
PRECISION = 1e-8
"""of the probability that a critical value covers"""
STEPS_MAX = 100
FREEDOM_NODES = 7
"""values that are interpolated between, where there are many degrees of freedom"""


@cache
def all_pairs(cells: int, freedom: float) -> float:
    """Return the two-sided 95 % value for all pairs of `cells` means: Tukey's studentized range over sqrt(2).

    Source: Tukey (1953); the integral stands in Miller, Simultaneous Statistical Inference (1981), chapter 2.

    Args:
        cells: how many means are compared, at least 2.
        freedom: degrees of freedom of the noise, at least 1; need not be whole.
    """

    def covered(critical: float, z: Floats, weight: Floats, s: Floats) -> Floats:
        from scipy.special import ndtr

        below = np.maximum(ndtr(z) - ndtr(z - math.sqrt(2) * critical * s[:, None]), 0.0)
        return np.asarray(cells * (weight * below ** (cells - 1)).sum(axis=1))

    pairs = cells * (cells - 1) / 2
    return _root(covered, freedom, (1 + CONFIDENCE) / 2, (1 + CONFIDENCE ** (1 / pairs)) / 2)


@cache
def against_one(cells: int, freedom: float) -> float:
    """Return the one-sided 95 % value for `cells - 1` means against one more: Dunnett (1955), equal noise.

    Args:
        cells: how many means there are, the one included, at least 2.
        freedom: degrees of freedom of the noise, at least 1; need not be whole.
    """

    def covered(critical: float, z: Floats, weight: Floats, s: Floats) -> Floats:
        from scipy.special import ndtr

        below = ndtr(z + math.sqrt(2) * critical * s[:, None])
        return np.asarray((weight * below ** (cells - 1)).sum(axis=1))

    return _root(covered, freedom, CONFIDENCE, CONFIDENCE ** (1 / (cells - 1)))


def each(critical: Callable[[int, float], float], cells: int, freedom: Floats) -> Floats:
    """Return `critical` for each of many degrees of freedom, which may be NaN; exact where few differ.

    Its logarithm is nearly a straight line in 1 / freedom, and is interpolated in it: 0.2 % off at most.
    """
    known = np.isfinite(freedom)
    if not known.any():
        return np.full_like(freedom, np.nan)
    inverse = np.unique(1 / freedom[known])
    if len(inverse) > FREEDOM_NODES:
        inverse = np.linspace(inverse[0], inverse[-1], FREEDOM_NODES)
    values = np.log([critical(cells, 1 / float(node)) for node in inverse])
    return np.where(known, np.exp(np.interp(1 / freedom, inverse, values)), np.nan)


def _root(
    covered: Callable[[float, Floats, Floats, Floats], Floats], freedom: float, single: float, sidak: float
) -> float:
    """Return the value at which `covered`, averaged over the noise, reaches the confidence.

    It lies between Student's t of one comparison and of as many independent ones (Sidak), at these probabilities.
    """
    from scipy.special import stdtrit

    node, weight = _nodes()
    z = Z_WIDTH * node
    weight = Z_WIDTH * weight * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    s, share = _noise(freedom)
    ends = 0.99 * float(stdtrit(freedom, single)), 1.01 * float(stdtrit(freedom, sidak))
    return _crossing(lambda value: float(share @ covered(value, z, weight, s)) - CONFIDENCE, *ends)


def _crossing(of: Callable[[float], float], one: float, other: float) -> float:
    """Return where a function is 0 between two places at which its signs differ.

    Regula falsi, Illinois variant (Dowell and Jarratt 1971, BIT 11:168). scipy has better ones in `scipy.optimize`,
    whose import takes longer than all that a plan or a report has to solve.
    """
    at_one, at_other = of(one), of(other)
    for _ in range(STEPS_MAX):
        place = other - at_other * (other - one) / (at_other - at_one)
        value = of(place)
        if abs(value) < PRECISION:
            return place
        if (value < 0) != (at_other < 0):
            one, at_one = other, at_other
        else:
            at_one /= 2
        other, at_other = place, value
    raise ArithmeticError(f"no root between {one} and {other}")


def _noise(freedom: float) -> tuple[Floats, Floats]:
    """Return nodes and weights of s = sqrt(chi-squared / freedom), laid out evenly in log s: few freedoms reach far."""
    from scipy.special import chdtri, gammaln

    ends = np.log(chdtri(freedom, np.array([1 - S_TAIL, S_TAIL])) / freedom) / 2
    node, weight = _nodes()
    log_s = ends.mean() + node * (ends[1] - ends[0]) / 2
    density = freedom * log_s - freedom * np.exp(2 * log_s) / 2
    density += math.log(2) + freedom / 2 * math.log(freedom / 2) - float(gammaln(freedom / 2))
    return np.exp(log_s), weight * (ends[1] - ends[0]) / 2 * np.exp(density)


@cache
def _nodes() -> tuple[Floats, Floats]:
    node, weight = np.polynomial.legendre.leggauss(NODES)
    return node, weight
