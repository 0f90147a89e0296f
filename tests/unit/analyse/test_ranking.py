"""What holds of every ranking, whatever the figures: places, kinds, ties."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analyse.compare import Comparison, compare
from harness.analyse.ranking import Kind, kind_of, ranked
from harness.domain.binding import Binding
from harness.domain.cell import Cell
from harness.domain.experiment import DatabaseSpec, Load, Pool, Session, Target
from harness.domain.verdict import Bounds, CellSummary, EndpointSummary, Pair


@dataclass(frozen=True)
class Drawn:
    """A cell's launches; each has a p95, infinite where it failed, and a rate answered well."""

    p95_ms: tuple[float, ...]
    carried_rps: tuple[float, ...]
    saturated: bool
    p50_ms: float


@st.composite
def drawn_cells(draw: st.DrawFn, *, launches: int | None = None) -> list[Drawn]:
    figures = st.floats(0.5, 5e4) | st.just(math.inf)
    found = []
    for _ in range(draw(st.integers(1, 6))):
        count = draw(st.integers(0, 4)) if launches is None else launches
        found.append(
            Drawn(
                p95_ms=tuple(draw(st.lists(figures, min_size=count, max_size=count))),
                carried_rps=tuple(draw(st.lists(st.floats(0.1, 1e4), min_size=count, max_size=count))),
                saturated=draw(st.booleans()),
                p50_ms=draw(st.floats(0.1, 1e3)),
            )
        )
    return found


def rank(drawn: Sequence[Drawn]) -> tuple[tuple[CellSummary, ...], tuple[Pair, ...]]:
    summaries = [summary(f"c{number}", own) for number, own in enumerate(drawn)]
    kinds = {own.cell.id: kind_of(own) for own in summaries}
    return ranked(summaries, compared(drawn, kinds, sound=True), compared(drawn, kinds, sound=False))


def compared(drawn: Sequence[Drawn], kinds: dict[str, Kind], *, sound: bool) -> Comparison:
    """As `analyse` does: sound cells by p95, the others by the rate answered well."""
    return compare(
        {
            f"c{number}": dict(enumerate(map(math.log, own.p95_ms if sound else own.carried_rps)))
            for number, own in enumerate(drawn)
            if (kinds[f"c{number}"] == Kind.SOUND) is sound
        }
    )


def summary(cell_id: str, own: Drawn) -> CellSummary:
    launches = len(own.p95_ms)
    p95_ms = math.exp(sum(map(math.log, own.p95_ms)) / launches) if launches else math.nan
    unknown = Bounds(value=own.p50_ms, low=None, high=None)
    everything = EndpointSummary(
        cell_id=cell_id,
        endpoint="*",
        launches=launches,
        requests=100 * launches,
        achieved_rps=1.0,
        carried_rps=sum(own.carried_rps) / launches if launches else math.nan,
        goodput_rps=1.0,
        p50_ms=unknown,
        p90_ms=unknown,
        p95_ms=Bounds(value=p95_ms, low=None, high=None),
        p99_ms=unknown,
        p95_bound_low_ms=math.nan,
        served_p99_ms=1.0,
        error_rate=0.0,
        dropped=0,
        pool_ms_p95=math.nan,
        pool_share=math.nan,
        db_share=math.nan,
    )
    cell = Cell(
        id=cell_id,
        label=cell_id,
        factors=(),
        pool=Pool(),
        session=Session(),
        target=Target(),
        database=DatabaseSpec(),
        load=Load(rate_rps=1.0),
    )
    return CellSummary(
        cell=cell,
        rank=0,
        ties=(),
        all=everything,
        endpoints=(),
        versus_best=None,
        connections_peak=0,
        connections_active_mean=math.nan,
        pool_used_share=math.nan,
        cpu_ms_per_request=math.nan,
        binding=Binding(resource="load"),
        slo=None,
        failing=math.isinf(p95_ms),
        saturated=own.saturated and launches > 0,
        near_its_limit=False,
        from_empty=False,
        utilisation=math.nan,
        empty_tasks=0,
        own_mean_ms=math.nan,
        late_p99_ms=math.nan,
        leg_p95_ms=math.nan,
        slo_instrument=False,
        turns=launches,
        valid=launches > 0,
        invalid_launches=0,
        findings=(),
    )


@given(drawn_cells())
def test_every_cell_has_a_place_of_its_own(drawn: list[Drawn]) -> None:
    cells, _ = rank(drawn)
    assert [own.rank for own in cells] == list(range(1, len(drawn) + 1))
    assert {own.cell.id for own in cells} == {f"c{number}" for number in range(len(drawn))}


@given(drawn_cells())
def test_what_carried_its_load_stands_before_what_failed_before_what_was_saturated_before_what_is_unknown(
    drawn: list[Drawn],
) -> None:
    kinds = [kind_of(own) for own in rank(drawn)[0]]
    assert kinds == sorted(kinds)
    assert list(Kind) == [Kind.SOUND, Kind.FAILING, Kind.SATURATED, Kind.INVALID]


@given(drawn_cells())
def test_sound_cells_are_ordered_by_p95_and_the_others_by_what_they_answered_well(drawn: list[Drawn]) -> None:
    cells, _ = rank(drawn)
    p95_ms = [own.all.p95_ms.value for own in cells if kind_of(own) == Kind.SOUND]
    assert p95_ms == sorted(p95_ms)
    for kind in (Kind.FAILING, Kind.SATURATED):
        carried = [own.all.carried_rps for own in cells if kind_of(own) == kind]
        assert carried == sorted(carried, reverse=True)


@given(drawn_cells())
def test_ties_are_symmetric_and_those_of_the_pairs(drawn: list[Drawn]) -> None:
    cells, pairs = rank(drawn)
    ties = {own.cell.id: set(own.ties) for own in cells}
    assert all(one in ties[other] for one in ties for other in ties[one])
    valid = [own.cell.id for own in cells if own.valid]
    assert {(pair.first, pair.second) for pair in pairs} == {
        (one, other) for place, one in enumerate(valid) for other in valid[place + 1 :]
    }
    assert all((pair.second in ties[pair.first]) is not pair.told_apart for pair in pairs)
    assert all(not ties[own.cell.id] for own in cells if not own.valid)


@given(drawn_cells(launches=1))
def test_with_one_launch_everything_ties(drawn: list[Drawn]) -> None:
    cells, pairs = rank(drawn)
    assert not any(pair.told_apart for pair in pairs)
    assert all(len(own.ties) == len(drawn) - 1 for own in cells)


@given(drawn_cells())
def test_no_ratio_of_latencies_is_given_of_cells_whose_latency_is_none(drawn: list[Drawn]) -> None:
    cells, pairs = rank(drawn)
    sound = {own.cell.id for own in cells if kind_of(own) == Kind.SOUND}
    for pair in pairs:
        if not {pair.first, pair.second} <= sound:
            assert (pair.low, pair.high) == (None, None)
            assert math.isnan(pair.ratio)
    for own in cells:
        assert own.versus_best is None or {own.cell.id, cells[0].cell.id} <= sound


@given(drawn_cells(), st.randoms())
def test_the_order_in_which_cells_come_does_not_matter(drawn: list[Drawn], random: object) -> None:
    """But for cells that are alike in every figure."""
    figures = [(own.p95_ms, own.carried_rps, own.p50_ms) for own in drawn]
    if len(set(figures)) < len(figures):
        return
    shuffled = list(drawn)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    def order(some: Sequence[Drawn]) -> list[tuple[float, float, float]]:
        return [(own.all.p95_ms.value, own.all.carried_rps, own.all.p50_ms.value) for own in rank(some)[0] if own.valid]

    assert order(drawn) == order(shuffled)


def made(p95_ms: Sequence[float], carried_rps: float = 100.0, *, saturated: bool = False) -> Drawn:
    wobble = (0.99, 1.0, 1.01)[: len(p95_ms)]
    return Drawn(
        p95_ms=tuple(p95_ms), carried_rps=tuple(carried_rps * w for w in wobble), saturated=saturated, p50_ms=1.0
    )


def test_a_saturated_cell_with_a_low_latency_stands_behind_one_with_a_high_one() -> None:
    cells, _ = rank([made([5.0, 5.1, 4.9], saturated=True), made([900.0, 910.0, 890.0])])
    assert [own.cell.id for own in cells] == ["c1", "c0"]
    assert cells[0].ties == cells[1].ties == ()


@pytest.mark.parametrize(("rps", "tie"), [(50.0, False), (99.9, True)])
def test_two_saturated_cells_are_told_apart_by_what_they_answer_well(rps: float, tie: bool) -> None:
    slow_to_grow = made([10.0, 10.1, 9.9], rps, saturated=True)
    quick_to_grow = made([90.0, 91.0, 89.0], 100.0, saturated=True)
    cells, (pair,) = rank([slow_to_grow, quick_to_grow])
    assert [own.cell.id for own in cells] == ["c1", "c0"]
    assert pair.told_apart is not tie


def test_ties_need_not_be_groups() -> None:
    launches = [(9.8, 10.2, 10.0), (10.6, 10.2, 10.4), (11.0, 11.1, 10.9)]
    cells, _ = rank([made(p95_ms) for p95_ms in launches])
    ties = {own.cell.id: own.ties for own in cells}
    assert ties["c1"] == ("c0", "c2")
    assert ties["c0"] == ties["c2"] == ("c1",)
