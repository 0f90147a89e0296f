"""The reference app, but for what HARD_CODED says ("POOL_SIZE=3"): that it does not take from its environment."""

from __future__ import annotations

import os
from typing import Any

from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.orm import Session

from target_app.main import create_app as create_reference_app


def create_app() -> FastAPI:
    name, _, value = os.environ["HARD_CODED"].partition("=")
    os.environ[name] = value
    app = create_reference_app()
    sessions: Any = app.state.database.sessions

    async def ping() -> None: ...

    async def use_async() -> None:
        async with sessions() as session:
            await session.execute(text("SELECT 1"))

    def use_sync() -> None:
        with sessions() as session:
            session.execute(text("SELECT 1"))

    async def hooked() -> bool:
        return hasattr(Session.__init__, "__wrapped__")

    app.add_api_route("/ping", ping)
    app.add_api_route("/hooked", hooked)
    app.add_api_route("/use", use_async if app.state.settings.is_async else use_sync)
    return app
