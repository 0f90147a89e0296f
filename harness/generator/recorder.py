"""Writes a launch's rows as they happen: memory is bounded, whatever the length of the load.

`RECORD` is laid out in `harness.domain.rows`.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.domain.rows import RECORD_BYTES, RECORD_FORMAT, names_file, rows_file
from harness.signals import publish

RECORD = struct.Struct(RECORD_FORMAT)
SPILL_BYTES = 1024 * RECORD_BYTES
OTHER = "(other)"
NAMES_MAX = 1000
"""Distinct names of a kind; a path with ids and without `name=` would otherwise grow without limit."""

_U2, _U4 = 0xFFFF, 0xFFFFFFFF


class Names:
    """Gives each name a small number, in the order they appear; beyond NAMES_MAX all share "(other)"."""

    __slots__ = ("_codes", "grown")

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self.grown = False

    def fold(self, name: str) -> str:
        """The name as it is recorded: itself, or "(other)" once there are too many."""
        return name if name in self._codes or len(self._codes) < NAMES_MAX else OTHER

    def code(self, name: str) -> int:
        code = self._codes.get(name)
        if code is None:
            name = self.fold(name)
            code = self._codes.setdefault(name, len(self._codes))
            self.grown = True
        return code

    @property
    def overflown(self) -> bool:
        return OTHER in self._codes

    def listed(self) -> list[str]:
        return list(self._codes)


class Recorder:
    """The rows of one launch: records to `rows-<launch>.bin`, the names they refer to beside it."""

    def __init__(self, output_dir: Path, launch_id: str) -> None:
        self._names_path = output_dir / names_file(launch_id)
        self.path = output_dir / rows_file(launch_id)
        self._file = self.path.open("wb")
        self._buffer = bytearray()
        self.tasks = Names()
        self.endpoints = Names()
        self.errors = Names()

    def write(
        self,
        *,
        segment: int,
        arrival: int,
        sequence: int,
        task: str,
        endpoint: str,
        outcome: int,
        status: int = 0,
        error: str = "",
        intended_ns: int,
        handed_ns: int = -1,
        started_ns: int = -1,
        finished_ns: int = -1,
        uptake_ns: int = 0,
        response_bytes: int = 0,
        pool_ms: float = math.nan,
        db_ms: float = math.nan,
        app_ms: float = math.nan,
        pid: int = 0,
    ) -> None:
        """Append one row. The columns are those of `harness.domain.tables.REQUEST_COLUMNS`."""
        self._buffer += RECORD.pack(
            segment,
            arrival & _U4,
            min(sequence, _U2),
            self.tasks.code(task),
            self.endpoints.code(endpoint),
            self.errors.code(error),
            status & _U2,
            outcome,
            intended_ns,
            handed_ns,
            started_ns,
            finished_ns,
            min(uptake_ns, _U4),
            min(response_bytes, _U4),
            pool_ms,
            db_ms,
            app_ms,
            pid & _U4,
        )
        if len(self._buffer) >= SPILL_BYTES:
            self.flush()

    def flush(self) -> None:
        """Put on disk what is buffered, names first: no record on disk refers to a name that is not."""
        kinds = {"tasks": self.tasks, "endpoints": self.endpoints, "errors": self.errors}
        if any(names.grown for names in kinds.values()):
            publish(self._names_path, {kind: names.listed() for kind, names in kinds.items()})
            for names in kinds.values():
                names.grown = False
        if self._buffer:
            self._file.write(self._buffer)
            self._file.flush()
            self._buffer.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()
        self._file.close()
