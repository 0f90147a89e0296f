"""The run directory: append-only, and readable wherever a run was cut.

::

    results/<run-id>/
      run.json                    written once, as soon as the rate is known: harness.domain.evidence.RunInfo
      sittings/<n>/               what one generator process read and wrote (docs/formats.md)
      trials/<launch-id>/         trial.json, five parquet tables, logs, checksums.json
      summary.csv  report.html    derived; can be deleted and made again

A trial folder appears whole or not at all: it is written beside, flushed to disk and renamed. What is complete is
found by listing.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from harness.domain.evidence import (
    ACTIVITY_COLUMNS,
    PROBE_COLUMNS,
    PROCESS_COLUMNS,
    REQUEST_COLUMNS,
    SERVER_COLUMNS,
    Run,
    RunInfo,
    Trial,
    TrialEvidence,
    no_server_readings,
)
from harness.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

RUN_SCHEMA_VERSION = 1
TABLES: Mapping[str, Mapping[str, str]] = {
    "requests": REQUEST_COLUMNS,
    "activity": ACTIVITY_COLUMNS,
    "probe": PROBE_COLUMNS,
    "process": PROCESS_COLUMNS,
    "server": SERVER_COLUMNS,
}
T = TypeVar("T")


def encode(value: object) -> str:
    """A frozen domain value as indented JSON; infinities and NaN as Python's json writes them."""
    from pydantic import TypeAdapter

    return json.dumps(TypeAdapter(type(value)).dump_python(value, mode="json"), indent=1)


def decode(kind: type[T], text: str) -> T:
    """The inverse of `encode`."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind).validate_python(json.loads(text))


def new_run_id(name: str) -> str:
    """`<utc timestamp>-<experiment name>-<4 hex>`."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{name}-{secrets.token_hex(2)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTrial:
    """A complete trial whose tables stay on disk until they are asked for."""

    trial: Trial
    folder: Path

    @property
    def requests(self) -> pd.DataFrame:
        return self._read("requests", None)

    @property
    def activity(self) -> pd.DataFrame:
        return self._read("activity", None)

    @property
    def probe(self) -> pd.DataFrame:
        return self._read("probe", None)

    @property
    def process(self) -> pd.DataFrame:
        return self._read("process", None)

    @property
    def server(self) -> pd.DataFrame:
        if not (self.folder / "server.parquet").exists():  # saved by an earlier version
            return no_server_readings()
        return self._read("server", None)

    def table(self, name: str, columns: Sequence[str]) -> pd.DataFrame:
        """Some columns of one table ("requests")."""
        return self._read(name, columns)

    def _read(self, name: str, columns: Sequence[str] | None) -> pd.DataFrame:
        import pandas as pd

        wanted = None if columns is None else list(columns)
        return pd.read_parquet(self.folder / f"{name}.parquet", engine="pyarrow", columns=wanted)


@dataclass(frozen=True, slots=True)
class RunStore:
    """One run's folder."""

    path: Path

    @classmethod
    def create(cls, results_dir: Path, name: str) -> RunStore:
        """Make an empty run folder.

        Raises:
            UsageError: the results folder cannot be written.
        """
        path = results_dir / new_run_id(name)
        try:
            (path / "trials").mkdir(parents=True)
            (path / "sittings").mkdir()
        except OSError as error:
            raise UsageError(
                f"The results folder {results_dir} cannot be written: {error.strerror}.",
                next_step="Name a folder you may write to with --results.",
            ) from error
        return cls(path.resolve())

    @classmethod
    def open(cls, path: Path) -> RunStore:
        """Open a run that has at least its run.json.

        Raises:
            UsageError: there is no run, or nothing of it can be read.
        """
        if not (path / "run.json").is_file():
            raise UsageError(
                f"{path} is not a run that can be read: it has no run.json.",
                next_step="Name a folder results/<run-id>; `poolbench report` without an argument takes the latest.",
            )
        return cls(path.resolve())

    @classmethod
    def latest(cls, results_dir: Path) -> RunStore:
        """The run that was started last.

        Raises:
            UsageError: there is none.
        """
        runs = sorted(p.parent for p in results_dir.glob("*/run.json"))
        if not runs:
            raise UsageError(f"There is no run in {results_dir}.", next_step="Make one: poolbench run")
        return cls.open(runs[-1])

    @property
    def run_id(self) -> str:
        return self.path.name

    def sitting_dir(self, index: int) -> Path:
        """The folder of one sitting; what an interrupted attempt left in it is removed."""
        path = self.path / "sittings" / str(index)
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path

    def write_info(self, info: RunInfo) -> None:
        self.write("run.json", encode(info).encode())

    def read_info(self) -> RunInfo:
        """run.json.

        Raises:
            UsageError: it was written by another version of poolbench, or is damaged.
        """
        try:
            text = (self.path / "run.json").read_text()
            version = json.loads(text)["schema_version"]
            if version != RUN_SCHEMA_VERSION:
                raise UsageError(
                    f"{self.path} has format {version}; this poolbench reads format {RUN_SCHEMA_VERSION}.",
                    next_step="Use the version of poolbench that wrote it (run.json names it).",
                )
            return decode(RunInfo, text)
        except (ValueError, KeyError, OSError) as error:
            raise UsageError(
                f"{self.path / 'run.json'} is damaged: {error}.", next_step="Run the experiment again."
            ) from error

    def write(self, name: str, content: bytes) -> Path:
        """Write one derived file at the top of the run folder, whole or not at all."""
        path = self.path / name
        beside = path.with_name(f".{name}.partial")
        _write_durably(beside, content)
        beside.replace(path)
        return path

    def save_trial(self, evidence: TrialEvidence, files: Mapping[str, Path]) -> Path:
        """Add a trial; `files` are copied into its folder under the names given.

        A trial that is already there is kept: evidence is never overwritten.
        """
        final = self.path / "trials" / evidence.trial.id
        if final.exists():
            return final
        beside = final.with_name(f".{evidence.trial.id}.partial")
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        for name in TABLES:
            frame: pd.DataFrame = getattr(evidence, name)
            frame.to_parquet(beside / f"{name}.parquet", engine="pyarrow", compression="zstd", index=False)
        (beside / "trial.json").write_text(encode(evidence.trial))
        for name, source in files.items():
            if source.is_file():
                shutil.copyfile(source, beside / name)
        sums = {p.name: _sha256(p) for p in sorted(beside.iterdir())}
        (beside / "checksums.json").write_text(json.dumps(sums, indent=1))
        for path in beside.iterdir():
            _flush(path)
        _flush(beside)
        beside.rename(final)
        _flush(final.parent)
        return final

    def set_aside(self, trial_ids: Iterable[str]) -> None:
        """Take trials out of the run without deleting them: their sitting was measured again as a whole."""
        for trial_id in trial_ids:
            folder = self.path / "trials" / trial_id
            if folder.exists():
                folder.rename(folder.with_name(f".{trial_id}.{secrets.token_hex(2)}.superseded"))

    def discard(self) -> None:
        """Remove the folder of a run in which nothing was measured."""
        if not self.complete():
            shutil.rmtree(self.path)

    def complete(self) -> tuple[str, ...]:
        """Ids of the trials that are complete, sorted."""
        return tuple(sorted(p.parent.name for p in (self.path / "trials").glob("[!.]*/checksums.json")))

    def read_trial(self, trial_id: str) -> StoredTrial:
        """One complete trial.

        Raises:
            UsageError: a file of it is not what was written.
        """
        folder = self.path / "trials" / trial_id
        _verify(folder)
        return StoredTrial(trial=decode(Trial, (folder / "trial.json").read_text()), folder=folder)

    def read(self) -> Run:
        """Everything that is complete, for analysis."""
        info = self.read_info()
        planned = sum(len(s.launches) for s in info.sittings if s.purpose == "measure")
        return Run(info=info, trials=tuple(map(self.read_trial, self.complete())), planned_trials=planned)


def _verify(folder: Path) -> None:
    sums = json.loads((folder / "checksums.json").read_text())
    for name, expected in sums.items():
        if not (folder / name).is_file() or _sha256(folder / name) != expected:
            raise UsageError(
                f"{folder / name} is not what poolbench wrote: it is missing or its checksum differs.",
                next_step=f"Remove {folder} and measure it again: poolbench run --resume {folder.parents[1]}",
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_durably(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    _flush(path)


def _flush(path: Path) -> None:
    """fsync a file, or a folder so that the names in it survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
