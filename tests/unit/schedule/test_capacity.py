"""The search for a capacity, against services whose capacity is known: exact, noisy, and such that break the rules."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.domain.capacity import FLOOR_RPS, Found, Probe, Result, Search, Step, three_digits
from harness.domain.experiment import Experiment
from harness.domain.profile import MachineProfile, Rung
from harness.domain.search import replayed
from harness.domain.strategy import Outcome
from harness.plan import expand, parse_experiment
from harness.schedule import CapacitySearch

Service = Callable[[Probe], Result]
SEARCH = Search(first_rps=50, limit_rps=2000, precision=0.1)


def searched(service: Service, search: Search = SEARCH) -> tuple[Found, list[Step]]:
    steps: list[Step] = []
    while isinstance(asked := search.next_probe(steps), Probe):
        steps.append(Step(probe=asked, result=service(asked)))
        assert len(steps) < 200
    return asked, steps


def carries(capacity_rps: float) -> Service:
    return lambda probe: "pass" if probe.rate_rps <= capacity_rps else "fail"


@given(st.floats(min_value=1, max_value=1900))
def test_the_bracket_holds_the_capacity_and_is_as_close_as_asked(capacity_rps: float) -> None:
    found, steps = searched(carries(capacity_rps))
    assert found.stop == "bracketed"
    assert found.highest_pass_rps is not None
    assert found.lowest_fail_rps is not None
    assert found.highest_pass_rps <= capacity_rps < found.lowest_fail_rps
    assert found.lowest_fail_rps / found.highest_pass_rps <= 1.1 * 1.01  # rates have three digits
    assert not found.widened
    assert len(steps) <= 25


def test_both_ends_rest_on_three_fresh_launches_each() -> None:
    found, steps = searched(carries(333))
    confirmed = [step.probe.rate_rps for step in steps if step.probe.role == "confirm"]
    assert confirmed == [found.highest_pass_rps] * 3 + [found.lowest_fail_rps] * 3
    first = next(number for number, step in enumerate(steps) if step.probe.role == "confirm")
    assert {step.probe.role for step in steps[:first]} == {"probe"}


def test_rates_double_until_one_fails_and_halve_until_one_passes() -> None:
    rates = [step.probe.rate_rps for step in searched(carries(333))[1]]
    assert rates[:5] == [50, 100, 200, 400, 283]
    assert [step.probe.rate_rps for step in searched(carries(20))[1]][:3] == [50, 25, 12.5]


def test_nothing_meets_it() -> None:
    found, steps = searched(carries(0))
    assert (found.stop, found.highest_pass_rps, found.lowest_fail_rps) == ("nothing_meets", None, FLOOR_RPS)
    assert len(steps) == 8


def test_everything_up_to_the_highest_rate_meets_it() -> None:
    found, steps = searched(carries(10_000))
    assert (found.stop, found.highest_pass_rps, found.lowest_fail_rps) == ("ceiling", 2000, None)
    assert steps[-1].probe.rate_rps == 2000


def test_what_has_not_settled_is_given_longer_launches_and_counts_as_failed_if_it_never_does() -> None:
    def slow(probe: Probe) -> Result:
        if probe.rate_rps <= 100:
            return "pass"
        return "unsettled" if probe.rate_rps <= 150 else "fail"

    found, steps = searched(slow)
    lengths = [step.probe.times for step in steps if step.probe.rate_rps == 141]
    assert lengths[:3] == [1, 2, 4]
    assert found.highest_pass_rps is not None
    assert found.highest_pass_rps <= 100
    settles = searched(lambda probe: "unsettled" if probe.times < 2 else carries(100)(probe))
    assert settles[0].highest_pass_rps == pytest.approx(100, rel=0.1)
    assert {step.probe.times for step in settles[1] if step.probe.role == "confirm"} == {2}


def test_a_confirmation_that_fails_steps_down_and_the_bracket_is_wider() -> None:
    def worse_when_confirmed(probe: Probe) -> Result:
        return carries(333 if probe.role == "probe" else 290)(probe)

    found, _ = searched(worse_when_confirmed)
    assert found.highest_pass_rps is not None
    assert found.highest_pass_rps <= 290
    assert found.widened


@given(st.integers(min_value=0, max_value=10_000))
def test_with_noise_every_fresh_launch_at_both_ends_agrees(seed: int) -> None:
    draw = random.Random(seed)

    def noisy(probe: Probe) -> Result:
        return "pass" if probe.rate_rps <= 333 * draw.lognormvariate(0, 0.1) else "fail"

    found, steps = searched(noisy)
    assert found.stop == "bracketed"
    at = [
        [step.result for step in steps if step.probe.role == "confirm" and step.probe.rate_rps == rate]
        for rate in (found.highest_pass_rps, found.lowest_fail_rps)
    ]
    assert (set(at[0]), len(at[0])) == ({"pass"}, 3)
    assert (set(at[1]), len(at[1])) == ({"fail"}, 3)


def test_three_digits() -> None:
    assert [three_digits(value) for value in (1234.5, 0.12345, 99.96)] == [1230, 0.123, 100]


TEXT = """
schema_version = 1
name = "x"
[matrix]
pool.pool_size = [1, 4]
[load]
rate_rps = 50
measure_s = 10
[slo]
p95_ms = 100
"""


def experiment() -> Experiment:
    return parse_experiment(TEXT, source="x.toml")


def test_cells_are_searched_one_after_the_other_and_each_to_its_own_end() -> None:
    wanted = experiment()
    cells = expand(wanted)
    design = CapacitySearch(wanted, cells)
    carried = {cells[0].id: 60.0, cells[1].id: 200.0}
    done: list[Outcome] = []
    while (sitting := design.next_step(done)) is not None:
        (launch,) = sitting.launches
        assert sitting.index == len(done) + 1
        assert {segment.rate_rps for segment in sitting.segments} == {launch.cell.load.rate_rps}
        passed = (launch.cell.load.rate_rps or 0) <= carried[launch.cell.id]
        done.append(Outcome(launch=launch, sitting=sitting.index, result="pass" if passed else "fail"))
    order = [own.launch.cell.id for own in done]
    assert order == sorted(order)
    for cell in cells:
        found, _ = replayed(wanted, None, [own for own in done if own.launch.cell.id == cell.id])
        assert isinstance(found, Found)
        assert found.highest_pass_rps == pytest.approx(carried[cell.id], rel=0.1)
    assert len({own.launch.id for own in done}) == len(done)


def test_a_launch_whose_instrument_failed_is_no_step_and_two_in_a_row_end_the_search() -> None:
    wanted = experiment()
    design = CapacitySearch(wanted, expand(wanted))
    first = design.next_step(())
    assert first is not None
    spoilt = Outcome(launch=first.launches[0], sitting=1, broken=("sampler_gap",))
    again = design.next_step([spoilt])
    assert again is not None
    assert again.launches[0].cell.load.rate_rps == first.launches[0].cell.load.rate_rps
    assert again.launches[0].id != first.launches[0].id
    twice = [spoilt, Outcome(launch=again.launches[0], sitting=2, broken=("sampler_gap",))]
    ended, _ = replayed(wanted, None, twice)
    assert isinstance(ended, Found)
    assert ended.stop == "instrument"
    following = design.next_step(twice)
    assert following is not None
    assert following.launches[0].cell.id != first.launches[0].cell.id


def profile(ceiling_rps: float) -> MachineProfile:
    """Of a machine whose generator keeps up with that rate and no other."""
    rungs = [
        Rung(rate_rps=rate, offered=1, served=1, dropped=0, lag_p50_ms=0.1, lag_p99_ms=1.0, kept_up=rate <= ceiling_rps)
        for rate in (ceiling_rps, 2 * ceiling_rps)
    ]
    return MachineProfile(
        schema_version=1,
        measured_utc="2026-11-27T00:00:00Z",
        poolbench_version="0",
        machine={},
        generator=tuple(rungs),
        noise=(),
        launches=3,
        requests_per_launch=100.0,
    )


@pytest.mark.parametrize(
    ("ceiling_rps", "set_", "highest_rps", "stop"),
    [
        pytest.param(1000.0, (), 900.0, "generator", id="nine tenths of what the generator sends"),
        pytest.param(4000.0, (), 2000.0, "ceiling", id="the experiment's own limit comes first"),
        pytest.param(None, (), 2000.0, "ceiling", id="not calibrated"),
        pytest.param(1000.0, ("load.processes=2",), 2000.0, "ceiling", id="calibrated was one generator, not two"),
    ],
)
def test_no_rate_is_tried_that_the_generator_was_not_seen_to_send(
    ceiling_rps: float | None, set_: tuple[str, ...], highest_rps: float, stop: str
) -> None:
    """Every launch meets the SLO, whatever its rate."""
    wanted = parse_experiment(TEXT.replace("[matrix]\npool.pool_size = [1, 4]\n", ""), source="x.toml", overrides=set_)
    calibrated = None if ceiling_rps is None else profile(ceiling_rps)
    design, done = CapacitySearch(wanted, expand(wanted), calibrated), list[Outcome]()
    while (sitting := design.next_step(done)) is not None:
        done.append(Outcome(launch=sitting.launches[0], sitting=len(done) + 1, result="pass"))
    assert max(own.launch.cell.load.rate_rps or 0.0 for own in done) == highest_rps
    found, _ = replayed(wanted, calibrated, done)
    assert found == Found(highest_pass_rps=highest_rps, lowest_fail_rps=None, stop=stop)


def test_latency_that_is_not_monotonic_in_the_rate_gives_a_wider_bracket_that_is_confirmed_on_both_sides() -> None:
    """It fails from 150 to 300/s, passes at 400 again, and fails from 600 on."""

    def uneven(probe: Probe) -> Result:
        return "fail" if 150 <= probe.rate_rps <= 300 or probe.rate_rps >= 600 else "pass"

    for first_rps in (50, 70, 100, 390):
        found, steps = searched(uneven, Search(first_rps=first_rps, limit_rps=2000, precision=0.1))
        assert found.stop == "bracketed"
        ends = (found.highest_pass_rps, found.lowest_fail_rps)
        assert [[uneven(Probe(rate_rps=end or 0, role="confirm"))] * 3 for end in ends] == [["pass"] * 3, ["fail"] * 3]
        at = [step.probe.rate_rps for step in steps if step.probe.role == "confirm"]
        assert at.count(ends[0] or 0) == at.count(ends[1] or 0) == 3


def test_a_rate_that_passes_now_and_then_is_told_as_a_wider_bracket() -> None:
    """At one rate between the two ends nothing is reliable: fresh launches there disagree, which moves both ends."""
    draw = random.Random(7)

    def wavering(probe: Probe) -> Result:
        if 280 <= probe.rate_rps <= 420:
            return draw.choice(["pass", "fail"])
        return carries(350)(probe)

    found, _ = searched(wavering)
    assert (found.stop, found.widened) == ("bracketed", True)
    assert found.highest_pass_rps is not None
    assert found.lowest_fail_rps is not None
    assert found.lowest_fail_rps / found.highest_pass_rps > 1.2


def test_after_a_collapse_the_next_probe_starts_afresh_at_a_lower_rate() -> None:
    """Each launch is a sitting of its own, so nothing that collapsed is hot beside the next."""
    wanted = experiment()
    design = CapacitySearch(wanted, expand(wanted))
    first = design.next_step(())
    assert first is not None
    collapsed = [Outcome(launch=first.launches[0], sitting=1, result="fail")]
    second = design.next_step(collapsed)
    assert second is not None
    assert [len(first.launches), len(second.launches)] == [1, 1]
    assert second.launches[0].id != first.launches[0].id
    assert (second.launches[0].cell.load.rate_rps, first.launches[0].cell.load.rate_rps) == (25, 50)
