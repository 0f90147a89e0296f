"""How often a claim about sides that are alike is decided all the same."""

from __future__ import annotations

import math
from random import Random

from lengths import length

from harness.analyse.claims import settle
from harness.domain.claims import ClaimCell, Point, Recording
from harness.domain.experiment import Claim

CLAIMS = length(3000, 1000)
LAUNCHES = 5


def alike(random: Random) -> Recording:
    """Two arms that are the same, held against each other without a margin."""
    drift = [random.gauss(0, 0.2) for _ in range(LAUNCHES)]
    points = [
        Point(
            cell=arm,
            block=number,
            metric="p95_ms",
            endpoint="*",
            value=math.exp(block + random.gauss(0, 0.1)),
            raised=0.0,
            leg=0.0,
            requests=1000,
        )
        for arm in "ab"
        for number, block in enumerate(drift)
    ]
    return Recording(
        claim=Claim(number=1, expect="p95_ms(a) > p95_ms(b)"),
        name="claim-1",
        run_id="r",
        measured_utc="2026-11-27T12:00:00Z",
        seconds=60.0,
        launches=LAUNCHES,
        cells=tuple(ClaimCell(id=arm, arm=arm, context="") for arm in "ab"),
        points=tuple(points),
    )


def test_of_equal_sides_at_most_one_claim_in_a_hundred_is_decided() -> None:
    from scipy import stats

    random = Random(4)
    decided = sum(settle(alike(random)).answer != "inconclusive" for _ in range(CLAIMS))
    # 0.99-quantile of how many are, at one in a hundred
    assert decided <= stats.binom.ppf(0.99, CLAIMS, 0.01)
    assert decided >= stats.binom.ppf(0.01, CLAIMS, 0.01), "an interval wider than it says"
