"""Built as a wheel and installed elsewhere, everything travels inside."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUICK = ["--set", "load.rate_rps=30", "--set", "target.driver=asyncpg", "--set", "pool.pool_size=5"]
SHORT = ["--set", "load.warmup_s=0.2", "--set", "load.measure_s=0.5", "--set", "design.launches=1"]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without network from the pinned build backend."""
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT],
        check=True,
        capture_output=True,
    )
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_what_a_run_needs(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "harness/shipped/experiments/quickstart.toml",
        "harness/shipped/experiments/poolbench.schema.json",
        "harness/shipped/scenarios/mixed.py",
        "harness/present/templates/report.html.j2",
        "target_app/migrations/env.py",
    ):
        assert needed in names
    assert [n for n in names if n.startswith(("tests/", "results/", "benchmarks/"))] == []


@pytest.mark.postgres
def test_the_quickstart_runs_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", installed, wheel],
        check=True,
        capture_output=True,
    )
    environment = os.environ | {"PYTHONPATH": str(installed), "XDG_STATE_HOME": str(tmp_path / "state")}
    where = subprocess.run(
        [sys.executable, "-c", "import harness, target_app; print(harness.__file__, target_app.__file__)"],
        cwd=elsewhere,
        env=environment,
        text=True,
        capture_output=True,
        check=True,
    )
    assert all(path.startswith(str(installed)) for path in where.stdout.split())
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", *QUICK, *SHORT],
        cwd=elsewhere,
        env=environment,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in {0, 4}, done.stderr  # 4: on a busy machine the instrument may rightly say it was late
    assert len(list(elsewhere.glob("results/*/report.html"))) == 1
