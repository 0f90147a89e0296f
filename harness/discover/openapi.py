"""An OpenAPI document as the operations that a scenario could send."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from harness.domain.discovered import Operation

METHODS = ("get", "post", "put", "patch", "delete")


def operations_of(document: Any) -> tuple[Operation, ...]:
    """Every operation in the document's order; nothing of what is no such document."""
    paths = document.get("paths") if isinstance(document, Mapping) else None
    return tuple(_operations(paths)) if isinstance(paths, Mapping) else ()


def _operations(paths: Mapping[str, Any]) -> Iterator[Operation]:
    for path, item in paths.items():
        if not isinstance(item, Mapping):
            continue
        for method in METHODS:
            if isinstance(described := item.get(method), Mapping):
                parameters = [*item.get("parameters", ()), *described.get("parameters", ())]
                yield _operation(method, path, [each for each in parameters if isinstance(each, Mapping)])


def _operation(method: str, path: str, parameters: list[Mapping[str, Any]]) -> Operation:
    url, query, lacks = path, {}, []
    for parameter in parameters:
        name, where = str(parameter.get("name", "")), parameter.get("in")
        if where != "path" and not parameter.get("required"):
            continue
        example = _example(parameter)
        if example is None or where not in {"path", "query"}:
            lacks.append(name)
        elif where == "path":
            url = url.replace(f"{{{name}}}", quote(str(example), safe=""))
        else:
            query[name] = example
    filled = f"{url}?{urlencode(query)}" if query else url
    return Operation(method=method, path=path, url=None if lacks or "{" in filled else filled, lacks=tuple(lacks))


def _example(parameter: Mapping[str, Any]) -> Any:
    """What the document itself gives as a value: an example, a default, or the first that is allowed."""
    schema = parameter.get("schema")
    schema = schema if isinstance(schema, Mapping) else {}
    named = parameter.get("examples")
    first: Any = next(iter(named.values()), {}) if isinstance(named, Mapping) else {}
    several = [*(schema.get("examples") or ()), *(schema.get("enum") or ())]
    given = (parameter.get("example"), first.get("value"), schema.get("example"), schema.get("default"), *several)
    return next((value for value in given if value is not None), None)
