"""What orchestrator and generator tell each other by files (docs/formats.md), in the one form that both sides use.

The generator's process loads no pydantic for it: that would be a fifth more of CPU for each of its starts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.domain.load import EndpointCount, Ledger, TaskCount, TurnRun
from harness.errors import InfrastructureError, PoolbenchError, UsageError

_KINDS: Mapping[str, type[PoolbenchError]] = {
    "usage": UsageError,
    "infrastructure": InfrastructureError,
    "bug": PoolbenchError,
}


def publish(path: Path, value: Any) -> None:
    """Write JSON beside the path and rename it there: a reader sees the whole file or none."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(json.dumps(value), encoding="utf-8")
    beside.replace(path)


def ledger_of(raw: Mapping[str, Any]) -> Ledger:
    """Return a ledger from plain values."""
    return Ledger(
        tasks=tuple(TaskCount(**count) for count in raw["tasks"]),
        endpoints=tuple(EndpointCount(**count) for count in raw["endpoints"]),
        turns=tuple(TurnRun(**run) for run in raw["turns"]),
    )


def failure(error: PoolbenchError) -> dict[str, str]:
    """Return an error as plain values."""
    kind = next((name for name, error_type in _KINDS.items() if isinstance(error, error_type)), "bug")
    return {"kind": kind, "cause": error.cause, "next_step": error.next_step, "detail": error.detail}


def error_of(raw: Mapping[str, str]) -> PoolbenchError:
    """Return the error that `failure` described."""
    return _KINDS[raw["kind"]](raw["cause"], next_step=raw["next_step"], detail=raw["detail"])
