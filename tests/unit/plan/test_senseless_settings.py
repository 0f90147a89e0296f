"""Settings that cannot be had together are refused, with the key, the reason and what to do."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.plan import parse_experiment

HEAD = 'schema_version = 1\nname = "one"\n[load]\nrate_rps = 100\n[design]\nkind = "blocked"\n'

# more of the file -> (beginning of the sentence, part of the next step)
REFUSED = {
    '[pool]\npool_class = "psycopg_pool"': (
        "x.toml:8: pool.pool_class psycopg_pool holds psycopg's connections, not those of asyncpg (cell c1: one).",
        "target.driver psycopg, psycopg_sync, psycopg_blocking",
    ),
    '[matrix]\nsession.repository = ["native", "run_sync"]\n[target]\ndriver = "psycopg2"': (
        "x.toml:8: session.repository run_sync is for async drivers, not psycopg2 (cell c2: repository run_sync).",
        "native",
    ),
    '[target]\ndriver = "psycopg"\nstatement_cache_size = 0': (
        "x.toml:9: target.statement_cache_size is asyncpg's and has no effect with psycopg",
        "Take it out",
    ),
    '[matrix]\ntarget.driver = ["psycopg", "psycopg2"]\n[target]\nprepare_threshold = -1': (
        "x.toml:10: target.prepare_threshold is psycopg's and has no effect with psycopg2 (cell c2: psycopg2)",
        "Take it out",
    ),
    "[target]\npgbouncer = true\n[session]\nautocommit_reads = true": (
        "x.toml:8: target.pgbouncer cannot serve asyncpg without transactions",
        'target.driver = "psycopg"',
    ),
    "[target]\npgbouncer = true\n[session]\nstatement_timeout_ms = 100": (
        "x.toml:10: session.statement_timeout_ms is refused by PgBouncer",
        "database.settings",
    ),
    '[target]\npgbouncer = true\nurl = "http://127.0.0.1:1"': (
        "x.toml:8: target.pgbouncer puts a PgBouncer between Postgres and the app, but nothing is deployed",
        "target.url",
    ),
    '[session]\nisolation = "AUTOCOMMIT"\nupdate_mode = "for_update"': (
        "x.toml:9: session.update_mode for_update needs a transaction",
        "another isolation",
    ),
    '[target]\napp = "shop:app"\nenv = { DSN = "{db_url:postgresql+asyncpg}?x={db_nam}" }': (
        "x.toml:9: target.env has a placeholder {db_nam} that stands for nothing",
        "{db_url}, {db_host}, {db_port}, {db_user}, {db_password}, {db_name}, {port}",
    ),
    '[target]\nurl = "http://127.0.0.1:1"\nref = "main"': (
        "x.toml:9: target.ref is a commit of a service that poolbench starts, and nothing is deployed with target.url",
        "Take one of the two out.",
    ),
    '[target]\nurl = "http://127.0.0.1:1"\nprepare = ["seed"]': (
        "x.toml:9: target.prepare fills a database through a service that poolbench starts",
        "beforehand",
    ),
    '[target]\ncommand = ["gunicorn", "shop:app"]': (
        "x.toml:8: target.command does not say where the service is to listen",
        'target.env = { PORT = "{port}" }',
    ),
    '[target]\ncommand = ["gunicorn", "-b", "127.0.0.1:{port}", "shop:app"]\ncpus = [0]': (
        "x.toml:9: target.cpus pins what poolbench serves, not what a command does",
        "taskset",
    ),
    '[session]\nmistake = "global_session"\nsession_scope = "operation"': (
        "x.toml:8: session.mistake global_session replaces the session of each request",
        'session.session_scope = "request"',
    ),
}


@pytest.mark.parametrize("more", REFUSED)
def test_it_is_refused(more: str) -> None:
    sentence, next_step = REFUSED[more]

    with pytest.raises(UsageError) as refused:
        parse_experiment(HEAD + more + "\n", source="x.toml")

    assert refused.value.cause.startswith(sentence)
    assert next_step in refused.value.next_step


@pytest.mark.parametrize(
    "more",
    [
        '[pool]\npool_class = "psycopg_pool"\n[target]\ndriver = "psycopg_sync"',
        '[matrix]\nsession.repository = ["native", "run_sync"]\ntarget.driver = ["asyncpg", "psycopg"]',
        "[target]\nstatement_cache_size = 0\nprepared_statement_cache_size = 0",
        '[target]\npgbouncer = true\ndriver = "psycopg"\n[session]\nautocommit_reads = true',
        '[session]\nisolation = "AUTOCOMMIT"\nupdate_mode = "version"',
        '[target]\ncommand = ["./start.sh"]\nenv = { PORT = "{port}" }',
        '[target]\napp = "shop:app"\nprepare_threshold = -1',  # whose driver is its own
        '[target]\napp = "shop:app"\nenv = { DSN = "{db_url:postgresql+asyncpg} {db_name} {port} {other}" }',
        '[session]\nmistake = "missing_commit"\nsession_scope = "operation"',
    ],
)
def test_its_neighbour_is_not(more: str) -> None:
    assert parse_experiment(HEAD + more + "\n", source="x.toml").name == "one"
