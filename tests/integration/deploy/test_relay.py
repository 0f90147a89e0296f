"""The relay between plain sockets: what it delays, keeps, counts and drops. An echo server stands for Postgres."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import NoReturn

import psutil
import pytest

from harness.deploy import Relay, start_relay
from harness.domain.experiment import Network
from harness.errors import InfrastructureError
from harness.relay.relay import Relay as RelayLoop


@contextmanager
def serving(handle: Callable[[socket.socket], None]) -> Iterator[int]:
    """A TCP server on 127.0.0.1 that gives each connection to `handle`; its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)

    def one(connection: socket.socket) -> None:
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with suppress(OSError):  # the other side resets it in some tests
                handle(connection)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=[connection], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


@pytest.fixture
def echo_port() -> Iterator[int]:
    with serving(echo) as port:
        yield port


@contextmanager
def relayed(port: int, **network: object) -> Iterator[Relay]:
    with start_relay(host="127.0.0.1", port=port, network=Network(**network)) as relay:  # type: ignore[arg-type]
        yield relay


def connect(relay: Relay) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", relay.port), timeout=10)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def ping_ms(client: socket.socket) -> float:
    began = time.perf_counter()
    client.sendall(b"x")
    assert client.recv(1) == b"x"
    return (time.perf_counter() - began) * 1000


@pytest.mark.parametrize("rtt_ms", [0.0, 2.0, 20.0])
def test_a_round_trip_takes_what_was_asked_for(echo_port: int, rtt_ms: float) -> None:
    with relayed(echo_port, rtt_ms=rtt_ms) as relay, closing(connect(relay)) as client:
        times_ms = sorted(ping_ms(client) for _ in range(20))
    assert times_ms[0] >= rtt_ms - 0.5  # two clocks are read a moment apart
    assert times_ms[0] < rtt_ms + 5  # the quickest: the others may have met a busy machine


def test_the_first_answer_takes_the_handshakes_round_trip_too(echo_port: int) -> None:
    with relayed(echo_port, rtt_ms=20) as relay:
        times_ms = []
        for _ in range(5):
            with closing(connect(relay)) as client:
                times_ms.append(ping_ms(client))
    assert min(times_ms) >= 39.5
    assert min(times_ms) < 59  # not three round trips


def test_round_trips_are_counted_and_what_is_sent_together_counts_once(echo_port: int) -> None:
    with relayed(echo_port, rtt_ms=2) as relay, closing(connect(relay)) as client:
        for _ in range(7):
            ping_ms(client)
        client.sendall(b"a")
        client.sendall(b"b")
        received = b""
        while received != b"ab":
            received += client.recv(2)
        read = relay.read()
    # the two may reach the echo server, and its answers the relay, apart
    assert read["round_trips"] in (8, 9)
    assert (read["connections"], read["bytes_up"], read["bytes_down"]) == (1, 9, 9)
    assert 0 < read["late_ms_p50"] <= read["late_ms_p99"] <= read["late_ms_max"]
    assert read["cpu_s"] > 0


def test_it_counts_from_zero_again(echo_port: int) -> None:
    with relayed(echo_port, rtt_ms=2) as relay, closing(connect(relay)) as client:
        for _ in range(3):
            ping_ms(client)
        before_s = relay.read()["cpu_s"]
        relay.restart()
        ping_ms(client)
        read = relay.read()
    assert (read["connections"], read["open"], read["round_trips"], read["bytes_up"]) == (0, 1, 1, 1)
    assert read["cpu_s"] < before_s


def test_everything_arrives_in_order_though_the_reader_is_slow(echo_port: int) -> None:
    sent, received = hashlib.sha256(), hashlib.sha256()
    block = os.urandom(2**20)
    with relayed(echo_port, rtt_ms=4) as relay, closing(connect(relay)) as client:

        def send() -> None:
            for number in range(24):
                part = number.to_bytes(4, "big") + block
                sent.update(part)
                client.sendall(part)
            client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        time.sleep(0.3)  # until pipes and kernel buffers are full, so that the relay has to hold the sender back
        while data := client.recv(2**20):
            received.update(data)
        sender.join()
        assert psutil.Process(relay.process.pid).memory_info().rss < 200 * 2**20
    assert received.digest() == sent.digest()


def test_the_end_of_one_direction_leaves_the_other_open() -> None:
    def answer_after_the_end(connection: socket.socket) -> None:
        asked = b""
        while data := connection.recv(100):
            asked += data
        connection.sendall(asked.upper())

    with serving(answer_after_the_end) as port, relayed(port, rtt_ms=5) as relay, closing(connect(relay)) as client:
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b"HELLO"
        assert client.recv(100) == b""
        assert relay.read()["open"] == 0


def test_many_connections_at_once(echo_port: int) -> None:
    with relayed(echo_port, rtt_ms=5) as relay:
        clients = [connect(relay) for _ in range(300)]
        for client in clients:
            client.sendall(b"x")
        assert all(client.recv(1) == b"x" for client in clients)
        assert relay.read()["open"] == 300
        for client in clients:
            client.close()


def test_a_server_that_is_not_there_resets_the_client() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with relayed(unused.getsockname()[1], rtt_ms=2) as relay, closing(connect(relay)) as client:
            with pytest.raises(ConnectionResetError):
                client.recv(1)
            assert relay.read()["open"] == 0


def test_idle_connections_are_reset_and_busy_ones_are_not(echo_port: int) -> None:
    with relayed(echo_port, idle_timeout_s=0.4) as relay, closing(connect(relay)) as idle:
        with closing(connect(relay)) as busy:
            ping_ms(idle)
            until = time.monotonic() + 1.2
            while time.monotonic() < until:
                ping_ms(busy)
                time.sleep(0.02)
            with pytest.raises(ConnectionResetError):
                idle.recv(1)
            ping_ms(busy)
        assert relay.read()["idle_drops"] == 1


def test_a_blackholed_idle_connection_gets_no_answer(echo_port: int) -> None:
    with relayed(echo_port, idle_timeout_s=0.2, on_idle="blackhole") as relay, closing(connect(relay)) as client:
        ping_ms(client)
        while not relay.read()["idle_drops"]:
            time.sleep(0.02)
        client.settimeout(0.5)
        client.sendall(b"x")
        with pytest.raises(TimeoutError):
            client.recv(1)
        with closing(connect(relay)) as fresh:
            ping_ms(fresh)


def test_reset_ends_every_connection_and_new_ones_work(echo_port: int) -> None:
    with relayed(echo_port, rtt_ms=1) as relay, closing(connect(relay)) as client:
        ping_ms(client)
        relay.reset()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        with closing(connect(relay)) as fresh:
            ping_ms(fresh)


def test_a_blackhole_holds_until_it_is_healed(echo_port: int) -> None:
    with relayed(echo_port, rtt_ms=1) as relay, closing(connect(relay)) as client:
        ping_ms(client)
        relay.blackhole()
        client.sendall(b"x")
        client.settimeout(0.4)
        with pytest.raises(TimeoutError):
            client.recv(1)
        relay.heal()
        client.settimeout(10)
        assert client.recv(1) == b"x"
        ping_ms(client)
        assert relay.read()["late_ms_max"] < 300  # the time it held is not its own lateness


def test_it_ends_with_its_parent(echo_port: int) -> None:
    program = f"""
import time
from harness.deploy import start_relay
from harness.domain.experiment import Network
with start_relay(host="127.0.0.1", port={echo_port}, network=Network(rtt_ms=1)) as relay:
    print(relay.process.pid, flush=True)
    time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    relay = psutil.Process(int(parent.stdout.readline()))
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 10
    while relay.is_running() and relay.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_relay_that_died_is_an_error_with_its_cause(echo_port: int) -> None:
    with relayed(echo_port) as relay:
        relay.process.kill()
        relay.process.wait()
        with pytest.raises(InfrastructureError, match="network relay ended with code -9"):
            relay.read()


def test_an_idle_relay_costs_nothing(echo_port: int) -> None:
    with relayed(echo_port, rtt_ms=5) as relay, closing(connect(relay)) as client:
        ping_ms(client)
        before_s = relay.read()["cpu_s"]
        time.sleep(1)
        assert relay.read()["cpu_s"] - before_s < 0.01


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux sets another process's limits")
def test_a_relay_without_descriptors_goes_on(echo_port: int) -> None:
    """A client waits in the backlog, or is reset where there is one for it and none for the server; nothing leaks."""
    with relayed(echo_port) as relay:
        process = psutil.Process(relay.process.pid)
        idle, most = process.num_fds(), process.rlimit(psutil.RLIMIT_NOFILE)[1]
        with closing(connect(relay)) as kept:
            ping_ms(kept)
            process.rlimit(psutil.RLIMIT_NOFILE, (idle + 2, most))
            with closing(connect(relay)) as waiting:
                waiting.sendall(b"x")
                waiting.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    waiting.recv(1)
                ping_ms(kept)
                process.rlimit(psutil.RLIMIT_NOFILE, (idle + 3, most))
                waiting.settimeout(10)
                with pytest.raises(ConnectionResetError):
                    waiting.recv(1)
                ping_ms(kept)
            assert relay.read()["refused"] == 1
            assert process.num_fds() == idle + 2
            process.rlimit(psutil.RLIMIT_NOFILE, (idle + 4, most))
            with closing(connect(relay)) as served:
                ping_ms(served)
            assert relay.read()["connections"] == 2


def test_a_client_that_is_gone_before_it_is_taken_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    relay = RelayLoop(upstream=("127.0.0.1", 9), rtt_ms=0, idle_s=None, on_idle="reset")
    answers: list[OSError] = [ConnectionAbortedError(errno.ECONNABORTED, "aborted"), BlockingIOError()]

    class Listener:
        def accept(self) -> NoReturn:
            raise answers.pop(0)

    monkeypatch.setattr(relay, "_listener", Listener())
    relay._accept(0)
    assert answers == []
