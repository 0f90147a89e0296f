"""What a gate writes for CI, and where: what cannot be written changes nothing of the answer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reports import build_report

from harness.cli import main
from harness.cli.sides import tell_ci
from harness.domain.evidence import Version
from harness.domain.experiment import Target
from harness.domain.gate import Decision, GateVerdict, RuleVerdict
from harness.domain.verdict import Report
from harness.present import GATE_SCHEMA, gated_of, junit_xml


def compared(decision: Decision, *, state: str = "undecided") -> Report:
    rule = RuleVerdict(
        kind="statistical",
        metric="p95_ms",
        endpoint="*",
        scale="ratio",
        base=20.0,
        head=30.0,
        effect=0.5,
        low=0.4,
        high=0.6,
        verdict=decision,
    )
    told: Any = {"blocks": 7, "fresh_blocks": 7, "planned_blocks": 14, "alarm": True, "noise": None, "paired": True}
    verdict = GateVerdict(verdict=decision, primary=rule, rules=(rule,), identical=False, **told)
    report = build_report(drivers=1, sizes=2, figures=False)
    version = Version(commit="1a2b3c4d5e" * 4)
    cells = tuple(
        replace(own, cell=replace(own.cell, arm=arm, target=Target(ref=ref)), versions=(version,))
        for own, arm, ref in zip(report.summary.cells, ("base", "head"), ("main", None), strict=True)
    )
    summary = replace(report.summary, cells=cells, verdict=replace(report.summary.verdict, state=state))
    return replace(report, summary=summary, gate=verdict)


@pytest.fixture(autouse=True)
def _not_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)


def test_what_was_asked_for_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = compared("regressed")
    tell_ci(gated_of(report, "results/x"), tmp_path / "junit.xml", tmp_path / "gate.md")
    assert (tmp_path / "junit.xml").read_bytes() == junit_xml(gated_of(report, "results/x"))
    page = (tmp_path / "gate.md").read_text()
    assert page.startswith("### \u274c regressed: ")
    assert "Code: base: main, commit 1a2b3c4d5e; head: commit 1a2b3c4d5e. Run: `results/x`." in page
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


def test_on_github_the_summary_grows_and_lines_go_to_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "summary").write_text("what a step before said\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    tell_ci(gated_of(compared("regressed"), ""), None, None)
    assert capsys.readouterr().err == "", "only a runner reads such lines"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    tell_ci(gated_of(compared("equivalent"), ""), None, None)
    assert capsys.readouterr().err == ""
    tell_ci(gated_of(compared("regressed"), ""), None, None)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("::error title=poolbench%3A ")
    lines = (tmp_path / "summary").read_text().split("\n")
    assert lines[0] == "what a step before said"
    assert [line.split(":")[0] for line in lines if line.startswith("###")] == [
        "### \u274c regressed",
        "### \u2705 equivalent",
        "### \u274c regressed",
    ]


def test_what_cannot_be_written_is_told_and_the_rest_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tell_ci(gated_of(compared("improved"), ""), tmp_path / "no" / "folder.xml", tmp_path / "gate.md")
    assert "warning: " in (said := capsys.readouterr().err)
    assert "no/folder.xml was not written: No such file or directory." in said
    assert (tmp_path / "gate.md").exists()


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)  # the test's own handlers stay
    with pytest.raises(SystemExit) as ended:
        main(["gate", str(tmp_path / "there is none.toml"), "--junit", str(tmp_path / "no" / "folder.xml")])
    assert ended.value.code == 2
    assert "no/folder.xml cannot be written. Name a file in a folder that exists." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("report", "unusable"),
    [
        (compared("equivalent"), ""),
        (compared("equivalent", state="not_applied"), "Nothing can be concluded"),
        (replace(compared("equivalent", state="nothing_complete"), gate=None), "Nothing is measured yet"),
    ],
)
def test_what_does_not_count_is_an_error(report: Report, unusable: str) -> None:
    gated = gated_of(report, "")
    assert gated.unusable.startswith(unusable)
    assert bool(gated.unusable) == bool(unusable)


def test_the_schema_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit):
        main(["schema", "gate"])
    assert json.loads(capsys.readouterr().out) == GATE_SCHEMA
