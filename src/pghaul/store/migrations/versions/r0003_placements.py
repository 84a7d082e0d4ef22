"""What fills each target relation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("pghaul_run", sa.Column("placements", sa.Text))
