"""A gate as JUnit XML, which every CI shows: a suite for each cell, a case for each rule."""

from __future__ import annotations

import re
from collections import Counter
from xml.etree import ElementTree as Xml

from harness.domain.gate import RuleVerdict
from harness.present.ci.gated import Gated
from harness.present.gate_text import gate_text, rule_text

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CHILD = {"failed": "failure", "error": "error"}


def junit_xml(gated: Gated) -> bytes:
    """The gate's rules as test cases; something fails or errs if and only if the gate's exit code is not 0."""
    suites = Xml.Element("testsuites", name=_text(f"poolbench gate {gated.experiment}"))
    for cell in gated.verdicts or ("",):
        suites.append(_suite(gated, cell))
    _count(suites)
    Xml.indent(suites)
    content: bytes = Xml.tostring(suites, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _suite(gated: Gated, cell: str) -> Xml.Element:
    name = _text(".".join(filter(None, ("poolbench", gated.experiment, cell))))
    suite = Xml.Element("testsuite", name=name, timestamp=gated.created_utc.rstrip("Z"))
    for own_cell, verdict, rule, outcome in gated.rules():
        if own_cell != cell:
            continue
        case = Xml.SubElement(suite, "testcase", name=_text(_title(rule)), classname=name)
        said = _text(rule_text(rule, verdict))
        if outcome == "passed":
            Xml.SubElement(case, "system-out").text = said
        elif outcome == "skipped":
            Xml.SubElement(case, "skipped", message=said)
        else:
            Xml.SubElement(case, _CHILD[outcome], message=said, type=rule.verdict).text = said
    if gated.unusable:
        case = Xml.SubElement(suite, "testcase", name="the figures count", classname=name)
        Xml.SubElement(case, "error", message=_text(gated.unusable), type="invalid")
    _count(suite)
    if cell in gated.verdicts:
        Xml.SubElement(suite, "system-out").text = _text(gate_text(gated.verdicts[cell], gated.gate))
    return suite


def _title(rule: RuleVerdict) -> str:
    return f"{rule.metric} of {rule.endpoint}" + (" (limit)" if rule.kind == "absolute" else "")


def _count(element: Xml.Element) -> None:
    """Say how many cases there are within, and how many of each kind."""
    cases = list(element.iter("testcase"))
    kinds = Counter(child.tag for case in cases for child in case)
    element.set("tests", str(len(cases)))
    element.set("failures", str(kinds["failure"]))
    element.set("errors", str(kinds["error"]))
    if element.tag == "testsuite":
        element.set("skipped", str(kinds["skipped"]))


def _text(text: str) -> str:
    """Without the characters that no XML can hold: a scenario may call an endpoint anything."""
    return _NOT_XML.sub("\ufffd", text)
