"""A service whose every departure is known: holds of a known law, permits of a known number, served in order.

It sleeps for no hold. Each departure is computed from when the request was received and when a permit becomes free (a
virtual queue), and the answer is sent at that absolute time: a stub that sleeps adds its lateness to every hold, which
near saturation multiplies. Deployed by `poolbench run` as any app; POOL_SIZE and MAX_OVERFLOW are its permits, SERVICE
names its holds. It prints a line for each request, `hold <arrival> <ns>`, which the trial keeps as target.log.
"""

from __future__ import annotations

import asyncio
import heapq
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

ARRIVAL_HEADER = b"x-poolbench-arrival"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holds:
    """How long requests keep their permit."""

    law: Literal["exponential", "constant", "rare"]
    mean_s: float
    rare_s: float = 0.0
    """rare: what two in a hundred take; the others all take the same, so that the mean is `mean_s`"""

    def draw_s(self, random_: random.Random) -> float:
        match self.law:
            case "exponential":
                return random_.expovariate(1 / self.mean_s)
            case "constant":
                return self.mean_s
            case "rare":
                return self.rare_s if random_.random() < 0.02 else (self.mean_s - 0.02 * self.rare_s) / 0.98


SERVICES: Mapping[str, Holds] = {
    "light": Holds(law="exponential", mean_s=0.0125),
    "even_80": Holds(law="exponential", mean_s=0.02),
    "even_85": Holds(law="exponential", mean_s=0.02125),
    "even_90": Holds(law="exponential", mean_s=0.0225),
    "constant_90": Holds(law="constant", mean_s=0.0225),
    "even_95": Holds(law="exponential", mean_s=0.02375),
    "rare_80": Holds(law="rare", mean_s=0.02, rare_s=0.5),
    "over_130": Holds(law="exponential", mean_s=0.0325),
    "short": Holds(law="exponential", mean_s=0.036),
    "long": Holds(law="exponential", mean_s=0.072),
    "sleeping": Holds(law="rare", mean_s=0.0349, rare_s=1.5),
}
"""At 40 arrivals a second and one permit the numbers are utilisations in per cent."""


class Service:
    """The ASGI app."""

    def __init__(self, holds: Holds, permits: int) -> None:
        self._holds = holds
        self._free_ns = [0] * permits
        self._random = random.Random(os.getpid())

    async def __call__(self, scope: Mapping[str, Any], _receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        if scope["type"] != "http":
            return
        arrival = dict(scope["headers"]).get(ARRIVAL_HEADER)
        if arrival is not None:
            received_ns = time.monotonic_ns()
            hold_ns = round(self._holds.draw_s(self._random) * 1e9)
            departure_ns = max(received_ns, heapq.heappop(self._free_ns)) + hold_ns
            heapq.heappush(self._free_ns, departure_ns)
            os.write(1, f"hold {arrival.decode()} {hold_ns}\n".encode())
            await asyncio.sleep(max(0, departure_ns - time.monotonic_ns()) / 1e9)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


def make_app() -> Service:
    """The service that the environment asks for."""
    permits = int(os.environ["POOL_SIZE"]) + int(os.environ["MAX_OVERFLOW"])
    return Service(SERVICES[os.environ["SERVICE"]], permits)
