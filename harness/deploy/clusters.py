"""Data folders of the embedded server, kept for the next run: copying one takes an eighth of making it.

What initdb makes depends on its version, its options and the account that owns it; only the password is a run's own,
and each run sets it when its server is up. A folder is kept whole or not at all, and where none can be kept (a home
that is read-only, a full disk) each run makes its own.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from harness.deploy.binaries import Account

PASSWORD = "password"


def kept_cluster(version: str, options: Sequence[str], account: Account | None) -> Path:
    """Where the folder that this initdb makes is kept, whether it is there or not."""
    import hashlib

    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    owner = os.geteuid() if account is None else account.uid
    made_by = "\n".join((version, str(owner), *options))
    return home / "poolbench" / f"postgres-{hashlib.sha256(made_by.encode()).hexdigest()[:12]}"


def take(kept: Path, data: Path) -> str | None:
    """Copy a kept folder to `data`. Returns its password, None where there is none; what cannot be copied goes."""
    with contextlib.suppress(OSError):
        password = (kept / PASSWORD).read_text()
        if _copied(kept / "data", data):
            return password
    for useless in (data, kept):
        shutil.rmtree(useless, ignore_errors=True)
    return None


def keep(data: Path, password: str, kept: Path) -> None:
    """Keep a folder that was just made; another run's, kept meanwhile, stays."""
    beside = kept.with_name(f"{kept.name}.{secrets.token_hex(4)}.partial")
    with contextlib.suppress(OSError):
        beside.mkdir(mode=0o700, parents=True)
        if _copied(data, beside / "data"):
            secret = beside / PASSWORD
            secret.touch(mode=0o600)
            secret.write_text(password)
            beside.rename(kept)
    shutil.rmtree(beside, ignore_errors=True)


def _copied(source: Path, to: Path) -> bool:
    """With owners and modes, which Postgres looks at; cp takes a third of the time that shutil does."""
    done = subprocess.run(["cp", "-pR", str(source), str(to)], check=False, capture_output=True)
    return done.returncode == 0
