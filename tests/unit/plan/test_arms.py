"""Sides beside the matrix: each has all of its combinations, with the keys it overrides."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.domain.secrets import MASK
from harness.errors import UsageError
from harness.plan import expand, parse_experiment, with_secrets, without_secrets
from harness.plan.codec import cell_without_secrets

BASE = """
schema_version = 1
name = "x"
[load]
rate_rps = 10
"""


def parse(text: str, *overrides: str, folder: Path | None = None):  # type: ignore[no-untyped-def]
    return parse_experiment(BASE + text, source="x.toml", overrides=overrides, folder=folder)


def test_each_arm_has_the_whole_matrix_and_its_own_keys() -> None:
    cells = expand(
        parse(
            """
            [pool]
            max_overflow = 3
            [matrix]
            pool.pool_size = [1, 4]
            [arms.base]
            [arms.head]
            pool.max_overflow = 0
            target.env = { "A.B" = "c" }
            session = { expire_on_commit = true }
            """
        )
    )
    assert [(cell.id, cell.arm, cell.label) for cell in cells] == [
        ("c1", "base", "base, pool_size 1"),
        ("c2", "base", "base, pool_size 4"),
        ("c3", "head", "head, pool_size 1"),
        ("c4", "head", "head, pool_size 4"),
    ]
    assert [(cell.pool.pool_size, cell.pool.max_overflow, cell.session.expire_on_commit) for cell in cells] == [
        (1, 3, False),
        (4, 3, False),
        (1, 0, True),
        (4, 0, True),
    ]
    assert [dict(cell.target.env) for cell in cells] == [{}, {}, {"A.B": "c"}, {"A.B": "c"}]
    assert [cell.factors for cell in cells[::2]] == [(("pool.pool_size", 1),)] * 2
    assert "pool.max_overflow" in cells[2].named


def test_arms_without_a_matrix_are_cells_that_differ_in_nothing_else() -> None:
    one, other = expand(parse("[arms.one]\n[arms.other]"))
    assert (one.label, other.label) == ("one", "other")
    assert (one.pool, one.target, one.load) == (other.pool, other.target, other.load)


def test_an_override_reaches_into_an_arm() -> None:
    _, head = expand(parse("[arms.base]\n[arms.head]\npool.pool_size = 2", "arms.head.pool.pool_size=7"))
    assert head.pool.pool_size == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("arms = 3", r"x\.toml:1: arms must be a table.*\[arms\.base\]"),
        ("[arms]\nbase = 3", r"arms\.base must be a table"),
        ('[arms."a b"]', r"an arm cannot be called 'a b'"),
        (
            "[arms.base]\npool.pool_sise = 3",
            r"unknown key 'pool\.pool_sise' in \[arms\].*Did you mean 'pool\.pool_size'",
        ),
        ("[arms.base]\npool.pool_size = 0", r"x\.toml:7: pool\.pool_size must be at least 1, not 0"),
        ('[arms.base]\nload.model = "closed"', r"load\.model cannot be varied: open and closed latencies are never"),
        ("[arms.base]\ndesign.seed = 2", r"design\.seed cannot be varied; only single keys of"),
        ("[arms.base]\nseed = 2", r"unknown key 'seed' in \[arms\]"),
        (
            "[arms.base]\npool.pool_size = 2\n[matrix]\npool.pool_size = [1]",
            r"varied by \[matrix\], and set by the arm base",
        ),
        (
            "[matrix]\npool.pool_size = " + str(list(range(1, 502))) + "\n[arms.a]\n[arms.b]",
            r"the arms and the matrix have 2 x 501 = 1002 cells",
        ),
    ],
)
def test_what_an_arm_cannot_be(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_experiment(text + BASE if text == "arms = 3" else BASE + text, source="x.toml")


def test_an_arm_keeps_its_secrets_to_itself() -> None:
    experiment = parse("[arms.base]\ntarget.env.TOKEN = 'hidden'\n[arms.head]\ntarget.env.MODE = 'hidden'")
    public = without_secrets(experiment)
    assert "hidden" not in repr(public) + repr([cell_without_secrets(cell) for cell in expand(experiment)])
    assert public.arms["base"] == {"target.env.TOKEN": MASK}
    with pytest.raises(UsageError, match=r"arms\.base\.target\.env\.TOKEN, arms\.head\.target\.env\.MODE"):
        with_secrets(public)
    assert with_secrets(public, experiment) == experiment


def test_what_an_arm_names_is_looked_for_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("")
    (tmp_path / "service").mkdir()
    text = "[arms.base]\nload.scenario = 'mine.py'\n[arms.head]\ntarget.dir = 'service'\n"
    base, head = expand(parse(text, folder=tmp_path))
    assert (base.load.scenario, head.target.dir) == (str(tmp_path / "mine.py"), str(tmp_path / "service"))
    with pytest.raises(UsageError, match=r"x\.toml:7: .*other\.py"):
        parse(text.replace("mine", "other"), folder=tmp_path)
