"""The endpoints, once for each way to wait. The same paths, bodies and answers in every driver mode."""

from __future__ import annotations

from fastapi import APIRouter

from target_app.settings import DriverMode


def router_for(driver: DriverMode) -> APIRouter:
    """The routes of a driver mode; the others are not even imported."""
    if driver == "psycopg_sync":
        from target_app.routes import sync_routes

        return sync_routes.router
    if driver == "psycopg_blocking":
        from target_app.routes import blocking_routes

        return blocking_routes.router
    from target_app.routes import async_routes

    return async_routes.router
