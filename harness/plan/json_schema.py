"""The experiment file as a JSON schema: with it an editor completes keys, explains them and marks mistakes.

It is made from the value classes that the file is validated into, so it cannot fall behind them. It says which keys
there are and what each may be; what several keys together may not be (`harness.plan.rules`), `poolbench plan` says.
"""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from harness.domain.experiment import Experiment
from harness.domain.rate import SHARE
from harness.plan.rules import NAME
from harness.plan.schema import OPEN_KEYS, SECTIONS, VARIABLE_SECTIONS, adapter, meanings, variable_keys

SCHEMA_FILE = "poolbench.schema.json"
"""The schema's name beside an experiment; the experiment's first line refers to it."""

_Schema = dict[str, Any]


def json_schema_text() -> str:
    """Return what `poolbench schema` prints and SCHEMA_FILE holds."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def json_schema() -> _Schema:
    """Return the schema of an experiment file, in draft 7, which editors know."""
    schema = adapter(Experiment).json_schema(schema_generator=_OfToml, union_format="primitive_type_array")
    for field in fields(Experiment):
        if field.metadata:  # it says that this is no key
            del schema["properties"][field.name]
    keys = {section: schema["$defs"][kind.__name__]["properties"] for section, kind in SECTIONS.items()}
    for_endpoints = keys["slo"].pop("endpoints")  # the tables within [slo]
    schema["$defs"]["Slo"]["additionalProperties"] = for_endpoints["additionalProperties"]
    schema["properties"]["extends"] = {"type": "string", "description": "a file whose keys count where this has none"}
    schema["properties"]["name"]["pattern"] = f"^{NAME.pattern}$"
    keys["load"]["rate"]["pattern"] = rf"^\s*{SHARE.pattern}\s*$"
    matrix = schema["properties"]["matrix"]
    matrix["properties"] = {}
    for key in variable_keys():
        section, name = key.split(".")
        values = _list_of({"$ref": f"#/$defs/{SECTIONS[section].__name__}/properties/{name}"})
        if key in OPEN_KEYS:
            one = keys[section][name]["additionalProperties"]
            keys[section][name] |= _open_table(schema, key, one)
            values = {"anyOf": [values, _open_table(schema, f"matrix.{key}", _list_of(one))]}
        table = matrix["properties"].setdefault(
            section, {"type": "object", "additionalProperties": False, "properties": {}}
        )
        table["properties"][name] = {"description": keys[section][name]["description"], **values}
    schema["properties"]["arms"]["additionalProperties"] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: {"$ref": f"#/$defs/{SECTIONS[name].__name__}"} for name in VARIABLE_SECTIONS},
    }
    in_quotes = "|".join((*map(re.escape, variable_keys()), *(rf"{re.escape(table)}\..+" for table in OPEN_KEYS)))
    matrix["patternProperties"] = {f"^({in_quotes})$": {"type": ["array", "object"], "minItems": 1}}
    matrix["additionalProperties"] = False
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "poolbench experiment", **schema}


def _list_of(value: _Schema) -> _Schema:
    return {"type": "array", "items": value, "minItems": 1, "uniqueItems": True}


def _open_table(schema: _Schema, name: str, value: _Schema) -> _Schema:
    """A table whose keys are the user's: where they have dots, TOML makes tables within it."""
    reference = {"$ref": f"#/$defs/{name}"}
    table = {"type": "object", "additionalProperties": reference}
    schema["$defs"][name] = {"anyOf": [value, table]}
    return table


class _OfToml(GenerateJsonSchema):
    """What TOML can hold: it has no null, and a key whose default is none is left out."""

    def nullable_schema(self, schema: Any) -> _Schema:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: Any) -> _Schema:
        if schema.get("default") is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def dataclass_schema(self, schema: Any) -> _Schema:
        """Describe each field with the string below it in the class."""
        described = super().dataclass_schema(schema)
        for name, meaning in meanings(schema["cls"]).items():
            described["properties"][name]["description"] = meaning
        return described

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 -- pydantic's signature
        return False
