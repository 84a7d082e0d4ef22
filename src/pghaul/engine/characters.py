"""Whether the target can hold the source's characters, found by trying: the source converts them for us.

Only where the encodings differ, or a SQL_ASCII source says nothing of what its bytes are: then a run that meets the
first bad row after hours would be the other way to find out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from psycopg import sql

from pghaul.model.errors import NotFoundError, PghaulError, PlanError, RowError
from pghaul.model.finding import Finding, Kind, Severity, of_error
from pghaul.model.placement import Placement
from pghaul.model.table import Column, Name, Table
from pghaul.model.text import say
from pghaul.postgres.formats import check_encoding
from pghaul.postgres.session import Session

HAS_CONVERSION = """
SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_conversion WHERE condefault
                AND conforencoding = pg_catalog.pg_char_to_encoding(%s)
                AND contoencoding = pg_catalog.pg_char_to_encoding(%s))
"""
# Rows, which take some seconds: of one table, and of all together; what is left out is said.
TRIED_ROWS, TRIED_OF_ALL, TRIED_AT_LEAST = 1_000_000, 5_000_000, 1_000
SMALLEST_ROW = 24  # bytes in the heap: so many rows it is at most, where nobody has counted
TRY = sql.SQL(
    "SELECT pg_catalog.max(pg_catalog.octet_length({converted})) FROM (SELECT {columns} FROM ONLY {table}{where} "
    "LIMIT {rows}) AS t"
)
TEXT = sql.SQL("pg_catalog.concat_ws(' '::pg_catalog.text, {})")
TO = sql.SQL("pg_catalog.convert_to({text}, {target})")
FROM_ASCII = sql.SQL("pg_catalog.convert(pg_catalog.convert_to({text}, 'SQL_ASCII'), {source}, {target})")

# Their text is ASCII, whatever they hold.
PLAIN = (
    "smallint", "integer", "bigint", "numeric", "real", "double precision", "boolean", "date", "time", "timestamp",
    "interval", "uuid", "bytea", "oid", "inet", "cidr", "macaddr", "bit", "point", "box", "path", "polygon", "circle",
    "line", "lseg", "int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange", "money",
)  # fmt: skip


def findings(
    source: Session,
    target: Session,
    placements: Iterable[Placement],
    tables: dict[Name, Table],
    said: str | None,
) -> Iterator[Finding]:
    """`said` is the plan's word for what a SQL_ASCII source holds."""
    try:
        check_encoding(source.server, target, said)
    except PlanError as exc:
        yield replace(of_error(exc, say("encoding")), kind=Kind.USAGE)
        return
    theirs = target.server.encoding
    ours = source.server.encoding
    if ours == "SQL_ASCII":
        ours = said or theirs
    if theirs == "SQL_ASCII":
        if source.server.encoding != "SQL_ASCII":
            yield Finding(
                severity=Severity.NOTE,
                kind=Kind.ENCODING,
                object=say("encoding"),
                what=say(
                    "the target is SQL_ASCII: it keeps the bytes of {encoding} and checks none of them", encoding=ours
                ),
                code=5330,
            )
        return
    if ours != theirs and not target.value(HAS_CONVERSION, (ours, theirs)):
        yield Finding(
            kind=Kind.ENCODING,
            object=say("encoding"),
            what=say(
                "the target's encoding {theirs} cannot hold {ours}: PostgreSQL has no conversion between them",
                theirs=theirs,
                ours=ours,
            ),
            where=target.server.database,
            advice=say("a UTF8 database holds the characters of all"),
            code=5331,
        )
        return
    if source.server.encoding == "SQL_ASCII" or (theirs not in (ours, "UTF8")):
        yield from _tried(source, placements, tables, ours, theirs)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """One origin's columns with characters, and how many of its rows are tried."""

    source: Session
    table: Table
    columns: tuple[Column, ...]
    where: str
    encodings: tuple[str, str]  # what the bytes are, and what they are to become
    rows: int

    @property
    def whole(self) -> bool:
        """Whether all rows are tried."""
        known = self.table.rows if self.table.rows is not None else self.table.bytes // SMALLEST_ROW
        return known <= self.rows


def _tried(
    source: Session, placements: Iterable[Placement], tables: dict[Name, Table], ours: str, theirs: str
) -> Iterator[Finding]:
    origins = [(p, o) for p in placements for o in p.origins]
    rows = min(TRIED_ROWS, max(TRIED_AT_LEAST, TRIED_OF_ALL // max(1, len(origins))))
    large = []
    for placement, origin in origins:
        table = tables[origin.table]
        columns = tuple(
            c
            for c in table.copied_columns
            if _may_hold_characters(c) and (placement.columns is None or c.name in placement.columns)
        )
        trial = _Trial(
            source=source, table=table, columns=columns, where=origin.where, encodings=(ours, theirs), rows=rows
        )
        if columns and (finding := _try(trial)) is not None:
            yield finding
        if columns and not trial.whole:
            large.append(str(table.name))
    if large:
        yield Finding(
            severity=Severity.WARNING,
            kind=Kind.ENCODING,
            object=say("encoding"),
            what=say(
                "of {n} tables ({tables}) only the first {rows:,} rows were tried, whether {encoding} holds their "
                "characters",
                n=len(large),
                tables=", ".join(large[:3]) + (" …" if len(large) > 3 else ""),
                rows=rows,
                encoding=theirs,
            ),
            code=5332,
        )


def _may_hold_characters(column: Column) -> bool:
    bare = column.type.removesuffix("[]")
    return not bare.startswith(PLAIN)


def _try(trial: _Trial) -> Finding | None:
    """All columns at once; where that fails, one after another to name the one at fault."""
    try:
        _convert(trial)
    except NotFoundError:  # this source has no such conversion itself: the target will have to find out
        return None
    except RowError as exc:
        if len(trial.columns) > 1:
            for column in trial.columns:
                found = _try(replace(trial, columns=(column,)))
                if found is not None:
                    return found
        name, column = trial.table.name, trial.columns[0]
        return Finding(
            kind=Kind.CHARACTERS,
            object=f"{name}.{column.name}",
            what=say("{error}, in {table}, column {column}", error=exc.message, table=str(name), column=column.name),
            where=say("source"),
            advice=exc.advice,
            sqlstate=exc.sqlstate,
            code=3030,
        )
    except PghaulError:  # a type that cannot be cast to text, a row that is too long: no question of characters
        return None
    return None


def _convert(trial: _Trial) -> None:
    source, (ours, theirs) = trial.source, map(sql.Literal, trial.encodings)
    text = TEXT.format(
        sql.SQL(", ").join(sql.SQL("t.{}::pg_catalog.text").format(sql.Identifier(c.name)) for c in trial.columns)
    )
    if source.server.encoding == "SQL_ASCII":
        converted = FROM_ASCII.format(text=text, source=ours, target=theirs)
    else:
        converted = TO.format(text=text, target=theirs)
    statement = TRY.format(
        converted=converted,
        columns=sql.SQL(", ").join(sql.Identifier(c.name) for c in trial.columns),
        table=sql.Identifier(trial.table.name.schema, trial.table.name.name),
        where=sql.SQL(" WHERE ") + sql.SQL(trial.where) if trial.where else sql.SQL(""),
        rows=sql.Literal(trial.rows),
    )
    with source.transaction():  # a savepoint where the caller is in a transaction: its snapshot must live
        source.value(statement)
