"""An experiment over another: whose keys count, where an error is, and what cannot be extended."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.plan import load_experiment

HEAD = 'schema_version = 1\nname = "x"\n'
BASE = HEAD + "[pool]\npool_size = 7\nmax_overflow = 3\n[load]\nrate_rps = 50\n[arms.one]\npool.pool_timeout_s = 1\n"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_keys_of_the_file_win_and_the_others_count(tmp_path: Path) -> None:
    write(tmp_path, "base.toml", BASE)
    own = write(tmp_path, "own.toml", f'extends = "base.toml"\n{HEAD}[pool]\nmax_overflow = 0\n[arms.two]\n')
    loaded = load_experiment(own)
    assert (loaded.pool.pool_size, loaded.pool.max_overflow, loaded.load.rate_rps) == (7, 0, 50)
    assert dict(loaded.arms) == {"one": {"pool.pool_timeout_s": 1}, "two": {}}
    assert {"pool.pool_size", "pool.max_overflow", "load.rate_rps"} <= set(loaded.named)


def test_a_file_may_extend_one_that_extends(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    write(tmp_path, "base.toml", BASE)
    write(tmp_path / "below", "middle.toml", f'extends = "../base.toml"\n{HEAD}[pool]\npool_size = 8\n')
    own = write(tmp_path, "own.toml", f'extends = "below/middle.toml"\n{HEAD}')
    assert (load_experiment(own).pool.pool_size, load_experiment(own).pool.max_overflow) == (8, 3)


def test_what_makes_no_sense_any_more_is_not_taken_over(tmp_path: Path) -> None:
    write(tmp_path, "base.toml", BASE)
    own = write(tmp_path, "own.toml", f'extends = "base.toml"\n{HEAD}[load]\nmodel = "closed"\nusers = 4\n')
    assert load_experiment(own).load.rate_rps is None
    share = write(tmp_path, "share.toml", f'extends = "base.toml"\n{HEAD}[load]\nrate = "50%"\n')
    assert load_experiment(share).load.rate_rps is None


def test_an_error_names_the_file_and_line_that_has_the_key(tmp_path: Path) -> None:
    write(tmp_path, "base.toml", HEAD + "[pool]\npool_size = 0\n[load]\nrate_rps = 50\n")
    own = write(tmp_path, "own.toml", f'extends = "base.toml"\n{HEAD}')
    with pytest.raises(UsageError, match=r"base\.toml:4: pool\.pool_size must be at least 1"):
        load_experiment(own)


@pytest.mark.parametrize(
    ("extends", "cause"),
    [
        ("5", r"own\.toml:1: extends must be the path of a file"),
        ('"nowhere.toml"', r"own\.toml:1: there is no file .*nowhere\.toml to extend"),
        ('"own.toml"', r"own\.toml:1: own\.toml extends itself in the end"),
    ],
)
def test_what_cannot_be_extended(tmp_path: Path, extends: str, cause: str) -> None:
    own = write(tmp_path, "own.toml", f"extends = {extends}\n{HEAD}")
    with pytest.raises(UsageError, match=cause):
        load_experiment(own)
