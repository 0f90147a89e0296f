"""The files `poolbench init` writes: an experiment with every key, its default and its meaning, all of it optional,
and for a service a scenario to begin with.

The experiment's text is made from the value classes themselves, so it cannot fall behind them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from harness.domain import experiment as schema
from harness.domain.discovered import Discovered, Operation
from harness.plan.json_schema import SCHEMA_FILE
from harness.plan.schema import meanings

HEADER = """\
#:schema ./{schema_file}
# Which question does this experiment answer?
# Lines that are commented out show the defaults{of_whom}. Check it with: poolbench plan {name}.toml
schema_version = 1
name = "{name}"
question = "Which pool size should this service run with?"
{comment}
# The cells are the product of these lists. Any key of [pool], [session], [target], [database], [network] and [load]
# may vary.
[matrix]
{factor}
"""
OF_THE_REFERENCE = """; in [pool] and [session] those of the reference service:
# yours keeps its own where nothing is set"""
OF_A_DRIVERS_POOL = (
    '# target.env.NAME = ["5", "10", "20"]  # NAME: the variable that the size of the service\'s pool is read from'
)
BASE: Mapping[str, Mapping[str, Any]] = {"load": {"rate": "60%"}, "pool": {"max_overflow": 0}}
"""Keys that the written file sets, so that it runs as it is."""


def experiment_text(
    name: str,
    *,
    sizes: Sequence[int] = (5, 10, 20),
    chosen: Mapping[str, Mapping[str, Any]] = BASE,
    found: Sequence[str] = (),
) -> str:
    """A complete experiment file that validates and runs.

    Args:
        sizes: of the pool, which it compares; none where the service's pool takes no setting.
        chosen: keys that it sets, by section.
        found: lines that stand as comments at its head.
    """
    comment = "".join(f"# {line}\n" for line in found)
    factor = f"pool.pool_size = {list(sizes)}" if sizes else OF_A_DRIVERS_POOL
    of_whom = OF_THE_REFERENCE if "app" in chosen.get("target", {}) else ""
    head = HEADER.format(name=name, schema_file=SCHEMA_FILE, factor=factor, comment=comment, of_whom=of_whom)
    return head + "".join(_section(key, cls, chosen.get(key, {})) for key, cls in _sections())


def target_text(name: str, target: Mapping[str, Any]) -> str:
    """The least experiment that starts a service, to look at it."""
    keys = "".join(f"{key} = {_toml(value)}\n" for key, value in target.items())
    return f'schema_version = 1\nname = "{name}"\n[load]\nrate_rps = 1.0\n[target]\n{keys}'


def chosen_for(found: Discovered, target: Mapping[str, Any], scenario: str) -> Mapping[str, Mapping[str, Any]]:
    """The keys that an experiment on this service sets."""
    own = {**target, "env": {**found.sources.env, **target.get("env", {})}}
    if found.health_path or found.operations:
        own["health_path"] = found.health_path or found.openapi_path
    database = {"prepare": ["{python}", "-m", "alembic", "upgrade", "head"]} if found.sources.has_alembic else {}
    pool = BASE["pool"] if sizes_around(found) else {}
    return {"pool": pool, "target": own, "database": database, "load": {"rate": "40%", "scenario": scenario}}


def sizes_around(found: Discovered) -> tuple[int, ...]:
    """Half of the service's own pool, its own, twice that, and all that it may open with its overflow.

    None where it has a pool of the driver's own alone.
    """
    own = next((engine for engine in found.engines if engine.pool_size), None)
    if own is None or own.pool_size is None:
        return () if found.driver_pools and not found.engines else (5, 10, 20)
    size, most = own.pool_size, own.pool_size + max(0, own.max_overflow or 0)
    return tuple(sorted({max(1, size // 2), size, 2 * size, most}))


SCENARIO = """\
# A scenario to begin with, made from the service's OpenAPI document. Give each task the weight that it has in reality:
# what the service is asked decides which pool it needs. It runs under plain Locust as well.
from locust import FastHttpUser, task


class Visitor(FastHttpUser):
"""
TODO = "    # TODO: "
"""What is left to the user in the scenario that is written for a service; nothing of poolbench's own."""


def scenario_text(found: Discovered) -> str:
    """A plain locustfile: a task for each operation that can be sent as it is, all others as comments to fill in."""
    names: set[str] = set()
    health = [operation for operation in found.operations if operation.path == found.health_path]
    others = [operation for operation in found.operations if operation.path != found.health_path]
    ready = [each for each in found.ready if each in others]
    tasks = [_task(each, names, as_comment=each not in ready) for each in others]
    if not ready:
        path = found.health_path or "/"
        only = health[0] if health else Operation(method="get", path=path, url=path)
        todo = f"{TODO}replace this one by what the service's users ask for\n"
        tasks.insert(0, todo + _task(only, names, as_comment=False))
    return SCENARIO + "\n".join(tasks)


def _task(operation: Operation, names: set[str], *, as_comment: bool) -> str:
    name = "_".join([operation.method, *re.findall(r"[a-z0-9]+", operation.path.lower())])
    while name in names:
        name += "_"
    names.add(name)
    url = operation.url or operation.path
    named = "" if url == operation.path else f", name={operation.path!r}"
    body = ", json={}" if operation.method in {"post", "put", "patch"} else ""
    lines = ["@task", f"def {name}(self) -> None:", f"    self.client.{operation.method}({url!r}{named}{body})"]
    if not as_comment:
        return "".join(f"    {line}\n" for line in lines)
    return f"{TODO}{_why(operation)}\n" + "".join(f"    # {line}\n" for line in lines)


def _why(operation: Operation) -> str:
    if operation.lacks:
        return f"needs {', '.join(operation.lacks)}"
    if operation.method != "get":
        return "changes data: fill in what it needs"
    return f"answered {operation.status or 'nothing in time'} when it was tried on an empty database"


def _sections() -> Iterator[tuple[str, type]]:
    hints = get_type_hints(schema.Experiment)
    for field in fields(schema.Experiment):
        if is_dataclass(hints[field.name]):
            yield field.name, hints[field.name]


def _section(key: str, cls: type, set_here: Mapping[str, Any]) -> str:
    return "\n".join((f"\n[{key}]", *_lines(key, cls, set_here))) + "\n"


def _lines(key: str, cls: type, set_here: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    described, defaults = meanings(cls), cls()
    for field in fields(cls):
        if field.metadata:  # it says that this is no key
            continue
        if is_dataclass(inner := getattr(defaults, field.name)):
            yield from _lines(f"{key}.{field.name}", type(inner), {}, f"{prefix}{field.name}.")
            continue
        chosen = field.name in set_here
        value = set_here[field.name] if chosen else getattr(defaults, field.name)
        name = f"{'' if chosen else '# '}{prefix}{field.name}"
        yield f"{name} = {_toml(value)}  # {described.get(field.name, '')}".rstrip(" #")


def _toml(value: Any) -> str:
    """A value as TOML; None, which TOML lacks, as an empty string to fill in."""
    if value is None:
        return '""'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)
