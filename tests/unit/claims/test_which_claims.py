"""Which claims there are, which can be asked of a service, and what is kept of them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness import claims, plan
from harness.codec import decode
from harness.domain.claims import Behaviour, ClaimCell, Point, Recording
from harness.domain.experiment import Claim, Design, Experiment, Load, Pool, Target
from harness.errors import UsageError

ROOT = Path(__file__).parents[3]
CHOSEN = claims.chosen(())
OWN = Experiment(
    schema_version=1,
    name="shop",
    pool=Pool(pool_size=3),
    target=Target(app="shop.main:app"),
    load=Load(scenario="mixed", rate_rps=20),
    named=("pool.pool_size", "target.app", "load.rate_rps"),
)


def test_every_claim_of_the_list_is_settled_somehow() -> None:
    numbers = {own.claim.number for own in CHOSEN.experiments} | {own.number for own in CHOSEN.behaviours}
    assert numbers == set(range(1, 53))


def test_experiments_of_claims_have_names_of_their_own() -> None:
    names = [own.name for own in CHOSEN.experiments]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("own", CHOSEN.behaviours, ids=lambda own: str(own.number))
def test_the_test_that_settles_a_claim_exists(own: Behaviour) -> None:
    path, _, name = own.test.partition("::")
    assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)


def test_claims_are_asked_for_by_number_and_by_file(tmp_path: Path) -> None:
    assert {own.claim.number for own in claims.chosen(["13"]).experiments} == {13}
    assert claims.chosen(["13"]).behaviours == ()
    path = tmp_path / "mine.toml"
    path.write_text(
        'schema_version = 1\nname = "mine"\n[load]\nrate_rps = 5\n[arms.a]\n[claim]\nexpect = "p95_ms(a) < 5"\n'
    )
    assert [own.name for own in claims.chosen([str(path)]).experiments] == ["mine"]


@pytest.mark.parametrize(
    ("wanted", "cause"),
    [
        ("99", "There is no claim 99"),
        ("nowhere.toml", "The experiment nowhere.toml does not exist"),
        ("quickstart", "quickstart makes no claim: claim.expect is missing"),
    ],
)
def test_what_is_no_claim(wanted: str, cause: str) -> None:
    with pytest.raises(UsageError, match=cause):
        claims.chosen([wanted])


def test_a_mistake_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'schema_version = 1\nname = "mine"\n[load]\nrate_rps = 5\n[arms.a]\n[claim]\nexpect = "p96_ms(a) < 5"\n'
    )
    with pytest.raises(UsageError, match=r"mine\.toml: There is no metric 'p96_ms'") as error:
        claims.chosen([str(path)])
    assert error.value.next_step.startswith("Did you mean 'p9")


ANYBODYS = Experiment(
    schema_version=1,
    name="claim-38",
    arms={"fifo": {}, "lifo": {"pool.pool_use_lifo": True}},
    matrix={"pool.pool_size": (5, 20)},
    load=Load(rate_rps=100),
    claim=Claim(number=38, expect="p95_ms(lifo) < p95_ms(fifo)", own_service=True),
)


def test_of_a_service_a_claim_takes_what_it_compares_and_nothing_else() -> None:
    (own,) = claims.of_service([ANYBODYS], OWN)
    assert (own.target, own.load, own.database, own.pool) == (OWN.target, OWN.load, OWN.database, OWN.pool)
    assert (own.arms, own.matrix, own.claim, own.name) == (
        ANYBODYS.arms,
        ANYBODYS.matrix,
        ANYBODYS.claim,
        "shop-claim-38",
    )
    assert {"pool.pool_use_lifo", "pool.pool_size", "target.app"} <= set(own.named), "what is not named takes no effect"
    assert len(plan.expand(own)) == 4


def test_of_a_service_what_it_has_one_of_is_no_context_and_the_distance_is() -> None:
    contexts = {"target.driver": ("asyncpg", "psycopg"), "load.arguments.request": ("a", "b"), "network.rtt_ms": (0, 5)}
    (own,) = claims.of_service([replace(ANYBODYS, matrix=contexts)], OWN)
    assert own.matrix == {"network.rtt_ms": (0, 5)}
    assert {"network.rtt_ms", "pool.pool_use_lifo"} <= set(own.named)
    assert not {"target.driver", "load.arguments.request"} & set(own.named), "it keeps its own"
    assert len(plan.expand(own)) == 4


@pytest.mark.parametrize(
    ("named", "own", "claims_own", "launches"),
    [(False, 3, 3, 6), (False, 3, 8, 8), (True, 4, 8, 4), (True, 20, 3, 20)],
)
def test_a_service_is_launched_as_often_as_its_file_says(named: bool, own: int, claims_own: int, launches: int) -> None:
    service = replace(OWN, design=Design(launches=own), named=(*OWN.named, "design.launches") if named else OWN.named)
    (asked,) = claims.of_service([replace(ANYBODYS, design=Design(launches=claims_own))], service)
    assert asked.design.launches == launches


def test_fewer_launches_than_a_claim_can_be_judged_by_are_refused() -> None:
    service = replace(OWN, design=Design(launches=2), named=(*OWN.named, "design.launches"))
    with pytest.raises(UsageError, match="A claim needs 3 launches of each cell, not 2"):
        claims.of_service([ANYBODYS], service)


@pytest.mark.parametrize("own", [own for own in CHOSEN.experiments if own.claim.own_service], ids=lambda own: own.name)
def test_claims_that_any_service_can_be_asked_set_only_what_each_has(own: Experiment) -> None:
    assert plan.expand(*claims.of_service([own], OWN))


def test_a_claim_of_any_service_that_sets_what_not_every_one_has_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'schema_version = 1\nname = "mine"\n[load]\nrate_rps = 5\n[arms.a]\ntarget.driver = "psycopg"\n'
        '[claim]\nown_service = true\nexpect = "p95_ms(a) < 5"\n'
    )
    with pytest.raises(UsageError, match=r"mine\.toml: target\.driver cannot be set in any service"):
        claims.chosen([str(path)])
    path.write_text(
        'schema_version = 1\nname = "mine"\n[load]\nrate_rps = 5\n[arms.a]\n'
        "[claim]\nown_service = true\nexpect = 'p95_ms(a, \"GET /x\") < 5'\n"
    )
    with pytest.raises(UsageError, match=r"mine\.toml: not every service has GET /x"):
        claims.chosen([str(path)])
    path.write_text(
        'schema_version = 1\nname = "mine"\n[load]\nrate_rps = 5\n[arms.off]\n[arms.on]\npool.pool_pre_ping = true\n'
        '[claim]\nown_service = true\nexpect = "p95_ms(on) < 2 * p95_ms(off)"\n'
    )
    with pytest.raises(UsageError, match=r"arms\.off leaves pool\.pool_pre_ping as the service has it"):
        claims.chosen([str(path)])


@pytest.mark.parametrize(
    ("own", "cause"),
    [
        (replace(OWN, matrix={"pool.pool_size": (1, 2)}), "shop varies settings itself"),
        (replace(OWN, arms={"base": {}, "head": {}}), "shop varies settings itself"),
        (replace(OWN, target=Target(url="http://127.0.0.1:1")), "names a service that runs already"),
    ],
)
def test_services_that_cannot_be_asked(own: Experiment, cause: str) -> None:
    with pytest.raises(UsageError, match=cause):
        claims.of_service(CHOSEN.experiments, own)


def test_claims_of_the_reference_service_alone_are_not_asked_of_another() -> None:
    with pytest.raises(UsageError, match="None of these claims"):
        claims.of_service(claims.chosen(["5"]).experiments, OWN)


HEAD = """\
# Findings

What is said about pools, sessions and drivers, and what was seen. Written by `poolbench findings docs/findings` from
what `poolbench claims --record docs/findings` measured; [claims](claims.md) says how an answer comes about.

An answer holds for that machine and these versions. Where two runs at least six hours apart do not agree it is
inconclusive; where there are no two, it says "once".

"""


def recording(at: str, quick: float) -> Recording:
    cells = tuple(ClaimCell(id=arm, arm=arm, context="") for arm in ("on", "off"))
    figures = {"on": 10.0, "off": quick}
    points = tuple(
        Point(
            cell=arm,
            block=block,
            metric="p95_ms",
            endpoint="*",
            value=figures[arm] * (1 + block / 100 + (arm == "on") * block / 500),
            raised=0.0,
            leg=0.0,
            requests=100,
        )
        for arm in figures
        for block in range(3)
    )
    return Recording(
        claim=Claim(number=7, statement="on is slower", expect="p95_ms(on) > 1.5 * p95_ms(off)"),
        name="claim-7",
        run_id="r",
        measured_utc=at,
        seconds=61.0,
        launches=3,
        cells=cells,
        points=points,
        environment={"machine": {"cpu": "A CPU", "cores_usable": 2, "system": "Linux", "kernel": "6"}, "python": "P 3"},
    )


@pytest.mark.parametrize(
    ("second", "quick", "answer"),
    [
        ("2026-11-27T20:00:00Z", 5.0, "| confirmed |"),
        ("2026-11-27T20:00:00Z", 9.0, "| inconclusive |"),
        ("2026-11-27T13:00:00Z", 5.0, "| confirmed (once) |"),
    ],
)
def test_the_page_has_both_runs_and_their_answer_if_they_agree(
    tmp_path: Path, second: str, quick: float, answer: str
) -> None:
    folder = tmp_path / "findings"
    first = claims.keep(recording("2026-11-27T12:00:00Z", 5.0), folder)
    again = claims.keep(recording(second, quick), folder)
    page = claims.findings(folder)
    (row,) = [line for line in page.splitlines() if line.startswith("| 7 | on is slower")]
    assert answer in row
    assert f"2026-11-27T12:00:00Z, {second}" in row
    assert f"[data](findings/{first.name})" in page
    assert f"[data](findings/{again.name})" in page
    assert page.count("Measured on A CPU, 2 cores") == 1
    assert "p95_ms(on) / p95_ms(off) = 2.00" in page
    assert "| # | claim | answer | measured | settled by |" in page
    assert "Expected if it is so: `p95_ms(on) > 1.5 * p95_ms(off)`." in page
    assert "2026-11-27T12:00:00Z: **confirmed**, 3 launches of each cell in 1 min 1 s ([data](findings/" in page
    assert page.startswith(HEAD)


def test_a_folder_without_recordings_and_one_that_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no recording"):
        claims.findings(tmp_path)
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(UsageError, match=r"x\.json is no recording"):
        claims.findings(tmp_path)


def test_the_page_of_findings_is_what_its_recordings_come_to() -> None:
    assert (ROOT / "docs" / "findings.md").read_text() == claims.findings(ROOT / "docs" / "findings"), (
        "write it anew: poolbench findings docs/findings > docs/findings.md"
    )


@pytest.mark.parametrize("own", CHOSEN.experiments, ids=lambda own: own.name)
def test_what_was_recorded_of_a_claim_is_what_it_claims(own: Experiment) -> None:
    recorded = [
        decode(Recording, path.read_text()) for path in (ROOT / "docs" / "findings").glob(f"{own.name}-2*.json")
    ]
    assert recorded, "measure it: poolbench claims NUMBER --record docs/findings"
    claimed = [replace(kept.claim, own_service=own.claim.own_service) for kept in recorded]  # asks who else, no more
    assert claimed == [own.claim] * len(recorded), "measured before it was changed"
