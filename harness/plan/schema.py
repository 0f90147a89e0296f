"""The schema the domain's dataclasses spell out: which keys there are, which may vary, and whether values fit."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import inspect
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from harness.domain.experiment import (
    Capacity,
    Claim,
    DatabaseSpec,
    Design,
    Experiment,
    Gate,
    Limits,
    Load,
    Network,
    Observe,
    Pool,
    ProbeUser,
    Rule,
    Session,
    Slo,
    Target,
    Tune,
)
from harness.errors import UsageError
from harness.plan.lines import Source

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

Schema = TypeVar("Schema")

SECTIONS: Mapping[str, type] = {
    "pool": Pool,
    "session": Session,
    "target": Target,
    "database": DatabaseSpec,
    "network": Network,
    "load": Load,
    "design": Design,
    "slo": Slo,
    "probe_user": ProbeUser,
    "observe": Observe,
    "gate": Gate,
    "capacity": Capacity,
    "tune": Tune,
    "claim": Claim,
}
VARIABLE_SECTIONS = ("pool", "session", "target", "database", "network", "load")
OPEN_KEYS = ("database.settings", "target.env", "load.arguments")
"""Tables whose keys are the user's; a dot within such a key belongs to it (pg_stat_statements.track)."""

_NOT_VARIABLE: Mapping[str, str] = {
    "load.model": "open and closed latencies are never compared",
    "load.rate": "a run has one share of one capacity",
    "load.warmup_s": "it belongs to the measurement, not to a configuration",
    "load.measure_s": "it belongs to the measurement, not to a configuration",
    "load.processes": "it belongs to the measurement, not to a configuration",
    "load.workers": "it belongs to the measurement, not to a configuration",
    "database.url": "a run has one server",
}
_INSTEAD: Mapping[str, str] = {
    "load.model": "Run one experiment for each.",
    "load.rate": "Vary load.rate_rps instead.",
}

_SHOWN_MAX = 100
"""characters of a value in a message"""

_ALLOWED: Mapping[str, str] = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text in quotes",
    "tuple_type": "a list",
    "dict_type": "a table",
    "mapping_type": "a table",
    "dataclass_type": "a table",
}


@functools.cache
def known_keys() -> tuple[str, ...]:
    """Every dotted key of an experiment file."""
    top = [f.name for f in dataclasses.fields(Experiment) if f.name not in SECTIONS and not f.metadata]
    return (*top, *(key for name, kind in SECTIONS.items() for key in _keys(name, kind)))


def _keys(section: str, kind: type) -> Iterator[str]:
    for f in dataclasses.fields(kind):
        if isinstance(f.default_factory, type) and dataclasses.is_dataclass(f.default_factory):
            yield from _keys(f"{section}.{f.name}", f.default_factory)
        elif not f.metadata:
            yield f"{section}.{f.name}"


@functools.cache
def variable_keys() -> tuple[str, ...]:
    """Every dotted key a matrix may vary."""
    return tuple(k for k in known_keys() if k.partition(".")[0] in VARIABLE_SECTIONS and k not in _NOT_VARIABLE)


@functools.cache  # it reads the class's source
def meanings(section: type) -> Mapping[str, str]:
    """Return what each field of a section means: the string that stands below it in the class body, or a base's."""
    bodies = [ast.parse(inspect.getsource(kind)).body[0] for kind in reversed(section.__mro__[:-1])]
    body = [statement for kind in bodies if isinstance(kind, ast.ClassDef) for statement in kind.body]
    found = {}
    for statement, following in itertools.pairwise(body):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            match following:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    found[statement.target.id] = " ".join(text.split())
    return found


def key_parts(key: str) -> tuple[str, ...]:
    """The path of a dotted key; what follows an open table is one part, and so is the name of an endpoint."""
    for table in OPEN_KEYS:
        if key.startswith(table + "."):
            return (*table.split("."), key.removeprefix(table + "."))
    if key.startswith("slo."):  # an endpoint's name may have dots
        return ("slo", *(part.strip("\"'") for part in key.removeprefix("slo.").rsplit(".", 1)))
    return tuple(key.split("."))


def set_key(raw: dict[str, Any], key: str, value: Any) -> None:
    """Put a value at a dotted key, making tables on the way. Raises KeyError where a value stands in the way."""
    *tables, last = key_parts(key)
    for table in tables:
        raw = raw.setdefault(table, {})
        if not isinstance(raw, dict):
            raise KeyError(key)
    raw[last] = value


def drop_key(raw: dict[str, Any], key: str) -> None:
    """Take a dotted key out, if it is there."""
    *tables, last = key_parts(key)
    for table in tables:
        raw = raw.get(table, {})
        if not isinstance(raw, dict):
            return
    raw.pop(last, None)


def check_variable(key: str, source: Source, path: str = "") -> None:
    """Raise UsageError unless cells may differ in `key`; `path` is where it stands, in [matrix] unless it is given."""
    where = source.where(path or f"matrix.{key}")
    table = "[arms]" if path else "[matrix]"
    if reason := _NOT_VARIABLE.get(key):
        raise UsageError(
            f"{where}: {key} cannot be varied: {reason}.", next_step=_INSTEAD.get(key, f"Take it out of {table}.")
        )
    if key in variable_keys() or any(key.startswith(table + ".") for table in OPEN_KEYS):
        return
    if key in known_keys() or key in SECTIONS:
        sections = ", ".join(VARIABLE_SECTIONS)
        raise UsageError(
            f"{where}: {key} cannot be varied; only single keys of {sections} can.",
            next_step=f"Take it out of {table}.",
        )
    raise UsageError(f"{where}: unknown key {key!r} in {table}.", next_step=_suggest(key, variable_keys()))


def validate(raw: Mapping[str, Any], source: Source, *, origin: str = "") -> Experiment:
    """Turn plain tables into an Experiment.

    `origin` is the path of a value that is being tried ("matrix.pool.pool_size"), so that an error points at it. Raises
    UsageError naming the file, line and key, what is allowed and what was given; further errors follow as its detail.
    """
    return checked(Experiment, _with_endpoints(raw, source), source, known=known_keys(), origin=origin)


def checked(
    schema: type[Schema], raw: Mapping[str, Any], source: Source, *, known: Sequence[str], origin: str = ""
) -> Schema:
    """Turn plain tables into a value of `schema`, as `validate` does; `known` are the keys an unknown one may mean."""
    from pydantic import ValidationError

    for key, value in _leaves(raw):
        _check_plain(_as_written(key), value, source)
    try:
        kind: type = schema  # as mypy knows it to be hashable
        result: Schema = adapter(kind).validate_json(json.dumps(raw), strict=True)
    except ValidationError as error:
        problems = _problems(error.errors(include_url=False), raw, source, known, origin)
        first, *others = problems
        raise UsageError(first[0], next_step=first[1], detail="\n".join(cause for cause, _ in others)) from None
    return result


def _with_endpoints(raw: Mapping[str, Any], source: Source) -> Mapping[str, Any]:
    """Gather the tables within [slo], which are named after endpoints, under one name."""
    slo = raw.get("slo")
    if not isinstance(slo, Mapping):
        return raw
    limits = {field.name for field in dataclasses.fields(Limits)}
    tables = {name: table for name, table in slo.items() if name not in limits and isinstance(table, Mapping)}
    others = {name: value for name, value in slo.items() if name not in tables}
    if "*" in tables:
        raise UsageError(
            f"{source.where('slo.*')}: what is promised of everything is [slo] itself.",
            next_step='Write its keys below [slo], not below [slo."*"].',
        )
    if "endpoints" in others:
        raise UsageError(f"{source.where('slo.endpoints')}: unknown key 'slo.endpoints'.", next_step="Take it out.")
    return {**raw, "slo": {**others, "endpoints": tables}}


def _as_written(key: str) -> str:
    """A key as the file has it: what is gathered under slo.endpoints stands in [slo] itself."""
    return f"slo.{key.removeprefix('slo.endpoints.')}" if key.startswith("slo.endpoints.") else key


@functools.cache
def adapter(schema: type) -> TypeAdapter[Any]:
    """Return what turns plain values into one of `schema`, made once."""
    from pydantic import TypeAdapter

    return TypeAdapter(schema)


def _leaves(raw: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(raw, Mapping):
        for key, value in raw.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(raw, list | tuple):
        for value in raw:
            yield from _leaves(value, path)
    else:
        yield path, raw


def _check_plain(key: str, value: Any, source: Source) -> None:
    """TOML knows dates, nan and inf; no key takes them."""
    if value is not None and not isinstance(value, str | int | float):
        raise UsageError(f"{source.where(key)}: {key} cannot be a date or a time.", next_step="Put it in quotes.")
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{source.where(key)}: {key} must be finite, not {value}.", next_step="Give a plain number.")


def _problems(
    errors: Iterable[ErrorDetails], raw: Mapping[str, Any], source: Source, known: Sequence[str], origin: str
) -> list[tuple[str, str]]:
    """(cause, next step) for each key that does not fit, each key once."""
    by_path: dict[tuple[str, ...], list[ErrorDetails]] = {}
    for error in sorted(errors, key=lambda error: error["type"] == "missing"):  # a misspelt key is missing as well
        by_path.setdefault(_path_in(raw, error), []).append(error)
    return [_problem(path, found, source, known, origin) for path, found in by_path.items()]


def _path_in(raw: Any, error: ErrorDetails) -> tuple[str, ...]:
    """The error's place in the file: pydantic's own, without list positions and names of union members."""
    path: list[str] = []
    for part in error["loc"]:
        if isinstance(part, int) and isinstance(raw, list) and isinstance(raw[part], Mapping):
            raw = raw[part]  # one of the tables [[gate.rule]]
            continue
        if isinstance(part, int) or not isinstance(raw, Mapping):
            break
        path.append(part)
        if part not in raw:
            break
        raw = raw[part]
    return tuple(path)


def _problem(
    path: tuple[str, ...], errors: list[ErrorDetails], source: Source, known: Sequence[str], origin: str
) -> tuple[str, str]:
    key, error = _as_written(".".join(path)), errors[0]
    # a value that is tried stands elsewhere than it says
    where = source.where(origin or key)
    if error["type"] == "missing":
        return f"{where}: {key} is missing.", f"Add {key} to the file."
    if error["type"] == "unexpected_keyword_argument":
        endpoint = path[2] if path[:2] == ("slo", "endpoints") else None
        own = known if endpoint is None else [f"slo.{endpoint}.{field.name}" for field in dataclasses.fields(Limits)]
        if path[:2] == ("gate", "rule"):
            own = [f"gate.rule.{field.name}" for field in dataclasses.fields(Rule)]
        return f"{where}: unknown key {key!r}.", _suggest(key, own)
    if key.endswith(".prepare"):
        allowed = "a list of words, or a list of such lists"
    elif len(errors) > 1:  # one for each type that the value could have
        allowed = f"text, a number, true or false{_or_list(key)}"
    else:
        allowed = _allowed(error)
    return f"{where}: {key} must be {allowed}, not {_shown(key, error['input'])}.", f"Change {key}."


def _or_list(key: str) -> str:
    return ", or a list of texts and numbers" if key.startswith("load.arguments") else ""


def _allowed(error: ErrorDetails) -> str:
    limits = error.get("ctx", {})
    match error["type"]:
        case "greater_than":
            return f"more than {_plain(limits['gt'])}"
        case "greater_than_equal":
            return f"at least {_plain(limits['ge'])}"
        case "less_than_equal":
            return f"at most {_plain(limits['le'])}"
        case "too_long":
            return f"at most {limits['max_length']} entries"
        case "literal_error":
            return f"one of {limits['expected']}"
        case kind:
            return _ALLOWED.get(kind, error["msg"])


def _shown(key: str, value: Any) -> str:
    """The value as TOML writes it; never what may be a secret."""
    secret = key.endswith(".url") or key.startswith(("target.env", "load.arguments"))
    if secret:
        return "this value"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."


def _plain(limit: float) -> str:
    return f"{limit:.15g}"


def _suggest(key: str, known: Iterable[str]) -> str:
    """The known key that looks most like `key`, or one whose last part does."""
    known = tuple(k for k in known if not key.startswith(f"{k}."))  # not the table it stands in
    if close := difflib.get_close_matches(key, known, n=1, cutoff=0.75):
        return f"Did you mean {close[0]!r}?"
    last = key.rpartition(".")[2]
    by_last = {k.rpartition(".")[2]: k for k in reversed(known)}
    if near := difflib.get_close_matches(last, by_last, n=1, cutoff=0.6):
        return f"Did you mean {by_last[near[0]]!r}?"
    inside = [k for k in known if k.rpartition(".")[0] == key.rpartition(".")[0] and "." in k]
    return f"Known keys are {', '.join(inside or dict.fromkeys(k.partition('.')[0] for k in known))}."
