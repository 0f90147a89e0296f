"""Runs that were promoted to baselines: whole copies under a name, in a folder that is kept with the experiments.

::

    baselines/
      main/                what is left of the run: run.json, its checksum, the trials
      .main.former         the one before, while it is being replaced

A baseline is there whole or not at all. Nothing promotes a run but who asks for it: a gate that took its latest good
run as the next baseline would follow a slow drift.
"""

from __future__ import annotations

import difflib
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from harness import plan
from harness.domain.baseline import Baseline
from harness.errors import UsageError
from harness.run import is_finished
from harness.store import RunStore, flush

MAIN = "main"
ANCHOR = "anchor"
"""A baseline that is promoted once and then left alone."""


def promote(store: RunStore, name: str, folder: Path) -> RunStore:
    """Copy a finished run to `folder`/`name`; what has that name is replaced only once the copy is whole.

    Raises:
        UsageError: the run is damaged or not finished, the name names no folder, or the folder cannot be written.
    """
    plan.check_name(name, "baseline")
    _whole(store)
    if not is_finished(store):
        raise UsageError(
            f"The run {store.path} is not finished, and a baseline has to be.",
            next_step=f"Measure the rest: poolbench run --resume {store.path}",
        )
    partial = folder / f".{name}.{secrets.token_hex(4)}.partial"
    try:
        partial.mkdir(parents=True)
        try:
            _copy(store.path, partial)
            _whole(RunStore(partial))  # what was read may have changed meanwhile, and a disk may have failed
            _replace(folder, name, partial)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise UsageError(
            f"The baseline {folder / name} cannot be written: {error.strerror}.",
            next_step="Name a folder that you may write to with --baselines.",
        ) from error
    return RunStore.open(folder / name)


def find_baseline(name_or_run: str, folder: Path) -> RunStore:
    """The baseline of that name in `folder`, else the run whose folder this is.

    Raises:
        UsageError: there is neither.
    """
    _settle(folder)
    names = _names(folder)
    if name_or_run in names:
        return RunStore.open(folder / name_or_run)
    if Path(name_or_run).is_dir():
        return RunStore.open(Path(name_or_run))
    raise UsageError(f"There is no baseline {name_or_run} in {folder}.", next_step=_offer(name_or_run, names, folder))


def held_against(name_or_run: str, folder: Path) -> dict[str, RunStore]:
    """The baseline meant, and beside it the one called ANCHOR if there is one: against it a slow drift shows.

    Raises:
        UsageError: there is no such baseline or run.
    """
    found = {name_or_run: find_baseline(name_or_run, folder)}
    if ANCHOR in _names(folder):
        found[ANCHOR] = RunStore.open(folder / ANCHOR)
    return found


def baselines_in(folder: Path) -> tuple[Baseline, ...]:
    """Every baseline there, by name; one that is damaged with what is wrong with it."""
    _settle(folder)
    return tuple(_about(folder, name) for name in _names(folder))


def _about(folder: Path, name: str) -> Baseline:
    nothing = Baseline(name=name, run_id="", experiment="", created_utc="", launches=0, machine="")
    try:
        store = RunStore.open(folder / name)
        info = store.read_info()
    except UsageError as error:
        return replace(nothing, problem=error.cause)
    machine = info.environment.get("machine")
    return Baseline(
        name=name,
        run_id=info.run_id,
        experiment=info.experiment.name,
        created_utc=info.created_utc,
        launches=len(store.measured()),
        machine=str(machine.get("cpu") or "") if isinstance(machine, dict) else "",
    )


def _whole(store: RunStore) -> None:
    """Raise UsageError unless everything that a run holds is what was written."""
    if not store.read().trials:
        raise UsageError(f"Nothing was measured in the run {store.path}.", next_step="Promote another.")


def _copy(run: Path, into: Path) -> None:
    """Copy what a report is made from; generator logs and derived files stay behind."""
    for name in ("run.json", "run.json.sha256"):
        shutil.copy2(run / name, into / name)
    for trial in sorted((run / "trials").glob("[!.]*")):
        shutil.copytree(trial, into / "trials" / trial.name)
    for path in (*into.rglob("*"), into):
        flush(path)


def _replace(folder: Path, name: str, whole: Path) -> None:
    """Put a whole copy where the former baseline is. A kill between the two renames is mended by `_settle`."""
    former = _former(folder, name)
    shutil.rmtree(former, ignore_errors=True)
    if (folder / name).exists():
        (folder / name).rename(former)
    whole.rename(folder / name)
    flush(folder)
    shutil.rmtree(former, ignore_errors=True)


def _settle(folder: Path) -> None:
    """Give a former baseline its name back where a replacement was cut short."""
    for former in folder.glob(".*.former"):
        with suppress(OSError):  # a folder that may not be written is read as it is
            name = former.name[1 : -len(".former")]
            if not (folder / name).exists():
                former.rename(folder / name)


def _former(folder: Path, name: str) -> Path:
    return folder / f".{name}.former"


def _names(folder: Path) -> Sequence[str]:
    return sorted(path.name for path in folder.glob("[!.]*") if path.is_dir())


def _offer(wanted: str, names: Sequence[str], folder: Path) -> str:
    if near := difflib.get_close_matches(wanted, names, n=1, cutoff=0.5):
        return f"Did you mean {near[0]}?"
    if names:
        return f"There are {', '.join(names)}; a run is named by its folder, results/<run-id>."
    return f"Make one: poolbench baseline promote results/<run-id> --name {MAIN} --baselines {folder}"
