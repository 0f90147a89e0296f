"""Every finding in words: each once, with the cells it is of; what befell the machine is said of no cell."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.analyse import findings as found_by
from harness.domain.certificate import Certificate, Reason
from harness.domain.verdict import Report
from harness.present import render_html
from harness.present.findings import OF_THE_MACHINE, WORDS, findings, own_findings, reasons

MakeReport = Callable[..., Report]
MARKS = {"saturated", "near_its_limit", "from_empty", "not measured"}


def with_findings(report: Report, *codes: tuple[str, ...]) -> Report:
    """The first cells with these findings, the others with none; certificates say the same."""
    given = [codes[place] if place < len(codes) else () for place in range(len(report.summary.cells))]
    cells = tuple(replace(cell, findings=own) for cell, own in zip(report.summary.cells, given, strict=True))
    certificates = {
        f"b{block}-{cell.cell.id}": Certificate(
            valid=True,
            reasons=tuple(
                Reason(kind="finding", code=code, message=f"{code} of {cell.cell.id}", value=block, threshold=0)
                for code in cell.findings
            ),
        )
        for block in (1, 2, 3)
        for cell in cells
    }
    return replace(report, summary=replace(report.summary, cells=cells, certificates=certificates))


def test_every_code_has_words_and_nothing_else_has() -> None:
    source = Path(str(found_by.__file__)).read_text()
    codes = set(re.findall(r"(?:above\(\s*\"finding\", |code=)\"(\w+)\"", source))
    assert set(WORDS) == codes | MARKS


@pytest.mark.parametrize("code", sorted(WORDS))
def test_a_finding_is_said_of_its_cells_and_of_no_report_without_it(make_report: MakeReport, code: str) -> None:
    report = make_report(drivers=1, sizes=3)
    assert [found for found, _ in findings(with_findings(report))] == []
    ((found, said),) = findings(with_findings(report, (), (code,)))
    assert found == code
    assert WORDS[code] in said
    assert ("driver asyncpg, pool_size 5" in said) == (code not in OF_THE_MACHINE)
    assert "pool_size 2" not in said
    ((_, everywhere),) = findings(with_findings(report, (code,), (code,), (code,)))
    assert everywhere.startswith("every cell: ") == (code not in OF_THE_MACHINE)


def test_an_instruments_reason_is_no_finding(make_report: MakeReport) -> None:
    assert list(findings(with_findings(make_report(drivers=1), ("lost_worker",)))) == []


def test_what_befell_the_machine_is_said_once_and_of_no_cell(make_report: MakeReport) -> None:
    report = with_findings(make_report(figures=False), *[("steal", "warmup")] * 6)
    said = dict(findings(report))
    assert said["steal"].endswith("(in 18 of 18 launches)")
    assert own_findings(report.summary.cells[0]) == ("warmup",)
    rows = list(reasons(report, "finding"))
    assert [(trial, label) for trial, label, reason in rows if reason.code == "steal"] == [
        ("18 of 18", "this machine, at worst")
    ]
    assert next(reason.value for _, _, reason in rows if reason.code == "steal") == 3
    assert sum(reason.code == "warmup" for *_, reason in rows) == 18
    page = render_html(report).decode()
    assert len(re.findall(r"steal of c\d\d", page)) == 1
    assert page.count(WORDS["steal"]) == 1
    assert WORDS["throttled"] not in page
