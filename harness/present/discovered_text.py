"""What `poolbench init --app` found of a service: for the terminal, and for the head of the file that it writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.domain.discovered import Discovered, Found
from harness.present.numbers import UNKNOWN, count
from harness.present.phrases import driver_pool_texts

SHOWN_MAX = 8
"""of a kind; the rest is counted"""


def discovered_texts(found: Discovered) -> tuple[str, ...]:
    """A line for each engine, and one for each other kind of thing that was found, or was not."""
    return (*_engines(found), *driver_pool_texts(found.driver_pools), *_others(found))


def _engines(found: Discovered) -> Iterator[str]:
    engines = list(
        dict.fromkeys((e.driver, e.pool_class, e.pool_size, e.max_overflow, e.made_at) for e in found.engines)
    )
    for number, (driver, pool_class, pool_size, max_overflow, made_at) in enumerate(engines, start=1):
        size = UNKNOWN if pool_size is None else f"{pool_size} + {max_overflow}"
        yield f"engine {number}: {driver}, {pool_class} {size}, made in {made_at or 'a place that was not seen'}"
    if not engines:
        yield "engines: none was made by the time it had started and was asked; without one there is no pool to size"


def _others(found: Discovered) -> Iterator[str]:
    sources = found.sources
    yield f"sessions: {_listed(sources.makers) or 'none seen in its files'}"
    yield f"variables like a database's: {_listed(sources.variables) or 'none seen; DATABASE_URL is given'}"
    if sources.sizes:
        yield f"variables like a pool's size: {_listed(sources.sizes)}"
    yield f"health: {found.health_path or 'no path called like a health check answered 2xx; name one as health_path'}"
    operations, ready = count(len(found.operations)), count(len(found.ready))
    yield f"OpenAPI: {operations} operations, of which {ready} can be sent as they are"


def _listed(found: Sequence[Found]) -> str:
    """ "DB_HOST (settings.py:3), DB_PORT (settings.py:4) and 3 more" """
    shown = ", ".join(f"{each.text} ({each.place})" for each in found[:SHOWN_MAX])
    return f"{shown} and {len(found) - SHOWN_MAX} more" if len(found) > SHOWN_MAX else shown
