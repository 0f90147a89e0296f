"""The command in a process of its own that has imported beforehand what every command imports: a second of work each.

Such processes are forked from one that did nothing but import. What starts one for real, and so shows that it can be
started, is `Poolbench.start`.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

CONTEXT = multiprocessing.get_context("forkserver")
IMPORTED = (
    *(f"harness.{name}" for name in ("cli", "run", "check", "discover", "outline", "handlers", "baselines")),
    *("harness.present.figures.capacity", "harness.present.figures.tune"),
    *("matplotlib.figure", "matplotlib.backends.backend_svg", "scipy.special", "pyarrow.parquet"),
)
CONTEXT.set_forkserver_preload(list(IMPORTED))


def commanded(
    arguments: Sequence[str], *, cwd: Path, environment: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """What `poolbench ARGUMENTS` ends with and prints, as `subprocess.run` has it."""
    with TemporaryDirectory(prefix="poolbench-commanded-") as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = CONTEXT.Process(target=_command, args=(arguments, cwd, dict(environment), out, err))
        process.start()
        try:
            process.join(timeout_s)
            if process.exitcode is None:
                raise subprocess.TimeoutExpired(list(arguments), timeout_s, out.read_bytes(), err.read_bytes())
        finally:
            process.kill()
        return subprocess.CompletedProcess(list(arguments), process.exitcode, out.read_text(), err.read_text())


def _command(arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], out: Path, err: Path) -> None:
    from harness.cli import main

    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for number, path, mode in ((0, Path(os.devnull), "r"), (1, out, "w"), (2, err, "w")):
        with path.open(mode) as file:
            os.dup2(file.fileno(), number)
    sys.path.insert(0, str(cwd))  # as `python -m` has it
    main(arguments)
