"""What `poolbench predict` refuses before it looks at anything, and what a run without a launch comes to."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli import main


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)  # the test's own handlers stay


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--pool-size 2,x", "--pool-size '2,x' is no list of whole numbers. Write it as --pool-size 2,4,8."),
        ("--pool-size 0", "--pool-size 0 is out of range. Give a number from 1 to 100000."),
        ("--pool-size 1.5", "--pool-size '1.5' is no list of whole numbers."),
        ("--rate nan", "--rate nan is out of range."),
        ("--rate ,", "--rate ',' is no list of numbers."),
        ("--rtt-ms -1", "--rtt-ms -1 is out of range. Give a number from 0 to 100000."),
        ("--workers 1e3", "--workers '1e3' is no list of whole numbers."),
        ("--max-overflow -2", "--max-overflow -2 is out of range."),
        (f"--pool-size {','.join(map(str, range(1, 102)))}", "--pool-size has 101 values. Give 100 at most."),
        ("--results nowhere", "There is no run in nowhere in which anything was measured."),
        ("no-run", "no-run is not a run that can be read: it has no run.json."),
    ],
)
def test_bad_input_gets_one_sentence(
    options: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main(["predict", *options.split()])
    out = capsys.readouterr()
    assert (exit_.value.code, out.out) == (2, "")
    assert said in " ".join(out.err.split())
