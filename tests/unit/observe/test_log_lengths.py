"""How long the services' logs are, reading by reading."""

from __future__ import annotations

from pathlib import Path

from harness.observe.logs import LogSampler


def test_a_row_for_the_first_reading_and_for_each_that_found_a_log_longer(tmp_path: Path) -> None:
    logs = {name: tmp_path / name for name in ("b1-c1", "b1-c2")}
    for log in logs.values():
        log.write_bytes(b"up\n")
    sampler = LogSampler(logs)
    first = sampler.read()
    assert [(row["launch_id"], row["bytes"]) for row in first] == [("b1-c1", 3), ("b1-c2", 3)]
    assert sampler.read() == []
    with logs["b1-c2"].open("ab") as output:
        output.write("caf\u00e9\n".encode())
    (grown,) = sampler.read()
    assert (grown["launch_id"], grown["bytes"]) == ("b1-c2", 9)
    assert int(str(grown["since_ns"])) > int(str(first[0]["since_ns"]))


def test_a_line_was_written_after_the_reading_before_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    sampler = LogSampler({"b1-c1": log})
    rows = []
    for number in range(3):
        log.write_text("x" * (number + 1))
        rows += sampler.read()
    assert [row["bytes"] for row in rows] == [1, 2, 3]
    since = [int(str(row["since_ns"])) for row in rows]
    assert since == sorted(set(since))
