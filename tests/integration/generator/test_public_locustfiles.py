"""Locustfiles as people publish them, all at once: one Locust process, a launch each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from load_stub import Answer, Seen, Stub, closed, segment, serving, whole_turns

from harness import drive
from harness.domain.load import LaunchLoad, LoadOutput, LoadPlan

LOCUSTFILES = Path(__file__).parent / "locustfiles"
SCENARIOS = {"shop": "webshop.py", "api": "rest_api.py", "suite": "suite/locustfile.py"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    output: LoadOutput
    open: Mapping[str, pd.DataFrame]
    """by launch: rows of the open model, what users sent in on_start, rows of the closed model"""
    setup: Mapping[str, pd.DataFrame]
    closed: Mapping[str, pd.DataFrame]
    seen: tuple[Seen, ...]


def answer(seen: Seen) -> Answer:
    """A service that knows what each of the locustfiles asks for."""
    path = seen.path.partition("?")[0]
    authorized = seen.headers.get("authorization", "").startswith("Bearer t")
    answers: dict[str, Any] = {
        "/login": Answer(headers={"Set-Cookie": "session=s1; Path=/"}),
        "/token": Answer(body=b'{"token": "t1"}'),
        "/search": Answer(status=404),
        "/typed": Answer(body=json.dumps({"answer": 42}).encode(), headers={"Content-Type": "application/json"}),
        "/thing": Answer(status=201 if seen.headers.get("x-api-key") == "k1" else 403),
        "/look": Answer(status=200 if authorized else 401),
        "/pay": Answer(status=200 if authorized and b"42" in seen.body else 401),
        "/home": Answer(status=200 if authorized else 401),
    }
    if path.startswith(("/basket", "/products")) and seen.headers.get("cookie") != "session=s1":
        return Answer(status=401)
    found: Answer = answers.get(path, Answer())
    return found


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    stub = Stub(answer)
    segments = []
    for launch_id in SCENARIOS:
        segments.append(segment(len(segments), launch_id, duration_s=0.7, rate_rps=150.0))
    segments.append(closed(len(segments), 3, launch_id="suite closed", duration_s=0.5))
    scenarios = {**SCENARIOS, "suite closed": SCENARIOS["suite"]}
    with serving(stub) as url:
        plan = LoadPlan(
            launches=tuple(
                LaunchLoad(
                    launch_id=launch_id,
                    host=url,
                    scenario=LOCUSTFILES / file,
                    request_timeout_s=5.0,
                    max_in_flight=100,
                )
                for launch_id, file in scenarios.items()
            ),
            segments=tuple(segments),
            turns=whole_turns(segments),
            output_dir=tmp_path_factory.mktemp("published"),
        )
        with drive.start(plan) as generator:
            generator.targets_up()
            generator.wait_ready(30.0)
            generator.go()
            output = generator.wait()
    rows = {launch_id: drive.read_rows(plan.output_dir, launch_id, segments) for launch_id in scenarios}
    assert drive.check_ledger(output.ledger, pd.concat(rows.values())) == ()
    return Published(
        output=output,
        open={launch_id: rows[launch_id][rows[launch_id].phase == "measure"] for launch_id in SCENARIOS},
        closed={"suite": rows["suite closed"][rows["suite closed"].phase == "measure"]},
        setup={launch_id: own[own.phase == "setup"] for launch_id, own in rows.items()},
        seen=tuple(stub.seen),
    )


def endpoints(rows: pd.DataFrame) -> set[str]:
    return set(rows.endpoint)


def test_everything_that_was_asked_for_went_well(published: Published) -> None:
    for rows in (*published.open.values(), *published.setup.values()):
        assert set(rows.outcome) <= {"ok"}, rows[rows.outcome != "ok"][["endpoint", "status", "error"]].to_string()


def test_a_shop_keeps_its_cookies_names_and_baskets(published: Published) -> None:
    rows = published.open["shop"]
    assert endpoints(rows) == {
        "GET /products/[id]",
        "GET /search",
        "POST /basket",
        "GET /basket",
        "DELETE /basket/[n]",
    }
    assert endpoints(published.setup["shop"]) == {"POST /login", "POST /logout"}
    share = (rows.task == "product").sum() / rows.arrival.nunique()
    assert 0.4 < share < 0.8, "six of ten arrivals"
    baskets = [json.loads(seen.body)["items"] for seen in published.seen if seen.path == "/basket" and seen.body]
    assert {tuple(items) for items in baskets} == {(0,)}, "each user's own basket, emptied when it has bought"
    bought = rows[rows.task == "buy"].groupby("arrival").endpoint.agg(list)
    assert {tuple(steps) for steps in bought} == {("POST /basket", "GET /basket", "DELETE /basket/[n]")}


def test_arguments_of_its_own_have_their_defaults(published: Published) -> None:
    assert any(seen.path.endswith("?currency=EUR") for seen in published.seen)


def test_an_api_with_functions_rest_calls_and_requests_side_by_side(published: Published) -> None:
    rows = published.open["api"]
    assert set(rows.task) == {"Reader.ping", "Reader.typed", "Reader.page", "Writer.write"}
    pages = rows[rows.task == "Reader.page"].groupby("arrival")
    assert {tuple(group.endpoint) for _, group in pages} == {("GET /page", "GET /assets", "GET /assets", "GET /assets")}
    assert all(sorted(group.sequence) == [0, 1, 2, 3] for _, group in pages)
    (assets,) = {seen.path for seen in published.seen if seen.path == "/assets/2"}
    assert assets == "/assets/2"


def test_a_suite_of_modules_with_a_sequence_that_stops_its_user(published: Published) -> None:
    rows = published.open["suite"]
    passes = rows[rows.task == "Buyer.Checkout"].groupby("arrival").endpoint.agg(list)
    assert {tuple(steps) for steps in passes} == {("GET /look", "POST /pay")}
    assert endpoints(rows[rows.task == "Visitor.home"]) == {"GET /home"}
    assert len(published.setup["suite"]) > len(passes), "a new user logs in for each that stopped itself"


def test_the_same_suite_in_the_closed_model(published: Published) -> None:
    rows = published.closed["suite"]
    assert {"GET /look", "POST /pay", "GET /home"} <= endpoints(rows)
    assert set(rows.outcome) == {"ok"}


def test_what_does_not_apply_is_said_by_name(published: Published) -> None:
    notes = " ".join(published.output.notes)
    for words in (
        "wait_time of Customer does not apply",
        "fixed_count of Writer does not apply",
    ):
        assert words in notes
