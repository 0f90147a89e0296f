from __future__ import annotations

import subprocess
import sys


def test_importing_the_service_creates_nothing() -> None:
    """No settings are read, no engine made, no driver imported until create_app is called."""
    code = (
        "import sys, target_app.main, target_app.routes.async_routes, target_app.routes.sync_routes\n"
        "import sqlalchemy.engine.base, gc\n"
        "assert not [o for o in gc.get_objects() if isinstance(o, sqlalchemy.engine.base.Engine)]\n"
        "drivers = {'asyncpg', 'psycopg', 'psycopg2', 'psycopg_pool'}\n"
        "assert not (drivers | {'alembic', 'harness', 'locust'}) & sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env={}, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
