from __future__ import annotations

import pytest

from harness.present.figures.style import fold


@pytest.mark.parametrize(
    ("label", "width", "folded"),
    [
        ("asyncpg, pool_size 5", 31, "asyncpg, pool_size 5"),
        ("asyncpg, pool_size 5", 18, "asyncpg,\npool_size 5"),
        ("one two three four", 8, "one two\nthree\nfour"),
        ("a_word_that_is_far_too_long", 10, "a_word_tha\nt_is_far_t\noo_long"),
        ("one, two, three, four, five", 8, "one,\ntwo,\nthree, …"),
        ("", 10, ""),
    ],
)
def test_fold(label: str, width: int, folded: str) -> None:
    assert fold(label, width) == folded
