"""The endpoints, once for each way to wait. The same paths, bodies and answers in every driver mode."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter

from target_app.routes.dependencies import ASYNC, SYNC, annotations_for
from target_app.routes.rebinding import rebound
from target_app.settings import Settings


def routers_for(settings: Settings) -> Iterator[APIRouter]:
    """The routes of a driver mode, their sessions living as long as the settings say."""
    annotations = annotations_for(settings)
    if settings.is_async:
        from target_app.routes import async_routes

        yield rebound(async_routes.router, ASYNC, annotations, on_the_loop=False)
        if settings.lab:
            from target_app.routes import lab_async

            yield rebound(lab_async.router, ASYNC, annotations, on_the_loop=False)
    else:
        from target_app.routes import sync_routes

        # The mistake to be measured: the sync endpoints' own code inside async def.
        blocking = settings.driver == "psycopg_blocking"
        yield rebound(sync_routes.router, SYNC, annotations, on_the_loop=blocking)
        if settings.lab:
            from target_app.routes import lab_sync

            yield rebound(lab_sync.router, SYNC, annotations, on_the_loop=blocking)
