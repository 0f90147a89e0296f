"""Whether a target's app can be imported: found out while Postgres starts, not once the database is filled."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from harness.deploy.launcher import environment_of
from harness.deploy.processes import start_marked, stop_groups, sweep
from harness.domain.experiment import Cell
from harness.errors import UsageError

_NOWHERE = "postgresql://poolbench:poolbench@127.0.0.1:9/poolbench"
"""what the app is given: an app that connects as it is imported fails at once, which is not judged"""
_PATIENCE_S = 5.0
_CANNOT = 86

# Only what another start would meet as well is judged. Everything else, a database that is not there above all, is left
# to the start itself, with a database.
_CODE = f"""
import importlib, sys, traceback
module, _, attribute = sys.argv[1].partition(":")
try:
    import uvicorn
except ImportError:
    print("its interpreter has no uvicorn, which is to serve it")
    sys.exit({_CANNOT})
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
"""


@contextmanager
def importing(cell: Cell) -> Iterator[None]:
    """Import the cell's app in a process of its own, with the target's environment, beside what the block does.

    The answer is waited for at the block's end; none within five seconds is none.

    Raises:
        UsageError: the module or one it imports is not there or cannot be read, or has no such attribute.
    """
    if cell.target.url is not None:
        yield
        return
    environment = {**os.environ, **environment_of(cell, launch_id="import", database_url=_NOWHERE)}
    mark = uuid4().hex
    with tempfile.TemporaryFile() as output:
        command = [cell.target.python or sys.executable, "-c", _CODE, cell.target.app]
        try:
            process = start_marked(command, environment=environment, output=output, mark=mark, folder=cell.target.dir)
        except OSError as error:
            raise UsageError(
                f"The interpreter {command[0]} cannot be run: {error.strerror}.",
                next_step="Check [target] python and dir.",
            ) from error
        try:
            yield
            try:
                code = process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                return
            if code == _CANNOT:
                raise _cannot(cell, os.pread(output.fileno(), 1 << 20, 0).decode(errors="replace").splitlines())
        finally:
            stop_groups([process], grace_s=0)
            sweep(mark)


def _cannot(cell: Cell, lines: list[str]) -> UsageError:
    return UsageError(
        f"The app {cell.target.app} cannot be imported: {lines[-1].rstrip('.')}.",
        next_step="Check [target] app, and that the folder and environment poolbench is started in have it.",
        detail="\n".join(lines[-21:-1]),  # where; empty when the app's own module is not there
    )
