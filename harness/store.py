"""The run directory: append-only, and readable wherever a run was cut.

::

    results/<run-id>/
      lock                        held by the process that measures, and by no other
      run.json, run.json.sha256   written once, before the first sitting: harness.domain.evidence.RunInfo
      sittings/<n>/               what one generator process read and wrote (docs/formats.md)
      trials/<launch-id>/         trial.json, a parquet file for each table, logs, checksums.json
      summary.csv  report.html    derived; can be deleted and made again

A trial folder appears whole or not at all: it is written beside, flushed to disk and renamed. What is complete is
found by listing. Everything that is read for a report has a checksum; what differs from it is refused by name.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.codec import decode, encode
from harness.domain.evidence import Run, RunInfo, Trial, TrialEvidence
from harness.domain.load import PILOT_BLOCK, Launch, launch_of
from harness.domain.tables import (
    ACTIVITY_COLUMNS,
    COUNT_COLUMNS,
    GENERATOR_COLUMNS,
    HOLD_COLUMNS,
    LOG_COLUMNS,
    NULL_COLUMNS,
    PROBE_COLUMNS,
    PROBE_USER_COLUMNS,
    PROCESS_COLUMNS,
    REQUEST_COLUMNS,
    SERVER_COLUMNS,
    SITE_COLUMNS,
    UNRETURNED_COLUMNS,
    no_holds,
    no_sites,
    none_unreturned,
)
from harness.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

RUN_SCHEMA_VERSION = 3
TABLES: Mapping[str, Mapping[str, str]] = {
    "requests": REQUEST_COLUMNS,
    "activity": ACTIVITY_COLUMNS,
    "probe": PROBE_COLUMNS,
    "process": PROCESS_COLUMNS,
    "server": SERVER_COLUMNS,
    "generator": GENERATOR_COLUMNS,
    "counts": COUNT_COLUMNS,
    "null": NULL_COLUMNS,
    "probe_user": PROBE_USER_COLUMNS,
    "log": LOG_COLUMNS,
    "holds": HOLD_COLUMNS,
    "unreturned": UNRETURNED_COLUMNS,
    "sites": SITE_COLUMNS,
}
ADDED_SINCE: Mapping[str, Callable[[], pd.DataFrame]] = {
    "holds": no_holds,
    "unreturned": none_unreturned,
    "sites": no_sites,
}
"""Tables that trials of this format have not had from the first: read as empty where there is none."""
WRITTEN_FOR_EVERY_TRIAL = ("trial.json", *(f"{name}.parquet" for name in TABLES if name not in ADDED_SINCE))
FORGOTTEN_AFTER_S = 3600.0
"""A run in which nothing was measured is kept this long for its logs; the next run that starts removes it."""
_RUN_ID = re.compile(r"\d{8}T\d{6}Z-.+-[0-9a-f]{4}")


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
        return self._read("server", None)

    @property
    def generator(self) -> pd.DataFrame:
        return self._read("generator", None)

    @property
    def counts(self) -> pd.DataFrame:
        return self._read("counts", None)

    @property
    def null(self) -> pd.DataFrame:
        return self._read("null", None)

    @property
    def probe_user(self) -> pd.DataFrame:
        return self._read("probe_user", None)

    @property
    def log(self) -> pd.DataFrame:
        return self._read("log", None)

    @property
    def holds(self) -> pd.DataFrame:
        return self._read("holds", None)

    @property
    def unreturned(self) -> pd.DataFrame:
        return self._read("unreturned", None)

    @property
    def sites(self) -> pd.DataFrame:
        return self._read("sites", None)

    @property
    def target_log(self) -> bytes:
        with suppress(FileNotFoundError):
            return (self.folder / "target.log").read_bytes()
        return b""

    def table(self, name: str, columns: Sequence[str]) -> pd.DataFrame:
        """Some columns of one table ("requests")."""
        return self._read(name, columns)

    def _read(self, name: str, columns: Sequence[str] | None) -> pd.DataFrame:
        from pyarrow.parquet import ParquetFile

        wanted = None if columns is None else list(columns)
        path = self.folder / f"{name}.parquet"
        if name in ADDED_SINCE and not path.exists():
            empty = ADDED_SINCE[name]()
            return empty if wanted is None else empty[wanted]
        with ParquetFile(path) as file:  # of a small table in half the time that pandas takes to open it
            table = file.read(columns=wanted)
        frame: pd.DataFrame = (table.select(wanted) if wanted else table).to_pandas()
        for column in [] if wanted else TABLES[name].keys() - set(frame):
            frame[column] = math.nan  # a run that was written before there was such a column
        return frame


@dataclass(frozen=True, slots=True)
class RunStore:
    """One run's folder."""

    path: Path

    @classmethod
    def create(cls, results_dir: Path, name: str) -> RunStore:
        """Make an empty run folder; older ones in which nothing was measured are removed.

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
        _forget_unmeasured(results_dir)
        return cls(path.resolve())

    @classmethod
    def open(cls, path: Path) -> RunStore:
        """Open a run that has at least its run.json.

        Raises:
            UsageError: there is no run, or nothing of it can be read.
        """
        try:
            problem = "" if (path / "run.json").is_file() else "it has no run.json"
        except OSError as error:
            problem = str(error.strerror)
        if problem:
            raise UsageError(
                f"{path} is not a run that can be read: {problem}.",
                next_step="Name a folder results/<run-id>; `poolbench report` without an argument takes the latest.",
            )
        return cls(path.resolve())

    @classmethod
    def latest(cls, results_dir: Path) -> RunStore:
        """The run that was started last, of those in which something was measured.

        Raises:
            UsageError: there is none.
        """
        runs = sorted((path.parent for path in results_dir.glob("*/run.json")), reverse=True)
        found = next((run for run in map(cls, runs) if run.measured()), None)
        if found is None:
            raise UsageError(
                f"There is no run in {results_dir} in which anything was measured.", next_step="Make one: poolbench run"
            )
        return cls.open(found.path)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only process that writes this run. The kernel unlocks when the process ends, however it ends.

        Raises:
            UsageError: another process has it, or the folder cannot be written.
        """
        import fcntl  # not on every system that can read a run

        try:
            file = (self.path / "lock").open("a+", encoding="ascii")
        except OSError as error:
            raise UsageError(
                f"The run {self.path} cannot be written: {error.strerror}.", next_step="Copy it to where you may write."
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise UsageError(
                    f"The run {self.run_id} is being measured by another poolbench (process {file.read().strip()}).",
                    next_step="Wait until that one has ended.",
                ) from None
            with suppress(OSError):  # only for the sentence above; a full disk is found where it matters
                file.truncate(0)
                file.write(f"{os.getpid()}\n")
                file.flush()
            yield

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
        """Write run.json, after its checksum: a run.json without one does not count."""
        content = encode(info).encode()
        self.write("run.json.sha256", f"{hashlib.sha256(content).hexdigest()}  run.json\n".encode())
        self.write("run.json", content)

    def read_info(self) -> RunInfo:
        """run.json.

        Raises:
            UsageError: it was written by another version of poolbench, or is damaged.
        """
        path = self.path / "run.json"
        try:
            content = path.read_bytes()
            version = _schema_version(content)
            if version != RUN_SCHEMA_VERSION:
                raise UsageError(
                    f"{self.path} has format {version}; this poolbench reads format {RUN_SCHEMA_VERSION}.",
                    next_step="Use the version of poolbench that wrote it (run.json names it).",
                )
            _check_sum(content, path.with_name("run.json.sha256"))
            return decode(RunInfo, content.decode())
        except (ValueError, RecursionError, OSError) as error:
            raise UsageError(
                f"{path} is damaged: {_in_one_line(error)}.", next_step="Restore it, or run the experiment again."
            ) from error

    def write(self, name: str, content: bytes) -> Path:
        """Write one file at the top of the run folder, whole or not at all.

        Raises:
            OSError: as the system says, such as for a full disk.
        """
        path = self.path / name
        beside = path.with_name(f".{name}.{secrets.token_hex(2)}.partial")  # two reports may be made at once
        try:
            beside.write_bytes(content)
            flush(beside)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        return path

    def save_trial(self, evidence: TrialEvidence, files: Mapping[str, Path]) -> Path:
        """Add a trial; `files` are copied into its folder under the names given.

        A trial that is already there is kept: evidence is never overwritten.

        Raises:
            OSError: as the system says, such as for a full disk; nothing is added then.
        """
        final = self.path / "trials" / evidence.trial.id
        if final.exists():
            return final
        beside = final.with_name(f".{evidence.trial.id}.partial")
        shutil.rmtree(beside, ignore_errors=True)
        try:
            _write_trial(beside, evidence, files)
            beside.rename(final)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)  # where the disk is full, the report needs the room
            raise
        flush(final.parent)
        return final

    def set_aside(self, trial_ids: Iterable[str]) -> None:
        """Take trials out of the run without deleting them: their sitting was measured again as a whole."""
        for trial_id in trial_ids:
            folder = self.path / "trials" / trial_id
            if folder.exists():
                folder.rename(folder.with_name(f".{trial_id}.{secrets.token_hex(2)}.superseded"))

    def discard(self) -> None:
        """Remove the folder of a run in which nothing was measured."""
        if not self.measured():
            shutil.rmtree(self.path, ignore_errors=True)

    def complete(self) -> tuple[str, ...]:
        """Ids of the trials that are there, sorted. Their folders appear whole; one that is not so now was damaged."""
        return tuple(sorted(p.name for p in (self.path / "trials").glob("[!.]*") if p.is_dir()))

    def measured(self) -> tuple[str, ...]:
        """The same without a staircase's pilots."""
        return tuple(trial_id for trial_id in self.complete() if not _is_pilot(trial_id))

    def read_trial(self, trial_id: str) -> StoredTrial:
        """One trial.

        Raises:
            UsageError: a file of it is not what was written.
        """
        folder = self.path / "trials" / trial_id
        try:
            _verify(folder)
            trial = decode(Trial, (folder / "trial.json").read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise _damaged(folder / "trial.json", _in_one_line(error)) from error
        except OSError as error:
            raise UsageError(
                f"{error.filename or folder} cannot be read: {error.strerror}.", next_step="Check who may read it."
            ) from error
        if trial.id != trial_id:
            raise UsageError(
                f"{folder} holds the trial {trial.id}, not {trial_id}: it was copied or renamed.",
                next_step=f"Move it out of {folder.parent}.",
            )
        return StoredTrial(trial=trial, folder=folder)

    def read(self) -> Run:
        """Everything that is complete, for analysis.

        Raises:
            UsageError: something is damaged, or is there that the run did not plan.
        """
        info = self.read_info()
        trials = [self.read_trial(trial_id) for trial_id in self.complete()]
        for stored in trials:
            if not _is_of(stored.trial.launch, info):
                raise UsageError(
                    f"{stored.folder} is no trial that this run can have made.",
                    next_step=f"Move it out of {stored.folder.parent}.",
                )
        return Run(
            info=info,
            trials=tuple(stored for stored in trials if stored.trial.launch.block != PILOT_BLOCK),
            pilots=tuple(stored for stored in trials if stored.trial.launch.block == PILOT_BLOCK),
        )


def _is_pilot(trial_id: str) -> bool:
    return trial_id.startswith(f"b{PILOT_BLOCK}-")


def _is_of(launch: Launch, info: RunInfo) -> bool:
    """Whether a launch's cell and block are the run's, and its name is theirs."""
    own = next((cell for cell in info.cells if cell.id == launch.cell.id), None)
    blocks = range(info.most_blocks + 1)
    return (
        own is not None and launch.block in blocks and launch.id == launch_of(own, launch.block, again=launch.again).id
    )


def _forget_unmeasured(results_dir: Path) -> None:
    """Remove runs that ended long ago, before their first trial: killed, or failed with logs that were read by now."""
    for folder in results_dir.iterdir():
        with suppress(UsageError, OSError):  # it is being measured, or is somebody else's
            names = [path.name for path in (folder / "trials").iterdir() if path.suffix != ".partial"]
            trials = [name for name in names if not _is_pilot(name)]
            old = time.time() - folder.stat().st_mtime > FORGOTTEN_AFTER_S
            if _RUN_ID.fullmatch(folder.name) and old and not trials and not folder.is_symlink():
                with RunStore(folder).lock():
                    shutil.rmtree(folder)


def _write_trial(folder: Path, evidence: TrialEvidence, files: Mapping[str, Path]) -> None:
    """All of a trial and its checksums, on disk for good."""
    folder.mkdir()
    for name in TABLES:
        frame: pd.DataFrame = getattr(evidence, name)
        frame.to_parquet(folder / f"{name}.parquet", engine="pyarrow", compression="zstd", index=False)
    (folder / "trial.json").write_text(encode(evidence.trial), encoding="utf-8")
    for name, source in files.items():
        if source.is_file():
            shutil.copyfile(source, folder / name)
    sums = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
    (folder / "checksums.json").write_text(json.dumps(sums, indent=1), encoding="utf-8")
    for path in folder.iterdir():
        flush(path)
    flush(folder)


def _verify(folder: Path) -> None:
    """Raise UsageError, or OSError for a file that cannot be read, unless a trial's folder holds what was written."""
    for name, expected in _checksums(folder / "checksums.json").items():
        if not (folder / name).is_file() or _sha256(folder / name) != expected:
            raise _damaged(folder / name, "it is missing or its checksum differs")


def _checksums(path: Path) -> Mapping[str, str]:
    """A trial's checksums by name of the file. Raises UsageError when they are damaged."""
    if not path.is_file():
        raise _damaged(path, "it is missing")
    try:
        sums = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _damaged(path, _in_one_line(error)) from error
    if not isinstance(sums, dict):
        raise _damaged(path, "it is no table of checksums")
    later = [f"{name}.parquet" for name in ADDED_SINCE if (path.parent / f"{name}.parquet").exists()]
    if missing := [name for name in (*WRITTEN_FOR_EVERY_TRIAL, *later) if name not in sums]:
        raise _damaged(path, f"it has no checksum of {', '.join(missing)}")
    return sums


def _damaged(path: Path, how: str) -> UsageError:
    folder = path.parent
    return UsageError(
        f"{path} is not what poolbench wrote: {how}.",
        next_step=f"Remove {folder} and measure it again: poolbench run --resume {folder.parents[1]}",
    )


def _schema_version(content: bytes) -> int:
    """Raises ValueError when there is none."""
    raw = json.loads(content)
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if type(version) is not int:
        raise ValueError("it has no schema_version that is a whole number")
    return version


def _check_sum(content: bytes, path: Path) -> None:
    """Raise ValueError unless the file at `path`, written by `sha256sum` or as it does, says that of `content`."""
    if not path.is_file():
        raise ValueError(f"its checksum, {path.name}, is missing")
    if path.read_text(encoding="ascii").split()[:1] != [hashlib.sha256(content).hexdigest()]:
        raise ValueError(f"its checksum is not that of {path.name}")


def _in_one_line(error: Exception) -> str:
    """What is wrong, without what pydantic adds."""
    from pydantic import ValidationError

    if isinstance(error, OSError):
        return str(error.strerror)
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"
    return next(iter(str(error).splitlines()), type(error).__name__)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """fsync a file, or a folder so that the names in it survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
