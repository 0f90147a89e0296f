"""Environments of services: made from the package index once, and kept in the user's cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn


def environment_with(python: str, packages: Sequence[str], lacking: Callable[[str], NoReturn]) -> Path:
    """The folder of an environment of this Python ("3.9") with these packages; of several who ask, one makes it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "poolbench" / "compat"
    folder = cache / hashlib.sha256("\0".join((python, *packages)).encode()).hexdigest()[:16]
    cache.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            _make(folder, python, packages, lacking)
    return folder


def _make(folder: Path, python: str, packages: Sequence[str], lacking: Callable[[str], NoReturn]) -> None:
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or lacking("there is no uv; make install brings it")
    installed = sorted((Path.home() / ".pyenv" / "versions").glob(f"{python}.*/bin/python"))
    command = [uv, "venv", "--quiet", "--clear", "--python", str([python, *installed][-1]), str(folder)]
    subprocess.run(command, check=True)
    own = ["--python", str(folder / "bin" / "python")]
    install = [uv, "pip", "install", "--quiet", "--compile-bytecode", *own, *packages]
    done = subprocess.run(install, check=False, capture_output=True, text=True)
    if done.returncode:
        lacking(f"{' '.join(packages)} cannot be installed for Python {python}: {done.stderr}")
    (folder / "complete").touch()
