"""Loads a scenario for one launch and finds out what the chosen load model can do with its user classes."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import gevent
import locust
from locust.argument_parser import get_empty_argument_parser
from locust.env import Environment
from locust.event import Events
from locust.exception import InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately
from locust.user.task import TaskSet

from harness.domain.experiment import LoadModel
from harness.domain.load import LaunchLoad
from harness.errors import UsageError
from harness.generator.waiting import calls_wait

CLOSED_INSTEAD = 'Use the closed model for it (model = "closed"), which runs every Locust class as it comes.'
ENDS_TASK = (RescheduleTask, RescheduleTaskImmediately, InterruptTaskSet)
"""What a task raises to end itself early without anything having gone wrong."""
RAISED = (Exception, gevent.Timeout, SystemExit)
"""What a scenario's code may raise that is the outcome of its arrival; gevent's Timeout is no Exception."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioTask:
    """What one arrival of the open model executes on an instance of `user_class`."""

    name: str
    user_class: type[locust.User]
    weight: float
    run: Callable[[Any], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A scenario as loaded for one launch: its classes, bound to the launch's host, and their environment."""

    user_classes: tuple[type[locust.User], ...]
    environment: Environment
    tasks: tuple[ScenarioTask, ...]
    """of the open model; empty in the closed one"""
    notes: tuple[str, ...]


def load_scenario(launch: LaunchLoad, models: Set[LoadModel], parsed_options: Any) -> Scenario:
    """Load the launch's scenario into modules of its own, so that no global leaks from launch to launch.

    Raises UsageError when the file is missing or cannot be imported, has no user class, or has one that the open
    model cannot run honestly.
    """
    events = _make_events()
    module = _import_scenario(launch, events)
    found = _user_classes(module)
    if not found:
        raise UsageError(
            f"The scenario {launch.scenario} has no user class.",
            next_step="Define a class that derives from locust's FastHttpUser or HttpUser and has a @task.",
        )
    classes = tuple(_bind(user_class, launch) for user_class in found)
    options = _with_own_arguments(parsed_options, events)
    environment = Environment(user_classes=list(classes), events=events, host=launch.host, parsed_options=options)
    tasks, notes = _open_tasks(classes, launch.scenario) if "open" in models else ((), ())
    return Scenario(user_classes=classes, environment=environment, tasks=tasks, notes=(*_shapes(module), *notes))


def silence(scenario: Path, arrivals: int) -> UsageError:
    """What is wrong with a scenario whose tasks send nothing."""
    return UsageError(
        f"The scenario {scenario} sent no request through Locust's HTTP clients in {arrivals} arrivals: "
        "there is nothing to measure.",
        next_step="Let its tasks call self.client, an HttpUser's or FastHttpUser's.",
    )


def _with_own_arguments(parsed_options: Any, events: Events) -> Any:
    """Locust's options and the scenario's own, those with the values that their variables or their defaults give."""
    parser = get_empty_argument_parser(add_help=False, default_config_files=[])
    hook: Any = events.init_command_line_parser
    hook.fire(parser=parser)
    return Namespace(**{**vars(parser.parse_args([])), **vars(parsed_options or Namespace())})


def _shapes(module: ModuleType) -> tuple[str, ...]:
    """What is to be said of the load shapes in a scenario."""
    return tuple(
        f"The load shape {name} does not apply: the load is the experiment's."
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, locust.LoadTestShape) and not value.abstract
    )


def _make_events() -> Events:
    make: Any = Events  # Locust's constructor is not typed
    events: Events = make()
    return events


def _own_lines(error: BaseException) -> str:
    """The scenario's own lines that led to the error, without ours and the import system's."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and not frame.filename.startswith("<frozen")
    ]
    return "".join([*traceback.format_list(frames[-3:]), *traceback.format_exception_only(error)])


def _import_scenario(launch: LaunchLoad, events: Events) -> ModuleType:
    path = launch.scenario
    if not path.is_file():
        raise UsageError(
            f"The scenario {path} does not exist.", next_step="Check [load] scenario: a shipped name or a file's path."
        )
    name = f"poolbench_scenario_{launch.launch_id}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"The scenario {path} is not a Python file.", next_step="Give it the suffix .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _fresh_siblings(path.parent.resolve()), _own_events(events):
            spec.loader.exec_module(module)
    except RAISED as error:
        raise UsageError(
            f"The scenario {path} cannot be imported: {_where(error, path)}{type(error).__name__}: {error}.",
            next_step=f"Make `python -m locust -f {path} --list` work first.",
            detail=_own_lines(error),
        ) from error
    return module


@contextmanager
def _fresh_siblings(folder: Path) -> Iterator[None]:
    """Let the scenario import its neighbours by name, as under plain locust, and forget them afterwards.

    The scenario keeps its references; the next launch's copy imports its neighbours anew.
    """
    known = set(sys.modules)
    before = list(sys.path)
    sys.path[:0] = [str(folder), str(Path.cwd())]
    try:
        yield
    finally:
        late = dict.fromkeys((*before, str(folder), str(Path.cwd())))
        sys.path[:] = list(late)  # both last, for imports inside functions
        for name in set(sys.modules) - known:
            if _is_neighbour(sys.modules[name], folder):
                del sys.modules[name]


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


def _user_classes(module: ModuleType) -> list[type[locust.User]]:
    return [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, locust.User) and value.abstract is False and value.weight > 0
    ]


def _bind(user_class: type[locust.User], launch: LaunchLoad) -> type[locust.User]:
    """The class for one launch: its host, and one connection an instance, since an instance serves one arrival."""
    attributes: dict[str, Any] = {
        "host": launch.host,
        "__module__": user_class.__module__,
        "__qualname__": user_class.__qualname__,
        "__doc__": user_class.__doc__,
    }
    if issubclass(user_class, locust.FastHttpUser):
        attributes["concurrency"] = 1
    metaclass: Any = type(user_class)
    bound: type[locust.User] = metaclass(user_class.__name__, (user_class,), attributes)
    if not bound.tasks:
        raise UsageError(
            f"The user class {user_class.__name__} in {launch.scenario} has no task.",
            next_step="Mark a method with @task, or set abstract = True if it is only a base class.",
        )
    return bound


def _open_tasks(classes: Sequence[type[locust.User]], path: Path) -> tuple[tuple[ScenarioTask, ...], tuple[str, ...]]:
    """Every task of every class with its share of the arrivals: the class's weight, divided as its tasks weigh."""
    tasks: list[ScenarioTask] = []
    notes: list[str] = []
    for user_class in classes:
        _refuse_wait(user_class, path)
        counts: Mapping[Any, int] = Counter(user_class.tasks)
        for task, count in counts.items():
            tasks.append(
                ScenarioTask(
                    name=task_name(user_class, task, alone=len(classes) == 1),
                    user_class=user_class,
                    weight=user_class.weight * count / len(user_class.tasks),
                    run=_runner(user_class, task, path),
                )
            )
        if user_class.fixed_count:
            notes.append(
                f"fixed_count of {user_class.__name__} does not apply in the open model: its weight gives its share."
            )
        if user_class.wait_time is not locust.User.wait_time:
            notes.append(
                f"wait_time of {user_class.__name__} does not apply in the open model: arrivals follow the rate."
            )
    return tuple(tasks), tuple(notes)


def task_name(user_class: type[locust.User], task: Any, *, alone: bool) -> str:
    """The name of a task in rows and ledger: with its class's where the scenario has several."""
    name = getattr(task, "__name__", type(task).__name__)
    return name if alone else f"{user_class.__name__}.{name}"


def _runner(user_class: type[locust.User], task: Any, path: Path) -> Callable[[Any], object]:
    if not _is_task_set(task):
        runner: Callable[[Any], object] = task
        return runner
    if not issubclass(task, locust.SequentialTaskSet):
        raise UsageError(
            f"{user_class.__name__} in {path} nests the TaskSet {task.__name__}, "
            "which runs until it interrupts itself: the open model has no end for such an arrival.",
            next_step=CLOSED_INSTEAD,
        )
    for inner in task.tasks:
        if _is_task_set(inner):
            raise UsageError(
                f"The SequentialTaskSet {task.__name__} in {path} nests another TaskSet, "
                f"{getattr(inner, '__name__', inner)}, which the open model cannot run.",
                next_step=CLOSED_INSTEAD,
            )
    return _one_pass(task)


def _is_task_set(task: Any) -> bool:
    return inspect.isclass(task) and issubclass(task, TaskSet)


def _one_pass(task_set_class: type[locust.SequentialTaskSet]) -> Callable[[locust.User], None]:
    """One arrival of a SequentialTaskSet: every task once, in order, until one interrupts."""

    def run(user: locust.User) -> None:
        sequence: Any = task_set_class(user)
        sequence.on_start()
        try:
            for task in sequence.tasks:
                try:
                    sequence.execute_task(task)
                except (RescheduleTask, RescheduleTaskImmediately):
                    continue
        finally:
            sequence.on_stop()

    return run


def _refuse_wait(user_class: type[locust.User], path: Path) -> None:
    sets: list[Any] = [task for task in user_class.tasks if _is_task_set(task)]
    for owner in [user_class, *sets]:
        for method in _own_functions(owner):
            if calls_wait(method):
                raise UsageError(
                    f"{owner.__name__}.{method.__name__} in {path} calls self.wait(): in the open model nobody waits "
                    "between tasks, arrivals follow the rate.",
                    next_step=CLOSED_INSTEAD,
                )


def _own_functions(owner: type) -> Iterator[Callable[..., object]]:
    """The functions that the scenario's author wrote: the class's and its bases', but not Locust's."""
    for base in owner.__mro__:
        if base.__module__.partition(".")[0] != "locust":
            yield from (value for value in vars(base).values() if inspect.isfunction(value))
    yield from (task for task in getattr(owner, "tasks", ()) if inspect.isfunction(task))
