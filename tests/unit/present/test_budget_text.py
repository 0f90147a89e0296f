"""Each sentence of `poolbench budget`, with the fleets it is true of and those it is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.analyse import weigh
from harness.domain.budget import Fleet, PgBouncer, Service
from harness.domain.strict_json import strict_json
from harness.present.budget import NOT_COUNTED, budget_dict, budget_lines, budget_page, budget_verdict


def fleet(max_connections: int = 100, pgbouncer: PgBouncer | None = None, jobs: int = 0, **keys: Any) -> Fleet:
    asked: dict[str, Any] = {"replicas": 4, "workers": 2, "pool_size": 10, "max_overflow": 5, "jobs": jobs}
    service = Service(**(asked | {"pgbouncer": pgbouncer is not None} | keys))
    return Fleet(max_connections=max_connections, services={"web": service}, pgbouncer=pgbouncer)


def lines(planned: Fleet) -> dict[str, str]:
    return dict(budget_lines(weigh(planned)))


@pytest.mark.parametrize(
    ("planned", "said"),
    [
        (
            fleet(100),
            (
                "It does not fit: in a rolling deploy 153 of max_connections = 100, 53 too many, "
                "in steady running 23 too many."
            ),
        ),
        (
            fleet(130),
            "It does not fit: in a rolling deploy 153 of max_connections = 130, 23 too many, in steady running 7 left.",
        ),
        (fleet(153), "It fits: in a rolling deploy 153 of max_connections = 153, 0 left."),
        (fleet(123, surge="0"), "It fits: at most 123 of max_connections = 123, 0 left."),
        (fleet(122, surge="0"), "It does not fit: at most 123 of max_connections = 122, 1 too many."),
        (
            fleet(pgbouncer=PgBouncer(max_client_conn=150)),
            (
                "It fits: at most 23 of max_connections = 100, 77 left; "
                "in a rolling deploy 150 of the 150 clients that PgBouncer takes, 0 left."
            ),
        ),
        (
            fleet(pgbouncer=PgBouncer(max_client_conn=70, instances=2)),
            (
                "It does not fit: at most 43 of max_connections = 100, 57 left; in a rolling deploy 150 of the 140 "
                "clients that PgBouncer takes, 10 too many, in steady running 20 left."
            ),
        ),
    ],
)
def test_the_verdict_names_limit_and_margin(planned: Fleet, said: str) -> None:
    assert budget_verdict(weigh(planned)) == said


def test_the_sums_are_written_out() -> None:
    said = lines(fleet(100, jobs=2))
    assert said["web"] == "4 replicas x 2 workers x 1 engine x (10 pool_size + 5 max_overflow) = 120 connections"
    assert said["web, deploying"] == (
        "5 replicas x 2 workers x 1 engine x (10 pool_size + 5 max_overflow) = 150 connections "
        "(1 replica more by a surge of 25%)"
    )
    assert said["web, a replica lost"] == (
        "3 replicas x 2 workers x 1 engine x (10 pool_size + 5 max_overflow) = 90 connections "
        "for the same load: pools do not grow, so each connection carries 1.33 times as much"
    )
    assert said["Postgres"] == (
        "120 web + 2 jobs + 3 reserved = 125 of 100, 25 too many; deploying: 155 of 100, 55 too many; "
        "a replica lost: 95 of 100, 5 left"
    )
    assert said["web may have"] == "pool_size 4 at most beside max_overflow 5"
    assert said["as it is, it takes"] == "max_connections = 155 or more"
    assert said["reserved"] == "3: superuser_reserved_connections + reserved_connections (3 + 0 by default)"
    assert said["not counted"] == NOT_COUNTED
    assert NOT_COUNTED == (
        "migrations, monitoring, backups and people with psql, unless given as jobs; replicas that are still ending "
        "beside those of a deploy's surge. Replication takes none of max_connections but of max_wal_senders."
    )


def test_what_does_not_happen_is_not_said() -> None:
    said = lines(fleet(1000, replicas=1, surge="0"))
    assert said["web, a replica lost"] == "it is the only one: nothing answers until it is replaced"
    assert (
        said["Postgres"]
        == "30 web + 3 reserved = 33 of 1\u202f000, 967 left; a replica lost: 3 of 1\u202f000, 997 left"
    )
    assert {"web, deploying", "as it is, it takes", "a host lost", "PgBouncer's queue"} & set(said) == set()


@pytest.mark.parametrize(
    ("max_connections", "said"),
    [
        (1000, "pool_size 94 at most beside max_overflow 5"),
        (63, "pool_size 1 at most beside max_overflow 5"),
        (62, "no pool_size beside max_overflow 5: pool_size + max_overflow can be 5 at most"),
        (13, "no pool_size beside max_overflow 5: pool_size + max_overflow can be 1 at most"),
        (12, "not even one connection for each engine: fewer replicas, workers or engines, or a higher limit"),
    ],
)
def test_the_largest_pool_is_told_or_why_there_is_none(max_connections: int, said: str) -> None:
    assert lines(fleet(max_connections))["web may have"] == said


def test_several_services_are_added_up() -> None:
    web, api = Service(replicas=2, pool_size=5, max_overflow=0), Service(replicas=1, pool_size=1, max_overflow=0)
    said = lines(Fleet(services={"web": web, "api": api}))
    assert said["Postgres"] == (
        "10 web + 1 api + 3 reserved = 14 of 100, 86 left; deploying, all services at once: 20 of 100, 80 left; "
        "a replica lost: 13 of 100, 87 left"
    )
    assert said["web may have"] == "pool_size 31 at most beside max_overflow 0, the other services unchanged"


@pytest.mark.parametrize(("max_connections", "warned"), [(123, True), (152, True), (153, False), (122, False)])
def test_a_host_that_vanishes_is_warned_of_where_only_it_does_not_fit(max_connections: int, warned: bool) -> None:
    said = lines(fleet(max_connections, surge="0"))
    assert ("a host lost" in said) is warned
    if warned:
        assert said["a host lost"] == (
            f"153 of {max_connections} max_connections when a replica vanishes with its host and is replaced before "
            "the server notices (tcp_keepalives_idle, two hours by default): too many"
        )


def test_both_sides_of_pgbouncer() -> None:
    said = lines(fleet(40, pgbouncer=PgBouncer(databases=2, reserve_pool_size=5, max_client_conn=100)))
    assert said["PgBouncer's clients"] == (
        "120 web = 120 of 100, 20 too many; deploying: 150 of 100, 50 too many; a replica lost: 90 of 100, 10 left"
    )
    assert said["PgBouncer's server side"] == (
        "1 instance x 2 databases x 1 user x (20 default_pool_size, PgBouncer's own default + 5 reserve_pool_size) "
        "= 50 connections to Postgres at most"
    )
    assert said["Postgres"] == "50 PgBouncer + 3 reserved = 53 of 40, 13 too many"
    assert said["PgBouncer may have"] == "default_pool_size 13 at most"
    takes = [text for name, text in budget_lines(weigh(fleet(40, pgbouncer=PgBouncer(databases=2)))) if "takes" in name]
    assert takes == ["max_connections = 43 or more", "max_client_conn = 150 or more in each PgBouncer"]


def test_a_pool_that_was_given_is_not_called_a_default() -> None:
    said = lines(fleet(pgbouncer=PgBouncer(default_pool_size=20, max_client_conn=500)))
    assert said["PgBouncer's server side"] == (
        "1 instance x 1 database x 1 user x (20 default_pool_size) = 20 connections to Postgres at most"
    )
    assert "PgBouncer may have" not in said
    small = lines(fleet(4, pgbouncer=PgBouncer(databases=2)))
    assert small["PgBouncer may have"] == "not even one connection for each pool"


@pytest.mark.parametrize(("pool_size", "waits"), [(149, True), (150, False)])
def test_who_waits_in_pgbouncer(pool_size: int, waits: bool) -> None:
    said = lines(fleet(500, pgbouncer=PgBouncer(default_pool_size=pool_size, max_client_conn=500)))["PgBouncer's queue"]
    if waits:
        assert said == (
            "150 clients share 149 connections: further transactions wait there. That takes pool_mode = transaction; "
            "with session, PgBouncer's default, a client keeps its connection while it is open, and those beyond wait "
            "for one to close"
        )
    else:
        assert said == "nobody waits there while no pool of it has more than 150 clients"


def test_the_page_begins_with_the_verdict() -> None:
    budget = weigh(fleet())
    page = [str(line) for line in budget_page(budget)]
    assert page[0] == budget_verdict(budget)
    assert page[2:] == [f"{name}: {text}" for name, text in budget_lines(budget)]


def test_programs_get_the_same() -> None:
    told = json.loads(strict_json(budget_dict(weigh(fleet(replicas=1)))))
    assert (told["schema_version"], told["fits"], told["pgbouncer"]) == (1, True, None)
    assert told["postgres"] == {
        "limit": 100,
        "steady": 33,
        "rolling": 63,
        "lost": 3,
        "unnoticed": 63,
        "worst": 63,
        "left": 37,
        "reserved": 3,
        "jobs": 0,
    }
    assert told["services"][0]["largest_pool_size"] == 19
    assert told["services"][0]["load_factor"] is None
    through = json.loads(strict_json(budget_dict(weigh(fleet(pgbouncer=PgBouncer())))))
    assert through["fits"] is False
    assert through["pgbouncer"]["clients"]["left"] == -50
    assert through["pgbouncer"]["default_pool_size"] == 20
    assert through["pgbouncer"]["largest_default_pool_size"] == 97
