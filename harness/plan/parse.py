"""An experiment's text, read step by step: TOML, overrides, schema, cells, rules."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.domain.experiment import SCHEMA_VERSION, Experiment
from harness.errors import UsageError
from harness.plan import rules
from harness.plan.cells import expand
from harness.plan.lines import MAX_DEPTH, Source, key_lines, too_deep
from harness.plan.locate import experiment_path
from harness.plan.outside import take_database_url, with_scenarios
from harness.plan.overrides import apply_overrides, replaced_by
from harness.plan.refs import with_commits
from harness.plan.schema import OPEN_KEYS, SECTIONS, check_variable, drop_key, set_key, validate

MAX_BYTES = 256 * 1024
_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)$")


def load_experiment(path: Path | None, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment file, a shipped experiment by its name, or the quickstart for None. Raises UsageError."""
    found = experiment_path(path)
    text = read_text(found, "Is it an experiment?")
    return parse_experiment(text, source=str(found), overrides=overrides, folder=found.parent)


def read_text(path: Path, question: str) -> str:
    """Read a file of TOML; `question` asks whether it is the right one where it is too large. Raises UsageError."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path} has {path.stat().st_size} bytes, the most is {MAX_BYTES}.", next_step=question)
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{path} cannot be read: {reason}.", next_step="Check the file.") from None


def parse_experiment(
    text: str, *, source: str, overrides: Sequence[str] = (), folder: Path | None = None
) -> Experiment:
    """Validate an experiment completely, its cells included.

    `source` is how errors call it. `folder` is where its scenarios are looked for first; those that are not shipped
    become absolute paths. Without a folder they are not looked for, and no file can be extended. Raises UsageError.
    """
    raw, origin = _extended(text, source, folder)
    matrix = dict(_flatten(_table(raw, "matrix", "Write [matrix], and a list for each key.", origin), origin))
    _join_open_tables(raw)
    overridden = apply_overrides(raw, matrix, overrides)
    check_depth(raw, "--set")
    origin = replace(origin, overridden=overridden)
    arms = _arms(raw, origin)
    _check_version(raw, origin)
    for name in {"named", "commits"} & set(raw):
        raise UsageError(f"{origin.where(name)}: unknown key {name!r}.", next_step="Take it out.")
    take_database_url(raw)
    base = validate(raw, origin)
    rules.check_cells(matrix, arms, origin)
    for key, values in matrix.items():
        _check_factor(base, key, values, origin)
    for name, keys in arms.items():
        _check_arm(base, name, keys, matrix, origin)
    experiment = replace(validate(raw | {"matrix": matrix, "arms": arms}, origin), named=_named(raw, matrix))
    cells = expand(experiment)
    rules.check_size(experiment, cells, origin)
    rules.check(experiment, cells, origin)
    return experiment if folder is None else with_commits(with_scenarios(experiment, folder, origin), origin)


def _extended(
    text: str, source: str, folder: Path | None, extending: tuple[Path, ...] = ()
) -> tuple[dict[str, Any], Source]:
    """A file's tables over those of the file that it extends, whose keys it may set anew; and where each key stands."""
    raw = read_toml(text, source)
    check_depth(raw, source)
    origin = Source(name=source, lines=key_lines(text))
    if (extends := raw.pop("extends", None)) is None:
        return raw, origin
    where = origin.where("extends")
    if not isinstance(extends, str) or folder is None:
        raise UsageError(
            f"{where}: extends must be the path of a file, in quotes.", next_step='Write it as extends = "_base.toml".'
        )
    path = (folder / extends).resolve()
    if path in extending:
        raise UsageError(f"{where}: {path.name} extends itself in the end.", next_step="Take one extends out.")
    if not path.is_file():
        raise UsageError(f"{where}: there is no file {path} to extend.", next_step="A path counts from this file.")
    base, base_origin = _extended(read_text(path, "Is it an experiment?"), str(path), path.parent, (*extending, path))
    for key in replaced_by(dict(_joined(raw))):
        drop_key(base, key)
    return _over(base, raw), replace(origin, base=base_origin)


def _over(base: Mapping[str, Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    """Tables of both, key by key; whatever else both have is the second's."""
    merged = dict(base)
    for key, value in raw.items():
        below = base.get(key)
        tables = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = _over(base[key], value) if tables else value
    return merged


def read_toml(text: str, source: str) -> dict[str, Any]:
    """Parse a file's text; `source` is how errors call it. Raises UsageError."""
    if line := too_deep(text):
        raise UsageError(
            f"{source}:{line}: lists and tables lie more than {MAX_DEPTH} deep in each other.",
            next_step="Close a bracket, or take some out.",
        )
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        found = _AT_LINE.search(message)
        line = int(found.group(1)) if found else text.rstrip().count("\n") + 1
        cause = _AT_LINE.sub("", message).rstrip(".")
        raise UsageError(
            f"{source}:{line}: not valid TOML: {cause[:1].lower()}{cause[1:]}.", next_step="Correct this line."
        ) from None
    except ValueError as error:  # a number with thousands of digits
        raise UsageError(f"{source}: not valid TOML: {error}.", next_step="Write a smaller number.") from None


def check_depth(raw: Mapping[str, Any], source: str) -> None:
    """Dotted keys nest as well, and all that follows goes through the tables by recursion."""
    level: list[tuple[str, Mapping[str, Any]]] = [("", raw)]
    for _ in range(MAX_DEPTH):
        level = [(top or key, inner) for top, table in level for key, inner in table.items() if isinstance(inner, dict)]
    if level:
        raise UsageError(
            f"{source}: tables lie more than {MAX_DEPTH} deep in each other below {level[0][0]}.",
            next_step="No key of poolbench has that many dots.",
        )


def _check_version(raw: Mapping[str, Any], source: Source) -> None:
    version = raw.get("schema_version")
    if version is None:
        raise UsageError(
            f"{source.name}: schema_version is missing.",
            next_step=f"Begin the file with schema_version = {SCHEMA_VERSION}.",
        )
    if type(version) is not int or version != SCHEMA_VERSION:
        raise UsageError(
            f"{source.where('schema_version')}: schema_version must be {SCHEMA_VERSION}, not {version!r}.",
            next_step="Use the poolbench that the file was written for, or bring the file up to date.",
        )


def _table(raw: dict[str, Any], name: str, next_step: str, source: Source) -> Mapping[str, Any]:
    table = raw.pop(name, {})
    if not isinstance(table, Mapping):
        raise UsageError(f"{source.where(name)}: {name} must be a table.", next_step=next_step)
    return table


def _arms(raw: dict[str, Any], source: Source) -> Mapping[str, Mapping[str, Any]]:
    """Name of each arm -> the dotted keys that it overrides, with their values."""
    instruction = "Write a table for each side: [arms.base] and [arms.head]."
    arms = _table(raw, "arms", instruction, source)
    for name, table in arms.items():
        if not isinstance(table, Mapping):
            raise UsageError(f"{source.where(f'arms.{name}')}: arms.{name} must be a table.", next_step=instruction)
    return {name: dict(_overridden(table)) for name, table in arms.items()}


def _overridden(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested and dotted keys alike become "section.key"; a dot within a user's own key belongs to it."""
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and (key in SECTIONS or key in OPEN_KEYS or not prefix):
            inner = _joined(value) if key in OPEN_KEYS else value.items()
            yield from _overridden(dict(inner), f"{key}.")
        else:
            yield key, value


def _flatten(table: Mapping[str, Any], source: Source, prefix: str = "") -> Iterator[tuple[str, list[Any]]]:
    """Nested, dotted and quoted keys alike become "section.key" with the list of its values."""
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _flatten(value, source, f"{key}.")
        elif isinstance(value, list):
            yield key, value
        else:
            raise UsageError(
                f"{source.where(f'matrix.{key}')}: matrix key {key} must be a list of values, not a single one.",
                next_step=f"Write {key} = [...], or set it in its own section.",
            )


def _join_open_tables(raw: dict[str, Any]) -> None:
    """`pg_stat_statements.track = "all"` under [database.settings] is one setting, not a table."""
    for path in OPEN_KEYS:
        section, _, name = path.partition(".")
        table = raw.get(section)
        if isinstance(table, dict) and isinstance(table.get(name), dict):
            table[name] = dict(_joined(table[name]))


def _joined(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _joined(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _named(raw: Mapping[str, Any], matrix: Mapping[str, Any]) -> tuple[str, ...]:
    """Every dotted key that is given a value, in the file's order."""
    given = (f"{section}.{key}" for section, keys in raw.items() if isinstance(keys, Mapping) for key in keys)
    return tuple(dict.fromkeys((*given, *matrix)))


def _check_factor(base: Experiment, key: str, values: Sequence[Any], source: Source) -> None:
    check_variable(key, source)
    if not values:
        raise UsageError(
            f"{source.where(f'matrix.{key}')}: matrix key {key} has no values.",
            next_step="Give at least one value, or take the key out.",
        )
    for value in values:
        trial: dict[str, Any] = {"schema_version": base.schema_version, "name": base.name}
        set_key(trial, key, value)
        validate(trial, source, origin=f"matrix.{key}")


def _check_arm(base: Experiment, name: str, keys: Mapping[str, Any], matrix: Mapping[str, Any], source: Source) -> None:
    if not rules.NAME.fullmatch(name):
        raise UsageError(
            f"{source.where(f'arms.{name}')}: an arm cannot be called {name!r}.",
            next_step="Use up to 60 letters, digits, - and _, beginning with a letter or digit.",
        )
    for key, value in keys.items():
        path = f"arms.{name}.{key}"
        check_variable(key, source, path)
        if key in matrix:
            raise UsageError(
                f"{source.where(path)}: {key} is varied by [matrix], and set by the arm {name}.",
                next_step="Take it out of one of the two.",
            )
        trial: dict[str, Any] = {"schema_version": base.schema_version, "name": base.name}
        set_key(trial, key, value)
        validate(trial, source, origin=path)
