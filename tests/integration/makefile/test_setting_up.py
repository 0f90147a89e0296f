"""What `make` says when an environment cannot be set up, and what it pins."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

OLD = "#!/bin/sh\nexit 1\n"
WITHOUT_VENV = """#!/bin/sh
[ "$2" = venv ] || exit 0
mkdir -p .venv/bin
touch .venv/bin/python
chmod +x .venv/bin/python
exit 1
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def make_install(checkout: Path, *, python: str) -> subprocess.CompletedProcess[str]:
    program = checkout / "python"
    program.write_text(python)
    program.chmod(0o755)
    return subprocess.run(
        ["make", "install", "PYTHON=./python"], cwd=checkout, capture_output=True, text=True, check=False, timeout=60
    )


def test_an_old_python_is_named_with_the_way_out(checkout: Path) -> None:
    done = make_install(checkout, python=OLD)
    assert done.returncode != 0
    assert "Python 3.11 or newer; name one: make PYTHON=python3.12" in done.stderr


def test_a_missing_venv_module_is_named_and_what_it_left_does_not_pass_for_an_environment(checkout: Path) -> None:
    """Debian's python3 makes half of one, without pip, before it fails."""
    for _ in range(2):
        done = make_install(checkout, python=WITHOUT_VENV)
        assert done.returncode != 0
        assert "apt-get install python3-venv" in done.stderr
        assert not (checkout / ".venv").exists()


def test_uv_itself_is_pinned_by_hash_and_comes_alone(checkout: Path) -> None:
    """A pip that writes down what it is asked for stands for the real one."""
    bin_folder = checkout / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "python").write_text("#!/bin/sh\ncat /dev/stdin >>asked\n")
    (bin_folder / "python").chmod(0o755)
    make_install(checkout, python="#!/bin/sh\n")
    asked = (checkout / "asked").read_text().splitlines()
    assert asked[0].startswith("uv==")
    assert len(asked) > 1
    assert all(line.startswith("    --hash=sha256:") for line in asked[1:])
