"""Whether a trial's instrument worked, and what was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One line of a certificate: a figure beside its threshold.

    `kind` instrument makes the trial invalid; a finding is a result.
    """

    kind: Literal["instrument", "finding"]
    code: str
    """short and stable: "lag", "ledger", "sampler_gap", "dropped", "errors", ..."""
    message: str
    value: float
    threshold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Whether the instrument worked, and what was found."""

    valid: bool
    reasons: tuple[Reason, ...] = ()

    @property
    def broken(self) -> tuple[str, ...]:
        """Codes of what failed in the instrument, each once."""
        return tuple(dict.fromkeys(reason.code for reason in self.reasons if reason.kind == "instrument"))
