"""What a run may come to that measured something, whoever else was at work on the machine meanwhile."""

from __future__ import annotations

from collections.abc import Iterable

MEASURED = (0, 4)
"""Exit codes of a run that measured: on a busy machine the instrument may rightly say that it was late (4)."""


def places(launches: Iterable[str]) -> set[str]:
    """Blocks and cells that were measured; a busy machine may spoil a sitting, which is then measured afresh."""
    return {name.removesuffix("-again") for name in launches}
