"""A server that answers at C speed, so that the load generator is what is measured: nginx, else uvloop."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

NGINX_CONF = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
worker_processes 1;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ default_type text/plain; return 200 "ok"; }}
  }}
}}
"""
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"
START_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FastStub:
    """A server that is up, and what it is."""

    url: str
    name: str


@contextmanager
def serving_fast() -> Iterator[FastStub]:
    """Serve "ok" on a free port of the loopback until the block ends."""
    port = _free_port()
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    with tempfile.TemporaryDirectory() as folder:
        if nginx is None:
            command, name = [sys.executable, "-m", "benchmarks.fast_stub", str(port)], "uvloop (nginx is not installed)"
        else:
            conf = Path(folder) / "nginx.conf"
            conf.write_text(NGINX_CONF.format(folder=folder, port=port))
            Path(folder).chmod(0o755)  # its worker is another user when this is root
            command, name = [nginx, "-c", str(conf), "-e", "stderr"], "nginx"
        with subprocess.Popen(command) as process:
            try:
                _wait_until_open(port, process)
                yield FastStub(url=f"http://127.0.0.1:{port}", name=name)
            finally:
                process.terminate()  # nginx's master ends its worker; a kill would leave that behind
                process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _wait_until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except ConnectionRefusedError:
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError("the stub did not come up") from None
            time.sleep(0.02)
        else:
            return


class _Answer(asyncio.Protocol):
    """One GET at a time on each connection, as every load generator here sends them; nothing is parsed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports derive from nothing of asyncio's
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"\r\n\r\n"):
            self._transport.write(ANSWER)


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await loop.create_server(_Answer, "127.0.0.1", port, backlog=4096)
    await stop.wait()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(int(sys.argv[1])))
