"""Alembic's entry: always online, on the connection that the session module hands over."""

from __future__ import annotations

from alembic import context

from pghaul.store.models import Base
from pghaul.store.session import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
context.run_migrations()
