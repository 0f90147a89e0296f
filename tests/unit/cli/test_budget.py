"""`poolbench budget` from its arguments to its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import main

EXAMPLE = "budget --replicas 4 --workers 2 --pool-size 10 --max-overflow 5 --max-connections"


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)  # the test's own handlers stay


def said(arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(arguments.split())
    out = capsys.readouterr()
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, out.out, " ".join(out.err.split())


@pytest.mark.parametrize(("max_connections", "code"), [(153, 0), (152, 1)])
def test_the_exit_code_is_whether_it_fits(max_connections: int, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    found, out, err = said(f"{EXAMPLE} {max_connections}", capsys)
    assert (found, err) == (code, "")
    assert out.startswith("It fits: " if code == 0 else "It does not fit: ")
    assert "4 replicas x 2 workers x 1 engine x (10 pool_size + 5 max_overflow) = 120 connections" in out


def test_every_option_arrives(capsys: pytest.CaptureFixture[str]) -> None:
    options = "--engines 2 --jobs 7 --surge 50% --reserved 4 --pgbouncer 30 --max-client-conn 400 --json"
    code, out, _ = said(f"{EXAMPLE} 90 {options}", capsys)
    told = json.loads(out)
    assert code == 0
    assert told["services"][0]["service"] == {
        "replicas": 4,
        "workers": 2,
        "engines": 2,
        "pool_size": 10,
        "max_overflow": 5,
        "jobs": 7,
        "surge": "50%",
        "pgbouncer": True,
    }
    assert told["postgres"]["limit"] == 90
    assert told["postgres"]["worst"] == 30 + 7 + 4
    assert told["pgbouncer"]["clients"]["limit"] == 400
    assert told["pgbouncer"]["clients"]["rolling"] == 6 * 2 * 2 * 15


def test_a_limit_of_pgbouncer_alone_means_its_default_pool(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = said("budget --replicas 1 --max-client-conn 50", capsys)
    assert "(20 default_pool_size, PgBouncer's own default) = 20 connections" in out


def test_a_file_describes_several(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text("[services.web]\nreplicas = 2\n[services.api]\nreplicas = 1\n", encoding="utf-8")
    code, out, _ = said(f"budget --services {path}", capsys)
    assert code == 0
    assert "30 web + 15 api + 3 reserved = 48 of 100, 52 left" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("budget", "How many replicas there are is missing. Add --replicas N, or --services FILE for several."),
        ("budget --replicas 0", "replicas must be at least 1, not 0."),
        ("budget --replicas 2 --surge 101%", 'surge must be at most 100%, not "101%".'),
        (
            "budget --services x.toml --replicas 2 --jobs 1",
            "x.toml describes the whole fleet; replicas, jobs cannot be given beside it. Write it in the file.",
        ),
        ("budget --services none.toml", "none.toml cannot be read: No such file or directory."),
        ("budget --replicas two", "Invalid value for '--replicas'"),
    ],
)
def test_wrong_use_ends_in_one_sentence(arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(arguments, capsys)
    assert (code, out) == (2, "")
    assert message in err
