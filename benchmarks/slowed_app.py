"""The hero API, made slower by a known amount: what a gate has to find.

`DELAY_MS` is waited and `BURN_MS` computed before each request, so that a change of latency and one of CPU time come
from the service itself, and never from figures that are multiplied afterwards.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from target_app import main


def create_app() -> Any:
    """The app as it is shipped, behind what makes it slower."""
    app = main.create_app()
    delay_s, burn_s = (float(os.environ.get(name, "0")) / 1000 for name in ("DELAY_MS", "BURN_MS"))

    async def slowed(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            if delay_s:
                await asyncio.sleep(delay_s)
            until_s = time.thread_time() + burn_s
            while burn_s and time.thread_time() < until_s:
                pass
        await app(scope, receive, send)

    return slowed
