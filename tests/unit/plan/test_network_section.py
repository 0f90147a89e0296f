"""[network]: what may stand there, and what it means for the cells."""

from __future__ import annotations

import pytest

from harness import plan
from harness.codec import decode, encode
from harness.domain.experiment import Experiment, Network
from harness.errors import UsageError

BASE = 'schema_version = 1\nname = "far"\n[load]\nrate_rps = 10\n'


def parse(text: str) -> list[Network]:
    return [cell.network for cell in plan.expand(plan.parse_experiment(BASE + text, source="far.toml"))]


def test_by_default_nothing_lies_between() -> None:
    assert parse("") == [Network()]
    assert not Network().needs_relay


@pytest.mark.parametrize("network", [Network(rtt_ms=0.5), Network(idle_timeout_s=5)])
def test_anything_else_needs_a_relay(network: Network) -> None:
    assert network.needs_relay


def test_the_distance_can_be_varied_interleaved() -> None:
    cells = plan.expand(plan.parse_experiment(f"{BASE}[matrix]\nnetwork.rtt_ms = [0, 2.5, 10]\n", source="far.toml"))
    assert [cell.network.rtt_ms for cell in cells] == [0, 2.5, 10]
    assert [cell.label for cell in cells] == ["rtt_ms 0", "rtt_ms 2.5", "rtt_ms 10"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[network]\nrtt_ms = -1\n", "far.toml:6: network.rtt_ms must be at least 0, not -1"),
        ("[network]\nrtt = 1\n", "far.toml:6: unknown key 'network.rtt'"),
        ('[network]\non_idle = "drop"\n', "network.on_idle must be one of 'reset' or 'blackhole'"),
        ('[network]\non_idle = "blackhole"\n', "network.on_idle has no effect without network.idle_timeout_s"),
        (
            '[network]\nrtt_ms = 5\n[target]\nurl = "http://127.0.0.1:1"\n[design]\nkind = "blocked"\n',
            "far.toml:6: nothing can be put between Postgres and a service that already runs",
        ),
    ],
)
def test_what_cannot_work_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(text)
    assert message in raised.value.cause
    assert raised.value.next_step


def test_a_record_keeps_it() -> None:
    experiment = plan.parse_experiment(f"{BASE}[network]\nrtt_ms = 7\nidle_timeout_s = 60\n", source="far.toml")
    assert decode(Experiment, encode(experiment)).network == Network(rtt_ms=7, idle_timeout_s=60)
