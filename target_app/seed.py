"""The heroes and teams every measurement starts from: the same rows each time, made by the server itself."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

HEROES_PER_TEAM = 100

# Ids that exist are kept, so that seeding twice changes nothing.
_TEAMS = text("""
    INSERT INTO teams (id, name, headquarters)
    SELECT n, 'Team ' || n, 'Tower ' || n
    FROM generate_series(1, CAST(:teams AS integer)) AS n
    ON CONFLICT (id) DO NOTHING
""")

# The password of hero n is "password-<n>", hashed as target_app.passwords does.
_HEROES = text("""
    INSERT INTO heroes (id, name, secret_name, hashed_password, age, team_id, created_at, updated_at)
    SELECT n, 'Hero ' || n, 'Secret ' || n,
           'sha256$' || n || '$' || encode(sha256(convert_to(n || 'password-' || n, 'UTF8')), 'hex'),
           18 + n % 60, 1 + (n - 1) % CAST(:teams AS integer), moment, moment
    FROM generate_series(1, CAST(:heroes AS integer)) AS n,
         LATERAL (SELECT timestamptz '2026-01-01 00:00:00Z' + n * interval '1 second') AS made (moment)
    ON CONFLICT (id) DO NOTHING
""")

_SEQUENCES = tuple(
    text(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))")
    for table in ("teams", "heroes")
)


async def seed(connection: AsyncConnection, heroes: int) -> None:
    """Insert heroes 1 to `heroes` and a team for each hundred of them (at least one), where they are missing."""
    teams = max(1, heroes // HEROES_PER_TEAM)
    await connection.execute(_TEAMS, {"teams": teams})
    await connection.execute(_HEROES, {"heroes": heroes, "teams": teams})
    for advance in _SEQUENCES:
        await connection.execute(advance)


async def vacuum(connection: AsyncConnection) -> None:
    """Leave nothing for autovacuum to do in the middle of a measurement. Needs an autocommit connection."""
    await connection.execute(text("VACUUM (FREEZE, ANALYZE) teams, heroes"))
