"""Where in the service something is made."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path
from typing import Any


def made_at() -> str:
    """The line of the service that is being executed, "shop/db.py:12": the innermost that is nobody else's."""
    theirs = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")] + [str(Path(__file__).parent)]
    frame: Any = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename).absolute()
        if not str(path).startswith(tuple(theirs)) and path.exists():
            here = Path.cwd()
            return f"{path.relative_to(here) if here in path.parents else path}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
