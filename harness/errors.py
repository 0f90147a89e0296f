"""The errors a user can meet, each with its exit code and the next step.

::

    PoolbenchError                      70  a bug in poolbench
    ├── UsageError                       2  a wrong command line, file, key or value
    ├── InfrastructureError              5  Postgres, the target or the generator did not come up; a full disk
    ├── MeasurementError                 4  it ran, but the instrument failed
    ├── AnswerIsNo                       1  no cell meets the SLO; a budget does not fit
    ├── Inconclusive                     3  no cell surely meets the SLO
    └── Interrupted                    130  Ctrl-C, SIGTERM or SIGHUP

Every message is one sentence that names the cause; `next_step` says what to do about it.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path


class PoolbenchError(Exception):
    """Anything poolbench reports in one sentence instead of a traceback.

    Args:
        cause: what went wrong, one sentence.
        next_step: what the user can do about it, one sentence; empty only where nothing can be done.
        detail: lines shown below the sentence as they are (the last log lines of a target, say).
    """

    exit_code = 70

    def __init__(self, cause: str, *, next_step: str = "", detail: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.next_step = next_step
        self.detail = detail

    def __str__(self) -> str:
        return " ".join(part for part in (self.cause, self.next_step) if part)


class UsageError(PoolbenchError):
    exit_code = 2


class InfrastructureError(PoolbenchError):
    exit_code = 5


class MeasurementError(PoolbenchError):
    exit_code = 4


class AnswerIsNo(PoolbenchError):  # noqa: N818 -- an answer, not an error
    exit_code = 1


class Inconclusive(PoolbenchError):  # noqa: N818 -- an answer, not an error
    exit_code = 3


class Interrupted(PoolbenchError):  # noqa: N818 -- the user's wish, not an error
    exit_code = 130


_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def refused_by_the_system(error: OSError, folder: Path) -> InfrastructureError | None:
    """What the system may refuse at any time, through no fault of poolbench, in one sentence; None for anything else.

    `folder` is what was being written to where the error does not say.
    """
    what = error.filename or folder
    if error.errno in _FULL:
        return InfrastructureError(f"The disk that holds {what} is full.", next_step="Make room there.")
    if error.errno in _REFUSED:
        return InfrastructureError(f"The system refuses {what}: {os.strerror(error.errno)}.")
    if not folder.exists():
        return InfrastructureError(f"The folder {folder} was removed while it was being written to.")
    return None
