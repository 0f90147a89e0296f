"""What is said of a claim is true of its figures."""

from __future__ import annotations

import math
from typing import Any

import pytest

from harness.domain.claims import Expected, InContext, Judged, Recording, Settled, Term, expected_of
from harness.domain.experiment import Claim, Experiment
from harness.present.claims_page import Found, findings_page
from harness.present.claims_text import (
    claim_dict,
    claim_text,
    decide_text,
    figure_text,
    seen_text,
    settled_text,
    where_text,
)

RATIO = expected_of(Claim(expect="p95_ms(on) > 1.5 * p95_ms(off)"))[0]
DIFFERENCE = expected_of(Claim(expect="connects_per_s(on) - connects_per_s(off) <= 5"))[0]
SHARE = expected_of(Claim(expect="goodput_rps(on) > 0.6 * goodput_rps(off)"))[0]
FIGURE = expected_of(Claim(expect='p99_ms(on, "GET /x") < 12'))[0]


def judged(expected: Expected, **given: Any) -> Judged:
    usual: dict[str, Any] = {"scale": "ratio", "value": 2.0, "low": 1.8, "high": 2.2, "bound": 1.5, "holds": "yes"}
    return Judged(expected=expected, **{**usual, **given})


@pytest.mark.parametrize(
    ("own", "text"),
    [
        (judged(RATIO), "p95_ms(on) / p95_ms(off) = 2.00 (1.80 to 2.20); claimed is > 1.50, which holds"),
        (
            judged(RATIO, holds="no", bound=2.5),
            "p95_ms(on) / p95_ms(off) = 2.00 (1.80 to 2.20); claimed is > 2.50, which does not hold",
        ),
        (
            judged(DIFFERENCE, scale="difference", value=3.0, low=3.0, high=3.0, bound=5.0),
            "connects_per_s(on) - connects_per_s(off) = 3.00; claimed is <= 5.00, which holds",
        ),
        (
            judged(SHARE, scale="difference", value=-30.0, low=-31.0, high=-29.0, bound=0.0, holds="no"),
            "goodput_rps(on) - 0.6 * goodput_rps(off) = -30.0 (-31.0 to -29.0); claimed is > 0, which does not hold",
        ),
        (
            judged(FIGURE, scale="figure", value=9.0, low=8.0, high=10.0, bound=12.0),
            "p99_ms(on, GET /x) = 9.00 (8.00 to 10.0); claimed is < 12.0, which holds",
        ),
        pytest.param(
            judged(RATIO, holds="open", low=1.2, high=3.0, why="noise", launches_needed=9),
            "p95_ms(on) / p95_ms(off) = 2.00 (1.20 to 3.00); claimed is > 1.50, which is open: about 9 launches of "
            "each cell would decide it (design.launches)",
        ),
    ],
)
def test_a_comparison_in_words(own: Judged, text: str) -> None:
    assert seen_text(own, InContext(context="", answer="confirmed", judged=(own,))) == text
    assert seen_text(own, InContext(context="far", answer="confirmed", judged=(own,))) == f"far: {text}"


def test_what_is_not_known_is_said() -> None:
    assert figure_text(judged(RATIO, value=math.nan, low=math.nan, high=math.nan)).endswith("is not known")
    assert Term(metric="p95_ms", arm="on") == RATIO.left


@pytest.mark.parametrize(
    ("why", "text"),
    [
        ("noise", "the figure lies so near to that bound that more launches are no help; longer ones may be"),
        (
            "instrument",
            (
                "the figure lies no further from that bound than what measures may have moved it: "
                "more launches are no help, longer requests would be"
            ),
        ),
        pytest.param(
            "failed",
            "requests fail, and of what fails there is no ratio; error_rate or goodput_rps would decide it, or more "
            "launches if all of one side fail and none of the other",
        ),
        (
            "not_applied",
            "a setting did not take effect, so nothing was compared; a service that takes it would decide it",
        ),
        ("few_launches", "fewer than three launches of a cell count; measuring it again would decide it"),
        ("unknown", "a launch has no such figure; an endpoint that is asked, seen by the probe, would decide it"),
    ],
)
def test_what_would_decide_is_said_for_each_cause(why: Any, text: str) -> None:
    assert decide_text(judged(RATIO, holds="open", why=why)) == text


def test_a_claim_that_depends_says_on_what() -> None:
    depends = Settled(answer="depends", contexts=(), opposite=("psycopg", "asyncpg"))
    assert where_text(depends) == " (so with psycopg, not with asyncpg)"
    assert where_text(Settled(answer="confirmed", contexts=())) == ""


@pytest.mark.parametrize(("number", "called"), [(13, "13"), (0, "mine")])
def test_a_claim_is_called_by_its_number_or_else_by_its_experiments_name(number: int, called: str) -> None:
    claim, settled = Claim(number=number, statement="it is so"), Settled(answer="confirmed", contexts=())
    kept = Recording(
        claim=claim, name="mine", run_id="r", measured_utc="now", seconds=1, launches=3, cells=(), points=()
    )
    asked = Experiment(schema_version=1, name="mine", claim=claim)
    assert claim_text(asked) == f"{called}. it is so"
    assert settled_text(kept, settled) == f"{called}. confirmed: it is so"
    assert (claim_dict(asked)["name"], claim_dict(asked)["number"]) == ("mine", number)
    page = findings_page([Found(answer="confirmed", apart=False, runs=[(kept, settled)], files=["a.json"])], [])
    assert f"| {called} | it is so | confirmed (once) |" in page
    assert f"</a>{called}. it is so" in page
