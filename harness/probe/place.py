"""Where in the service something is done."""

from __future__ import annotations

import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any

_THEIRS = tuple([sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")] + [str(Path(__file__).parent)])


def own_line() -> str:
    """The line of the service that is being executed, "shop/db.py:12": the innermost that is nobody else's.

    The greenlet in which SQLAlchemy runs what an async session asks for has no line of the service's: that stands in
    the greenlet that waits for it.
    """
    frame: Any = sys._getframe()
    module = sys.modules.get("greenlet")
    greenlet: Any = module.getcurrent() if module is not None else None
    while frame is not None:
        file = _own_file(frame.f_code.co_filename)
        if file:
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
        while frame is None and greenlet is not None and greenlet.parent is not None:
            greenlet = greenlet.parent
            frame = greenlet.gr_frame
    return ""


@cache
def _own_file(name: str) -> str:
    """A file of the service as one would call it from where it runs; empty for what is installed, or is no file."""
    path = Path(name).absolute()
    if str(path).startswith(_THEIRS) or not path.exists():
        return ""
    here = Path.cwd()
    return str(path.relative_to(here)) if here in path.parents else str(path)
