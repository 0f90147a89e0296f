"""The command-line arguments that a scenario adds to Locust's own, with the values of [load.arguments]."""

from __future__ import annotations

import argparse
from argparse import Action, Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from locust.argument_parser import get_empty_argument_parser
from locust.event import Events

from harness.domain.experiment import ArgumentValue
from harness.errors import UsageError
from harness.generator.events import fire

_LOCUSTS = ("locustfile", "config")
"""What the parser knows before the scenario adds to it."""
_REPEATED = (argparse._AppendAction, argparse._ExtendAction)


def parse_arguments(arguments: Mapping[str, ArgumentValue], events: Events, path: Path) -> Namespace:
    """The scenario's own arguments: as given, else from their environment variables or their defaults.

    Raises UsageError for one that it does not have, for a value it does not take and for a required one without any.
    """
    parser: Any = get_empty_argument_parser(add_help=False, default_config_files=[])
    fire(events, "init_command_line_parser", lambda _: None, refusing=str(path), parser=parser)
    own = [action for action in parser._actions if action.dest not in _LOCUSTS]

    def refuse(_status: int = 0, message: str | None = None) -> NoReturn:
        cause = (message or "").strip().rpartition("error: ")[2]
        raise UsageError(
            f"The scenario {path} does not accept its arguments: {cause}.",
            next_step=f"Set them in [load.arguments]{_offer(own)}",
        )

    parser.exit = refuse  # what argparse calls for every mistake
    return Namespace(**vars(parser.parse_args(list(_command_line(arguments, own, path)))))


def _command_line(arguments: Mapping[str, ArgumentValue], own: Sequence[Action], path: Path) -> Iterator[str]:
    by_name = {_plain(name): action for action in own for name in (action.dest, *action.option_strings)}
    last: list[str] = []
    for name, value in arguments.items():
        action = by_name.get(_plain(name))
        if action is None:
            raise UsageError(
                f"The scenario {path} has no argument {name!r}.",
                next_step=f"Take load.arguments.{name} out{_offer(own)}",
            )
        values = value if isinstance(value, tuple | list) else (value,)
        if len(values) > 1 and action.nargs in (None, "?") and not isinstance(action, _REPEATED):
            raise UsageError(f"The scenario's argument {name!r} takes one value.", next_step="Give one, not a list.")
        if action.option_strings:
            yield from _option(action, values)
        else:
            last += [_text(action, each) for each in values]
    yield from last


def _option(action: Action, values: Sequence[str | float | bool]) -> Iterator[str]:
    option = max(action.option_strings, key=len)
    if isinstance(action, argparse.BooleanOptionalAction):
        yield next(each for each in action.option_strings if each.startswith("--no-") is not bool(values[0]))
    elif action.nargs == 0:
        yield from [option] if values[0] else []
    elif action.nargs in (None, "?"):
        yield from (f"{option}={_text(action, each)}" for each in values)
    else:
        yield from (option, *(_text(action, each) for each in values))


def _text(action: Action, value: str | float | bool) -> str:
    """As on a command line, where `type=bool` takes every text but the empty one for true."""
    return "" if value is False and action.type is bool else str(value)


def _plain(name: str) -> str:
    return name.lstrip("-").replace("-", "_")


def _offer(own: Sequence[Action]) -> str:
    names = ", ".join(dict.fromkeys(_plain(action.dest) for action in own))
    return f"; it has {names}." if names else "; it has none."
