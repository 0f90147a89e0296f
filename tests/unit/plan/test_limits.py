"""Sizes that nobody could wait for or keep: refused with the key, before anything is computed from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.outline import outline
from harness.plan import load_experiment, parse_experiment
from harness.plan.parse import MAX_BYTES

HEAD = 'schema_version = 1\nname = "x"\n'
LOAD = "[load]\nrate_rps = 1\n"
TWO_CELLS = "[matrix]\npool.pool_size = [1, 2]\n"
HUGE = "1" + "0" * 5000


def refusal(text: str, *overrides: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse_experiment(text, source="x.toml", overrides=overrides)
    assert caught.value.next_step
    assert "\n" not in caught.value.cause
    assert len(caught.value.cause) < 300
    return caught.value.cause


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("design.launches", value) for value in ("10001", "1000000", str(10**30))),
        *(("load.measure_s", value) for value in ("86401", "1e12", "1e308")),
        *(("load.rate_rps", value) for value in ("100001", "1e9", "1e308")),
        ("load.warmup_s", "1e12"),
        ("load.request_timeout_s", "1e308"),
        ("load.processes", "65"),
        ("database.rows", str(10**20)),
        ("pool.pool_size", str(10**30)),
        ("pool.max_overflow", str(10**30)),
        ("pool.pool_timeout_s", "1e308"),
        ("target.workers", "1000000"),
        ("target.threadpool_tokens", str(10**30)),
        ("target.start_timeout_s", "1e308"),
        ("design.segment_s", "1e308"),
        ("design.guard_s", "1e308"),
        ("observe.interval_s", "1e308"),
        ("network.idle_timeout_s", "1e308"),
    ],
)
def test_a_value_beyond_all_use_is_refused(key: str, value: str) -> None:
    section, _, name = key.partition(".")
    text = f"{HEAD}{LOAD if section != 'load' else ''}[{section}]\n{name} = {value}\n"
    assert f": {key} must be at most" in refusal(text)
    assert f"--set {key}: {key} must be at most" in refusal(HEAD + LOAD, f"{key}={value}")
    if section not in {"design", "observe"} and name not in {"warmup_s", "measure_s", "processes"}:
        assert f"{key} must be at most" in refusal(f"{HEAD}{LOAD}[matrix]\n{key} = [1, {value}]\n")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            "[design]\nlaunches = 400\n[matrix]\npool.pool_size = [1, 2]\npool.max_overflow = " + str([*range(20)]),
            "40 x",
        ),
        (f"[design]\nsegment_s = 1e-9\n{TWO_CELLS}", "x.toml:6: design.segment_s = 1e-09 divides the load into"),
        (f"[design]\nsegment_s = 1e-308\n{TWO_CELLS}", "design.segment_s = 1e-308 divides the load into inf turns"),
        (f"[design]\nlaunches = 5000\nsegment_s = 1\n{TWO_CELLS}", "into 130000 turns, the most is 100000"),
    ],
)
def test_a_run_of_too_many_parts_is_refused(text: str, cause: str) -> None:
    assert cause in refusal(HEAD + LOAD + text)


def test_more_arrivals_than_can_be_kept_are_refused() -> None:
    text = HEAD + '[load]\nrate_rps = 100000\nmeasure_s = 80000\n[design]\nkind = "blocked"\n'
    assert "x.toml:4: load.rate_rps makes 24000600000 arrivals in all, the most is 100000000" in refusal(text)


@pytest.mark.parametrize("value", ["[" * 3000 + "]" * 3000, "[" * 3000, "{a = " * 3000, "[{a = [" * 1000])
def test_nesting_is_refused_with_its_line(value: str) -> None:
    text = HEAD + LOAD + '[target]\napp = "[[[[" # [[[[\nx = '
    assert refusal(text + value).startswith("x.toml:7: lists and tables lie more than 32 deep")
    assert refusal(HEAD + LOAD, f"target.x={value}").startswith(
        "--set target.x: lists and tables lie more than 32 deep"
    )


@pytest.mark.parametrize(
    "text", [f"{'a.' * 1200}b = 1\n{LOAD}", f"{LOAD}[{'a.' * 1200}b]\n", f"{LOAD}[matrix]\n{'a.' * 1200}b = [1]\n"]
)
def test_dotted_keys_nest_as_well(text: str) -> None:
    assert "tables lie more than 32 deep in each other" in refusal(HEAD + text)


def test_a_dotted_key_on_the_command_line_nests_as_well() -> None:
    assert "--set: tables lie more than 32 deep" in refusal(HEAD + LOAD, f"{'a.' * 1200}b=1")


def test_a_number_of_thousands_of_digits_is_refused() -> None:
    assert "x.toml: not valid TOML:" in refusal(f"{HEAD}{LOAD}[design]\nseed = {HUGE}\n")
    assert "design.seed must be a whole number" in refusal(HEAD + LOAD, f"design.seed={HUGE}")


def test_a_table_of_thousands_of_entries_is_refused() -> None:
    many = "".join(f'V{number} = "x"\n' for number in range(201))
    assert "target.env must be at most 200 entries" in refusal(f"{HEAD}{LOAD}[target.env]\n{many}")


def test_a_file_that_is_no_experiment_by_its_size(tmp_path: Path) -> None:
    file = tmp_path / "big.toml"
    file.write_text(HEAD + LOAD + "#" * MAX_BYTES)
    with pytest.raises(UsageError, match=r"big\.toml has \d+ bytes, the most is"):
        load_experiment(file)


def test_a_matrix_is_counted_before_its_values_are_tried() -> None:
    values = str([*range(1, 20_000)])
    assert "19999 = 19999 cells" in refusal(f"{HEAD}{LOAD}[matrix]\npool.pool_size = {values}\n")


def test_what_is_just_within_the_limits_is_planned() -> None:
    sizes, overflows = str([*range(1, 41)]), str([*range(25)])
    matrix = f"[matrix]\npool.pool_size = {sizes}\npool.max_overflow = {overflows}\n"
    design = '[design]\nkind = "blocked"\nlaunches = 10\n'
    planned = outline(parse_experiment(HEAD + LOAD + matrix + design, source="x"))
    assert (len(planned.cells), len(planned.sittings)) == (1000, 10_000)
    long = LOAD.replace("1", "1000") + "measure_s = 24000\n[design]\nlaunches = 1\nsegment_s = 0.5\n"
    (sitting,) = outline(parse_experiment(HEAD + long + TWO_CELLS, source="x")).sittings
    assert len(sitting.turns) > 90_000
    alone = HEAD + LOAD + "[design]\nsegment_s = 1e-9\n"
    assert [len(sitting.turns) for sitting in outline(parse_experiment(alone, source="x")).sittings] == [1, 1, 1]
