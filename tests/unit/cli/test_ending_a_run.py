"""How a run ends that does not end well: a named cause, what is kept, and the right exit code."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

import harness.run
from harness.cli import main
from harness.domain.experiment import Experiment
from harness.errors import InfrastructureError, Interrupted, UsageError, refused_by_the_system
from harness.store import RunStore

CLAIM = """
[claim]
number = 70
statement = "it is quick"
expect = "p95_ms(one) < 10"
[arms.one]
"""
UNNUMBERED = CLAIM.replace("number = 70\n", "")
FILE = 'schema_version = 1\nname = "x"\n[load]\nrate_rps = 1\n'


@pytest.fixture
def run_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd) -> Callable[[Exception], tuple[int, str]]:
    """`poolbench run` that leaves a log and then ends with an exception. Returns exit code and standard error."""
    (tmp_path / "x.toml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)  # the test's own handlers stay

    def ended(error: Exception) -> tuple[int, str]:
        def run_experiment(experiment: Experiment, store: RunStore, **_: object) -> None:
            (store.path / "sittings" / "target.log").write_text("why")
            raise error

        monkeypatch.setattr(harness.run, "run_experiment", run_experiment)
        with pytest.raises(SystemExit) as exit_:
            main(["run", "x.toml", "--quiet"])
        assert isinstance(exit_.value.code, int)
        return exit_.value.code, capfd.readouterr().err

    return ended


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(errno.ENOSPC, "No space left", "/var/x"), 5, "The disk that holds /var/x is full. Make room there."),
        (OSError(errno.EROFS, "Read-only"), 5, "Read-only file system"),
        (psycopg.OperationalError("the connection is closed\nmore"), 5, "Postgres failed: the connection is closed."),
        (InfrastructureError("It ended.", next_step="Its log is x."), 5, "It ended. Its log is x."),
    ],
)
def test_a_failure_is_named_and_its_logs_are_kept(run_that, tmp_path: Path, error, code: int, said: str) -> None:
    assert run_that(error)[0] == code
    code_again, err = run_that(error)
    assert code_again == code
    assert said in err
    assert "Nothing had been measured yet." in err
    assert "Traceback" not in err
    assert len(list(tmp_path.glob("results/*/sittings/target.log"))) == 2


def test_a_bug_is_shown_whole(run_that) -> None:
    code, err = run_that(ZeroDivisionError("oops"))
    assert code == 70
    assert err.count("ZeroDivisionError: oops") == 1
    assert "This is a bug in poolbench." in err
    assert "Nothing had been measured yet." in err


def test_what_was_refused_leaves_no_folder(run_that, tmp_path: Path) -> None:
    assert run_that(UsageError("No."))[0] == 2
    assert list((tmp_path / "results").iterdir()) == []


def test_a_run_that_measured_nothing_is_not_the_latest(run_that, tmp_path: Path) -> None:
    run_that(InfrastructureError("It ended."))
    (folder,) = (tmp_path / "results").iterdir()
    (folder / "run.json").write_text("{}")
    with pytest.raises(UsageError, match="There is no run"):
        RunStore.latest(tmp_path / "results")


@pytest.mark.parametrize(("measured", "called"), [(False, "70"), (True, "70"), (False, "x")])
def test_a_claim_that_is_interrupted_says_what_to_ask_again_and_what_is_kept(
    measured: bool, called: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    def run_experiment(experiment: Experiment, store: RunStore, **_: object) -> None:
        if measured:
            (store.path / "trials" / "b1-c1").mkdir()
        raise Interrupted("Interrupted; everything is stopped.")

    (tmp_path / "x.toml").write_text(FILE + (CLAIM if called == "70" else UNNUMBERED))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)  # the test's own handlers stay
    monkeypatch.setattr(harness.run, "run_experiment", run_experiment)
    with pytest.raises(SystemExit) as exit_:
        main(["claims", "x.toml", "--quiet"])
    assert exit_.value.code == 130
    left = list((tmp_path / "results").iterdir())
    assert len(left) == measured
    assert capfd.readouterr().err.strip() == (
        "error: Interrupted; everything is stopped. "
        f"Claim {called} has no answer yet: ask again for it, and for those after it"
        + (f"; what it had finished is kept: poolbench report {left[0]}" if measured else ".")
    )


def test_a_claim_without_a_number_that_cannot_be_measured_is_called_by_its_experiments_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    def run_experiment(*_: object, **__: object) -> None:
        raise InfrastructureError("It ended.")

    (tmp_path / "file.toml").write_text(FILE + UNNUMBERED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(harness.run, "run_experiment", run_experiment)
    with pytest.raises(SystemExit) as exit_:
        main(["claims", "file.toml", "--quiet"])
    assert (exit_.value.code, capfd.readouterr().err.strip()) == (5, "warning: claim x was not measured: It ended.")


def test_a_real_full_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="space") as caught, Path("/dev/full").open("wb", buffering=0) as full:
        full.write(b"x")
    error = refused_by_the_system(caught.value, tmp_path)
    assert error is not None
    assert error.cause == f"The disk that holds {tmp_path} is full."
    assert error.exit_code == 5


def test_a_folder_that_was_removed_is_named_and_a_bug_is_none_of_the_systems(tmp_path: Path) -> None:
    missing = FileNotFoundError(errno.ENOENT, "No such file", str(tmp_path / "x"))
    assert refused_by_the_system(missing, tmp_path) is None
    gone = refused_by_the_system(missing, tmp_path / "gone")
    assert gone is not None
    assert "was removed" in gone.cause
