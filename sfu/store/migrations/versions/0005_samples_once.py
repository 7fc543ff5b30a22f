"""Samples once"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    telemetry = sa.table("telemetry", *map(sa.column, ("id", "room", "identity", "series", "at_ms")))
    first = sa.select(sa.func.min(telemetry.c.id)).group_by(
        telemetry.c.room, telemetry.c.identity, telemetry.c.series, telemetry.c.at_ms
    )
    op.execute(sa.delete(telemetry).where(telemetry.c.id.not_in(first)))
    op.drop_index("ix_telemetry_series", "telemetry")
    op.create_index("ix_telemetry_series", "telemetry", ["room", "identity", "series", "at_ms"], unique=True)
    op.create_index("ix_telemetry_room", "telemetry", ["room", "at_ms"], unique=False)
