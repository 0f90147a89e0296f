"""Where each key of a TOML text stands, which `tomllib` does not tell, so that an error can name its line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_KEY_PART = re.compile(r"""[ \t]*("(?:\\.|[^"\\\n])*"|'[^'\n]*'|[A-Za-z0-9_-]+)[ \t]*(\.?)""")
_HEADER_OPEN = re.compile(r"\[\[?")
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'  # may end with up to two quotes of its own
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*"
    r"|[\[\]{}\n]"
    r"|[^\[\]{}\n\"'#]+"
    r"|.",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where an experiment came from: a name to show, the line of each key, and the keys `--set` has replaced."""

    name: str
    lines: Mapping[str, int] = field(default_factory=dict)
    overridden: Collection[str] = ()
    base: Source | None = None
    """the file that it extends, where keys stand that it has not itself"""

    def where(self, *keys: str) -> str:
        """`file:line` of the first key that stands somewhere, else of the last key's nearest section, else the file."""
        for key in keys:
            bare = key.removeprefix("matrix.")
            if override := next((o for o in self.overridden if bare == o or bare.startswith(f"{o}.")), None):
                return f"--set {override}"
            holder: Source | None = self
            while holder is not None:
                if key in holder.lines:
                    return f"{holder.name}:{holder.lines[key]}"
                holder = holder.base
        section = keys[-1] if keys else ""
        while section:
            section = section.rpartition(".")[0]
            if section in self.lines:
                return f"{self.name}:{self.lines[section]}"
        return self.name


MAX_DEPTH = 32
"""of lists and tables within each other; nothing that poolbench knows goes beyond 4"""


def too_deep(text: str) -> int | None:
    """The 1-based line where lists and inline tables go deeper than MAX_DEPTH, before anything recurses into them."""
    depth = 0
    for match in _TOKEN.finditer(text):
        token = match.group()
        depth += (token in ("[", "{")) - (token in ("]", "}"))
        if depth > MAX_DEPTH:
            return text.count("\n", 0, match.start()) + 1
    return None


def key_lines(text: str) -> dict[str, int]:
    """Dotted key -> 1-based line where it is first defined; tables count, keys of inline tables do not.

    `text` must be valid TOML: the scan skips over values without judging them.
    """
    lines: dict[str, int] = {}
    table: tuple[str, ...] = ()
    at = _skip_blank(text, 0)
    while at < len(text):
        line = text.count("\n", 0, at) + 1
        if opening := _HEADER_OPEN.match(text, at):
            table, end = _read_key(text, opening.end())
            key = table
        else:
            relative, end = _read_key(text, at)
            key = (*table, *relative)
        for length in range(1, len(key) + 1):
            lines.setdefault(".".join(key[:length]), line)
        at = _skip_blank(text, _end_of_statement(text, end))
    return lines


def _skip_blank(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match else at


def _read_key(text: str, at: int) -> tuple[tuple[str, ...], int]:
    parts: list[str] = []
    while match := _KEY_PART.match(text, at):
        part, dot = match.groups()
        parts.append(tomllib.loads(f"k = {part}")["k"] if part[0] in "\"'" else part)
        at = match.end()
        if not dot:
            break
    return tuple(parts), at


def _end_of_statement(text: str, at: int) -> int:
    """The first newline outside strings and brackets."""
    depth = 0
    for match in _TOKEN.finditer(text, at):
        token = match.group()
        if token in ("[", "{"):
            depth += 1
        elif token in ("]", "}"):
            depth -= 1
        elif token == "\n" and depth <= 0:
            return match.start()
    return len(text)
