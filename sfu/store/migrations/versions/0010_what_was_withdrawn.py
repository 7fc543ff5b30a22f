"""Revoked tokens, and who was removed from a room"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "revoked_tokens",
        sa.Column("jti", sa.String(length=128), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("jti"),
    )
    op.create_table(
        "removals",
        sa.Column("room", sa.String(length=128), nullable=False),
        sa.Column("identity", sa.String(length=128), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room", "identity"),
    )
    for table, column in (
        ("revoked_tokens", "expires_ms"),
        ("removals", "identity"),
        ("removals", "expires_ms"),
    ):
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column])
