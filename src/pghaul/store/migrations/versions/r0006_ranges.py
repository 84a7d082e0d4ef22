"""Chunks that are a range of a key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("pghaul_chunk", sa.Column("key_column", sa.Text))
    op.add_column("pghaul_chunk", sa.Column("key_low", sa.BigInteger))
    op.add_column("pghaul_chunk", sa.Column("key_high", sa.BigInteger))
