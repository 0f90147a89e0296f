"""The JSON schema of what `poolbench compare --json` and `gate --json` say of two sides: `poolbench schema gate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from harness.domain.gate import Decision, PartName, RuleKind, Scale, Why
from harness.present.summary_json import GATE_SCHEMA_VERSION

_Schema = dict[str, Any]
_FIGURE: _Schema = {"type": ["number", "null"], "description": "null: infinite (it failed) or not known"}
_DECISION: _Schema = {"enum": list(get_args(Decision))}
_NAME: _Schema = {"type": "string"}
_COUNT: _Schema = {"type": "integer", "minimum": 0}
_FLAG: _Schema = {"type": "boolean"}


def _object(**properties: Mapping[str, Any]) -> _Schema:
    """An object that has all of these and nothing else."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(of: Mapping[str, Any], **limits: int) -> _Schema:
    return {"type": "array", "items": of, **limits}


_RULE = _object(
    kind={"enum": list(get_args(RuleKind))},
    metric=_NAME,
    endpoint={"type": "string", "description": 'as in the report; of an exact metric with the status: "GET /a 200"'},
    scale={"enum": list(get_args(Scale)), "description": "of effect, low, high and smallest_visible"},
    base=_FIGURE,
    head=_FIGURE,
    effect={**_FIGURE, "description": "head / base - 1, or head - base; of an absolute rule head - limit"},
    low=_FIGURE,
    high={**_FIGURE, "description": "95 % interval of effect, with what the instrument may have added"},
    verdict=_DECISION,
    why={"enum": list(get_args(Why))},
    limit=_FIGURE,
    share={**_FIGURE, "description": "of an exact rule that regressed: of the head's requests that take more"},
    smallest_visible=_FIGURE,
)
_PART = _object(
    name={"enum": list(get_args(PartName))},
    base_ms=_FIGURE,
    head_ms=_FIGURE,
    low_ms=_FIGURE,
    high_ms=_FIGURE,
)
GATE_SCHEMA: Mapping[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "poolbench gate",
    **_object(
        schema_version={"const": GATE_SCHEMA_VERSION},
        verdict=_DECISION,
        primary=_NAME,
        metrics=_list(_RULE, minItems=1),
        smallest_visible=_FIGURE,
        launches=_object(first=_COUNT, fresh=_COUNT),
        alarm=_FLAG,
        noise=_FIGURE,
        paired=_FLAG,
        identical=_FLAG,
        parts=_list(_PART),
    ),
}
