"""Rows in quarantine as a load leaves them there, for tests that need no load."""

from __future__ import annotations

from typing import Any

import psycopg

from pghaul.model.copy_text import encode
from pghaul.target.ledger_sql import INSTALL

RUN = "0123456789ab"
INSERT = """
INSERT INTO pghaul.quarantine (run_id, relation, chunk, source_key, columns, row_data, encoding, sqlstate, message,
                               column_name, constraint_name) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
Value = str | None


def set_aside(
    url: str,
    table: str,
    columns: list[str],
    *rows: tuple[Value, ...] | bytes,
    run: str = RUN,
    encoding: str = "UTF8",
    **reason: Any,
) -> None:
    """Values, or lines as they are."""
    why = {"sqlstate": "22001", "message": "value too long", "column_name": None, "constraint_name": None} | reason
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(INSTALL.encode())
        for row in rows:
            line = row if isinstance(row, bytes) else encode(row, encoding)
            key = None if isinstance(row, bytes) else f'{{"id": "{row[0]}"}}'
            session.execute(INSERT, (run, table, "leaf", key, columns, line, encoding, *(why[k] for k in REASON)))


REASON = ("sqlstate", "message", "column_name", "constraint_name")
