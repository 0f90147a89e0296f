"""Whether a target's app can be imported: found out while Postgres starts, not once the database is filled."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from harness.deploy.launcher import environment_of
from harness.deploy.processes import in_words, last_lines, start_marked, stop_groups, sweep
from harness.domain.cell import Cell
from harness.errors import UsageError

_NOWHERE = "postgresql://poolbench:poolbench@127.0.0.1:9/poolbench"
"""what the app is given: an app that connects as it is imported fails at once, which is not judged"""
_PATIENCE_S = 5.0
_CANNOT = 86
_ELSEWHERE = 87

# Only what another start would meet as well is judged. Everything else, a database that is not there above all, is left
# to the start itself, with a database.
_CODE = f"""
import importlib, os, sys, traceback
module, _, attribute = sys.argv[1].partition(":")
try:
    found = importlib.import_module(module)
except (ImportError, SyntaxError) as error:
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if frame.filename != "<string>" and "importlib" not in frame.filename]
    first, *further = f"{{type(error).__name__}}: {{error}}".splitlines()
    print(*traceback.format_list(theirs), *traceback.format_exception_only(type(error), error)[:-1], sep="", end="")
    print(*further, first, sep="\\n")
    sys.exit({_CANNOT})
except BaseException:
    sys.exit()
for name in attribute.split("."):
    if not hasattr(found, name):
        print(f"{{module}} has no {{attribute}}")
        sys.exit({_CANNOT})
    found = getattr(found, name)
worktree, file = sys.argv[2], os.path.realpath(getattr(sys.modules[module], "__file__", None) or "")
if worktree and not file.startswith(worktree + os.sep):
    print(file)
    sys.exit({_ELSEWHERE})
"""


_NEEDED = {"sqlalchemy": "SQLAlchemy", "uvicorn": "uvicorn"}
_OLDEST = (3, 9)
_SAYS = f"""
import sys
print("Python %d.%d" % sys.version_info[:2])
import importlib.util as u
print("lacks", *(name for name in {tuple(_NEEDED)} if u.find_spec(name) is None))
"""


def _check_interpreter(python: str, folder: str | None, environment: Mapping[str, str]) -> None:
    """Refuse a service's interpreter that cannot be run, is too old, or lacks SQLAlchemy or uvicorn."""
    command = [python, "-c", _SAYS]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:  # a slow machine is no answer
        return
    except OSError as error:
        raise UsageError(
            f"The interpreter {python} cannot be run: {error.strerror}.", next_step="Check [target] python and dir."
        ) from error
    said = re.search(r"^Python (\d+)\.(\d+)$(?:\n^lacks(.*)$)?", done.stdout, re.MULTILINE)
    if said is None:
        raise UsageError(
            f"The interpreter {python} runs no Python: it ended with {in_words(done.returncode)}.",
            next_step="Name the service's own in [target] python, such as .venv/bin/python.",
            detail=done.stderr[-2000:],
        )
    if (int(said[1]), int(said[2])) < _OLDEST:
        raise UsageError(
            f"The interpreter {python} is Python {said[1]}.{said[2]}, and the probe needs {_OLDEST[0]}.{_OLDEST[1]}.",
            next_step="Name an environment of a newer one in [target] python.",
        )
    if lacking := [_NEEDED[name] for name in (said[3] or "").split()]:
        raise UsageError(
            f"The interpreter {python} has no {' and no '.join(lacking)}.",
            next_step="Name the service's own in [target] python, such as .venv/bin/python, or install what it lacks.",
        )


@contextmanager
def importing(cell: Cell) -> Iterator[None]:
    """Import the cell's app in a process of its own, with the target's environment, beside what the block does.

    The answer is waited for at the block's end; none within five seconds is none.

    Raises:
        UsageError: the interpreter cannot be run, is too old or lacks what it needs; the module or one it imports is
            not there or cannot be read, or has no such attribute; or it is not that of the commit that the cell names.
    """
    if cell.target.url is not None or _is_ours(cell):
        yield
        return
    environment = {**os.environ, **environment_of(cell, launch_id="import", database_url=_NOWHERE)}
    if cell.target.python is not None:
        _check_interpreter(cell.target.python, cell.target.dir, environment)
    if cell.target.command:  # which app it serves is its own to know
        yield
        return
    mark = uuid4().hex
    with tempfile.TemporaryFile() as output:
        command = [cell.target.python or sys.executable, "-c", _CODE, cell.target.app, _worktree(cell)]
        process = start_marked(command, environment=environment, output=output, mark=mark, folder=cell.target.dir)
        try:
            yield
            try:
                code = process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                return
            if code in (_CANNOT, _ELSEWHERE):
                lines = last_lines(output, 21)
                raise _cannot(cell, lines) if code == _CANNOT else _elsewhere(cell, lines[-1])
        finally:
            stop_groups([process], grace_s=0)
            sweep(mark)


def _is_ours(cell: Cell) -> bool:
    """Whether it is the reference service as it came with poolbench."""
    return cell.target.is_reference and cell.target.python is None and cell.target.dir is None


def _worktree(cell: Cell) -> str:
    """The top of the worktree that the service is to run from; "" for a cell that names no commit."""
    folder = Path(cell.target.dir or "")
    above = (folder, *folder.parents) if cell.target.ref is not None else ()
    return next((os.path.realpath(path) for path in above if (path / ".git").exists()), "")


def _elsewhere(cell: Cell, file: str) -> UsageError:
    return UsageError(
        f"The app {cell.target.app} of {cell.target.ref} is not that commit's: {file} is imported instead, which is "
        "installed in the interpreter's environment.",
        next_step='Put the folder with its code first: target.env = { PYTHONPATH = "src" }, or give the side its own '
        "target.python.",
    )


def _cannot(cell: Cell, lines: list[str]) -> UsageError:
    next_step = "Check [target] app, and that the folder and environment poolbench is started in have it."
    if "No module named 'psycopg2'" in lines[-1]:
        next_step = (
            "SQLAlchemy takes psycopg2 for an address that names no driver: give the service's variable the one it "
            'has, in [target] env, as "{db_url:postgresql+asyncpg}".'
        )
    return UsageError(
        f"The app {cell.target.app} cannot be imported: {lines[-1].rstrip('.')}.",
        next_step=next_step,
        detail="\n".join(lines[:-1]),  # where; empty when the app's own module is not there
    )
