"""One table of six columns from a file of SQLite."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.foreign import TABLE, Foreign, moved
from benchmarks.result import Result

ROWS = 5_000_000
BAR = 0.33  # of pgloader
CREATE = f"""
CREATE TABLE {TABLE} (
    id INTEGER NOT NULL PRIMARY KEY, sensor INTEGER NOT NULL, taken_at DATETIME NOT NULL, value REAL NOT NULL,
    state VARCHAR(10) NOT NULL, note TEXT)
"""
# Reals that are exact in binary, so that their sum does not depend on the order.
FILL = f"""
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
INSERT INTO {TABLE}
SELECT i, i * 7919 % 5000, datetime('2024-01-01', i || ' seconds'), i % 100000 / 8.0,
       CASE i % 3 WHEN 0 THEN 'good' WHEN 1 THEN 'bad' ELSE 'unknown' END,
       CASE WHEN i % 10 = 0 THEN '비고 ' || i END
FROM n
"""
CONTENT = f"""
SELECT count(*), sum(id)::text, sum(sensor)::text, sum(value::numeric)::numeric(24,3)::text,
       max(taken_at::timestamp)::text, sum(octet_length(state)), sum(octet_length(note)), count(note)
FROM {TABLE}
"""
WANTED = f"""
SELECT count(*), CAST(sum(id) AS TEXT), CAST(sum(sensor) AS TEXT), printf('%.3f', sum(value)), max(taken_at),
       sum(length(CAST(state AS BLOB))), sum(length(CAST(note AS BLOB))), count(note)
FROM {TABLE}
"""


def sqlite(bench: Bench) -> Iterator[Result]:
    """Five million rows."""
    bench.pair.fresh_source("sqlite")
    rows = bench.rows(ROWS)
    file = bench.pair.folder / "source.db"
    with contextlib.closing(sqlite3.connect(file)) as session:
        session.execute(CREATE)
        session.execute(FILL, [rows])
        session.commit()
        wanted = session.execute(WANTED).fetchone()
    bench.say(f"  {rows:,} rows of 6 columns in {file.stat().st_size >> 20} MiB of SQLite")
    url = f"sqlite://{file.as_posix()}"
    case = Foreign(
        name="sqlite",
        url=url,
        sling_url=url,
        sling_stream=f"main.{TABLE}",
        rows=rows,
        content=CONTENT,
        wanted=wanted,
        pgloader="CAST type datetime to timestamp using sqlite-timestamp-to-timestamp",
    )
    yield from moved(bench, case, bar=BAR, best_bar=None)
