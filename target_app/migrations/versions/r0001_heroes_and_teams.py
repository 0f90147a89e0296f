"""Heroes and teams.

Revision ID: 0001
Revises:
Create Date: 2026-11-22
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "teams",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("headquarters", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_teams"),
        sa.UniqueConstraint("name", name="uq_teams_name"),
    )
    op.create_table(
        "heroes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("secret_name", sa.String(100), nullable=False),
        sa.Column("hashed_password", sa.String(120), nullable=False),
        sa.Column("age", sa.Integer()),
        sa.Column("is_active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("is_deleted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("team_id", sa.Integer()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_heroes"),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name="fk_heroes_team_id_teams"),
    )
    op.create_index("ix_heroes_name", "heroes", ["name"])
    op.create_index("ix_heroes_team_id", "heroes", ["team_id"])
    op.execute(
        "CREATE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.updated_at := clock_timestamp(); RETURN NEW; END $$"
    )
    op.execute(
        "CREATE TRIGGER heroes_set_updated_at BEFORE UPDATE ON heroes FOR EACH ROW EXECUTE FUNCTION set_updated_at()"
    )


def downgrade() -> None:
    op.drop_table("heroes")
    op.drop_table("teams")
    op.execute("DROP FUNCTION set_updated_at()")
