"""The pools of the drivers' own, which no engine accounts for and no setting reaches: noted as they are made."""

from __future__ import annotations

from functools import wraps
from importlib import import_module
from typing import Any

from .place import own_line

_KINDS = (("asyncpg.pool", "Pool"), ("psycopg_pool.base", "BasePool"))

seen: list[str] = []
"""each pool that was made, once: "asyncpg.Pool of 10 to 10, made in shop/db.py:7" """


def watch() -> None:
    """Note every pool that is made from now on, of those drivers that the service has."""
    for module, name in _KINDS:
        try:
            kind: Any = getattr(import_module(module), name)
        except (ImportError, AttributeError):
            continue
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
