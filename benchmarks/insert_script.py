"""How a person would copy a table by a script: rows fetched as Python values, and executemany of batches.

`offset`: SELECT … ORDER BY key LIMIT 1000 OFFSET n, as most scripts of this kind do it. `cursor`: the better way, by a
server-side cursor. Both commit every batch.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import psycopg

BATCH = 1000
COLUMNS = "path_id, issued_date, changed_value, connection_status"
READ = f"SELECT {COLUMNS} FROM {{table}}"
PAGE = f"{READ} ORDER BY path_id, issued_date LIMIT {BATCH} OFFSET %s"
WRITE = f"INSERT INTO {{table}} ({COLUMNS}) VALUES (%s, %s, %s, %s)"

Rows = list[tuple[Any, ...]]


def by_offset(source: psycopg.Connection, table: str) -> Iterator[Rows]:
    """Batches by LIMIT and OFFSET."""
    at = 0
    while rows := source.execute(PAGE.format(table=table).encode(), [at]).fetchall():
        yield rows
        at += BATCH


def by_cursor(source: psycopg.Connection, table: str) -> Iterator[Rows]:
    """Batches of a server-side cursor."""
    with source.cursor(name="reading") as cursor:
        cursor.execute(READ.format(table=table).encode())
        while rows := cursor.fetchmany(BATCH):
            yield rows


def main() -> None:
    """python -m benchmarks.insert_script offset|cursor FROM TO TABLE."""
    way, source_url, target_url, table = sys.argv[1:]
    batches = {"offset": by_offset, "cursor": by_cursor}[way]
    with psycopg.connect(source_url) as source, psycopg.connect(target_url) as target:
        for rows in batches(source, table):
            target.cursor().executemany(WRITE.format(table=table).encode(), rows)
            target.commit()


if __name__ == "__main__":
    main()
