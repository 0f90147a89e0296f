"""What a gate leaves for CI: true of its rules, at one with its exit code, and in the form that its readers want."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache
from itertools import product
from typing import Any, get_args
from xml.etree import ElementTree as Xml

import jsonschema_rs
import pytest
from gated import P95, STATEMENTS

from harness.domain.experiment import Gate
from harness.domain.gate import Decision, GateVerdict, Part, RuleVerdict, Why
from harness.domain.strict_json import strict_json
from harness.present import gate_dict
from harness.present.ci import GATE_SCHEMA, Gated, gate_markdown, github_lines, junit_xml
from harness.present.gate_text import gate_text, rule_text

SLOWER = replace(P95, head=30.0, effect=0.5, low=0.4, high=0.6, verdict="regressed")
LIMIT = replace(P95, kind="absolute", metric="p99_ms", head=612.0, effect=112.0, limit=500.0, verdict="regressed")
UNKNOWN = replace(P95, base=math.nan, head=math.nan, effect=math.nan, low=None, high=None, smallest_visible=None)
POOL = Part(name="queue", base_ms=1.0, head_ms=4.0, low_ms=2.5, high_ms=3.5)


def verdict(*rules: RuleVerdict, decision: Decision | None = None, **more: Any) -> GateVerdict:
    rules = rules or (P95,)
    return GateVerdict(
        verdict=decision or rules[0].verdict,
        primary=rules[0],
        rules=rules,
        **{
            "blocks": 7,
            "fresh_blocks": 0,
            "planned_blocks": 7,
            "alarm": False,
            "noise": None,
            "paired": True,
            "identical": False,
            **more,
        },
    )


def gated(*rules: RuleVerdict, decision: Decision | None = None, fail: bool = False, **more: Any) -> Gated:
    return Gated(
        experiment="shop",
        gate=Gate(on_inconclusive="fail" if fail else "pass"),
        verdicts={"": verdict(*rules, decision=decision)},
        **{"created_utc": "2026-11-27T06:00:00Z", **more},
    )


# the published structure of JUnit's XML, as Jenkins' junit-10.xsd has it: element -> attributes, children in any order
STRUCTURE = {
    "testsuites": ({"name", "time", "tests", "failures", "disabled", "errors"}, {"testsuite"}),
    "testsuite": (
        {
            *("name", "tests", "failures", "errors", "group", "time", "disabled", "skipped", "timestamp", "hostname"),
            *("id", "package", "file", "log", "url", "version"),
        },
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
    ),
    "testcase": (
        {"name", "time", "classname", "group", "status", "class", "file", "line", "assertions"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    "failure": ({"type", "message"}, set()),
    "error": ({"type", "message"}, set()),
    "skipped": ({"type", "message"}, set()),
    "system-out": (set(), set()),
}
REQUIRED = {"testsuite": {"name", "tests"}, "testcase": {"name", "classname"}}


def check_structure(element: Xml.Element) -> None:
    attributes, children = STRUCTURE[element.tag]
    assert set(element.attrib) <= attributes
    assert REQUIRED.get(element.tag, set()) <= set(element.attrib)
    for number in {"tests", "failures", "errors", "skipped"} & set(element.attrib):
        assert int(element.attrib[number]) >= 0
    for child in element:
        assert child.tag in children
        check_structure(child)


@cache
def every_rule() -> Sequence[tuple[Gated, GateVerdict, RuleVerdict]]:
    found = []
    for kind, decision, why, fail, first in product(
        (P95, STATEMENTS, LIMIT), get_args(Decision), get_args(Why), (False, True), (False, True)
    ):
        rule = replace(UNKNOWN if why == "no_figure" else kind, kind=kind.kind, verdict=decision, why=why)
        rules = (rule,) if first else (replace(P95, verdict="equivalent"), rule)
        one = gated(*rules, decision=decision, fail=fail)
        found.append((one, one.verdicts[""], rule))
    return found


@pytest.mark.parametrize("number", range(0, 420, 7))
def test_junit_has_the_published_structure_whatever_the_rules(number: int) -> None:
    own, _, _ = every_rule()[number]
    root = Xml.fromstring(junit_xml(own))
    check_structure(root)
    (suite,) = root
    cases = suite.findall("testcase")
    assert int(suite.attrib["tests"]) == int(root.attrib["tests"]) == len(cases) == len(own.verdicts[""].rules)
    assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure"))
    assert int(suite.attrib["errors"]) == len(suite.findall("testcase/error"))
    assert int(suite.attrib["skipped"]) == len(suite.findall("testcase/skipped"))


def exit_code(own: Gated) -> int:
    """As docs/cli.md has it, of one verdict."""
    (one,) = own.verdicts.values()
    if own.unusable or one.verdict == "invalid":
        return 4
    if one.verdict == "regressed":
        return 1
    return 3 if one.verdict == "inconclusive" and own.gate.on_inconclusive == "fail" else 0


@pytest.mark.parametrize("fail", [False, True])
@pytest.mark.parametrize(
    ("rules", "decision"),
    [
        ([replace(P95, verdict="equivalent")], "equivalent"),
        ([replace(P95, verdict="improved")], "improved"),
        ([P95], "inconclusive"),
        ([P95, STATEMENTS], "regressed"),
        ([replace(P95, verdict="equivalent"), LIMIT], "regressed"),
        ([SLOWER], "regressed"),
        ([replace(UNKNOWN, why="no_figure")], "invalid"),
        ([replace(P95, why="too_few_launches")], "inconclusive"),
        ([replace(P95, verdict="equivalent"), replace(P95, metric="p50_ms", why="unconfirmed")], "inconclusive"),
        ([replace(P95, verdict="equivalent"), replace(LIMIT, verdict="inconclusive")], "inconclusive"),
        ([replace(P95, verdict="equivalent"), replace(P95, metric="p50_ms")], "equivalent"),
        ([replace(P95, verdict="equivalent"), replace(STATEMENTS, verdict="inconclusive", why="varies")], "equivalent"),
    ],
)
def test_something_fails_if_and_only_if_the_gate_does(rules: list[RuleVerdict], decision: Decision, fail: bool) -> None:
    own = gated(*rules, decision=decision, fail=fail)
    suites = Xml.fromstring(junit_xml(own))
    bad = int(suites.attrib["failures"]) + int(suites.attrib["errors"])
    assert (bad > 0) == (exit_code(own) != 0)
    assert any(line.startswith("::error ") for line in github_lines(own)) == (exit_code(own) != 0)


def test_a_case_says_what_its_rule_says() -> None:
    own = gated(P95, STATEMENTS, replace(P95, metric="p50_ms", why="instrument"), decision="regressed")
    (suite,) = Xml.fromstring(junit_xml(own))
    passed, failed, skipped = suite.findall("testcase")
    assert passed.attrib == {"name": "p95_ms of *", "classname": "poolbench.shop"}
    assert passed.findtext("system-out") == rule_text(P95, own.verdicts[""])
    failure = failed.find("failure")
    assert failure is not None
    assert failure.attrib == {
        "message": "GET /teams 200 takes 4 statements (2) a request, in brackets the base",
        "type": "regressed",
    }
    assert "the instrument may have moved it that far" in skipped.find("skipped").attrib["message"]  # type: ignore[union-attr]
    assert suite.attrib["timestamp"] == "2026-11-27T06:00:00"
    assert suite.findtext("system-out") == gate_text(own.verdicts[""], own.gate)


def test_a_limit_beside_a_comparison_of_the_same_metric_has_a_name_of_its_own() -> None:
    own = gated(replace(LIMIT, kind="statistical", verdict="equivalent"), LIMIT, decision="regressed")
    names = [case.attrib["name"] for case in Xml.fromstring(junit_xml(own)).iter("testcase")]
    assert names == ["p99_ms of *", "p99_ms of * (limit)"]


def test_cells_are_suites() -> None:
    own = replace(gated(), verdicts={"pool_size 5": verdict(), "pool_size 9": verdict(SLOWER)})
    root = Xml.fromstring(junit_xml(own))
    assert [(suite.attrib["name"], suite.attrib["failures"]) for suite in root] == [
        ("poolbench.shop.pool_size 5", "0"),
        ("poolbench.shop.pool_size 9", "1"),
    ]
    assert root.attrib["failures"] == "1"
    (line,) = github_lines(own)
    assert line.startswith("::error title=poolbench%3A shop%2C pool_size 9%2C regressed::")
    assert b"### \xe2\x9d\x8c regressed: shop, pool\\_size 9" in gate_markdown(own)


def test_figures_that_do_not_count_are_an_error() -> None:
    own = gated(replace(P95, verdict="equivalent"), unusable="A setting took no effect.")
    case = Xml.fromstring(junit_xml(own)).findall("testsuite/testcase")[-1]
    assert case.attrib["name"] == "the figures count"
    assert case.find("error").attrib == {"message": "A setting took no effect.", "type": "invalid"}  # type: ignore[union-attr]
    assert github_lines(own) == ("::error title=poolbench%3A shop::A setting took no effect.",)
    assert gate_markdown(own).decode().startswith("### \u26a0\ufe0f invalid: shop\n\nA setting took no effect.\n")


def test_nothing_judged_at_all_is_an_error_too() -> None:
    own = replace(gated(unusable="Nothing is measured yet."), verdicts={})
    root = Xml.fromstring(junit_xml(own))
    check_structure(root)
    assert (root.attrib["tests"], root.attrib["errors"]) == ("1", "1")
    assert len(github_lines(own)) == 1
    assert gate_markdown(own).decode() == "### \u26a0\ufe0f invalid: shop\n\nNothing is measured yet.\n"


@pytest.mark.parametrize("endpoint", ['GET /a|b?"<x>&%', "GET /\u0000\u001b[31m", "GET /`x` ]]>", "a\r\nb,c:d"])
def test_any_name_of_an_endpoint_is_only_a_name(endpoint: str) -> None:
    own = gated(replace(SLOWER, endpoint=endpoint))
    (case,) = Xml.fromstring(junit_xml(own)).iter("testcase")
    shown = re.sub("[\u0000\u001b]", "\ufffd", endpoint)
    assert case.attrib["name"] == f"p95_ms of {shown}"
    (line,) = github_lines(own)
    assert line.count("::") == 2
    assert "\n" not in line
    assert "\r" not in line
    page = gate_markdown(own).decode()
    (row,) = [line for line in page.split("\n") if "`p95_ms`" in line]
    assert len(re.findall(r"(?<!\\)\|", row)) == 10, "nine columns"
    assert "<x>" not in re.sub("`[^`]*`", "", page)


@pytest.mark.parametrize("why", ["varies", "too_few_launches"])
def test_counts_that_depend_on_a_cache_raise_nothing(why: Why) -> None:
    cache = replace(STATEMENTS, verdict="inconclusive", why=why)
    assert github_lines(gated(P95, cache)) == ()
    assert len(github_lines(gated(replace(P95, why="too_few_launches"), cache))) == 1


def test_annotations_are_errors_then_warnings_and_not_too_many() -> None:
    unclear = replace(STATEMENTS, verdict="inconclusive", why="not_counted")
    assert github_lines(gated(P95)) == (), "no regression was found"
    said = github_lines(gated(P95, unclear, STATEMENTS, decision="regressed"))
    assert [line.partition(" ")[0] for line in said] == ["::error", "::warning"]
    assert said[0].endswith("::GET /teams 200 takes 4 statements (2) a request, in brackets the base")
    many = github_lines(gated(P95, *[replace(STATEMENTS, endpoint=f"GET /{n} 200") for n in range(12)]))
    assert len(many) == 10
    assert many[-1] == "::error title=poolbench::3 more rules, which the report has."
    assert len(github_lines(gated(P95, *[replace(STATEMENTS, endpoint=f"GET /{n} 200") for n in range(10)]))) == 10


@pytest.mark.parametrize("decision", get_args(Decision))
def test_markdown_begins_with_what_came_out(decision: Decision) -> None:
    own = gated(replace(P95, verdict=decision), decision=decision)
    mark = {"regressed": "\u274c", "inconclusive": "\u2754", "invalid": "\u26a0\ufe0f"}.get(decision, "\u2705")
    assert gate_markdown(own).decode().startswith(f"### {mark} {decision}: shop\n")


def test_markdown_has_the_rules_the_parts_and_the_run() -> None:
    own = replace(
        gated(SLOWER, STATEMENTS, run="results/x", code="base: main, commit 1a2b", doubts=("a_b is busy.",)),
        verdicts={"": verdict(SLOWER, STATEMENTS, parts=(POOL,))},
    )
    page = gate_markdown(own).decode()
    assert "| **REGRESSED** | `p95_ms` | `*` | 20.0 | 30.0 | +50.0 % | +40.0 % to +60.0 % | +11.0 % |  |" in page
    assert "<details><summary>Where the time of an average request went, ms</summary>" in page
    assert "| waiting for a connection of the pool | 1.00 | 4.00 | 2.50 to 3.50 |" in page
    assert "- a\\_b is busy." in page
    assert "Code: base: main, commit 1a2b. Run: `results/x`." in page
    bare = gate_markdown(gated()).decode()
    for absent in ("<details>", "Code:", "Run:"):
        assert absent not in bare


SCHEMA = jsonschema_rs.validator_for(dict(GATE_SCHEMA))


def as_json(own: GateVerdict) -> Any:
    return json.loads(strict_json(gate_dict(own)))


def test_the_schema_holds_whatever_comes_out() -> None:
    for _, own, rule in every_rule():
        for one in (own, replace(own, noise=0.1, parts=(POOL, replace(POOL, low_ms=None)), blocks=0)):
            SCHEMA.validate(as_json(replace(one, rules=(*one.rules, replace(rule, base=math.inf)))))


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "better"},
        {"metrics": []},
        {"schema_version": 0},
        {"new": 1},
        {"noise": "10 %"},
        {"parts": [{**asdict(POOL), "name": "sleep"}]},
        {"metrics": [{**asdict(P95), "why": "weather"}]},
        {"metrics": [{key: value for key, value in asdict(P95).items() if key != "high"}]},
    ],
)
def test_the_schema_holds_nothing_else(change: dict[str, Any]) -> None:
    assert not SCHEMA.is_valid({**as_json(verdict()), **change})


def test_every_key_is_required() -> None:
    said = as_json(verdict())
    for key in said:
        assert not SCHEMA.is_valid({other: value for other, value in said.items() if other != key}), key


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (P95, "p95_ms changes by +5.00 % (-2.00 % to +12.0 %; 21.0 against 20.0)"),
        (
            replace(P95, why="unconfirmed"),
            (
                "p95_ms changes by +5.00 % (-2.00 % to +12.0 %; 21.0 against 20.0); an alarm; fresh launches would "
                "have to confirm it"
            ),
        ),
        (SLOWER, "p95_ms changes by +50.0 % (+40.0 % to +60.0 %; 30.0 against 20.0)"),
        (STATEMENTS, "GET /teams 200 takes 4 statements (2) a request, in brackets the base"),
        (
            replace(UNKNOWN, kind="exact", metric="statements_per_request", why="not_counted"),
            "statements_per_request; not counted",
        ),
        (LIMIT, "p99_ms is 612, and at most 500 is allowed"),
        (replace(LIMIT, verdict="equivalent", head=400.0, effect=-100.0), "p99_ms is 400, with a limit of 500"),
        (replace(UNKNOWN, why="no_figure"), "p95_ms is not known; a side has no figure"),
    ],
)
def test_a_rule_in_a_phrase(rule: RuleVerdict, said: str) -> None:
    assert rule_text(rule, verdict(rule)) == said
