"""What the exit code says of a report, and a run that nobody could follow."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest

import harness.run
from harness.cli import ending, main
from harness.cli.showing import answer, capacity_code, gate_code
from harness.domain.experiment import Gate
from harness.domain.gate import Decision
from harness.domain.verdict import Promise
from harness.errors import Interrupted

FILE = 'schema_version = 1\nname = "x"\n[load]\nrate_rps = 1\n'


def report(*cells: tuple[bool, Promise | None]) -> Any:
    """Cells by whether they are valid and what became of their SLO."""
    summaries = tuple(SimpleNamespace(valid=valid, slo=slo, not_applied={}) for valid, slo in cells)
    summary = SimpleNamespace(cells=summaries, verdict=SimpleNamespace(state="undecided"))
    return SimpleNamespace(summary=summary, gate=None)


def judged(verdict: Decision, on_inconclusive: Literal["pass", "fail"] = "pass", state: str = "undecided") -> Any:
    """A comparison's report."""
    info = SimpleNamespace(experiment=SimpleNamespace(gate=Gate(on_inconclusive=on_inconclusive)))
    summary = SimpleNamespace(verdict=SimpleNamespace(state=state))
    return SimpleNamespace(summary=summary, gate=SimpleNamespace(verdict=verdict), info=info)


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (judged("equivalent"), 0),
        (judged("improved"), 0),
        (judged("regressed"), 1),
        (judged("inconclusive"), 0),
        (judged("inconclusive", "fail"), 3),
        (judged("regressed", "fail"), 1),
        (judged("equivalent", "fail"), 0),
        (judged("invalid"), 4),
        (judged("equivalent", state="not_applied"), 4),
    ],
)
def test_the_exit_code_of_a_gate(found: Any, code: int) -> None:
    assert answer(found) == code


@pytest.mark.parametrize(
    ("stops", "holds", "code"),
    [
        (["bracketed"], (), 0),
        (["ceiling"], (), 0),
        (["nothing_meets"], (), 1),
        (["nothing_meets", "bracketed"], (), 0),
        (["instrument"], (), 4),
        (["bracketed"], (True, False), 0),
        (["bracketed"], (False, False), 1),
        (["ceiling", "nothing_meets"], (None,), 3),
        (["nothing_meets"], (None,), 1),
        (["instrument"], (None,), 4),
    ],
)
def test_the_exit_code_of_a_search(stops: list[str], holds: tuple[bool | None, ...], code: int) -> None:
    """`holds` are the planned fleets, best first: none without a plan, None where none could be planned."""
    cells: Any = [SimpleNamespace(found=SimpleNamespace(stop=stop)) for stop in stops]
    best = SimpleNamespace(holds=holds[0]) if holds and holds[0] is not None else None
    planned: Any = SimpleNamespace(best=best) if holds else None
    assert capacity_code(cells, planned) == code


@pytest.mark.parametrize(
    ("verdicts", "on_inconclusive", "unusable", "code"),
    [
        (("equivalent", "improved"), "fail", "", 0),
        (("equivalent", "regressed"), "pass", "", 1),
        (("inconclusive", "equivalent"), "pass", "", 0),
        (("inconclusive", "equivalent"), "fail", "", 3),
        (("regressed", "invalid"), "pass", "", 4),
        ((), "pass", "", 4),
        (("equivalent",), "pass", "a setting took no effect", 4),
    ],
)
def test_of_several_baselines_the_worst_counts(
    verdicts: tuple[Decision, ...], on_inconclusive: Literal["pass", "fail"], unusable: str, code: int
) -> None:
    judged_: Any = {str(place): SimpleNamespace(verdict=verdict) for place, verdict in enumerate(verdicts)}
    gated = SimpleNamespace(verdicts=judged_, gate=Gate(on_inconclusive=on_inconclusive), unusable=unusable)
    assert gate_code(gated) == code  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        ([(True, None), (True, None)], 0),
        ([(True, "met"), (True, "not_met")], 0),
        ([(True, "met"), (True, "unclear")], 0),
        ([(True, "not_met"), (True, "not_met")], 1),
        ([(True, "unclear"), (True, "not_met")], 3),
        ([(True, "unclear")], 3),
        ([(True, None), (False, None)], 4),
        ([(True, "met"), (False, None)], 4),
        ([(True, "not_met"), (False, None)], 4),
        ([(True, "unclear"), (False, None)], 4),
    ],
)
def test_the_exit_code_is_theanswer(cells: list[tuple[bool, Promise | None]], code: int) -> None:
    assert answer(report(*cells)) == code
    assert answer(report(*reversed(cells))) == code


def test_an_interruption_stays_one_whatever_foreign_code_makes_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Seen: pydantic was building a schema when Ctrl-C came, and the run ended as a bug of poolbench."""
    (tmp_path / "x.toml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)  # the test's own handlers stay
    monkeypatch.setattr(ending, "SIGNALLED", threading.Event())

    def run_experiment(*_: object, **__: object) -> None:
        with suppress(Interrupted):
            ending.interrupted(signal.SIGINT, None)
        raise ValueError("Error building a validator: Interrupted")

    monkeypatch.setattr(harness.run, "run_experiment", run_experiment)
    with pytest.raises(SystemExit) as exit_:
        main(["run", "x.toml", "--quiet"])
    said = capfd.readouterr().err
    assert exit_.value.code == 130
    assert "Interrupted; everything is stopped. Nothing had been measured yet." in said
    assert "bug" not in said


def test_a_run_that_nobody_could_follow_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.toml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)  # the test's own handlers stay
    monkeypatch.setattr(harness.run, "run_experiment", lambda *_, **__: pytest.fail("it was begun"))
    with pytest.raises(SystemExit) as exit_:
        main(["run", "x.toml", "--events", "nowhere/events.ndjson"])
    assert exit_.value.code == 2
    said = capfd.readouterr().err
    assert "The events file nowhere/events.ndjson cannot be written: No such file or directory." in said
    assert "Name a file in a folder that exists and can be written to." in said
    assert not list((tmp_path / "results").glob("*"))
