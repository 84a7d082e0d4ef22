"""Rows that refer to nothing lose their reference: one statement, by the very conditions that found them."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from pghaul.target.references import Reference, violations

UPDATE = "UPDATE ONLY {table} SET {nothing} WHERE ctid = ANY (ARRAY(SELECT fk.ctid {broken}))"


def update(key: Reference, columns: Sequence[str]) -> sql.Composable:
    """These of its columns become NULL in every row that breaks it."""
    return sql.SQL(UPDATE).format(
        table=sql.Identifier(key.table.schema, key.table.name),
        nothing=sql.SQL(", ").join(sql.SQL("{} = NULL").format(sql.Identifier(c)) for c in columns),
        broken=violations(key),
    )
