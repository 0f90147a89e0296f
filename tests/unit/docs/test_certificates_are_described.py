"""Every reason of a certificate is in the docs, and nothing else is."""

from __future__ import annotations

import re
from pathlib import Path

from harness.analyse import findings, instrument

CODE = re.compile(r"(?:above\(\s*\"\w+\", |code=)\"(\w+)\"")


def test_every_reason_is_described() -> None:
    described = (Path(__file__).parents[3] / "docs" / "certificates.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|", described, re.MULTILINE)
    sources = [Path(str(module.__file__)).read_text() for module in (instrument, findings)]
    assert sorted(rows) == sorted({code for source in sources for code in CODE.findall(source)})
