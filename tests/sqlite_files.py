"""SQLite files of a test's own, and what is in them and on the target, to be compared."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from pghaul.model.event import Event
from pghaul.model.plan import Mapping, Options, Plan, Selection
from pghaul.service.migration import MigrationService
from tests.moving import Moved

SHOP = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL, born DATE, photo BLOB);
CREATE TABLE "order" (
    no INTEGER PRIMARY KEY AUTOINCREMENT, customer_id INTEGER REFERENCES customer (id), total NUMERIC(10,2), note TEXT);
CREATE INDEX order_customer ON "order" (customer_id);
CREATE TABLE empty (a INTEGER, b TEXT);
CREATE VIEW best AS SELECT customer_id, count(*) AS n FROM "order" GROUP BY customer_id;
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
INSERT INTO customer SELECT i, 'name "' || i || '", it''s', '19' || (50 + i) || '-02-03',
    CASE WHEN i % 2 THEN x'00ff5c0a' END FROM n;
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {orders})
INSERT INTO "order" (customer_id, total, note)
SELECT 1 + i % 40, i / 4.0, CASE i % 3 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE 'línea' || char(10) || i END FROM n;
"""
ORDERS = 'SELECT no, customer_id, total, note FROM "order" ORDER BY no'


def shop(folder: Path, orders: int = 300) -> Path:
    """A small shop; its path."""
    return made(folder / "shop.db", SHOP.format(orders=orders))


def made(path: Path, script: str) -> Path:
    """A file with what this script makes."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return path


def held(path: Path, query: str) -> list[tuple[Any, ...]]:
    """What SQLite answers."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def url_of(path: Path) -> str:
    """As it is written on the command line."""
    return f"sqlite://{path.as_posix()}"


def carried(
    path: Path,
    target: str,
    *tables: str,
    mapping: Mapping | None = None,
    listener: Callable[[Event], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    events: list[Event] | None = None,
    **options: Any,
) -> Moved:
    """Run a new plan of a file to its end; all tables unless some are named."""
    heard: list[Event] = [] if events is None else events

    def hear(event: Event) -> None:
        heard.append(event)
        if listener is not None:
            listener(event)

    plan = plan_of(path, target, *tables, mapping=mapping, **options)
    return Moved(run=MigrationService().run(plan, listener=hear, stop=stop), events=heard)


def plan_of(path: Path, target: str, *tables: str, mapping: Mapping | None = None, **options: Any) -> Plan:
    """One worker, unless the options say otherwise."""
    return Plan(
        source=url_of(path),
        target=target,
        whole=not tables,
        tables=[Selection(name=t) for t in tables],
        mapping=mapping or Mapping(),
        options=Options(**({"workers": 1} | options)),
    )
