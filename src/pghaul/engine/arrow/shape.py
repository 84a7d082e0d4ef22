"""A mapped table as the rest of the engine knows tables: for the manifest, for the looks, for the jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pghaul.engine.job import Field
from pghaul.model.errors import ShapeChangedError
from pghaul.model.foreign import ReadColumn
from pghaul.model.mapped import MappedColumn, MappedDatabase, MappedTable
from pghaul.model.placement import Origin, Placement
from pghaul.model.table import Column, RelationKind, Table
from pghaul.model.text import say
from pghaul.model.transforming import Transform
from pghaul.transforms.needs import needs, of_source


def as_source(table: MappedTable) -> Table:
    """For the manifest: the source's name, and what its columns become. `base` is the source's own type."""
    return replace(as_target(table), name=table.source.name)


def as_target(table: MappedTable) -> Table:
    """What the target is to have."""
    return Table(
        name=table.name,
        oid=0,
        kind=RelationKind.TABLE,
        columns=tuple(_column(c) for c in table.columns),
        bytes=table.source.bytes,
        rows=table.source.rows,
    )


def _column(column: MappedColumn) -> Column:
    return Column(
        name=column.name,
        type=column.type,
        type_oid=0,
        not_null=column.not_null,
        generated=not column.carried,
        identity=column.identity,
        base=f"{column.source.native} {column.mark}".rstrip(),
    )


def placement(table: MappedTable) -> Placement:
    """One table of the source fills one of the target."""
    return Placement(target=table.name, origins=(Origin(table=table.source.name),))


def check(planned: Iterable[Table], mapped: MappedDatabase) -> None:
    """Raise ShapeChangedError where a table is no longer what it was when the run began."""
    now = {t.source.name: as_source(t) for t in mapped.tables}
    unread = {t.name for t in mapped.database.tables if t.trouble is not None}
    for table in planned:
        if table.name in unread:
            continue  # said by a finding of the mapping
        found = now.get(table.name)
        if found is None:
            raise ShapeChangedError(
                say("{table} is gone from the source since the run began", table=str(table.name)),
                where=say("source"),
                advice=say("start a new run"),
                code=5860,
            )
        if found.columns != table.columns:
            raise ShapeChangedError(
                say(
                    "{table} is another one than when the run began: {columns}",
                    table=str(table.name),
                    columns=_differing(table, found),
                ),
                where=say("source"),
                advice=say("start a new run"),
                code=5861,
            )


def _differing(before: Table, now: Table) -> str:
    ours, theirs = ({c.name: c for c in t.columns} for t in (before, now))
    names = dict.fromkeys([*ours, *theirs])
    return ", ".join(n for n in names if ours.get(n) != theirs.get(n)) or ", ".join(names)


def read_columns(
    table: MappedTable, there: Mapping[str, Column], transforms: Sequence[Transform] = ()
) -> tuple[ReadColumn, ...]:
    """What is read, and what for: a table that was there decides itself what its columns hold."""
    sql = of_source(transforms)
    carried = [c for c in table.carried if not c.made or c.source.name in sql]
    read = [_read_column(c, there[c.name].type if table.exists else c.type, sql) for c in carried]
    known = {c.name: c for c in table.source.columns}
    more = [known[n] for n in needs(transforms, known) if n not in {r.name for r in read}]
    return (*read, *(ReadColumn(name=c.name, native=c.native, pg_type=c.pg_type or "text", seen=c.seen) for c in more))


def _read_column(column: MappedColumn, type_: str, sql: Mapping[str, str]) -> ReadColumn:
    name = column.source.name
    return ReadColumn(
        name=name,
        native="" if name in sql else column.source.native,
        pg_type=(column.read_as or type_) if column.changed else type_,
        encoding=None if name in sql else column.encoding,
        expression=sql.get(name),
        seen="" if name in sql else column.source.seen,
    )


def fields(table: MappedTable, there: Mapping[str, Column]) -> tuple[Field, ...]:
    """What is written, by the names and types that the target has now."""
    return tuple(Field(name=c.name, type=there[c.name].type, oid=there[c.name].type_oid) for c in table.carried)
