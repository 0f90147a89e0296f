"""A load on somebody's service, from other machines, or too short: refused in a sentence, or let through."""

from __future__ import annotations

import pytest

from harness.codec import decode, encode
from harness.domain.experiment import Experiment
from harness.errors import UsageError
from harness.plan import parse_experiment

HEAD = 'schema_version = 1\nname = "x"\n[design]\nkind = "blocked"\n[load]\nrate_rps = 100\n'
ELSEWHERE = '[target]\nurl = "http://203.0.113.7:8000"\nmine = true\n'


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8000", "http://localhost", "http://[::1]:80/x", "http://127.9.9.9", "https://app.localhost:1"],
)
def test_a_service_on_this_machine_may_be_loaded(url: str) -> None:
    assert parse_experiment(HEAD + f'[target]\nurl = "{url}"\n', source="x.toml").target.url == url


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://203.0.113.7:8000", "203.0.113.7"),
        ("https://user:hunter2@shop.example/", "shop.example"),
        ("http://0.0.0.0:80", "0.0.0.0"),
        ("http://localhost.example", "localhost.example"),
    ],
)
def test_a_service_elsewhere_only_when_it_is_said_to_be_yours(url: str, host: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_experiment(HEAD + f'[target]\nurl = "{url}"\n', source="x.toml")
    assert refused.value.cause == (
        f"x.toml:8: target.url is on {host}, not on this machine, and a load may overwhelm it."
    )
    assert "target.mine = true" in refused.value.next_step
    assert "hunter2" not in str(refused.value)
    assert parse_experiment(HEAD + f'[target]\nurl = "{url}"\nmine = true\n', source="x.toml").target.mine


WRONG = {
    "no address": ('[target]\nurl = "shop"\n', "x.toml:8: target.url is no http:// or https:// address."),
    "both": ("processes = 2\nworkers = { expect = 2 }\n", "x.toml:7: load.processes and load.workers are both given."),
    "no port": ('workers = { expect = 2, bind = "here" }\n', 'load.workers.bind must be host:port, not "here".'),
    "loopback target": (
        'workers = { expect = 2, bind = "0.0.0.0:5557" }\n',
        "workers on other machines cannot reach a target that listens on this machine's loopback.",
    ),
    "no workers": ("workers = { expect = 0 }\n", "load.workers.expect must be at least 1, not 0."),
    "no processes": ("processes = 0\n", "x.toml:7: load.processes must be at least 1, not 0."),
    "unknown key": ("workers = { expect = 1, port = 5 }\n", "unknown key 'load.workers.port'"),
    "varied": ("[matrix]\nload.processes = [1, 2]\n", "load.processes cannot be varied"),
    "short": (
        "warmup_s = 5\nmeasure_s = 2\n",
        "x.toml:8: load.measure_s = 2 is shorter than load.warmup_s = 5: most of the load would not be measured.",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_meant_is_refused(name: str) -> None:
    text, cause = WRONG[name]
    with pytest.raises(UsageError) as refused:
        parse_experiment(HEAD + text, source="x.toml")
    assert cause in refused.value.cause
    assert refused.value.next_step


@pytest.mark.parametrize(
    "text",
    [
        "processes = 4\n",
        'workers = { expect = 2, bind = "127.0.0.1:5557" }\n',
        'workers = { expect = 2, bind = "0.0.0.0:5557" }\n' + ELSEWHERE,
    ],
)
def test_more_generators_survive_the_record(text: str) -> None:
    experiment = parse_experiment(HEAD + text, source="x.toml")
    assert decode(Experiment, encode(experiment)) == experiment
