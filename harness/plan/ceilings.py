"""Whether Postgres can hold the connections the cells may open, with the arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

from harness.domain.cell import Cell
from harness.domain.design import Kind
from harness.errors import UsageError

HARNESS_CONNECTIONS = 2
"""the observer's and the one that clones databases"""
DEFAULT_MAX_CONNECTIONS = 100
"""Postgres's own default"""
DEFAULT_RESERVED = 3
"""superuser_reserved_connections, Postgres's own default"""


def check_ceilings(cells: Sequence[Cell], kind: Kind, max_connections: int, reserved: int) -> None:
    """Raise UsageError when a cell, or all cells hot together, may need more connections than there are.

    `reserved` is what the server keeps back for itself; poolbench's own connections are added here. A pool without a
    limit (pool_class null) opens as many as there are requests in flight: what Postgres refuses is then a finding.
    """
    available = max_connections - reserved - HARNESS_CONNECTIONS
    kept = f"{reserved} reserved, {HARNESS_CONNECTIONS} for poolbench"
    left = f"max_connections = {max_connections} leaves {available} ({kept})"
    for cell in cells:
        if (ceiling := cell.server_ceiling) is not None and ceiling > available:
            raise UsageError(
                f"Cell {cell.id} ({cell.label}) may open {_arithmetic(cell)} = {ceiling} connections, but {left}.",
                next_step=f"Lower {_keys(cell)}, "
                f"or raise database.settings.max_connections to {ceiling + max_connections - available} or more.",
            )
    total = sum(cell.server_ceiling or 0 for cell in cells)
    if kind == "interleaved" and total > available:
        raise UsageError(
            f"Interleaved, {len(cells)} cells hot together may open {_sum(cells)} = {total} connections, but {left}.",
            next_step='Set design.kind = "blocked", which runs one cell at a time, '
            f"or raise database.settings.max_connections to {total + max_connections - available} or more.",
        )


def _arithmetic(cell: Cell) -> str:
    if cell.server_ceiling != cell.connection_ceiling:
        return "pgbouncer_pool_size"
    workers = f"{cell.target.workers} worker{'s' if cell.target.workers > 1 else ''}"
    return f"{workers} x ({cell.pool.pool_size} pool_size + {cell.pool.max_overflow} max_overflow)"


def _keys(cell: Cell) -> str:
    if cell.server_ceiling != cell.connection_ceiling:
        return "target.pgbouncer_pool_size"
    return "target.workers, pool.pool_size or pool.max_overflow"


def _sum(cells: Sequence[Cell]) -> str:
    """ "3 x 5 + 3 x 20": equal ceilings counted together, in order of first appearance."""
    counts: dict[int, int] = {}
    for cell in cells:
        if (ceiling := cell.server_ceiling) is not None:
            counts[ceiling] = counts.get(ceiling, 0) + 1
    return " + ".join(f"{count} x {ceiling}" for ceiling, count in counts.items())
