"""Machine profiles on disk: one file a machine, in the user's state folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import environment
from harness.codec import decode, encode
from harness.domain.profile import PROFILE_SCHEMA_VERSION, MachineProfile
from harness.errors import UsageError

_AGAIN = "Measure this machine again: poolbench calibrate"


def this_machine() -> Mapping[str, Any]:
    """What a profile holds for: the machine, the interpreter and the versions of all that runs."""
    now = environment.fingerprint(None)
    return {name: now[name] for name in ("machine", "python", "packages")}


def profile_path(machine: Mapping[str, Any]) -> Path:
    """Where this machine's profile is, whether it is there or not."""
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    digest = hashlib.sha256(json.dumps(machine, sort_keys=True).encode()).hexdigest()
    return home / "poolbench" / f"machine-{digest[:12]}.json"


def save_profile(profile: MachineProfile) -> Path:
    """Keep a profile; the machine's former one is replaced.

    Raises:
        UsageError: the state folder cannot be written.
    """
    path = profile_path(profile.machine)
    beside = path.with_suffix(".partial")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside.write_text(encode(profile))
        beside.replace(path)
    except OSError as error:
        raise UsageError(
            f"The profile {path} cannot be written: {error.strerror}.",
            next_step="Name another folder in XDG_STATE_HOME.",
        ) from error
    return path


def load_profile() -> MachineProfile | None:
    """This machine's profile; None when it was never calibrated as it is now.

    Raises:
        UsageError: the file is damaged, of another format, or was measured on another machine.
    """
    machine = this_machine()
    path = profile_path(machine)
    if not path.is_file():
        return None
    try:
        text = path.read_text()
        version = json.loads(text)["schema_version"]
        profile = decode(MachineProfile, text) if version == PROFILE_SCHEMA_VERSION else None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UsageError(f"The machine profile {path} is damaged: {type(error).__name__}.", next_step=_AGAIN) from error
    if profile is None:
        raise UsageError(
            f"The machine profile {path} has format {version}, not {PROFILE_SCHEMA_VERSION}.", next_step=_AGAIN
        )
    differing = sorted(name for name in machine if machine[name] != profile.machine.get(name))
    if differing:
        raise UsageError(
            f"The machine profile {path} was measured on another machine: {', '.join(differing)} differ.",
            next_step=_AGAIN,
        )
    return profile
