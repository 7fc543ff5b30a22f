"""A class that lasts"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Nothing was ever written to these two, and now they are other tables.
    op.drop_table("questions")
    op.drop_table("polls")
    _create(
        "questions",
        sa.Column("room", sa.String(length=128), nullable=False),
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("identity", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("asked_ms", sa.BigInteger(), nullable=False),
        sa.Column("answered_ms", sa.BigInteger(), nullable=True),
        sa.Column("sender", sa.String(length=64), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("room", "id"),
        indexes=("asked_ms", "identity"),
    )
    _create(
        "polls",
        sa.Column("room", sa.String(length=128), nullable=False),
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("identity", sa.String(length=128), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("opened_ms", sa.BigInteger(), nullable=False),
        sa.Column("closed_ms", sa.BigInteger(), nullable=True),
        sa.Column("multiple", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("room", "id"),
        indexes=("identity", "opened_ms"),
    )
    _create(
        "question_votes",
        sa.Column("room", sa.String(length=128), nullable=False),
        sa.Column("question", sa.BigInteger(), nullable=False),
        sa.Column("identity", sa.String(length=128), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room", "question", "identity"),
    )
    _create(
        "ballots",
        sa.Column("room", sa.String(length=128), nullable=False),
        sa.Column("poll", sa.BigInteger(), nullable=False),
        sa.Column("identity", sa.String(length=128), nullable=False),
        sa.Column("choices", sa.JSON(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room", "poll", "identity"),
    )
    _create(
        "strokes",
        sa.Column("room", sa.String(length=128), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("identity", sa.String(length=128), nullable=False),
        sa.Column("color", sa.String(length=16), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("points", sa.JSON(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room", "id"),
    )
    _create(
        "turns",
        sa.Column("room", sa.String(length=128), nullable=False),
        sa.Column("identity", sa.String(length=128), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room", "identity"),
    )


def _create(
    table: str, *columns: sa.schema.SchemaItem, indexes: tuple[str, ...] = ("at_ms", "identity")
) -> None:
    op.create_table(table, *columns)
    for column in indexes:
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column], unique=False)
