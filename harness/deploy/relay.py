"""Distance between targets and Postgres: a relay of its own process for every launch whose cell asks for one."""

from __future__ import annotations

import json
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from harness.deploy.connection import admin
from harness.deploy.leftovers import owned_environment
from harness.domain.deployed import Server
from harness.domain.experiment import Network
from harness.domain.load import Launch
from harness.domain.observed import RelayReadings
from harness.errors import InfrastructureError

_ANSWER_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 2.0
_PINGS = 9
_PING_BUDGET_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """A relay that runs, and can be told what to do. Each method raises InfrastructureError when it has ended."""

    network: Network
    port: int
    process: subprocess.Popen[str]

    def read(self) -> Mapping[str, float]:
        """Its counters since it started or was restarted, `late_ms_p50` and `late_ms_p99`, and `cpu_s`."""
        return self._tell("read")

    def restart(self) -> None:
        """Count from zero."""
        self._tell("restart")

    def reset(self) -> None:
        """End every connection through it with a reset on both sides."""
        self._tell("reset")

    def blackhole(self) -> None:
        """Let nothing through until `heal`."""
        self._tell("blackhole")

    def heal(self) -> None:
        """Pass on again, what was held first, as TCP would send it again."""
        self._tell("heal")

    def _tell(self, command: str) -> Mapping[str, float]:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(f"{command}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise _gone(self.process) from None
        return _answer(self.process)


@contextmanager
def start_relay(*, host: str, port: int, network: Network) -> Iterator[Relay]:
    """A relay to `host`:`port` within the block, on a port of 127.0.0.1.

    Raises:
        InfrastructureError: it did not come up.
    """
    with _process(host, port, network) as process:
        yield _listening(process, network)


def _listening(process: subprocess.Popen[str], network: Network) -> Relay:
    return Relay(network=network, port=int(_answer(process)["port"]), process=process)


@contextmanager
def _process(host: str, port: int, network: Network) -> Iterator[subprocess.Popen[str]]:
    """The relay's process; its standard input ends with ours, so it cannot outlive us."""
    command = [sys.executable, "-m", "harness.relay", host, str(port), "--rtt-ms", str(network.rtt_ms)]
    if network.idle_timeout_s is not None:
        command += ["--idle-s", str(network.idle_timeout_s), "--on-idle", network.on_idle]
    process = subprocess.Popen(
        command,
        env={**os.environ, **owned_environment()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C in the terminal reaches only us
    )
    try:
        yield process
    finally:
        _stop(process)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distances:
    """How the launches of a sitting reach their databases."""

    urls: Mapping[str, str]
    """launch id -> the URL its target is given, which leads through the launch's relay where it has one"""
    relays: Mapping[str, Relay]
    rtt_ms_measured: Mapping[str, float]

    @property
    def pids(self) -> Mapping[str, int]:
        """Launch id -> the relay's process."""
        return {launch_id: relay.process.pid for launch_id, relay in self.relays.items()}

    def begin(self) -> None:
        """Count from here, where the load begins: starting targets make the machine busier than it will be."""
        for relay in self.relays.values():
            relay.restart()

    def readings(self) -> Mapping[str, RelayReadings]:
        """What every relay did until now, by launch id."""
        return {launch_id: self._readings(launch_id, relay.read()) for launch_id, relay in self.relays.items()}

    def _readings(self, launch_id: str, read: Mapping[str, float]) -> RelayReadings:
        return RelayReadings(
            rtt_ms=self.relays[launch_id].network.rtt_ms,
            rtt_ms_measured=self.rtt_ms_measured[launch_id],
            late_ms_p50=read["late_ms_p50"],
            late_ms_p99=read["late_ms_p99"],
            round_trips=int(read["round_trips"]),
            connections=int(read["connections"]),
            idle_drops=int(read["idle_drops"]),
            cpu_s=read["cpu_s"],
        )


@contextmanager
def distances(server: Server | None, launches: Sequence[Launch], urls: Mapping[str, str]) -> Iterator[Distances]:
    """Put a relay before every database of `urls` whose cell asks for one, within the block.

    Raises:
        InfrastructureError: a relay did not come up.
    """
    with ExitStack() as stack:
        wanted = {each.id: each.cell.network for each in launches if each.id in urls and each.cell.network.needs_relay}
        if server is None or not wanted:
            yield Distances(urls=urls, relays={}, rtt_ms_measured={})
            return
        # all are started before the first is waited for
        started = {each: stack.enter_context(_process(server.host, server.port, wanted[each])) for each in wanted}
        relays = {each: _listening(process, wanted[each]) for each, process in started.items()}
        measured = _measure(server, relays)
        through = {launch_id: at_port(urls[launch_id], relay.port) for launch_id, relay in relays.items()}
        yield Distances(urls={**urls, **through}, relays=relays, rtt_ms_measured=measured)


def _measure(server: Server, relays: Mapping[str, Relay]) -> Mapping[str, float]:
    """What each relay adds to a ping. Relays that are alike are measured once: they cost pings, and time."""
    direct_ms = _ping_ms(server, _PINGS)
    by_network: dict[Network, float] = {}
    for relay in relays.values():
        if relay.network not in by_network:
            there = server_at(server, relay.port)
            pings = min(_PINGS, max(1, int(_PING_BUDGET_S * 1000 / max(relay.network.rtt_ms, 1))))
            by_network[relay.network] = _ping_ms(there, pings) - direct_ms
    return {launch_id: by_network[relay.network] for launch_id, relay in relays.items()}


def server_at(server: Server, port: int) -> Server:
    """The same server as it is reached through a relay on `port`."""
    return replace(server, host="127.0.0.1", port=port)


def _ping_ms(server: Server, pings: int) -> float:
    """The median time of a statement that does nothing, on a connection that is warm."""
    times_ms = []
    with admin(server) as connection:
        for _ in range(pings + 1):
            began_ns = time.perf_counter_ns()
            connection.execute("SELECT 1")
            times_ms.append((time.perf_counter_ns() - began_ns) / 1e6)
    return statistics.median(times_ms[1:])


def at_port(url: str, port: int) -> str:
    """The URL with its host and port replaced; what stands before and after them stays as it is."""
    parts = urlsplit(url)  # a TLS handshake goes through a relay as it is
    credentials = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{credentials}@127.0.0.1:{port}" if credentials else f"127.0.0.1:{port}"))


def _answer(process: subprocess.Popen[str]) -> Mapping[str, Any]:
    """The next line on standard output."""
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], _ANSWER_TIMEOUT_S)[0]:
        raise InfrastructureError(
            f"The network relay does not answer within {_ANSWER_TIMEOUT_S:.0f} s.",
            next_step="A heavily loaded machine is the usual cause.",
        )
    line = process.stdout.readline()
    if not line:
        raise _gone(process)
    answer: Mapping[str, Any] = json.loads(line)
    return answer


def _gone(process: subprocess.Popen[str]) -> InfrastructureError:
    _, errors = process.communicate()
    return InfrastructureError(
        f"The network relay ended with code {process.returncode}.",
        next_step="Its last lines are below.",
        detail="\n".join(errors.splitlines()[-20:]),
    )


def _stop(process: subprocess.Popen[str]) -> None:
    """The end of its standard input asks it to end."""
    try:
        process.communicate(timeout=_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
