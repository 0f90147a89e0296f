"""The scanner that finds the line of a key, and what an error then calls the place."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.plan.lines import Source, key_lines

TRICKY = '''\
# a comment with = and [brackets]
name = "a [string] # not a comment"   # but this is

"quoted key".'with.dot' = 1
pool . pool_size = 5
text = """
fake = 1
[fake]
"quoted" \\""" still inside
"""
after_text = 1
raw = \'\'\'
also_fake = 1\'\'\'
many = [
    1, # ]
    "]",
    [2, 3],
]
inline = { a = 1, b = { c = 2 } }
ends_in_quotes = """a""""
literal = 'C:\\'

[ load . "deep" ]
scenario = "mixed"
[[tables]]
x = 1
[[tables]]
y = 1
[matrix]
target.driver = ["asyncpg"]
"pool.max_overflow" = [0]
[matrix.session]
expire_on_commit = [true]
last = 1'''

EXPECTED = {
    "name": 2,
    "quoted key": 4,
    "quoted key.with.dot": 4,
    "pool": 5,
    "pool.pool_size": 5,
    "text": 6,
    "after_text": 11,
    "raw": 12,
    "many": 14,
    "inline": 19,
    "ends_in_quotes": 20,
    "literal": 21,
    "load": 23,
    "load.deep": 23,
    "load.deep.scenario": 24,
    "tables": 25,
    "tables.x": 26,
    "tables.y": 28,
    "matrix": 29,
    "matrix.target": 30,
    "matrix.target.driver": 30,
    "matrix.pool.max_overflow": 31,
    "matrix.session": 32,
    "matrix.session.expire_on_commit": 33,
    "matrix.session.last": 34,
}


def test_every_key_has_its_line_and_nothing_else_is_taken_for_a_key() -> None:
    tomllib.loads(TRICKY)  # the text is what it claims to be
    assert key_lines(TRICKY) == EXPECTED


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_line_endings_do_not_matter(newline: str) -> None:
    text = newline.join(["a = 1", "", "[pool] # comment", "pool_size = 5"])
    assert key_lines(text) == {"a": 1, "pool": 3, "pool.pool_size": 4}


def test_an_empty_text_has_no_keys() -> None:
    assert key_lines("") == {}
    assert key_lines("# only a comment") == {}


_names = st.text(alphabet="abcxyz_-09", min_size=1, max_size=6)
_values = st.sampled_from(["1", '"x # [y"', "'''\n=\n'''", "[1,\n 2]", '"""\na = [\n"""', "{ k = [1] }", "true  # = ["])


@given(st.lists(st.tuples(_names, st.dictionaries(_names, _values, max_size=4)), unique_by=lambda t: t[0], max_size=4))
def test_lines_of_generated_documents(tables: list[tuple[str, dict[str, str]]]) -> None:
    lines: list[str] = []
    expected: dict[str, int] = {}
    for table, entries in tables:
        lines.append(f"[{table}]")
        expected[table] = len(lines)
        for key, value in entries.items():
            expected[f"{table}.{key}"] = len(lines) + 1
            lines.extend(f"{key} = {value}".split("\n"))
    text = "\n".join(lines)
    tomllib.loads(text)
    assert key_lines(text) == expected


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        (("pool.pool_size",), "f.toml:5"),
        (("pool.nothing",), "f.toml:4"),
        (("database.settings.x",), "f.toml"),
        (("name",), "f.toml"),
        (("matrix.load.rate", "load.rate"), "f.toml:9"),
        (("matrix.pool.max_overflow", "pool.max_overflow"), "--set pool.max_overflow"),
        (("target.env.A",), "--set target.env"),
    ],
)
def test_where_names_the_best_place(keys: tuple[str, ...], place: str) -> None:
    lines: dict[str, Any] = {"matrix": 2, "pool": 4, "pool.pool_size": 5, "pool.max_overflow": 6, "load": 9}
    source = Source(name="f.toml", lines=lines, overridden=frozenset({"pool.max_overflow", "target.env"}))
    assert source.where(*keys) == place
