"""GitHub's workflow commands: an error for each rule that fails a gate, a warning for most that could not be judged."""

from __future__ import annotations

from collections.abc import Iterator

from harness.present.ci.gated import Gated
from harness.present.gate_text import rule_text

NOBODYS = ("varies", "too_few_launches")
"""why an exact count is not judged where it depends on data or a cache: nobody has anything to do about that"""
MOST = 10
"""of each kind, which is what GitHub shows of a step"""


def github_lines(gated: Gated) -> tuple[str, ...]:
    """One line each, to be printed to standard output within a step."""
    lines: dict[str, list[str]] = {"error": [], "warning": []}
    if gated.unusable:
        lines["error"].append(_line("error", f"poolbench: {gated.experiment}", gated.unusable))
    for cell, verdict, rule, outcome in gated.rules():
        if outcome == "skipped" and rule.kind == "exact" and rule.why in NOBODYS:
            continue
        if kind := {"failed": "error", "error": "error", "skipped": "warning"}.get(outcome):
            title = ", ".join(filter(None, (f"poolbench: {gated.experiment}", cell, rule.verdict)))
            lines[kind].append(_line(kind, title, rule_text(rule, verdict)))
    return tuple(line for kind, found in lines.items() for line in _at_most(kind, found))


def _at_most(kind: str, lines: list[str]) -> Iterator[str]:
    if len(lines) <= MOST:
        yield from lines
        return
    yield from lines[: MOST - 1]
    yield _line(kind, "poolbench", f"{len(lines) - MOST + 1} more rules, which the report has.")


def _line(kind: str, title: str, message: str) -> str:
    return f"::{kind} title={_escaped(title, ':,')}::{_escaped(message)}"


def _escaped(text: str, also: str = "") -> str:
    """As the runner reads it: a value ends at a comma or colon, a line at its end."""
    for character in "%\r\n" + also:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
