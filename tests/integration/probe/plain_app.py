"""An ASGI app without a framework that says what is loaded in its process."""

from __future__ import annotations

import json
import sys
from typing import Any


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise RuntimeError("no lifespan here")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps({"modules": sorted(sys.modules)}).encode()})
