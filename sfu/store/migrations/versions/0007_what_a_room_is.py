"""What a room is and how it is set"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rooms", sa.Column("template", sa.String(length=64), nullable=True))
    op.add_column("rooms", sa.Column("locked", sa.Boolean(), nullable=True))
    op.add_column("rooms", sa.Column("lobby", sa.Boolean(), nullable=True))
    op.add_column("rooms", sa.Column("silenced", sa.Boolean(), nullable=True))
