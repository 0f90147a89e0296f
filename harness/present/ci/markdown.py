"""A gate as Markdown, for a job's summary or a comment on a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.domain.gate import GateVerdict
from harness.present.ci.gated import Gated
from harness.present.gate_text import gate_text, part_rows, rule_rows

MARKS = {
    "improved": "\u2705 improved",
    "equivalent": "\u2705 equivalent",
    "regressed": "\u274c regressed",
    "inconclusive": "\u2754 inconclusive",
    "invalid": "\u26a0\ufe0f invalid",
}


def gate_markdown(gated: Gated) -> bytes:
    """The verdict, its rules and where the time went, for each cell."""
    return "\n".join(_lines(gated)).encode()


def _lines(gated: Gated) -> Iterator[str]:
    if not gated.verdicts:
        yield f"### {MARKS['invalid']}: {_plain(gated.experiment)}"
        yield ""
        yield _plain(gated.unusable)
        yield ""
    for cell, verdict in gated.verdicts.items():
        title = ", ".join(filter(None, (gated.experiment, cell)))
        yield f"### {MARKS['invalid' if gated.unusable else verdict.verdict]}: {_plain(title)}"
        yield ""
        yield _plain(gated.unusable or gate_text(verdict, gated.gate))
        yield ""
        yield from _rules(verdict)
        yield from _parts(verdict)
    for doubt in gated.doubts:
        yield f"- {_plain(doubt)}"
    if gated.doubts:
        yield ""
    kept = [f"Code: {_plain(gated.code)}."] if gated.code else []
    kept += [f"Run: {_code(gated.run)}."] if gated.run else []
    if kept:
        yield " ".join(kept)
        yield ""


def _rules(verdict: GateVerdict) -> Iterator[str]:
    heads = ("verdict", "metric", "endpoint", "base", "head", "change", "95 % interval", "would be seen", "")
    rows = [
        (
            f"**{row.verdict}**" if row.regressed else row.verdict,
            _code(row.metric),
            _code(row.endpoint),
            *map(_plain, (row.base, row.head, row.change, row.interval, row.smallest, row.note)),
        )
        for row in rule_rows(verdict)
    ]
    yield from _table(heads, ":--|:--|:--|--:|--:|--:|--:|--:|:--", rows)


def _parts(verdict: GateVerdict) -> Iterator[str]:
    """Folded in: it explains a change, and is no verdict."""
    if not verdict.parts:
        return
    yield "<details><summary>Where the time of an average request went, ms</summary>"
    yield ""
    heads = ("part", "base", "head", "difference, 95 % interval")
    rows = [tuple(map(_plain, (row.name, row.base, row.head, row.difference))) for row in part_rows(verdict)]
    yield from _table(heads, ":--|--:|--:|--:", rows)
    yield "</details>"
    yield ""


def _table(heads: Sequence[str], sides: str, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{sides}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _plain(text: str) -> str:
    """Text that shows as it is: no markup, no HTML, no end of a table's cell."""
    one_line = " ".join(text.split("\n"))
    return "".join(f"\\{each}" if each in "\\`*_[]<>|#~" else each for each in one_line)


def _code(text: str) -> str:
    """Text as code, in a table too: a backtick cannot be escaped there, and a bar has to be."""
    return f"`{' '.join(text.split()).replace('`', chr(39)).replace('|', chr(92) + '|')}`"
