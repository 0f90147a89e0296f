"""A log that was cut in the middle, and where its lines stood in what was written."""

from __future__ import annotations

import re
from collections.abc import Iterator

_LEFT_OUT = re.compile(rb"\[poolbench left out (\d+) bytes here\]\n")


def left_out_line(count: int) -> bytes:
    """Return the line that stands in a log for `count` bytes that were taken out of it."""
    return f"[poolbench left out {count} bytes here]\n".encode()


def lines_of(log: bytes) -> Iterator[tuple[str, int]]:
    """Go through a log's lines, each with how many bytes had been written when it was complete."""
    end = 0
    for line in log.splitlines(keepends=True):
        cut = _LEFT_OUT.fullmatch(line)
        if cut is not None:
            end += int(cut[1])
            continue
        end += len(line)
        yield line.decode(errors="replace").rstrip("\r\n"), end
