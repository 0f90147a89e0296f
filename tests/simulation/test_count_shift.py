"""How often counts that depend on a cache or on data are taken for a change, and one more statement is found."""

from __future__ import annotations

import random

import pytest
from lengths import length

from harness.analyse.count_shift import CountBlock, share_that_takes_more
from harness.domain.gate import Histogram


def launch(rng: random.Random, requests: int, hit: float, more: int = 0, *, rows: int = 0) -> Histogram:
    """Requests that take two, and a third one where a cache misses, and one for each of some rows."""
    counts: dict[float, int] = {}
    for _ in range(requests):
        taken = 2 + more + (rng.random() > hit) + (rng.randrange(rows) if rows else 0)
        counts[taken] = counts.get(taken, 0) + 1
    return tuple(sorted(counts.items()))


def found(jobs: int, *, requests: int, hit: float, more: int = 0, rows: int = 0, blocks: int = 1) -> int:
    rng = random.Random(f"{requests} {hit} {more} {rows}")
    several = (
        [
            CountBlock(
                bases=tuple(launch(rng, requests, hit, rows=rows) for _ in range(2)),
                heads=(launch(rng, requests, hit, more, rows=rows),),
            )
            for _ in range(blocks)
        ]
        for _ in range(jobs)
    )
    return sum(share_that_takes_more(job, 0) is not None for job in several)


@pytest.mark.parametrize("hit", [0.05, 0.33, 0.5, 0.9, 0.99])
@pytest.mark.parametrize(("requests", "rows"), [(3, 0), (8, 0), (30, 0), (200, 0), (30, 4)])
def test_a_cache_is_not_taken_for_a_change(requests: int, rows: int, hit: float) -> None:
    # one of ten thousand at most, in each of 25 cases: of 2000 more than 4 in fewer than one of ten million cases
    assert found(length(2000, 100), requests=requests, hit=hit, rows=rows) <= length(4, 2)


@pytest.mark.parametrize(("requests", "hit", "rows"), [(6, 1.0, 0), (30, 0.9, 0), (60, 0.5, 0), (200, 0.5, 3)])
def test_one_more_is_found_beside_a_cache_too(requests: int, hit: float, rows: int) -> None:
    jobs = length(200, 50)
    assert found(jobs, requests=requests, hit=hit, rows=rows, more=1) >= 0.9 * jobs
