"""When requests of the head surely take more than those of the base, and when it only looks so."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analyse.count_shift import CountBlock, mean_of, moved, pooled, settled, share_that_takes_more
from harness.domain.gate import Histogram, Taken


def requests(taken: Iterable[float]) -> Histogram:
    return tuple(sorted(Counter(taken).items()))


histograms = st.lists(st.integers(0, 30), min_size=1, max_size=80).map(requests)


def more(histogram: Histogram, by: float = 1) -> Histogram:
    return tuple((value + by, count) for value, count in histogram)


def block(base: Histogram, again: Histogram, head: Histogram) -> CountBlock:
    return CountBlock(bases=(base, again), heads=(head,))


EACH_2 = ((2, 30),)
CACHE = ((0, 60), (1, 40))
DATA = requests([*range(1, 41)] * 3)
"""one and a statement for each of so many rows: few requests alike"""


@pytest.mark.parametrize(
    ("base", "again", "head", "share"),
    [
        pytest.param(EACH_2, EACH_2, ((3, 30),), 1.0, id="a refresh"),
        pytest.param(EACH_2, EACH_2, ((3, 29),), 1.0, id="one of the head's failed"),
        pytest.param(((2, 6),), ((2, 6),), ((3, 6),), 1.0, id="six requests"),
        pytest.param(((2, 5),), ((2, 5),), ((3, 5),), None, id="five requests may be a cache's"),
        pytest.param(((1, 30),), ((1, 30),), ((1, 10), (3, 10), (9, 10)), 2 / 3, id="a lost eager load"),
        pytest.param(EACH_2, EACH_2, ((2, 20), (3, 10)), 1 / 3, id="more in some"),
        pytest.param(EACH_2, EACH_2, ((2, 28), (3, 2)), None, id="a token is renewed"),
        pytest.param(((2, 500),), ((2, 500),), ((2, 470), (3, 30)), None, id="a rare path"),
        pytest.param(EACH_2, EACH_2, ((1, 20), (3, 10)), None, id="a cache that is new"),
        pytest.param(EACH_2, EACH_2, ((1, 15), (3, 15)), 0.5, id="more in half, less in half"),
        pytest.param(EACH_2, EACH_2, ((1, 30),), None, id="less"),
        pytest.param(CACHE, ((0, 55), (1, 45)), ((0, 45), (1, 55)), None, id="a cache"),
        pytest.param(CACHE, ((0, 40), (1, 60)), ((0, 5), (1, 95)), None, id="a cache that comes and goes"),
        pytest.param(CACHE, ((0, 58), (1, 42)), ((1, 60), (2, 40)), 0.99, id="one more beside a cache"),
        pytest.param(CACHE, CACHE, ((0, 50), (1, 50)), None, id="two kinds that agree prove little"),
        pytest.param(((0, 6), (1, 4)), ((0, 6), (1, 4)), ((0, 4), (1, 6)), None, id="ten that agree prove little"),
        pytest.param(DATA, DATA, more(DATA), 1.0, id="one more beside an N+1"),
        pytest.param(DATA, DATA, more(DATA, 5), 1.0, id="five more"),
        pytest.param(DATA, DATA, requests([*range(2, 41)] + [*range(1, 41)] * 2), None, id="one request failed"),
        pytest.param(DATA, DATA, requests([*range(2, 41), 41] + [*range(1, 41)] * 2), None, id="one takes all"),
        pytest.param(DATA, DATA, more(DATA)[:-1], None, id="one more, and requests that failed"),
        pytest.param(DATA, DATA, requests([*range(1, 40), 41, *range(1, 41), *range(1, 41)]), None, id="a row earlier"),
        pytest.param(
            DATA,
            requests([*range(1, 40), 41, *range(1, 41), *range(1, 41)]),
            more(DATA),
            None,
            id="the order of requests matters",
        ),
    ],
)
def test_one_block(base: Histogram, again: Histogram, head: Histogram, share: float | None) -> None:
    assert share_that_takes_more([block(base, again, head)], 0) == (None if share is None else pytest.approx(share))


@pytest.mark.parametrize(
    ("head", "allowed", "share"),
    [
        (((3, 30),), 1, None),
        (((4, 30),), 1, 1.0),
        (((2, 15), (4, 15)), 1, 0.5),
        (((2, 20), (4, 10)), 1, None),
        (((3, 15), (4, 15)), 1, 0.5),
    ],
)
def test_what_is_allowed_is_no_more(head: Histogram, allowed: float, share: float | None) -> None:
    assert share_that_takes_more([block(EACH_2, EACH_2, head)], allowed) == share


def test_every_launch_has_to_show_it() -> None:
    grown, same = block(EACH_2, EACH_2, more(EACH_2)), block(EACH_2, EACH_2, EACH_2)
    assert share_that_takes_more([grown, grown], 0) == 1
    assert share_that_takes_more([grown, same], 0) is None


def test_blocks_with_other_arrivals_are_not_mixed_up() -> None:
    other = more(DATA, 10)
    assert share_that_takes_more([block(DATA, DATA, more(DATA)), block(other, other, more(other))], 0) is not None
    assert share_that_takes_more([block(DATA, DATA, other), block(other, other, DATA)], 0) is None


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        ([Taken(used=EACH_2)], [EACH_2]),
        ([Taken(used=EACH_2, fresh=((2, 3),))], [((2, 33),)]),  # it took no more for that
        ([Taken(used=EACH_2, fresh=((1, 1), (3, 3)))], [EACH_2]),  # what a new connection takes
        ([Taken(used=EACH_2), Taken(used=((3, 9),), fresh=((2, 1), (4, 1)))], [EACH_2, ((2, 1), (3, 9))]),
        ([Taken(used=(), fresh=EACH_2)] * 2, [EACH_2] * 2),  # there is no pool
        ([Taken(used=EACH_2), Taken(used=(), fresh=((3, 1),))], [EACH_2]),
    ],
)
def test_what_a_fresh_connection_takes_is_no_requests(side: list[Taken], expected: list[Histogram]) -> None:
    assert settled(side) == tuple(expected)


@pytest.mark.parametrize(("base", "share"), [(EACH_2, 1.0), (CACHE, None), (DATA, None)])
def test_one_launch_of_a_base_says_nothing_of_itself_unless_its_requests_agree(
    base: Histogram, share: float | None
) -> None:
    assert share_that_takes_more([CountBlock(bases=(base,), heads=(more(base),))], 0) == share


@given(histograms, st.integers(1, 4), st.integers(0, 2))
def test_launches_that_are_equal_never_differ(taken: Histogram, blocks: int, allowed: int) -> None:
    assert share_that_takes_more([block(taken, taken, taken)] * blocks, allowed) is None


@given(histograms, histograms, histograms, st.integers(0, 2))
def test_a_head_that_takes_less_is_never_said_to_take_more(
    base: Histogram, again: Histogram, head: Histogram, allowed: int
) -> None:
    most = max(*base, *again)[0]
    low = tuple(sorted(Counter({min(value, 0.0): count for value, count in more(head, -most - 1)}).items()))
    assert share_that_takes_more([block(base, again, low)], allowed) is None


@given(st.lists(st.tuples(histograms, histograms, histograms), min_size=1, max_size=3), st.randoms())
def test_neither_the_order_of_blocks_nor_which_base_is_which_matters(
    several: list[tuple[Histogram, Histogram, Histogram]], random: object
) -> None:
    blocks = [block(*own) for own in several]
    turned = [CountBlock(bases=own.bases[::-1], heads=own.heads) for own in reversed(blocks)]
    one, other = share_that_takes_more(blocks, 0), share_that_takes_more(turned, 0)
    assert (one is None) == (other is None)
    assert one is None or math.isclose(one, other or 0)


@given(histograms, st.integers(1, 3))
def test_one_more_in_every_request_is_found_where_there_is_a_proof(taken: Histogram, blocks: int) -> None:
    """A single kind of request proves it from six requests on; so do launches whose many kinds agree."""
    found = share_that_takes_more([block(taken, taken, more(taken))] * blocks, 0)
    total = blocks * sum(count for _, count in taken)
    wide = taken[-1][0] - taken[0][0]
    if (len(taken) == 1 and total >= 6) or (len(taken) > 10 and total >= 20 and total / blocks >= 2 * wide):
        assert found == pytest.approx(1)
    if total < 6 and len(taken) == 1:
        assert found is None


@given(histograms, histograms)
def test_what_moved_up_one_way_moved_down_the_other(one: Histogram, other: Histogram) -> None:
    up, down = moved(one, other)
    assert moved(other, one) == pytest.approx((down, up))
    assert 0 <= up + down <= 1 + 1e-9
    assert moved(one, one) == (0, 0)
    assert moved(one, tuple((value, 3 * count) for value, count in one)) == (0, 0)


@given(st.lists(histograms, min_size=1, max_size=4))
def test_launches_together_take_on_average_what_their_requests_take(several: list[Histogram]) -> None:
    together = pooled(several)
    taken = [value for own in several for value, count in own for _ in range(count)]
    assert sum(count for _, count in together) == len(taken)
    assert mean_of(together) == pytest.approx(sum(taken) / len(taken))
