"""A whole tune of stored launches whose p95 is known to the last digit."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import synthetic

from harness.analyse import tuned
from harness.domain.evidence import Run, TrialEvidence
from harness.domain.experiment import Experiment, Load
from harness.domain.strategy import Outcome
from harness.domain.tune import Carried, Tuning
from harness.strategies import strategy_of

P95_MS = {5: 40.0, 10: 22.0, 15: 20.5, 20: 20.0}
EXPERIMENT = Experiment(schema_version=1, name="x", matrix={"pool.pool_size": tuple(P95_MS)}, load=Load(rate_rps=100.0))
CELLS = tuple(synthetic.cell(number) for number in (1, 2, 3, 4))
SPOILT = synthetic.LOST_WORKER


def measured(blocks_spoilt: frozenset[int] = frozenset(), until: int = 1000) -> Run:
    """What a tune asks for, as launches whose arrivals all take as long."""
    strategy = strategy_of("tune", EXPERIMENT, CELLS, None)
    done: list[Outcome] = []
    trials: list[TrialEvidence] = []
    while (sitting := strategy.next_step(done)) is not None and sitting.launches[0].block < until:
        for launch in sitting.launches:
            spoilt = launch.block in blocks_spoilt
            ms = P95_MS[launch.cell.pool.pool_size]
            context = {"context": SPOILT} if spoilt else {}
            latencies = synthetic.rows([ms] * 200, every_ms=50)
            trials.append(synthetic.trial(launch.cell, launch.block, latencies, sitting=sitting.index, **context))
            done.append(
                Outcome(
                    launch=launch,
                    sitting=sitting.index,
                    broken=("worker_lost",) if spoilt else (),
                    carried=Carried(log_ms=math.log(ms), in_use=math.nan),
                )
            )
    run = synthetic.run(trials, CELLS)
    return replace(run, info=replace(run.info, experiment=EXPERIMENT, strategy="tune"))


@pytest.fixture(scope="module")
def clean() -> tuple[Run, Tuning]:
    """A tune whose instruments all worked, and what it came to."""
    run = measured()
    return run, tuned(run)


def test_the_stored_launches_say_what_the_tune_concluded(clean: tuple[Run, Tuning]) -> None:
    run, tuning = clean
    (ladder,) = tuning.ladders
    assert (ladder.stop, ladder.answer, ladder.reference) == ("shown", 10, 20)
    assert tuning.recommended == CELLS[1]
    assert tuning.launches == len(run.trials)
    by_value = {size.value: size for size in ladder.sizes}
    assert by_value[10].p95_ms == pytest.approx(22.0)
    assert by_value[10].slowdown == pytest.approx(0.1)
    assert by_value[10].low is not None
    assert by_value[10].high is not None
    assert by_value[10].low < 0.1 < by_value[10].high <= 0.15
    assert by_value[20].slowdown == 0.0
    assert {value: size.why_not for value, size in by_value.items()} == {
        5: "slower",
        10: "",
        15: "not_needed",
        20: "not_needed",
    }
    often = sum(own.trial.launch.cell == CELLS[1] for own in run.trials)
    assert by_value[10].launches == often
    assert 6 <= by_value[10].fresh < often
    assert tuning.grid_launches == 4 * often


def test_a_block_with_a_spoilt_launch_counts_as_spent_and_as_no_look(clean: tuple[Run, Tuning]) -> None:
    sound, spoilt = clean[1], tuned(measured(frozenset({2})))
    assert spoilt.launches > sound.launches
    first, second = (
        [(own.value, own.launches, own.why_not) for own in each.ladders[0].sizes] for each in (sound, spoilt)
    )
    assert first == second
    twice = tuned(measured(frozenset({2, 3})))
    assert (twice.stop, twice.recommended, twice.grid_launches) == ("instrument", None, None)


def test_a_tune_that_was_cut_has_no_answer_yet() -> None:
    cut = tuned(measured(until=3))
    assert (cut.stop, cut.recommended) == (None, None)
    assert {size.why_not for size in cut.ladders[0].sizes} == {"not_reached"}
    assert math.isnan(cut.ladders[0].sizes[1].slowdown)
