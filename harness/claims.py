"""Claims: which there are, each measured like any experiment, and what is kept of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from harness import analyse, plan, present
from harness import run as sequencing
from harness.codec import decode, encode
from harness.domain.claims import EVERYTHING, Behaviour, Recording, expected_of
from harness.domain.events import Emit
from harness.domain.experiment import Experiment
from harness.errors import UsageError
from harness.plan.parse import read_text, read_toml
from harness.present.claims_page import Found
from harness.store import RunStore

FOLDER = "claims"
BEHAVIOUR = "behaviour.toml"
APART = timedelta(hours=6)
"""Runs of one claim that lie so far apart met different neighbours, or none."""
OWN_KEYS = ("session.expire_on_commit", "target.workers", "target.threadpool_tokens", "target.gc_freeze")
"""beside those of [pool]: what can be set in every service"""
AROUND_IT = ("network.rtt_ms",)
"""what can be set around every service"""
ITS_OWN = ("target.driver", "load.arguments.")
"""what every service has one of: contexts in which another's is not asked"""
OWN_LAUNCHES = 6
"""of a service whose noise nobody has seen: with three, an interval of a figure's own is four times as wide"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The claims that were asked for."""

    experiments: tuple[Experiment, ...]
    behaviours: tuple[Behaviour, ...]


def chosen(wanted: Sequence[str], overrides: Sequence[str] = ()) -> Chosen:
    """The claims of these numbers and files, all that are shipped without any, each checked.

    Raises:
        UsageError: there is no such claim, or one cannot be judged.
    """
    files = [Path(text) for text in wanted if not text.isdigit()]
    numbers = {int(text) for text in wanted if text.isdigit()}
    shipped, by_tests = _shipped() if numbers or not files else {}, _behaviours()
    known = {*shipped.values(), *(own.number for own in by_tests)}
    if unknown := sorted(numbers - known):
        raise UsageError(
            f"There is no claim {unknown[0]}.", next_step="poolbench claims --list shows them, with their numbers."
        )
    asked = numbers if wanted else known
    paths = [*(path for path, number in shipped.items() if number in asked), *files]
    return Chosen(
        experiments=tuple(_loaded(path, overrides) for path in paths),
        behaviours=tuple(own for own in by_tests if own.number in asked),
    )


def _shipped() -> dict[Path, int]:
    """The files of the claims that are shipped, with their numbers, in their order."""
    folder = plan.shipped("experiments") / FOLDER
    files = [path for path in sorted(folder.glob("[!_]*.toml")) if path.name != BEHAVIOUR]
    return {path: read_toml(read_text(path, "Is it a claim?"), str(path))["claim"]["number"] for path in files}


def _loaded(path: Path, overrides: Sequence[str]) -> Experiment:
    experiment = plan.load_experiment(path, overrides)
    if not experiment.claim.expect:
        raise UsageError(f"{path} makes no claim: claim.expect is missing.", next_step="Write [claim] and its keys.")
    try:
        analyse.check_claim(experiment)
        _check_asked_of_any(experiment)
    except UsageError as error:
        raise UsageError(f"{path}: {error.cause}", next_step=error.next_step) from None
    return experiment


def _check_asked_of_any(experiment: Experiment) -> None:
    """Refuse a claim that says that any service can be asked, and needs what not every one has."""
    if not experiment.claim.own_service:
        return
    varied = [key for key in experiment.matrix if not key.startswith((*AROUND_IT, *ITS_OWN))]
    for key in (*varied, *(key for arm in experiment.arms.values() for key in arm)):
        if not key.startswith("pool.") and key not in OWN_KEYS:
            raise UsageError(
                f"{key} cannot be set in any service.", next_step="Take claim.own_service out, or set pool keys only."
            )
    every = {key for arm in experiment.arms.values() for key in arm}
    for name, arm in experiment.arms.items():
        if missing := sorted(every - arm.keys()):
            raise UsageError(
                f"arms.{name} leaves {missing[0]} as the service has it, which may be what it is compared with.",
                next_step=f"Set {missing[0]} in arms.{name} too.",
            )
    for term in (term for own in expected_of(experiment.claim) for term in own.terms):
        if term.endpoint != EVERYTHING:
            raise UsageError(
                f"not every service has {term.endpoint}.", next_step="Take claim.own_service out, or the endpoint."
            )


def _behaviours() -> tuple[Behaviour, ...]:
    path = plan.shipped("experiments") / FOLDER / BEHAVIOUR
    if not path.is_file():
        return ()
    entries = read_toml(read_text(path, "Is it a list of claims?"), str(path)).get("behaviour", [])
    return tuple(Behaviour(**entry) for entry in entries)


def of_service(claims: Sequence[Experiment], own: Experiment) -> tuple[Experiment, ...]:
    """The claims that any service can be asked, of this one: its load and database, the claims' arms and contexts.

    Raises:
        UsageError: it varies something itself, it asks for too few launches, or none of the claims can be asked of it.
    """
    if own.arms or any(len(values) > 1 for values in own.matrix.values()):
        raise UsageError(
            f"{own.name} varies settings itself, and so do the claims.",
            next_step="Choose one configuration: take [matrix] and [arms] out.",
        )
    if own.target.url is not None:
        raise UsageError(
            f"{own.name} names a service that runs already (target.url), whose settings nobody can change.",
            next_step="Let poolbench start it: poolbench init --app pkg.module:app",
        )
    fitting = [claim for claim in claims if claim.claim.own_service]
    if not fitting:
        raise UsageError(
            "None of these claims can be asked of another service.",
            next_step="Leave the numbers out: those that can are picked.",
        )
    return tuple(_asked_of(claim, own) for claim in fitting)


def _asked_of(claim: Experiment, own: Experiment) -> Experiment:
    wanted = "design.launches" in own.named
    contexts = {key: values for key, values in claim.matrix.items() if not key.startswith(ITS_OWN)}
    set_by = (*contexts, *(key for arm in claim.arms.values() for key in arm))
    launches = own.design.launches if wanted else max(claim.design.launches, OWN_LAUNCHES)
    asked = replace(
        own,
        name=f"{own.name[:40]}-{claim.name[:19]}",
        question=claim.question,
        arms=claim.arms,
        matrix={key: of for key, of in own.matrix.items() if key not in set_by} | contexts,
        design=replace(own.design, launches=launches, kind=claim.design.kind),
        claim=claim.claim,
        named=tuple(dict.fromkeys((*own.named, *set_by))),
    )
    analyse.check_claim(asked)
    return asked


def measure(experiment: Experiment, store: RunStore, emit: Emit) -> Recording:
    """Measure a claim's experiment, and return what its answer rests on.

    Raises:
        PoolbenchError: as of `harness.run.run_experiment`.
    """
    begun_s = time.monotonic()
    with store.lock():
        sequencing.run_experiment(experiment, store, emit=emit)
        sequencing.publish(store, lambda _name, _error: None)
        return analyse.recorded(store.read(), time.monotonic() - begun_s)


def keep(recording: Recording, folder: Path) -> Path:
    """Write a recording into a folder. Raises UsageError where that cannot be written."""
    stamp = recording.measured_utc.replace(":", "")
    path = folder / f"{recording.name}-{stamp}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(encode(recording) + "\n")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}.", next_step="Name another folder with --record."
        ) from error
    return path


def findings(folder: Path) -> str:
    """The page of findings, of all recordings in a folder that it stands beside.

    Raises:
        UsageError: there is none, or one is damaged.
    """
    by_claim: dict[str, list[tuple[Recording, str]]] = {}
    for path in sorted(folder.glob("*.json")):
        recording = _read(path)
        by_claim.setdefault(recording.name, []).append((recording, f"{folder.name}/{path.name}"))
    if not by_claim:
        raise UsageError(f"{folder} holds no recording.", next_step=f"poolbench claims --record {folder}")
    return present.findings_page([_found(runs) for runs in by_claim.values()], _behaviours())


def _read(path: Path) -> Recording:
    try:
        return decode(Recording, path.read_text())
    except (OSError, ValueError):
        raise UsageError(f"{path} is no recording of a claim.", next_step="Take it out of the folder.") from None


def _found(runs: Sequence[tuple[Recording, str]]) -> Found:
    """What a claim's runs come to together, in the order in which they were measured."""
    ordered = sorted(runs, key=lambda run: run[0].measured_utc)
    settled = [(recording, analyse.settle(recording)) for recording, _ in ordered]
    times = [datetime.fromisoformat(recording.measured_utc) for recording, _ in ordered]
    return Found(
        answer=analyse.agreed([own.answer for _, own in settled]),
        apart=times[-1] - times[0] >= APART,
        runs=settled,
        files=[file for _, file in ordered],
    )
