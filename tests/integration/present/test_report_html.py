from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest
from gated import P95

from harness.domain.certificate import Certificate, Reason
from harness.domain.experiment import Limits, Load, Slo, Target
from harness.domain.gate import GateVerdict, Part
from harness.domain.verdict import Failure, Report, Verdict
from harness.present import render_html

MakeReport = Callable[..., Report]
VOID = {"meta", "br", "link", "img", "input", "hr", "path", "rect", "use", "circle", "line"}
SECTIONS_ALL = ("comparison", "errors", "endpoints", "certificates", "applied", "reading")
SECTIONS = [
    "run",
    "ranking",
    "binding",
    "figures",
    "holders",
    "other-sizes",
    "errors",
    "endpoints",
    "certificates",
    "notes",
    "environment",
    "reading",
]


def collapse(text: str) -> str:
    """White space as a browser shows it: thin spaces within numbers stay."""
    return re.sub(r"[ \n]+", " ", text).strip()


class Page(HTMLParser):
    """What a reader without JavaScript gets: the sections, their tables' rows, and every text."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.sections: dict[str, list[str]] = {"": []}
        self.tables: dict[str, list[list[list[str]]]] = {}
        self._section = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self._section = dict(attrs)["id"] or ""
            self.sections[self._section] = []
            self.tables[self._section] = []
        elif tag == "table":
            self.tables[self._section].append([])
        elif tag == "tr":
            self.tables[self._section][-1].append([])
        elif tag == "br":
            self.handle_data("; ")
        elif tag in ("td", "th"):
            self.tables[self._section][-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.sections[self._section].append(data)
        if "td" in self.open[-4:] or "th" in self.open[-4:]:
            self.tables[self._section][-1][-1][-1] += data

    def text(self, section: str) -> str:
        return collapse(" ".join(self.sections.get(section, ())))

    def body(self, section: str, table: int = 0) -> list[list[str]]:
        """Rows of a table without its head, white space collapsed."""
        return [[collapse(cell) for cell in row] for row in self.tables[section][table][1:]]


def read(report: Report) -> Page:
    page = Page(render_html(report).decode("utf-8"))
    assert page.open == [], "every element is closed"
    return page


@pytest.fixture(scope="module")
def plain(make_report: MakeReport) -> Page:
    """Without figures."""
    return read(make_report(figures=False))


@pytest.fixture(scope="module")
def failing_markup(make_report: MakeReport) -> str:
    return render_html(make_report(failing=frozenset({5}))).decode()


@pytest.fixture(scope="module")
def failing(failing_markup: str) -> Page:
    return Page(failing_markup)


def test_sections_come_in_reading_order(plain: Page) -> None:
    assert list(plain.sections) == ["", *SECTIONS]
    assert "Run with driver asyncpg, pool_size 2: p95 6.21 ms" in plain.text("")


def test_ranking_has_a_row_per_cell_with_ties_and_intervals(failing: Page) -> None:
    rows = failing.body("ranking")
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert [row[1] for row in rows] == ["2", "1", "none", "none", "none", "none"]
    assert rows[0][2:6] == ["asyncpg, pool 2", "3.10 2.92\u20133.29", "6.21 5.54\u20136.95", "\u2013"]
    assert rows[1][5] == "1.25 0.970\u20131.34"
    assert rows[5][2] == "psycopg_sync, pool 5; dropped; errors"
    assert rows[5][6:9] == ["∞", "2.34", "292"]
    assert [row[12] for row in rows] == ["yes"] * 5 + ["no"]


def test_the_recommended_row_stands_out(make_report: MakeReport) -> None:
    report = make_report(figures=False)
    classes = re.findall(r"<tr( class=\"best\")?>\s*<td>(\d)</td>", render_html(report).decode())
    assert [rank for best, rank in classes if best] == ["1"]
    nothing = replace(report.summary, verdict=replace(report.summary.verdict, recommendation=None, cell_id=None))
    assert 'class="best"' not in render_html(replace(report, summary=nothing)).decode()


def test_what_was_run_names_load_design_promise_and_machine(plain: Page) -> None:
    text = plain.text("run")
    for said in (
        "Which driver and pool size serve the hero API best?",
        "6 cells (target.driver \u00d7 pool.pool_size), 3 launches each; 18 valid of 18 measured and 18 planned",
        "open: 299 arrivals/s, poisson gaps (60% of the 498 arrivals/s that the pilot sustained in a staircase",
        "interleaved",
        "p95 at most 25 ms",
        "Postgres 18.6; 10\u202f000 rows; tcp, scram-sha-256, no TLS",
        "AMD EPYC 7B13; 2 cores; 23.4 GiB of memory",
    ):
        assert said in text


def test_a_closed_load_says_what_its_latency_is(make_report: MakeReport) -> None:
    report = make_report(drivers=1, sizes=1, figures=False)
    cell = replace(report.info.cells[0], load=Load(model="closed", users=16))
    text = read(replace(report, info=replace(report.info, cells=(cell,)))).text("run")
    assert "closed: 16 users that wait for each answer, latency from send" in text


def test_nothing_points_outside_and_nothing_runs(failing_markup: str, failing: Page) -> None:
    addresses = re.findall(r"https?://[^\s\"'<]+", failing_markup)
    assert {address.split("/")[2] for address in addresses} == {"www.w3.org"}
    assert not {"script", "link", "iframe", "img", "object"} & set(failing.tags)
    assert "@import" not in failing_markup
    assert re.findall(r"url\((?!#)", failing_markup) == []
    links = [value for name, value in failing.attributes if name in ("href", "src", "xlink:href") and value]
    assert all(link.startswith("#") for link in links)


def test_ids_are_unique_over_all_figures(failing: Page) -> None:
    ids = [value for name, value in failing.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    used = {value[1:] for name, value in failing.attributes if name == "xlink:href" and value}
    used |= {name for _, value in failing.attributes if value for name in re.findall(r"url\(#([^)]+)\)", value)}
    assert used <= set(ids)


def test_labels_are_text_never_markup(make_report: MakeReport) -> None:
    page = read(make_report(drivers=1, label="<script>alert({size})</script> & {driver}"))
    assert "script" not in page.tags
    assert page.body("ranking")[0][2] == "<script>alert(2)</script> & asyncpg"


def test_all_figures_are_there_with_a_caption(failing: Page) -> None:
    assert failing.tags.count("svg") == failing.tags.count("figcaption") == failing.tags.count("figure") == 8


def test_without_probe_and_activity_the_report_says_so(make_report: MakeReport) -> None:
    page = read(make_report(drivers=1, probe=False, activity=False))
    figures = page.text("figures")
    assert "Connections could not be seen" in figures
    assert "Pool wait could not be seen" in figures
    assert page.tags.count("svg") == 3
    assert "No arrival failed: no errors, timeouts or drops." in page.text("errors")
    assert {(row[9], row[10]) for row in page.body("ranking")} == {("\u2013", "\u2013")}


def test_other_sizes_are_drawn_and_listed_with_what_they_rest_on(failing: Page) -> None:
    assert "From the requests of pool_size 10: a hold takes 8 ms" in failing.text("other-sizes")
    rows = failing.body("other-sizes")
    assert [row[:4] for row in rows[:4]] == [
        ["300/s", "2", "∞", "∞"],
        ["300/s", "3", "42.0", "\u2013"],
        ["300/s", "5", "14.0", "14.0"],
        ["300/s", "10", "12.0", "12.0"],
    ]
    assert rows[3][8] == "the source"
    assert len(rows) == 8


def test_who_holds_the_connections_is_said_drawn_and_listed(failing: Page) -> None:
    assert "PATCH /heroes/{hero_id} holds 89 % of the connections that are out" in failing.text("holders")
    row, *others = failing.body("holders")
    assert len(others) == 11
    assert row[1:] == [
        "PATCH /heroes/{hero_id}",
        "2.53",
        "1",
        "25.2",
        "17 %",
        "79 %",
        "1.98 %",
        "2.37 %",
        "2.00",
        "\u2013",
    ]


def test_outcomes_are_counted_per_cell(failing: Page) -> None:
    rows = failing.body("errors")
    assert len(rows) == 6
    assert rows[5][2:] == ["8\u202f995", "17", "3", "41", "0"]


def test_endpoints_have_a_row_per_cell_and_endpoint(plain: Page) -> None:
    rows = plain.body("endpoints")
    assert len(rows) == 18
    assert rows[1][:4] == ["1", "asyncpg, pool 2", "GET /heroes", "3\u202f012"]


def test_each_promise_stands_with_what_became_of_it(make_report: MakeReport) -> None:
    slo = Slo(p95_ms=25, endpoints={"GET /heroes": Limits(p99_ms=5), "GET /heros": Limits(error_rate=0)})
    page = read(make_report(drivers=1, sizes=1, slo=slo, kept={"*": "met", "GET /heroes": "not_met"}))
    assert page.tables["endpoints"][0][1:] == [
        ["asyncpg, pool 2", "everything", "p95 at most 25 ms", "6.21 5.54\u20136.95", "0", "yes"],
        ["asyncpg, pool 2", "GET /heroes", "p99 at most 5 ms", "6.21 5.54\u20136.95", "0", "no"],
        ["asyncpg, pool 2", "GET /heros", "at most 0 % failed", "\u2013", "\u2013", "unclear"],
    ]


def test_invalid_trials_and_findings_stand_with_figure_and_threshold(make_report: MakeReport) -> None:
    page = read(make_report(invalid=frozenset({4}), failing=frozenset({5}), figures=False))
    assert "Invalid trials: the instrument failed" in page.text("certificates")
    invalid, found = page.body("certificates", 0), page.body("certificates", 1)
    assert invalid == [
        [f"b{block}-c05", "psycopg_sync, pool 2", "arrivals started late", "7.41", "5.00"] for block in (1, 2, 3)
    ]
    assert [row[0] for row in found] == ["b1-c06", "b2-c06", "b3-c06"]
    ranked = page.body("ranking")[4]
    assert (*ranked[:2], *ranked[12:]) == ("\u2013", "\u2013", "\u2013", "no")
    assert "15 valid of 18 measured" in page.text("run")


def test_a_run_without_anything_invalid_says_that(plain: Page) -> None:
    assert "18 of 18 are valid" in plain.text("certificates")


def test_one_cell_one_launch_has_no_intervals(make_report: MakeReport) -> None:
    page = read(make_report(drivers=1, sizes=1, launches=1, figures=False))
    (row,) = page.body("ranking")
    assert row[:7] == ["1", "\u2013", "asyncpg, pool 2", "3.10", "6.21", "\u2013", "13.6"]
    assert "1 cell (" in page.text("run")


def test_24_cells(make_report: MakeReport) -> None:
    assert len(read(make_report(drivers=4, sizes=6, figures=False)).body("ranking")) == 24


def test_a_run_that_measured_nothing_still_has_a_report(make_report: MakeReport) -> None:
    report = make_report(figures=False)
    nothing = Verdict(state="nothing_complete", cell_id=None, recommendation=None, smallest_visible=None)
    coverage = replace(report.summary.coverage, measured=0, fewest_requests=None, postgres_processes=None)
    empty = replace(report.summary, cells=(), pairs=(), certificates={}, coverage=coverage, verdict=nothing)
    page = read(replace(report, summary=empty, series={}, complete=False))
    assert "Nothing is measured yet: no launch is complete." in page.text("")
    assert "This run is not complete" in page.text("")
    assert page.tags.count("svg") == 0
    assert page.text("notes") == "Doubts Partial run: 0 of 18 launches."


@pytest.mark.parametrize("environment", [{}, {"postgres": None}, {"machine": {}}])
def test_an_unknown_environment_is_left_out(make_report: MakeReport, environment: dict[str, object]) -> None:
    text = read(make_report(environment=environment, figures=False)).text("run")
    assert "Machine" not in text
    assert "None" not in text


def test_fingerprint_is_flat_and_whole(plain: Page) -> None:
    text = plain.text("environment")
    assert "packages.sqlalchemy 2.1.0" in text
    assert "machine.cgroup_cpu_max \u2013" in text


Changed = Callable[[Report], Report]


def cells_of(**changes: object) -> Changed:
    """All cells as the run has them, changed alike."""
    return lambda report: replace(
        report, info=replace(report.info, cells=tuple(replace(cell, **changes) for cell in report.info.cells))
    )


def summaries_of(**changes: object) -> Changed:
    def change(report: Report) -> Report:
        cells = tuple(replace(cell, **changes) for cell in report.summary.cells)
        return replace(report, summary=replace(report.summary, cells=cells))

    return change


def certificates_of(**certificates: Certificate) -> Changed:
    return lambda report: replace(report, summary=replace(report.summary, certificates=certificates))


FAILED = Failure(endpoint="GET /heroes", outcome="error", status=500, message="HTTP 500", count=3)
EXACT = {"statements_per_request": 2.0, "transactions_per_request": 1.0, "checkouts_per_request": 1.0}
BROKEN, FOUND = (
    Certificate(valid=kind == "finding", reasons=(Reason(kind=kind, code="stall", message="", value=1, threshold=0),))  # type: ignore[arg-type]
    for kind in ("instrument", "finding")
)
POOL = Part(name="queue", base_ms=1.0, head_ms=3.0, low_ms=1.5, high_ms=2.5)


def gate(*parts: Part) -> GateVerdict:
    return GateVerdict(
        verdict="inconclusive",
        primary=P95,
        rules=(P95,),
        blocks=7,
        fresh_blocks=0,
        planned_blocks=7,
        alarm=False,
        noise=None,
        paired=True,
        identical=False,
        parts=parts,
    )


NOT_STARTED = Target(url="http://127.0.0.1:8000")
SAID: Mapping[str, tuple[Changed, Changed]] = {
    "Within a second of them its service logged:": (
        summaries_of(failures=(FAILED,), logged={"KeyError: 1": 3}),
        summaries_of(failures=(FAILED,)),
    ),
    "Counted by the probe for every request, not sampled: what an average request of the scenario takes of the "
    "database.": (
        lambda report: replace(
            report,
            series={
                **report.series,
                "exact": pd.DataFrame([{"cell_id": "c01", **EXACT, "round_trips_per_request": 4.0}]),
            },
        ),
        lambda report: report,
    ),
    "The head against the base": (
        lambda report: replace(report, gate=gate()),
        lambda report: report,
    ),
    "Where the time of an average request went, ms": (
        lambda report: replace(report, gate=gate(POOL)),
        lambda report: replace(report, gate=gate()),
    ),
    "Every cell and endpoint (18)": (lambda report: report, summaries_of(endpoints=())),
    "Invalid trials: the instrument failed, so they feed no figure above": (
        certificates_of(**{"b1-c01": BROKEN}),
        certificates_of(**{"b1-c01": FOUND}),
    ),
    "The instrument worked in every trial: 1 of 1 are valid.": (
        certificates_of(**{"b1-c01": FOUND}),
        certificates_of(**{"b1-c01": BROKEN, "b2-c01": FOUND}),
    ),
    "No trial is complete, so there is no certificate.": (certificates_of(), certificates_of(**{"b1-c01": FOUND})),
    "Findings: what the trials showed; what failed counts against a cell": (
        summaries_of(findings=("errors",)),
        summaries_of(findings=()),
    ),
    "Each setting as the experiment has it and as the service's processes have it": (
        summaries_of(applied={"pool.pool_size": (5,)}),
        lambda report: report,
    ),
    "Read back from the processes as they ran. A service may have several engines, each with its own settings; "
    "\u201cnot known\u201d is what could not be seen.": (
        summaries_of(applied={"pool.pool_size": ()}),
        lambda report: report,
    ),
    "Arrivals are due at times fixed beforehand, whether or not earlier ones were answered. Latency counts from the "
    "time an arrival was due, so a stall shows in every one that had to wait behind it.": (
        cells_of(load=Load(rate_rps=9)),
        cells_of(load=Load(model="closed", users=16)),
    ),
    "A user of the closed model sends the next request after the answer. Latency counts from the send, so a stall "
    "shows in no more requests than there are users.": (
        cells_of(load=Load(model="closed", users=16)),
        cells_of(load=Load(rate_rps=9)),
    ),
    "A launch is one fresh start of the service.": (cells_of(target=Target()), cells_of(target=NOT_STARTED)),
    "Of a service that ran already a launch is one measurement.": (
        cells_of(target=NOT_STARTED),
        cells_of(target=Target()),
    ),
}
"""What the report's template says only where it is true: of which data it is, and of which it is not."""


@pytest.mark.parametrize("said", SAID)
def test_what_the_template_says_is_true_of_its_data(make_report: MakeReport, said: str) -> None:
    report = make_report(figures=False)
    shown = [said in " ".join(read(change(report)).text(section) for section in SECTIONS_ALL) for change in SAID[said]]
    assert shown == [True, False]
