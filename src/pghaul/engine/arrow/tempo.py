"""How long a table may take that was never moved before: some of its rows are read and encoded, by this machine, now.

Only the largest tables are asked, and not for long: a plan of thousands of tables takes no longer for it. What the
target does with the rows is reckoned from constants, as nothing may be written by a look.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from pghaul.engine.arrow import compose, decided, shape
from pghaul.engine.arrow.compose import Loading
from pghaul.engine.arrow.ground import Ground
from pghaul.engine.arrow.looks import Look
from pghaul.model.errors import PghaulError
from pghaul.model.mapped import MappedTable
from pghaul.model.plan import Plan
from pghaul.model.preview import Sampled
from pghaul.model.table import Name

MOST = 0.3  # seconds for all of them …
TABLES = 3  # … the largest
ROWS = 50_000  # of a table: what is beyond them says nothing more
BATCH_ROWS = 4096  # so that the time is looked at often enough
# Measured with local servers (18) on two cores, in seconds of a worker that waits for them.
COPIED = 0.9e-6  # a row that COPY takes …
PER_BYTE = 6e-9  # … with each of its bytes, and of what it logs
INDEXED = 0.9e-6  # a row in an index
MADE = 0.012  # a table: its statements, locks, commit and ANALYZE


@dataclass(frozen=True, slots=True, kw_only=True)
class Tempo:
    """Seconds of a worker, by table, and what was read to know them."""

    seconds: Mapping[Name, float]
    sampled: Sampled


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timed:
    """What was read of a table: COPY's bytes of its rows, in so many seconds."""

    rows: int
    bytes: int
    seconds: float


def taken(held: Ground, found: Look, plan: Plan) -> Tempo | None:
    """None where nothing could be read: there are no rows, or what stands against it is told elsewhere."""
    filled = [t for t in found.mapped.tables if found.fate.dispositions[t.name] != "skip"]
    largest = sorted(filled, key=lambda t: (-t.source.bytes, -(t.source.rows or 0), t.name))[:TABLES]
    timed = dict(_timed(held, found, largest, plan))
    if not timed:
        return None
    indexed = {m.table for m in found.mapped.after} if plan.options.indexes else set()
    all_of_it = _sum(timed.values())
    return Tempo(
        seconds={t.name: _of(t, timed.get(t.name, all_of_it), indexed=t.name in indexed) for t in filled},
        sampled=Sampled(tables=len(timed), rows=all_of_it.rows, seconds=round(all_of_it.seconds, 3)),
    )


def _timed(held: Ground, found: Look, tables: Sequence[MappedTable], plan: Plan) -> Iterator[tuple[Name, _Timed]]:
    names = {t.name for t in tables}
    mapped = replace(found.mapped, tables=tuple(tables))
    there = {t.name: held.there.get(t.name) or shape.as_target(t) for t in tables}
    chunks = [c for c in found.chunks if c.table in names]
    left = MOST
    for loading in decided.loadings(plan, mapped, there, chunks, found.fate.dispositions):
        if left <= 0:
            return
        try:
            one = _read(held, loading, left)
        except PghaulError:
            continue
        left -= one.seconds
        if one.rows:
            yield loading.name, one


def _read(held: Ground, loading: Loading, most: float) -> _Timed:
    """The first rows, whatever the condition of the selection: it may be long in finding its first row."""
    from pghaul.engine.arrow.stage import Stage  # noqa: PLC0415 -- needs pyarrow

    plan = compose.arrow_plan(loading, loading.chunks[0], limit=ROWS)
    enums = {c.name for c in loading.table.columns if c.enum is not None}
    reading = replace(plan.reading, where=None, range=None, ordered=(), batch_rows=BATCH_ROWS)
    plan = replace(plan, reading=reading, fields=tuple(replace(f, enum=f.name in enums) for f in plan.fields))
    with closing(held.source.read(reading)) as batches:
        stage = Stage(batches.schema, plan, relation=str(loading.name), proves=False, strict=False)
        rows = size = 0
        began = time.monotonic()  # what is loaded to begin with is loaded once
        for batch in batches:
            fits = stage.encoding.sift(stage.transformed(batch).batch).batch
            size += sum(len(part) for part in stage.encoding.encode(fits))
            rows += batch.num_rows
            if time.monotonic() - began > most:
                break
        size += len(stage.finish())
        return _Timed(rows=rows, bytes=size, seconds=time.monotonic() - began)


def _sum(timed: Iterable[_Timed]) -> _Timed:
    found = list(timed)
    return _Timed(
        rows=sum(t.rows for t in found), bytes=sum(t.bytes for t in found), seconds=sum(t.seconds for t in found)
    )


def _of(table: MappedTable, timed: _Timed, *, indexed: bool) -> float:
    """By its rows; where nobody knows them, by its bytes."""
    rows = table.source.rows
    if rows is None:
        rows = round(table.source.bytes * timed.rows / max(1, timed.bytes))
    each = timed.seconds / timed.rows + COPIED + PER_BYTE * timed.bytes / timed.rows
    building = INDEXED * len(table.source.indexes) if indexed or table.exists else 0.0
    return MADE + rows * (each + building)
