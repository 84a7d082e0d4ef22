"""Source into staging tables, by the jobs that a copy is made of: retries, stalls, pauses and rates are theirs.

The markers of what is staged lie in an UNLOGGED table, as the staged rows do: a crash of the target empties both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pghaul.engine import statements
from pghaul.engine.compose import Epoch
from pghaul.engine.dispatch import Task
from pghaul.engine.job import MEMORY, Care, CopySide, Job, JobKind
from pghaul.engine.merge.units import Unit
from pghaul.model.chunk import Chunk, ChunkKind
from pghaul.model.merging import Mark, Reading, WatermarkKind
from pghaul.model.placement import Origin, Placement
from pghaul.model.plan import Locks, Options
from pghaul.model.receipt import Receipt, Sum, sum_of
from pghaul.model.table import Name, RelationKind, Table
from pghaul.postgres.formats import choose_format, copy_encoding
from pghaul.postgres.server import Server
from pghaul.sources.postgresql import plan_chunks
from pghaul.target.ledger_sql import MARKER_UNLOGGED
from pghaul.target.merge_markers import STAGED
from pghaul.target.merge_target import Target

LARGE = 256 << 20  # bytes of heap that are read whole: from there on processes are worth their start


@dataclass(kw_only=True)
class Staged:
    """One unit on its way: what is read how, where it is staged, and what has arrived."""

    unit: Unit
    reading: Reading
    known: Mark | None  # what the reading begins at: nobody else may have moved it
    there: Target | None = None
    table: Name
    tasks: tuple[Task, ...] = ()
    receipts: list[Receipt] = field(default_factory=list)

    @property
    def sum(self) -> Sum:
        """Of all that has arrived."""
        return sum_of(self.receipts)

    @property
    def keeps_all(self) -> bool:
        """Rows were set aside: the source has them, the staging table has not, so nothing may be deleted for it."""
        return self.sum.rejected > 0

    @property
    def rows(self) -> int:
        """That the staging table has to hold."""
        found = self.sum
        return found.rows - found.rejected


def tasks(staged: Staged, epoch: Epoch, options: Options, source: Server, target: Server) -> tuple[Task, ...]:
    """Jobs that fill one staging table; a large table that is read whole is read in ranges."""
    unit = staged.unit
    there = replace(unit.source, name=staged.table, columns=unit.drift.columns, indexes=())
    form = choose_format(options.format, unit.source, there, source, target, options.source_encoding)
    encodings = copy_encoding(source, target, options.source_encoding)
    columns = unit.columns or None
    into = CopySide(
        schema=staged.table.schema, table=staged.table.name, columns=columns, format=form, encoding=encodings[1]
    )
    made = []
    parts = list(_parts(staged, options, source))
    for number, (query, size) in enumerate(parts):
        name = unit.source.name
        side = CopySide(
            schema=name.schema, table=name.name, columns=columns, format=form, encoding=encodings[0], query=query
        )
        job = Job(
            run=epoch.run,
            epoch=epoch.number,
            kind=JobKind.COPY,
            relation=str(unit.name),
            chunk=f"{STAGED}{epoch.number}:{number}",
            snapshot=epoch.snapshot,
            marker=MARKER_UNLOGGED,
            source=side,
            target=into,
            care=_care(unit, options, alone=len(parts) == 1),
            **_locking(options, unit.asked.origins),
        )
        made.append(Task(job=job, table=unit.name, size=size))
    return tuple(made)


def _parts(staged: Staged, options: Options, source: Server) -> Iterator[tuple[str, int]]:
    unit, reading = staged.unit, staged.reading
    table = unit.source
    whole = Placement(target=unit.name, origins=(Origin(table=table.name),))
    if not (reading.full and reading.kind is WatermarkKind.NONE) or unit.asked.query or unit.asked.where:
        yield reading.query, unit.asked.bytes
        return
    if table.kind is not RelationKind.TABLE or table.has_children:
        yield reading.query, unit.asked.bytes
        return
    described = {table.name: table}
    chunks = plan_chunks((whole,), described, split_bytes=options.split_bytes, capabilities=source.capabilities)
    for chunk in chunks:
        query = statements.rows_query(whole, table.copied_columns, chunk) if chunk.kind is ChunkKind.CTID else None
        yield query or reading.query, chunk.bytes


def _care(unit: Unit, options: Options, *, alone: bool) -> Care:
    """What becomes of rows that the staging table refuses: its columns are the target's."""
    columns, limit = unit.columns, options.max_rejects
    return Care(
        limit=str(limit),
        most=limit if isinstance(limit, int) else None,
        whole=alone,
        memory=options.memory_limit or MEMORY,
        columns=columns,
        key=tuple(columns.index(k) for k in unit.key),
    )


def _locking(options: Options, origins: Sequence[Table]) -> dict[str, Any]:
    """With locks = chunk: while it is read, and no truncation since the snapshot goes unseen."""
    if options.locks is not Locks.CHUNK or not origins:
        return {}
    return {
        "lock_source": statements.lock_source([t.name for t in origins]),
        "filenodes": tuple((statements.filenode(t.name), t.filenode) for t in origins if t.filenode),
    }


def chunk_of(unit: Unit, reading: Reading | None) -> Chunk:
    """One for each target. Of an increment nobody knows the size beforehand."""
    known = reading is not None and reading.full
    return Chunk(
        table=unit.name,
        kind=ChunkKind.INCREMENT,
        bytes=unit.asked.bytes if known else 0,
        rows=unit.asked.rows if known else None,
    )


def is_large(staged: Sequence[Staged]) -> bool:
    """Is there so much to read that processes are faster than threads?"""
    return sum(s.unit.asked.bytes for s in staged if s.reading.full) > LARGE
