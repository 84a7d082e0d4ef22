"""Text or binary, and in which encoding: decided here alone, from what both catalogues say.

Binary COPY carries no types, so it is only right where a type's binary form is the same on both servers. Text
is always right. Which is faster depends on the columns: integers and text are written as text in fewer bytes and no
more time (30 leaves of int8, int8, varchar, boolean: 57 bytes a row against 84, the whole run 3 % faster), while
times, floats and numerics are costly to write and to parse. So AUTO takes binary where it is safe and pays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pghaul.model.errors import NotSupportedError, PlanError, ShapeChangedError
from pghaul.model.plan import Format
from pghaul.model.table import Table
from pghaul.model.text import joined, say

if TYPE_CHECKING:
    from pghaul.postgres.server import Server
    from pghaul.postgres.session import Session

# Built-in types whose binary form holds no oid, no locale and no number made by the server, 9.3 to 18.
PORTABLE = frozenset(
    """
    bool int2 int4 int8 float4 float8 numeric text varchar bpchar name char bytea bit varbit uuid json jsonb
    date time timetz timestamp timestamptz interval inet cidr macaddr macaddr8
    point lseg box path polygon circle line
    int4multirange int8multirange nummultirange datemultirange tsmultirange tstzmultirange
    """.split()  # noqa: SIM905 - a table of names reads better
)
# Built-in types whose text holds floats.
FLOATING = frozenset({"float4", "float8", "point", "lseg", "box", "path", "polygon", "circle", "line"})
# Output functions of the binary form of types that text carries at no more cost.
AS_CHEAP_IN_TEXT = frozenset(
    f"pg_catalog.{name}"
    for name in """
    boolsend int2send int4send int8send textsend varcharsend bpcharsend namesend charsend json_send enum_send
    """.split()  # noqa: SIM905
)
INTERVAL_SEND = "pg_catalog.interval_send"
ENCODING_NUMBER = "SELECT pg_catalog.pg_char_to_encoding(%s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeRow:
    """One row of pg_type; `refs` are the types it is made of (base, element, subtype or attributes)."""

    oid: int
    schema: str
    name: str
    kind: str  # typtype: b c d e r m
    array: bool
    refs: tuple[int, ...]
    send_function: str
    output_function: str = ""
    text: str = ""  # format_type() without modifier
    has_array: bool = False  # there is an array type of it, parted by commas


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeFacts:
    """What Column says of its type."""

    portable_binary: bool
    holds_float: bool
    send_function: str
    output_function: str = ""
    base: str = ""
    unnests: bool = False


def type_facts(types: Mapping[int, TypeRow]) -> dict[int, TypeFacts]:
    """Facts of every type, resolved through domains, arrays, ranges and composites."""
    return {
        oid: TypeFacts(
            portable_binary=_portable(row, types),
            holds_float=any(_built_in(t) and t.name in FLOATING for t in _parts(row, types)),
            send_function=row.send_function,
            output_function=_base(row, types).output_function,
            base=_base(row, types).text,
            unnests=_base(row, types).has_array,
        )
        for oid, row in types.items()
    }


def _base(row: TypeRow, types: Mapping[int, TypeRow]) -> TypeRow:
    """What a domain is made of, through domains over domains; any other type itself."""
    while row.kind == "d" and row.refs and row.refs[0] in types:
        row = types[row.refs[0]]
    return row


def _built_in(row: TypeRow) -> bool:
    return row.schema == "pg_catalog"


def _parts(row: TypeRow, types: Mapping[int, TypeRow]) -> Iterator[TypeRow]:
    """The type and everything it is made of; a composite may hold arrays of itself."""
    seen: set[int] = set()
    todo = [row]
    while todo:
        part = todo.pop()
        if part.oid not in seen:
            seen.add(part.oid)
            yield part
            todo += [types[ref] for ref in part.refs if ref in types]


def _portable(row: TypeRow, types: Mapping[int, TypeRow]) -> bool:
    parts = [types[ref] for ref in row.refs if ref in types]
    if row.array:  # array_send writes the element's oid: the same everywhere for built-in types only
        return bool(parts) and all(_built_in(p) and p.kind in "brm" and _portable(p, types) for p in parts)
    match row.kind:
        case "b" | "m":  # a user's multirange goes as text: rare, and its range is not known before 14
            return _built_in(row) and row.name in PORTABLE
        case "e":  # its label, as text
            return True
        case "r" if any(_built_in(p) and p.name == "interval" for p in _parts(row, types)):
            return False  # see _interval_obstacles: a column of it could not be told by its send function
        case "d" | "r":  # as its base; ranges write bounds without oids
            return bool(parts) and all(_portable(p, types) for p in parts)
        case _:  # record_send writes its attributes' oids
            return False


def choose_format(
    option: Format,
    source: Table,
    target: Table,
    source_server: Server,
    target_server: Server,
    encoding: str | None,
) -> Literal["text", "binary"]:
    """The format of COPY for this pair; NotSupportedError names what forbids an explicit `binary`."""
    pays = any(c.send_function not in AS_CHEAP_IN_TEXT for c in source.copied_columns)
    if option is Format.TEXT or (option is Format.AUTO and not pays):
        return "text"
    obstacles = [
        *_server_obstacles(source_server, target_server, encoding),
        *_column_obstacles(source, target),
        *_interval_obstacles(source, source_server, target_server),
    ]
    if not obstacles:
        return "binary"
    if option is Format.BINARY:
        raise NotSupportedError(
            say("{table} cannot be copied in binary: {why}", table=str(source.name), why=joined("; ", obstacles)),
            advice=say("use format = auto or text for this table"),
            code=5311,
        )
    return "text"


def _server_obstacles(source: Server, target: Server, encoding: str | None) -> Iterator[str]:
    if source.encoding != "UTF8" or target.encoding != "UTF8":
        here = copy_encoding(source, target, encoding)[1]
        yield say("the encodings are {here} and {there}, not both UTF8", here=here, there=target.encoding)
    if source.integer_datetimes != target.integer_datetimes:
        yield say("one server keeps times as floats (integer_datetimes)")


def _column_obstacles(source: Table, target: Table) -> Iterator[str]:
    there = {c.name: c for c in target.columns}
    for column in source.copied_columns:
        other = there.get(column.name)
        if other is None:
            raise ShapeChangedError(
                say("the target's {table} has no column {column}", table=str(target.name), column=column.name),
                where=str(target.name),
                advice=say("add the column to the target's table, or name the others in `columns` of the selection"),
                code=5801,
            )
        if column.type != other.type:
            yield say(
                "column {column} is {here} here and {there} there",
                column=column.name,
                here=column.type,
                there=other.type,
            )
        elif not (column.portable_binary and other.portable_binary):
            yield say(
                "column {column} ({type}) has no binary form that both servers share",
                column=column.name,
                type=column.type,
            )


def _interval_obstacles(table: Table, source: Server, target: Server) -> Iterator[str]:
    """Infinity took the place of the longest interval: one's binary form is silently the other's."""
    if source.capabilities.infinite_intervals == target.capabilities.infinite_intervals:
        return
    for column in table.copied_columns:
        if column.send_function == INTERVAL_SEND or column.type.startswith("interval"):
            yield say(
                "column {column} ({type}): only one of the servers knows infinite intervals",
                column=column.name,
                type=column.type,
            )


def copy_encoding(source: Server, target: Server, plan_encoding: str | None) -> tuple[str, str]:
    """ENCODING of COPY TO on the source, and of COPY FROM on the target.

    The source hands its bytes out untouched and the target converts once; a SQL_ASCII source's bytes
    are what the plan says they are, else taken for the target's own. Not for SQL_ASCII: of that the target
    would check nothing, and hold bytes that are no characters (seen on 18).
    """
    if source.encoding != "SQL_ASCII":
        return source.encoding, source.encoding
    return source.encoding, plan_encoding or target.encoding


def check_encoding(source: Server, target: Session, plan_encoding: str | None) -> None:
    """Raise PlanError for an encoding that the target does not know, or that is not the plan's to say."""
    if plan_encoding is None:
        return
    if target.value(ENCODING_NUMBER, (plan_encoding,)) < 0:
        raise PlanError(
            say("PostgreSQL knows no encoding {encoding}", encoding=plan_encoding),
            advice=say("write it as PostgreSQL does: UHC, EUC_KR, LATIN1 …"),
            code=1110,
        )
    if source.encoding != "SQL_ASCII":
        raise PlanError(
            say(
                "the source's encoding is {encoding}: that is what its bytes are, not {said}",
                encoding=source.encoding,
                said=plan_encoding,
            ),
            advice=say("leave the source encoding out; it is for SQL_ASCII sources"),
            code=1111,
        )
