"""Imports a locustfile into a module of its own, with its neighbours, so that no global leaks from launch to launch."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import gevent
import locust
from locust.event import Events

from harness.errors import UsageError

RAISED = (Exception, gevent.Timeout, SystemExit)
"""What a scenario's code may raise that is the outcome of its arrival; gevent's Timeout is no Exception."""
OUR_OWN = "harness"
"""The one package of ours that is loaded already when a scenario, which may have one of that name, is imported."""


def import_scenario(path: Path, launch_id: str, events: Events) -> ModuleType:
    """Import the locustfile at `path`, with `events` as its `locust.events`. Raises UsageError."""
    if not path.is_file():
        raise UsageError(
            f"The scenario {path} does not exist.", next_step="Check [load] scenario: a shipped name or a file's path."
        )
    name = f"poolbench_scenario_{launch_id}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"The scenario {path} is not a Python file.", next_step="Give it the suffix .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _fresh_neighbours(module, path), _own_events(events):
            spec.loader.exec_module(module)
    except RAISED as error:
        raise UsageError(
            f"The scenario {path} cannot be imported: {_where(error, path)}{type(error).__name__}: {error}.",
            next_step=f"Make `python -m locust -f {path} --list` work first.",
            detail=own_lines(error),
        ) from error
    return module


def own_lines(error: BaseException) -> str:
    """The scenario's own lines that led to the error, without ours and the import system's."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).parent != Path(__file__).parent and not frame.filename.startswith("<frozen")
    ]
    return "".join([*traceback.format_list(frames[-3:]), *traceback.format_exception_only(error)])


@contextmanager
def _fresh_neighbours(module: ModuleType, path: Path) -> Iterator[None]:
    """Let the scenario import its neighbours by name, as under plain locust, and forget them afterwards.

    The scenario keeps its references; the next launch's copy imports its neighbours anew. A neighbour that imports the
    locustfile itself gets this module, and a package of the scenario's that is called as ours is comes before ours.
    """
    folders = [str(path.parent.resolve()), str(Path.cwd())]
    set_aside = _ours() if any((Path(folder) / OUR_OWN).exists() for folder in folders) else {}
    for name in set_aside:
        del sys.modules[name]
    known, before = set(sys.modules), list(sys.path)
    sys.modules.setdefault(path.stem, module)
    sys.path[:0] = folders
    try:
        yield
    finally:
        sys.path[:] = dict.fromkeys((*before, *folders))  # both last, for imports inside functions
        for name in set(sys.modules) - known:
            if _is_neighbour(sys.modules[name], Path(folders[0])) or name.partition(".")[0] == OUR_OWN:
                del sys.modules[name]
        if sys.modules.get(path.stem) is module:
            del sys.modules[path.stem]
        sys.modules.update(set_aside)


def _ours() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] == OUR_OWN}


def _is_neighbour(module: ModuleType, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    if file is None or "site-packages" in Path(file).parts or module.__name__.startswith("poolbench_scenario_"):
        return False
    return Path(file).resolve().is_relative_to(folder)


@contextmanager
def _own_events(events: Events) -> Iterator[None]:
    """Give `from locust import events` the launch's own hooks while its scenario is imported."""
    shared = locust.events
    locust.events = events
    try:
        yield
    finally:
        locust.events = shared


def _where(error: BaseException, path: Path) -> str:
    """ "line 12: " for the innermost line of the scenario's own file, "" when there is none."""
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f"line {error.lineno}: "
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).name == path.name
    ]
    return f"line {lines[-1]}: " if lines else ""
