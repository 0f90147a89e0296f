"""The hero API with a switch of its own: `POST /observed/on` and `/observed/off` turn the probe at once.

The file `off`, which every probed service heeds, takes up to half a second: longer than a segment of the observer
benchmark should be.
"""

from __future__ import annotations

from fastapi import FastAPI

from harness.probe import process_probe
from target_app import main


def create_app() -> FastAPI:
    """The app as it is shipped, and behind its own routes the switch."""
    app = main.create_app()

    @app.post("/observed/on")
    async def on() -> None:
        process_probe().toggle(True)

    @app.post("/observed/off")
    async def off() -> None:
        process_probe().toggle(False)

    return app
