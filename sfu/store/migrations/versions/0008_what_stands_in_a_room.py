"""What stands in a room, and who records"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "hands",
        sa.Column("room", sa.String(length=128), nullable=False),
        sa.Column("identity", sa.String(length=128), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("raised_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room", "identity"),
    )
    op.create_table(
        "breakouts",
        sa.Column("room", sa.String(length=128), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("opened_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room", "id"),
    )
    op.create_table(
        "breakout_places",
        sa.Column("room", sa.String(length=128), nullable=False),
        sa.Column("identity", sa.String(length=128), nullable=False),
        sa.Column("breakout", sa.Integer(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room", "identity"),
    )
    for table, column in (
        ("hands", "identity"),
        ("hands", "raised_ms"),
        ("breakouts", "opened_ms"),
        ("breakout_places", "identity"),
        ("breakout_places", "at_ms"),
    ):
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column])
    op.add_column("sessions", sa.Column("recording", sa.Boolean(), nullable=False, server_default=sa.false()))
