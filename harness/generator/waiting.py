"""Finds tasks that call `self.wait()`, which only means something where users think between tasks."""

from __future__ import annotations

import dis
from collections.abc import Callable
from itertools import pairwise


def calls_wait(function: Callable[..., object]) -> bool:
    """Whether the function calls `wait` on its first argument, or on that argument's `user`.

    Read from the bytecode, since a scenario's source may not be at hand; an Event's `wait()` is not mistaken for it.
    """
    code = getattr(function, "__code__", None)
    if code is None or not code.co_varnames:
        return False
    on_self = False
    for before, after in pairwise(dis.get_instructions(code)):
        if before.opname.startswith("LOAD_FAST"):
            on_self = before.argval == code.co_varnames[0]
        elif not (before.opname == "LOAD_ATTR" and before.argval == "user"):
            on_self = False
        if on_self and after.opname in ("LOAD_METHOD", "LOAD_ATTR") and after.argval == "wait":
            return True
    return False
