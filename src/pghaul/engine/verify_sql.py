"""Every statement that compares: sums by bucket, lists of a bucket, the values of single rows. No connection in sight.

Both sides are asked the same things of the same columns. Nothing is ever ordered, or cut into ranges, by a value whose
order is the server's own affair (texts and their collations): ranges are of integers, all else goes by hashes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg.sql import SQL, Composable, Identifier, Literal

from pghaul.model.table import Column, Name
from pghaul.postgres.rowhash import row_hash

VALUE_KEPT = 10_000  # characters of one value; what is longer is cut, with the hash of the whole behind it

PLACE, RELATION = Identifier("r", "pghaul tid"), Identifier("r", "pghaul rel")  # where a row lies under the snapshot

_SELECT = SQL('SELECT {columns}{comma}ctid AS "pghaul tid", tableoid AS "pghaul rel" FROM {only}{table}{where}')
COUNT = SQL("SELECT {number}::int8, pg_catalog.count(*)::int8, '0'::text FROM ({rows}) AS r")
SUM = SQL(
    "SELECT {number}::int8, pg_catalog.count(*)::int8, coalesce(pg_catalog.sum({hash}), 0)::text FROM ({rows}) AS r"
)
# OFFSET 0 keeps the bucket's number a column without statistics, for which the planner guesses 200 groups: by those of
# the key it would sort all rows to group them. A row's hash is computed once, too, where it tells its bucket.
BUCKETS = SQL(
    "SELECT x.b, pg_catalog.count(*)::int8, pg_catalog.sum(x.h)::text "
    "FROM (SELECT {bucket} AS b, {hash} AS h FROM ({rows}) AS r{where} OFFSET 0) AS x GROUP BY x.b"
)
OWN_BUCKETS = SQL(
    "SELECT x.h & {mask}, pg_catalog.count(*)::int8, pg_catalog.sum(x.h)::text "
    "FROM (SELECT {hash} AS h FROM ({rows}) AS r{where} OFFSET 0) AS x GROUP BY 1"
)
# By hashes of keys, which are in the same order everywhere.
LIST = SQL("SELECT {key}, {hash}, 1::int8, {place} FROM ({rows}) AS r{where} ORDER BY 1, 2")
OWN_LIST = SQL(
    'SELECT x.h, x.h, pg_catalog.count(*)::int8, pg_catalog.min(x.p COLLATE "C") '
    "FROM (SELECT {hash} AS h, {place} AS p FROM ({rows}) AS r{where} OFFSET 0) AS x GROUP BY x.h ORDER BY x.h"
)
_PLACE = SQL("({rel}::int8::text || {tid}::text)").format(rel=RELATION, tid=PLACE)
VALUES = SQL(
    "SELECT {place}, ARRAY[{texts}]::{kind}[], ARRAY[{hashes}]::int8[] FROM ({rows}) AS r "
    "WHERE {tid} = ANY ({tids}::tid[]) AND {rel} = ANY ({rels}::oid[])"
)
_TEXT = SQL("pg_catalog.left(ROW({column})::text, {length})")
_BYTES = SQL("pg_catalog.convert_to({text}, pg_catalog.getdatabaseencoding())")
EXTREMES = SQL("SELECT pg_catalog.min({key})::int8, pg_catalog.max({key})::int8 FROM ({rows}) AS r")
CURSOR = SQL("DECLARE pghaul_list NO SCROLL CURSOR FOR {query}")
FETCH = SQL("FETCH FORWARD {count} FROM pghaul_list")
CLOSE = SQL("CLOSE pghaul_list")

# What the planner knows of a column: how many values, and from where to where they reach without the outliers.
STATISTICS = """
SELECT s.n_distinct::float8, s.histogram_bounds::text, s.most_common_vals::text
  FROM pg_catalog.pg_stats AS s
 WHERE s.schemaname = %s AND s.tablename = %s AND s.attname = %s
 ORDER BY s.inherited DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Rows of one relation: its own, or with `children` those of all below it. `where` is complete as it stands."""

    table: Name
    where: str = ""
    children: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """One side of what is compared: where its rows are, and how they are hashed there."""

    parts: tuple[Part, ...]
    columns: tuple[Column, ...]  # the source's description, for both sides
    changes: Mapping[str, str | None]
    extended: bool
    float_binary: bool
    recode: str | None = None
    raw: bool = False  # the server does not know what its bytes are (SQL_ASCII)
    types: Mapping[str, str]  # the columns' own types here

    @property
    def query(self) -> Composable:
        """All of its rows: the columns, and where each row lies."""
        names = SQL(", ").join([Identifier(c.name) for c in self.columns])
        return SQL("\nUNION ALL ").join([_select(names, p, empty=not self.columns) for p in self.parts])

    def hash(self, columns: Sequence[Column] | None = None) -> Composable:
        """Of these columns, by default of all."""
        return row_hash(
            self.columns if columns is None else columns,
            extended=self.extended,
            float_binary=self.float_binary,
            recode=self.recode,
            changes=self.changes,
        )


def _select(names: Composable, part: Part, *, empty: bool) -> Composable:
    # A line of its own: a condition may end with a comment.
    return _SELECT.format(
        columns=names,
        comma=SQL("") if empty else SQL(", "),
        only=SQL("") if part.children else SQL("ONLY "),
        table=Identifier(part.table.schema, part.table.name),
        where=SQL(" WHERE (\n{}\n)").format(SQL(part.where)) if part.where else SQL(""),
    )


def counts(sides: Sequence[Rows]) -> Composable:
    """(number, rows, '0') of each, in one statement."""
    return SQL("\nUNION ALL ").join([COUNT.format(number=Literal(i), rows=r.query) for i, r in enumerate(sides)])


def sums(sides: Sequence[Rows]) -> Composable:
    """(number, rows, sum of hashes) of each, in one statement."""
    return SQL("\nUNION ALL ").join(
        [SUM.format(number=Literal(i), rows=r.query, hash=r.hash()) for i, r in enumerate(sides)]
    )


def where(conditions: Sequence[Composable]) -> Composable:
    """Of all of them; nothing of none."""
    return SQL(" WHERE ") + SQL(" AND ").join(conditions) if conditions else SQL("")


def list_rows(side: Rows, key: Sequence[Column], conditions: Sequence[Composable]) -> Composable:
    """(hash of the key, hash of the row, how often, where) in the order of the hashes; without a key, of equal rows."""
    values = {"hash": side.hash(), "place": _PLACE, "rows": side.query, "where": where(conditions)}
    return LIST.format(key=side.hash(key), **values) if key else OWN_LIST.format(**values)


def values_of(side: Rows, places: Sequence[str]) -> Composable:
    """(where, texts, hashes of the columns) of rows at places as `list_rows` tells them, and maybe of some more."""
    split = [p.partition("(") for p in places]
    texts = [_TEXT.format(column=Identifier("r", c.name), length=Literal(VALUE_KEPT + 4)) for c in side.columns]
    if side.raw:
        texts = [_BYTES.format(text=t) for t in texts]
    return VALUES.format(
        place=_PLACE,
        texts=SQL(", ").join(texts),
        kind=SQL("bytea" if side.raw else "text"),
        hashes=SQL(", ").join([side.hash([c]) for c in side.columns]),
        rows=side.query,
        tid=PLACE,
        rel=RELATION,
        tids=Literal([f"({tid}" for _, _, tid in split]),
        rels=Literal(sorted({int(rel) for rel, _, _ in split})),
    )
