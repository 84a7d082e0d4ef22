"""What happens on the source meanwhile. Each change is one transaction, so content is either before or after it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import psycopg

from tests.faults.plant import LEAVES

Statements: TypeAlias = list[str]


@dataclass(frozen=True, kw_only=True)
class Change:
    """`changed` is the table whose shape or existence changes; `alone` forbids a transaction block around it."""

    statements: Statements
    changed: str | None = None
    alone: bool = False


def _inserts(rng: random.Random) -> Change:
    n = rng.randint(1, 900)
    return Change(
        statements=[
            f"INSERT INTO plant.flat SELECT 100000 + g, 1 + g % 50, 'new' FROM generate_series(1, {n}) g",
            f"INSERT INTO plant.history SELECT 5000 + g, 1000 + g * 6, 'new', true FROM generate_series(1, {n}) g",
            "INSERT INTO plant.measure SELECT * FROM plant.measure WHERE id % 10 = 3",
        ]
    )


def _updates(rng: random.Random) -> Change:
    k = rng.randint(2, 9)
    return Change(
        statements=[
            f"UPDATE plant.flat SET body = body || '*' WHERE id % {k} = 1",  # to the heap's end: another ctid range
            # To another leaf; the new path keeps the primary key from being in the way.
            f"UPDATE plant.history SET issued = 8999 - issued, path_id = path_id + 1000"
            f" WHERE path_id % {k} = 1 AND issued BETWEEN 2000 AND 6999",
            f"UPDATE plant.measure SET reading = -reading WHERE id % {k} = 1",
        ]
    )


def _deletes(rng: random.Random) -> Change:
    k = rng.randint(2, 9)
    return Change(
        statements=[
            f"DELETE FROM plant.flat WHERE id % {k} = 1",
            f"DELETE FROM plant.history WHERE issued % {k} = 1",
            f"DELETE FROM plant.measure WHERE id % {k} = 1",
        ]
    )


def _truncate(rng: random.Random) -> Change:
    return Change(statements=[f"TRUNCATE {rng.choice([*LEAVES, 'plant.flat', 'plant.measure'])}"])


def _vacuum_full(rng: random.Random) -> Change:
    """Deleted rows are packed away first, so that every ctid behind them moves."""
    table = rng.choice(["plant.flat", "plant.flat", *LEAVES])
    return Change(statements=[f"VACUUM FULL {table}"], alone=True)


def _cluster(rng: random.Random) -> Change:
    table, index = rng.choice([("plant.flat", "flat_tag"), (LEAVES[0], "history_1_value_idx")])
    return Change(statements=[f"CLUSTER {table} USING {index}"], alone=True)


def _drop(rng: random.Random) -> Change:
    leaf = rng.choice(LEAVES)
    return Change(statements=[f"DROP TABLE {leaf}"], changed=leaf)


def _add_column(rng: random.Random) -> Change:
    table = rng.choice(["plant.flat", "plant.measure"])
    return Change(statements=[f"ALTER TABLE {table} ADD COLUMN added int DEFAULT 7"], changed=table)


CHANGES: dict[str, Callable[[random.Random], Change]] = {
    "source_insert": _inserts,
    "source_update": _updates,
    "source_delete": _deletes,
    "source_truncate": _truncate,
    "source_vacuum_full": _vacuum_full,
    "source_cluster": _cluster,
    "source_drop": _drop,
    "source_add_column": _add_column,
}


def apply(url: str, change: Change, *, patience_ms: int) -> bool:
    """Make the change; False where a lock of ours kept it out for so long."""
    with psycopg.connect(url, autocommit=True, application_name="change") as session:
        session.execute(f"SET lock_timeout = {patience_ms}")
        try:
            if change.alone:
                for statement in change.statements:
                    session.execute(statement)
            else:
                with session.transaction():
                    for statement in change.statements:
                        session.execute(statement)
        except psycopg.errors.LockNotAvailable:
            return False
    return True
