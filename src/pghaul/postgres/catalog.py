"""What the catalogues say of relations: chosen by pattern, described set-wise.

Both servers are described here, by the same four queries whatever the number of tables, so that source and
target can be compared field by field.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pghaul.model.errors import NotFoundError, NotSupportedError, RowError
from pghaul.model.pattern import compiled, is_matched, is_named
from pghaul.model.table import Column, Index, Name, RelationKind, Table
from pghaul.model.text import say
from pghaul.postgres.catalog_sql import (
    CANDIDATES,
    FORMAT_TYPES,
    INHERITANCE,
    TYPES,
    columns_sql,
    indexes_sql,
    relations_sql,
)
from pghaul.postgres.formats import TypeFacts, TypeRow, type_facts

if TYPE_CHECKING:
    from pghaul.postgres.session import Session

NO_FACTS = TypeFacts(portable_binary=False, holds_float=False, send_function="")


class Directory:
    """All tables of a database by name, and which descends from which: read once, asked often.

    A partition root or an inheritance parent brings its descendants. Extensions' tables count when named outright.
    """

    def __init__(self, session: Session) -> None:
        rows = _candidates(session)
        self.names = {oid: Name(schema, name) for oid, schema, name, _ in rows}
        self._members = {oid for oid, _, _, member in rows if member}
        self._children: dict[int, list[int]] = defaultdict(list)
        for parent, child in session.rows(INHERITANCE):
            self._children[parent].append(child)

    @property
    def ordinary(self) -> set[int]:
        """All that no extension has brought."""
        return self.names.keys() - self._members

    def matching(self, patterns: Iterable[str]) -> set[int]:
        """All that any of the patterns fits. NotFoundError for one that fits nothing."""
        return {oid for pattern in patterns for oid in self.match(pattern)}

    def match(self, pattern: str) -> set[int]:
        """An exact name wins over the wildcards that it may contain; extensions' tables only count when exact."""
        compiled(pattern)
        exact = {oid for oid, name in self.names.items() if is_named(pattern, name)}
        if exact:
            return exact
        found = {oid for oid in self.ordinary if is_matched(pattern, self.names[oid])}
        if not found:
            advice = _nearest(pattern, self.names.values())
            raise NotFoundError(say("no table matches '{pattern}'", pattern=pattern), advice=advice, code=5201)
        return found

    def descend(self, chosen: Iterable[int]) -> dict[int, int]:
        """The chosen and all their descendants, each with its depth below what was chosen."""
        depths = dict.fromkeys(chosen, 0)
        todo = list(depths)
        while todo:
            parent = todo.pop()
            for child in self._children[parent]:
                if depths.get(child, -1) <= depths[parent]:
                    depths[child] = depths[parent] + 1
                    todo.append(child)
        return depths

    def tops(self, chosen: Iterable[int]) -> set[int]:
        """Those of them that descend from no other."""
        return {oid for oid, depth in self.descend(chosen).items() if depth == 0}

    def listed(self, oids: Iterable[int], depths: Mapping[int, int]) -> list[Name]:
        """Their names, parents first."""
        known = [oid for oid in oids if oid in self.names]
        return [self.names[oid] for oid in sorted(known, key=lambda oid: (depths[oid], self.names[oid]))]


def _candidates(session: Session) -> list[tuple[Any, ...]]:
    try:
        return session.rows(CANDIDATES)
    except RowError as exc:
        if exc.sqlstate != "22021":
            raise
        raise NotSupportedError(
            say(
                "names of tables in this {encoding} database are no UTF-8: {why}",
                encoding=session.server.encoding,
                why=exc.message,
            ),
            where=session.server.database,
            advice=say("rename them, or copy the database into one of their real encoding first; rows may be in any"),
            code=5310,
        ) from exc


def _nearest(pattern: str, names: Iterable[Name]) -> str:
    text = pattern if "." in pattern else f"public.{pattern}"
    near = get_close_matches(text, [str(n) for n in names], n=1, cutoff=0.5)
    if near:
        return say("did you mean {near}?", near=near[0])
    return say("patterns are schema.table with * and ?; alone, public is meant")


def describe(session: Session, names: Sequence[Name]) -> dict[Name, Table]:
    """What is there of these relations; missing ones are absent. Four queries, however many names."""
    capable = session.server.capabilities
    wanted = ([n.schema for n in names], [n.name for n in names])
    relations = session.rows(relations_sql(capable), wanted)
    oids = [row[0] for row in relations]
    columns = session.rows(columns_sql(capable), (oids,))
    facts = _facts(session, {row[2] for row in columns})
    columns_of = _columns(columns, facts)
    indexes_of = _indexes(session.rows(indexes_sql(capable), (oids,)))
    tables = [
        _table(row, columns_of.get(row[0], ()), indexes_of.get(row[0], ()), capable.reltuples_unknown)
        for row in relations
    ]
    return {t.name: t for t in tables}


def describe_columns(session: Session, shape: Sequence[tuple[str, int, int]]) -> tuple[Column, ...]:
    """Columns of any rows, by name, oid of the type and modifier."""
    facts = _facts(session, {oid for _, oid, _ in shape})
    types = session.rows(FORMAT_TYPES, ([oid for _, oid, _ in shape], [modifier for _, _, modifier in shape]))
    return tuple(
        _column((name, oid, text, False, False, False), facts.get(oid, NO_FACTS))
        for (name, oid, _), (text,) in zip(shape, types, strict=True)
    )


def _facts(session: Session, types: set[int]) -> dict[int, TypeFacts]:
    return type_facts(
        {
            oid: TypeRow(
                oid=oid,
                schema=schema,
                name=name,
                kind=kind,
                array=array,
                refs=tuple(refs),
                send_function=send,
                output_function=out,
                text=text,
                has_array=has_array,
            )
            for oid, schema, name, kind, array, refs, send, out, text, has_array in session.rows(
                TYPES, (sorted(types),)
            )
        }
    )


def _columns(rows: Sequence[tuple[Any, ...]], facts: Mapping[int, TypeFacts]) -> dict[int, tuple[Column, ...]]:
    """Columns per relation. Equal columns share one object: ten thousand leaves have the same few."""
    shared: dict[tuple[Any, ...], Column] = {}
    columns = defaultdict(list)
    for relation, *described in rows:
        key = tuple(described)
        if key not in shared:
            shared[key] = _column(key, facts.get(key[1], NO_FACTS))
        columns[relation].append(shared[key])
    return {relation: tuple(found) for relation, found in columns.items()}


def _column(row: tuple[Any, ...], facts: TypeFacts) -> Column:
    name, oid, type_name, not_null, generated, identity = row
    return Column(
        name=name,
        type=type_name,
        type_oid=oid,
        not_null=not_null,
        generated=generated,
        identity=identity,
        portable_binary=facts.portable_binary,
        holds_float=facts.holds_float,
        send_function=facts.send_function,
        output_function=facts.output_function,
        base=facts.base,
        unnests=facts.unnests,
    )


def _indexes(rows: Sequence[tuple[Any, ...]]) -> dict[int, tuple[Index, ...]]:
    indexes = defaultdict(list)
    for relation, name, definition, unique, constraint, constraint_definition, kind, columns, immediate, *more in rows:
        keys, predicate, nulls_distinct = more
        indexes[relation].append(
            Index(
                name=name,
                definition=definition,
                unique=unique,
                constraint=constraint,
                constraint_definition=constraint_definition,
                constraint_kind=kind,
                columns=tuple(columns),
                immediate=immediate,
                keys=tuple(keys),
                predicate=predicate,
                nulls_distinct=nulls_distinct,
            )
        )
    return {relation: tuple(found) for relation, found in indexes.items()}


def _table(
    row: tuple[Any, ...], columns: tuple[Column, ...], indexes: tuple[Index, ...], reltuples_unknown: bool
) -> Table:
    (oid, schema, name, kind, unlogged, parent_schema, parent_name, partition, has_children) = row[:9]
    (size, block, reltuples, relpages, filenode, row_security, row_triggers) = row[9:]
    return Table(
        name=Name(schema, name),
        oid=oid,
        kind=RelationKind(kind),
        columns=columns,
        parent=Name(parent_schema, parent_name) if parent_name is not None else None,
        partition=partition,
        has_children=has_children,
        pages=size // block,
        bytes=size,
        rows=estimate(reltuples, relpages, size // block, reltuples_unknown),
        unlogged=unlogged,
        filenode=filenode,
        row_security=row_security,
        row_triggers=row_triggers,
        indexes=indexes,
    )


def estimate(reltuples: float, relpages: int, pages: int, reltuples_unknown: bool) -> int | None:
    """The planner's own estimate: the density of the last ANALYZE times today's pages."""
    if pages == 0:
        return 0
    if reltuples < 0 or (reltuples == 0 and (relpages == 0 or not reltuples_unknown)):
        return None
    return round(reltuples / relpages * pages) if relpages else None
