"""The pools of the drivers' own, which no engine accounts for and no setting reaches: noted as they are made."""

from __future__ import annotations

import sys
from functools import wraps
from types import ModuleType
from typing import Any

from .place import own_line

_KINDS = {"asyncpg.pool": "Pool", "psycopg_pool.base": "BasePool"}

seen: list[str] = []
"""each pool that was made, once: "asyncpg.Pool of 10 to 10, made in shop/db.py:7" """


def watch() -> None:
    """Note every pool that is made from now on. A driver that the service does not import stays out of its process."""
    for name in _KINDS:
        if name in sys.modules:
            _note(sys.modules[name])
    sys.meta_path.insert(0, _AfterDrivers())


class _AfterDrivers:
    """Finds a driver's pools where they are, and has those noted that are made once it has been imported."""

    def find_spec(self, name: str, *where: Any) -> Any:
        if name not in _KINDS:
            return None
        others = (finder.find_spec(name, *where) for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, others), None)
        loader: Any = spec and spec.loader
        if loader is not None:
            plain = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                plain(module)
                _note(module)

            loader.exec_module = exec_module
        return spec


def _note(module: Any) -> None:
    kind: Any = getattr(module, _KINDS[module.__name__], None)
    if kind is not None:
        kind.__init__ = _noted(kind.__init__)


def _noted(plain: Any) -> Any:
    @wraps(plain)
    def init(pool: Any, *arguments: Any, **named: Any) -> None:
        plain(pool, *arguments, **named)
        least, most = named.get("min_size"), named.get("max_size")
        kind = f"{type(pool).__module__.partition('.')[0]}.{type(pool).__name__}"
        text = f"{kind} of {least} to {most or least}, made in {own_line() or 'a place that was not seen'}"
        if text not in seen:
            seen.append(text)

    return init
