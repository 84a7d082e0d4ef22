"""How a person would keep a table in step by a script: what is newer than the target's newest row, fetched and merged.

`executemany`: INSERT … ON CONFLICT of batches, as most scripts of this kind do it. `copy`: the better way, by a
temporary table. Both are one transaction on the target.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

BATCH = 1000
NEWEST = "SELECT max({cursor}) FROM {table}"
READ = "SELECT {columns} FROM {table} WHERE {cursor} > %s"
STAGE = "CREATE TEMP TABLE stage (LIKE {table}) ON COMMIT DROP"
FILL = "COPY stage ({columns}) FROM STDIN (FORMAT binary)"
FETCH = "COPY (SELECT {columns} FROM {table} WHERE {cursor} > {since}) TO STDOUT (FORMAT binary)"
WRITE = "INSERT INTO {table} ({columns}) VALUES ({values}) ON CONFLICT ({key}) DO UPDATE SET {change}"
MERGE = "INSERT INTO {table} ({columns}) SELECT {columns} FROM stage ON CONFLICT ({key}) DO UPDATE SET {change}"


def by_executemany(source: psycopg.Connection, target: psycopg.Connection, words: dict[str, sql.Composable]) -> None:
    """Rows as Python values."""
    since = _since(target, words)
    write = sql.SQL(WRITE).format(**words)
    for rows in _batches(source, sql.SQL(READ).format(**words), since):
        target.cursor().executemany(write, rows)


def by_copy(source: psycopg.Connection, target: psycopg.Connection, words: dict[str, sql.Composable]) -> None:
    """Rows as the servers write them."""
    words |= {"since": sql.Literal(_since(target, words))}
    target.execute(sql.SQL(STAGE).format(**words))
    with (
        source.cursor().copy(sql.SQL(FETCH).format(**words)) as read,
        target.cursor().copy(sql.SQL(FILL).format(**words)) as write,
    ):
        for block in read:
            write.write(block)
    target.execute("ANALYZE stage")
    target.execute(sql.SQL(MERGE).format(**words))


WAYS = {"executemany": by_executemany, "copy": by_copy}


def main() -> None:
    """python -m benchmarks.merge_script executemany|copy FROM TO TABLE KEY CURSOR [--loop]."""
    way, source_url, target_url, table, key, cursor, *loop = sys.argv[1:]
    with psycopg.connect(source_url) as source, psycopg.connect(target_url) as target:
        words = _words(target, table, key, cursor)
        for _ in sys.stdin if loop else ("once",):
            WAYS[way](source, target, words)
            source.commit()
            target.commit()
            print("done", flush=True)


def _words(target: psycopg.Connection, table: str, key: str, cursor: str) -> dict[str, sql.Composable]:
    described = target.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(sql.Identifier(table))).description
    columns = [c.name for c in described or ()]
    change = [sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(c)) for c in columns if c != key]
    return {
        "table": sql.Identifier(table),
        "key": sql.Identifier(key),
        "cursor": sql.Identifier(cursor),
        "columns": sql.SQL(", ").join(map(sql.Identifier, columns)),
        "values": sql.SQL(", ").join(sql.Placeholder() * len(columns)),
        "change": sql.SQL(", ").join(change),
    }


def _since(target: psycopg.Connection, words: dict[str, sql.Composable]) -> Any:
    row = target.execute(sql.SQL(NEWEST).format(**words)).fetchone()
    return row[0] if row else None


def _batches(source: psycopg.Connection, query: sql.Composed, since: Any) -> Iterator[list[tuple[Any, ...]]]:
    with source.cursor(name="reading") as cursor:
        cursor.execute(query, [since])
        while rows := cursor.fetchmany(BATCH):
            yield rows


if __name__ == "__main__":
    main()
