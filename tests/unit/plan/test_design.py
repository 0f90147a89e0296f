"""Which cells may take turns, and the reason by name for those that may not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.domain.design import against_turns, design_kind
from harness.errors import UsageError
from harness.outline import outline
from harness.plan import expand, parse_experiment
from harness.schedule.sittings import sittings

BASE = """
schema_version = 1
name = "x"
[load]
scenario = "mixed"
rate_rps = 10
{load}
[pool]
pool_size = 5
{more}
"""

REASONS = {
    "running target": ("", "[target]\nurl = 'http://127.0.0.1:1'", "target.url runs already"),
    "pool_recycle": ("", "pool_recycle_s = 30", "pool.pool_recycle_s counts"),
    "idle_timeout": ("", "[network]\nidle_timeout_s = 30", "network.idle_timeout_s counts"),
    "idle in transaction": (
        "",
        "[session]\nidle_in_transaction_session_timeout_ms = 500",
        "session.idle_in_transaction_session_timeout_ms counts",
    ),
    "idle session": (
        "",
        "[database.settings]\nidle_session_timeout = '1s'",
        "database.settings.idle_session_timeout counts",
    ),
    "global session": ("", "[session]\nmistake = 'global_session'", "session.mistake keeps a transaction open"),
    "processes": ("processes = 2", "", "several generator processes share the arrivals"),
    "workers": ("workers = { expect = 1 }", "", "several generator processes share the arrivals"),
    "servers": (
        "",
        "[matrix]\ndatabase.rows = [10, 20]",
        "they need different servers, c1 and c2 differ in database.rows",
    ),
}


def text_of(name: str, kind: str | None = None) -> str:
    load, more, _ = REASONS[name]
    return BASE.format(load=load, more=more) + (f'\n[design]\nkind = "{kind}"\n' if kind else "")


@pytest.mark.parametrize("name", REASONS)
def test_left_to_itself_a_design_that_turns_would_spoil_is_blocked_and_says_why(name: str) -> None:
    experiment = parse_experiment(text_of(name), source="x.toml")
    cells = expand(experiment)
    kind, why = design_kind(experiment, cells)
    assert (kind, why) == ("blocked", next(against_turns(cells)))
    assert why.startswith(REASONS[name][2])
    assert all(len(sitting.launches) == 1 for sitting in sittings(experiment, cells, None))
    # of one cell alone no launch would have to wait for another
    said = f"One launch at a time (blocked), because {why}."
    assert (said in outline(experiment).notes) is (len(cells) > 1)
    two = replace(experiment, matrix={**experiment.matrix, "pool.max_overflow": [0, 5]})
    assert any(note.startswith("One launch at a time (blocked), because ") for note in outline(two).notes)


@pytest.mark.parametrize("name", REASONS)
def test_asked_for_by_name_turns_are_refused_in_one_sentence(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_experiment(text_of(name, "interleaved"), source="x.toml")
    assert "the cells cannot take turns (interleaved): " + REASONS[name][2] in caught.value.cause
    assert caught.value.cause.count("\n") == 0
    assert 'design.kind = "blocked"' in caught.value.next_step


@pytest.mark.parametrize("name", REASONS)
def test_blocked_is_always_possible(name: str) -> None:
    experiment = parse_experiment(text_of(name, "blocked"), source="x.toml")
    assert design_kind(experiment, expand(experiment)) == ("blocked", "")


def test_cells_with_nothing_against_it_take_turns() -> None:
    more = "[matrix]\npool.max_overflow = [0, 5]"
    for kind in (None, "auto", "interleaved"):
        text = BASE.format(load="", more=more) + (f'\n[design]\nkind = "{kind}"\n' if kind else "")
        experiment = parse_experiment(text, source="x.toml")
        cells = expand(experiment)
        assert list(against_turns(cells)) == []
        assert design_kind(experiment, cells) == ("interleaved", "")
        assert all(len(sitting.launches) == 2 for sitting in sittings(experiment, cells, None))
