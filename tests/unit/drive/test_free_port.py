"""The port on which Locust's processes meet."""

from __future__ import annotations

import socket

from harness import drive


def test_a_port_is_free_and_none_that_a_connection_is_given_by_itself() -> None:
    for _ in range(50):
        port = drive._free_port()
        assert port < 32_768
        socket.create_server(("127.0.0.1", port)).close()
