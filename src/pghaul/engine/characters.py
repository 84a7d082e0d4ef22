"""Whether the target can hold the source's characters, found by trying: the source converts them for us.

Only where the encodings differ, or a SQL_ASCII source says nothing of what its bytes are: then a run that meets the
first bad row after hours would be the other way to find out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from psycopg import sql

from pghaul.model.errors import NotFoundError, PghaulError, PlanError, RowError
from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.placement import Placement
from pghaul.model.table import Column, Name, Table
from pghaul.postgres.formats import check_encoding
from pghaul.postgres.session import Session

HAS_CONVERSION = """
SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_conversion WHERE condefault
                AND conforencoding = pg_catalog.pg_char_to_encoding(%s)
                AND contoencoding = pg_catalog.pg_char_to_encoding(%s))
"""
TRIED_ROWS = 1_000_000  # of each table: some seconds; of a larger one the rest is not tried, and said so
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
        yield Finding(kind=Kind.USAGE, object="encoding", what=exc.message, advice=exc.advice)
        return
    theirs = target.server.encoding
    ours = source.server.encoding
    if ours == "SQL_ASCII":
        ours = said or theirs
    if theirs == "SQL_ASCII":
        if source.server.encoding != "SQL_ASCII":
            yield _note(f"the target is SQL_ASCII: it keeps the bytes of {ours} and checks none of them")
        return
    if ours != theirs and not target.value(HAS_CONVERSION, (ours, theirs)):
        yield Finding(
            kind=Kind.ENCODING,
            object="encoding",
            what=f"the target's encoding {theirs} cannot hold {ours}: PostgreSQL has no conversion between them",
            where=target.server.database,
            advice="a UTF8 database holds the characters of all",
        )
        return
    if source.server.encoding == "SQL_ASCII" or (theirs not in (ours, "UTF8")):
        yield from _tried(source, placements, tables, ours, theirs)


def _tried(
    source: Session, placements: Iterable[Placement], tables: dict[Name, Table], ours: str, theirs: str
) -> Iterator[Finding]:
    large = []
    for placement in placements:
        for origin in placement.origins:
            table = tables[origin.table]
            columns = [
                c
                for c in table.copied_columns
                if _may_hold_characters(c) and (placement.columns is None or c.name in placement.columns)
            ]
            if not columns:
                continue
            if table.rows is None or table.rows > TRIED_ROWS:
                large.append(str(table.name))
            finding = _try(source, table.name, columns, origin.where, ours, theirs)
            if finding is not None:
                yield finding
    if large:
        yield _note(
            f"of {len(large)} tables ({', '.join(large[:3])} …) the first {TRIED_ROWS:,} rows were tried, "
            f"whether {theirs} holds their characters",
            Severity.WARNING,
        )


def _may_hold_characters(column: Column) -> bool:
    bare = column.type.removesuffix("[]")
    return not bare.startswith(PLAIN)


def _try(source: Session, table: Name, columns: Sequence[Column], where: str, ours: str, theirs: str) -> Finding | None:
    """All columns at once; where that fails, one after another to name the one at fault."""
    try:
        _convert(source, table, columns, where, ours, theirs)
    except NotFoundError:  # this source has no such conversion itself: the target will have to find out
        return None
    except RowError as exc:
        if len(columns) > 1:
            for column in columns:
                found = _try(source, table, [column], where, ours, theirs)
                if found is not None:
                    return found
        return Finding(
            kind=Kind.CHARACTERS,
            object=f"{table}.{columns[0].name}",
            what=f"{exc.message}, in {table}, column {columns[0].name}",
            where="source",
            advice=exc.advice,
            sqlstate=exc.sqlstate,
        )
    except PghaulError:  # a type that cannot be cast to text, a row that is too long: no question of characters
        return None
    return None


def _convert(source: Session, table: Name, columns: Sequence[Column], where: str, ours: str, theirs: str) -> None:
    texts = sql.SQL(", ").join(sql.SQL("t.{}::pg_catalog.text").format(sql.Identifier(c.name)) for c in columns)
    text = TEXT.format(texts)
    if source.server.encoding == "SQL_ASCII":
        converted = FROM_ASCII.format(text=text, source=sql.Literal(ours), target=sql.Literal(theirs))
    else:
        converted = TO.format(text=text, target=sql.Literal(theirs))
    statement = TRY.format(
        converted=converted,
        columns=sql.SQL(", ").join(sql.Identifier(c.name) for c in columns),
        table=sql.Identifier(table.schema, table.name),
        where=sql.SQL(" WHERE ") + sql.SQL(where) if where else sql.SQL(""),
        rows=sql.Literal(TRIED_ROWS),
    )
    with source.transaction():  # a savepoint where the caller is in a transaction: its snapshot must live
        source.value(statement)


def _note(what: str, severity: Severity = Severity.NOTE) -> Finding:
    return Finding(severity=severity, kind=Kind.ENCODING, object="encoding", what=what)
