"""What the command shows in a terminal that is not the usual one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FILE = """schema_version = 1
name = "x"
[matrix]
target.env.NAME = ["Zoë, é 東", "b"]
[load]
rate_rps = 1
"""


def test_a_terminal_without_the_letters_still_shows_the_plan(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(FILE, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "harness", "plan", "x.toml"],
        cwd=tmp_path,
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "COLUMNS": "99"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "NAME Zo?, ? ?" in done.stdout
