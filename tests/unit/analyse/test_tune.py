"""Which size a tune answers, on services whose p95 is known to the last digit, or noisy in a known way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analyse.tune import CHECK_LEVEL, climb, standing_of
from harness.domain.tune import Answer, Carried, Look, Race, Seen

RACE = Race(sizes=8, margin=0.15, blocks=36, noise_sd=0.1)
FAILS = math.inf
Service = Callable[[int, int], float]
"""of a place and a block: p95 in ms, infinite where the load is not carried"""


def told(look: Look, ms: Callable[[int], float], floor: int = 0) -> Seen:
    carried = {place: Carried(log_ms=math.log(ms(place)), in_use=math.nan) for place in look.places}
    return Seen(phase=look.phase, carried=carried, floor=floor)


def tuned(service: Service, race: Race = RACE, floor: int = 0) -> tuple[Answer, list[Look]]:
    story, looks = climb(race), list[Look]()
    asked = next(story)
    while True:
        looks.append(asked)
        assert len(looks) < 300
        block = len(looks)
        try:
            asked = story.send(told(asked, lambda place, block=block: service(place, block), floor))  # type: ignore[misc]
        except StopIteration as ended:
            answer: Answer = ended.value
            return answer, looks


def curve(*ms: float) -> Service:
    return lambda place, _: ms[place]


@pytest.mark.parametrize(
    ("ms", "place"),
    [
        ((10, 10, 10, 10, 10, 10, 10, 10), 0),
        ((FAILS, FAILS, FAILS, 10, 10, 10, 10, 10), 3),
        ((FAILS, FAILS, FAILS, FAILS, FAILS, FAILS, FAILS, 10), 7),
        ((90, 60, 40, 28, 20, 14, 10.5, 10), 6),
        ((90, 60, 40, 28, 20, 15, 13, 10), 7),
        ((40, 20, 12, 10, 12, 20, 40, 80), 3),
        ((10, 20, 40, 80, 160, 320, 640, 999), 0),
    ],
    ids=["flat", "cliff", "only the largest", "falls", "falls to the end", "valley", "worse with each"],
)
def test_the_smallest_that_is_good_enough_is_found(ms: Sequence[float], place: int) -> None:
    answer, looks = tuned(curve(*ms))
    assert (answer.stop, answer.place) == ("shown", place)
    assert place not in answer.dropped
    assert sum(len(look.places) for look in looks) < 8 * 8


@given(st.integers(min_value=2, max_value=10), st.data())
def test_without_noise_no_answer_is_too_slow_and_the_knee_is_never_thrown_away(sizes: int, data: st.DataObject) -> None:
    steps = data.draw(st.lists(st.floats(min_value=1.3, max_value=3), min_size=sizes - 1, max_size=sizes - 1))
    flat_from = data.draw(st.integers(min_value=0, max_value=sizes - 1))
    ms = [10.0] * sizes
    for place in range(flat_from - 1, -1, -1):
        ms[place] = ms[place + 1] * steps[place]
    answer, _ = tuned(curve(*ms), Race(sizes=sizes, margin=0.15, blocks=36, noise_sd=0.05))
    assert (answer.stop, answer.place) == ("shown", flat_from)
    assert flat_from not in answer.dropped


def test_what_is_shown_rests_on_fresh_launches_alone() -> None:
    """A small size that was lucky in the search is not recommended for it."""

    phases: list[str] = []

    def ms(place: int) -> float:
        return 10.0 if place >= 4 or phases[-1] == "search" else 20.0

    story = climb(RACE)
    asked = next(story)
    while True:
        phases.append(asked.phase)
        try:
            asked = story.send(told(asked, ms))
        except StopIteration as ended:
            answer: Answer = ended.value
            break
    assert answer.place == 4
    assert "race" in phases


def test_the_drift_of_a_block_is_common_to_its_sizes() -> None:
    drifting = lambda place, block: (10.0 if place >= 3 else 30.0) * (1 + block % 3)  # noqa: E731 -- a table of two
    assert tuned(drifting)[0].place == 3


def test_the_same_looks_lead_to_the_same_questions() -> None:
    assert tuned(curve(90, 60, 40, 28, 20, 14, 10.5, 10)) == tuned(curve(90, 60, 40, 28, 20, 14, 10.5, 10))


def test_nothing_carries() -> None:
    answer, looks = tuned(curve(*[FAILS] * 8))
    assert (answer.stop, answer.place, answer.best) == ("nothing_carries", None, None)
    launched = [place for look in looks for place in look.places]
    assert {launched.count(place) for place in range(8)} == {2}  # one failure may be a neighbour's


def test_one_launch_that_fails_does_not_throw_a_size_away() -> None:
    once: set[int] = set()

    def service(place: int, block: int) -> float:
        if place == 3 and not once:
            once.add(block)
            return FAILS
        return 10.0 if place >= 3 else FAILS

    assert tuned(service)[0].place == 3


def test_a_size_that_fails_more_often_than_the_best_is_not_good_enough() -> None:
    answer, _ = tuned(lambda place, block: FAILS if place == 2 and block % 2 else 10.0 if place >= 2 else FAILS)
    assert answer.place == 3


def test_what_has_fewer_connections_than_are_in_use_is_not_tried() -> None:
    answer, looks = tuned(curve(FAILS, FAILS, FAILS, FAILS, 10, 10, 10, 10), floor=4)
    assert answer.place == 4
    assert {place for look in looks[1:] for place in look.places} <= {4, 5, 6, 7}


def test_launches_that_scatter_too_much_show_nothing() -> None:
    wild = lambda place, block: 10.0 if (place + block) % 2 else 90.0  # noqa: E731 -- likewise
    answer, _ = tuned(wild, Race(sizes=2, margin=0.15, blocks=8, noise_sd=0.1))
    assert (answer.stop, answer.place) == ("not_shown", None)


def test_one_size_alone_has_to_carry_in_fresh_launches() -> None:
    alone = Race(sizes=1, margin=0.15, blocks=36, noise_sd=0.1)
    answer, looks = tuned(curve(10), alone)
    assert (answer.stop, answer.place) == ("shown", 0)
    assert [look.phase for look in looks].count("race") == 6
    assert tuned(curve(FAILS), alone)[0].stop == "nothing_carries"


def test_the_instruments_bound_keeps_a_size_from_being_shown() -> None:
    def seen(raised: float) -> list[Seen]:
        reference = Carried(log_ms=math.log(10), in_use=1, raised=raised)
        small = Carried(log_ms=math.log(10.5), in_use=1)
        return [Seen(phase="race", carried={0: small, 1: reference})] * 6

    clean, doubtful = (standing_of(seen(raised), 0.05) for raised in (0.0, 0.2))
    assert clean.at_most(0, 1, CHECK_LEVEL) < math.log(1.15) < doubtful.at_most(0, 1, CHECK_LEVEL)
    assert doubtful.at_most(0, 1, CHECK_LEVEL) - clean.at_most(0, 1, CHECK_LEVEL) == pytest.approx(0.2)


def test_what_only_the_instrument_leaves_open_is_told_apart_from_launches_that_scatter() -> None:
    def ended(raised: float, ms: Callable[[int, int], float]) -> Answer:
        story = climb(Race(sizes=2, margin=0.15, blocks=8, noise_sd=0.05))
        asked, block = next(story), 0
        while True:
            block += 1
            logs = {place: math.log(ms(place, block)) for place in asked.places}
            carried = {place: Carried(log_ms=log, in_use=1, raised=raised) for place, log in logs.items()}
            try:
                asked = story.send(Seen(phase=asked.phase, carried=carried))
            except StopIteration as stopped:
                answer: Answer = stopped.value
                return answer

    same: Service = lambda _, __: 10.0  # noqa: E731 -- likewise
    wild: Service = lambda place, block: 10.0 if (place + block) % 2 else 90.0  # noqa: E731 -- likewise
    assert [ended(raised, same).stop for raised in (0.0, 0.3)] == ["shown", "not_shown"]
    assert ended(0.3, same).instrument
    assert not ended(0.3, wild).instrument


def test_by_an_slo_the_smallest_of_which_all_fresh_launches_meet_it() -> None:
    race = Race(sizes=8, margin=0.15, blocks=36, noise_sd=0.1, by_slo=True)
    answer, looks = tuned(curve(FAILS, FAILS, FAILS, FAILS, 10, 10, 10, 10), race)
    assert (answer.stop, answer.place) == ("shown", 4)
    assert [look.places for look in looks if look.phase == "race"] == [(4,)] * 5
    sometimes = lambda place, block: FAILS if place < 4 or (place == 4 and block > 6) else 10.0  # noqa: E731 -- likewise
    assert tuned(sometimes, race)[0].place == 5
    assert tuned(curve(*[FAILS] * 8), race)[0].stop == "nothing_carries"
    lately = lambda _, block: FAILS if block > 4 else 10.0  # noqa: E731 -- likewise
    assert tuned(lately, race)[0].stop == "not_shown"
