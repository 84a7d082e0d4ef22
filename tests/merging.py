"""A merge as a person would do it by hand, row by row in Python; and tables on servers to compare it with.

All values are texts as PostgreSQL writes them, so that '1.0' and '1.00' are one key and two contents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from random import Random

from psycopg import sql

from pghaul.model.merging import MergeCounts, MergeDesign
from pghaul.model.plan import MergeMode
from pghaul.model.table import Name
from pghaul.postgres.dsn import resolve
from pghaul.postgres.session import Session, connect
from pghaul.service.embedded import Cluster
from pghaul.target import merge, staging
from tests.databases import clone, drop, template

TARGET = Name("fds_팩셋", 'excluded %s "s".t')
STAGING = staging.name_for("0123456789ab", 1)
COLUMNS = ("s", "c0", "excluded", "j", "at")  # s and c0 are the key
QUOTED = sql.Identifier(TARGET.schema, TARGET.name)
MARKS = {"flag": "boolean", "moment": "timestamptz"}


class RefusedError(Exception):
    """With the number of the error."""


@dataclass(frozen=True, kw_only=True)
class Path:
    """A way through the code: what the server is taken for, and what its table is like."""

    name: str
    assumed: str = ""
    index: str = "PRIMARY KEY (s, c0)"
    partitioned: bool = False
    nullable: bool = False
    nulls_match: bool = False
    locked: bool = False
    large: bool = False  # every merge takes the way of many rows
    bare: bool = False  # the table has the merged columns only, so that one statement may do


PATHS = (
    Path(name="current"),
    Path(name="at once", bare=True),
    Path(name="current, large", large=True),
    Path(name="9.5", assumed="9.5"),
    Path(name="9.3", assumed="9.3", locked=True, large=True),
    Path(name="no index", index="", locked=True),
    Path(name="nullable", index="UNIQUE (c0, s)", nullable=True),
    Path(name="nulls match", index="", nullable=True, nulls_match=True, locked=True),
    Path(name="partitioned", partitioned=True),
    Path(name="partitioned 10", partitioned=True, assumed="10", locked=True),
)


@dataclass(frozen=True, kw_only=True)
class Way:
    """A mode with its words."""

    mode: MergeMode
    deleted: str | None = None  # flag or moment
    scope: str = ""
    whole: bool = False
    latest: bool = False

    @property
    def versions(self) -> bool:
        return self.mode is MergeMode.SCD2

    @property
    def syncs(self) -> bool:
        return self.mode is MergeMode.FULL_SYNC or self.whole


WAYS = (
    Way(mode=MergeMode.UPSERT),
    Way(mode=MergeMode.UPSERT, latest=True),
    Way(mode=MergeMode.INSERT_ONLY, latest=True),
    Way(mode=MergeMode.UPDATE_ONLY),
    Way(mode=MergeMode.FULL_SYNC),
    Way(mode=MergeMode.FULL_SYNC, scope="excluded = 'x' -- and no more", latest=True),
    Way(mode=MergeMode.FULL_SYNC, deleted="flag"),
    Way(mode=MergeMode.FULL_SYNC, deleted="moment", scope="excluded = 'x'"),
    Way(mode=MergeMode.SCD2),
    Way(mode=MergeMode.SCD2, whole=True, latest=True),
)


@dataclass(frozen=True, order=True, kw_only=True)
class Row:
    """`values` in the order of COLUMNS; the rest is the target's own."""

    values: tuple[str | None, ...]
    kept: str | None = "default"
    mark: str | None = None  # how the deletion column reads
    since: str | None = None
    until: str | None = None


@dataclass
class World:
    """The target by hand. `moment` is that of the merge under way, as the target writes it."""

    path: Path
    way: Way
    rows: list[Row] = field(default_factory=list)

    def key(self, row: Row) -> object:
        s, number = row.values[0], row.values[1]
        if not self.path.nulls_match and None in (s, number):
            return object()  # equal to nothing
        return (s, None if number is None else Decimal(number))

    def alive(self, row: Row) -> bool:
        if self.way.versions:
            return row.until is None
        return row.mark in {None, "false"}

    def in_scope(self, row: Row) -> bool:
        return not self.way.scope or row.values[2] == "x"

    def merge(self, staged: Sequence[Row], moment: str) -> MergeCounts:
        """Raises RefusedError."""
        if any(None in r.values[:2] for r in staged) and not self.path.nulls_match:
            raise RefusedError(6604)
        latest = self._latest(staged)
        current = {self.key(r): r for r in self.rows if self.alive(r) or not self.way.versions}
        if len(current) < sum(self.alive(r) or not self.way.versions for r in self.rows):
            raise RefusedError(6607)
        counts = dict.fromkeys(("inserted", "updated", "unchanged", "passed_over", "deleted"), 0)
        for key, row in latest.items():
            counts[self._one(current.get(key), row, moment)] += 1
        if self.way.syncs:
            gone = [r for k, r in current.items() if k not in latest and self.alive(r) and self.in_scope(r)]
            for row in gone:
                self._gone(row, moment)
            counts["deleted"] = len(gone)
        return self._counted(staged, latest, current, counts)

    def _latest(self, staged: Sequence[Row]) -> dict[object, Row]:
        groups: dict[object, list[Row]] = {}
        for row in staged:
            groups.setdefault(self.key(row), []).append(row)
        if any(len(g) > 1 for g in groups.values()) and not self.way.latest:
            raise RefusedError(6605)
        found = {}
        for key, group in groups.items():
            best = max(_order(r) for r in group)
            if len({r.values for r in group if _order(r) == best}) > 1:
                raise RefusedError(6606)
            found[key] = next(r for r in group if _order(r) == best)
        return found

    def _one(self, there: Row | None, row: Row, moment: str) -> str:
        if there is None:
            if self.way.mode is MergeMode.UPDATE_ONLY:
                return "passed_over"
            self._add(row, moment)
            return "inserted"
        if there.values == row.values and self.alive(there):
            return "unchanged"
        if self.way.mode is MergeMode.INSERT_ONLY:
            return "passed_over"
        self.rows.remove(there)
        if self.way.versions:
            self.rows.append(replace(there, until=moment))
            self._add(row, moment)
        else:
            mark = "false" if self.way.deleted == "flag" else None
            self.rows.append(replace(there, values=row.values, mark=mark))
        return "updated"

    def _add(self, row: Row, moment: str) -> None:
        mark = "false" if self.way.deleted == "flag" else None
        self.rows.append(replace(row, mark=mark, since=moment if self.way.versions else None))

    def _gone(self, row: Row, moment: str) -> None:
        self.rows.remove(row)
        if self.way.versions:
            self.rows.append(replace(row, until=moment))
        elif self.way.deleted:
            self.rows.append(replace(row, mark="true" if self.way.deleted == "flag" else moment))

    def _counted(
        self, staged: Sequence[Row], latest: dict[object, Row], current: dict[object, Row], counts: dict[str, int]
    ) -> MergeCounts:
        before = sum(k in current for k in latest) + counts["deleted"]
        marked = counts["deleted"] if self.way.deleted else 0
        return MergeCounts(
            staged=len(staged),
            superseded=len(staged) - len(latest),
            marked=marked,
            before=before,
            after=before + counts["inserted"] - counts["deleted"] + marked,
            **counts,
        )


def _order(row: Row) -> tuple[bool, int]:
    at = row.values[4]
    return (at is not None, int(at or 0))


class Table:
    """The same target on a server."""

    def __init__(self, session: Session, path: Path, way: Way) -> None:
        self.session, self.path, self.way = session, path, way

    def create(self) -> None:
        # A unique index is on current versions only; no path has one then that covers the key of all rows.
        index = f", {self.path.index}" if self.path.index and not self.way.versions else ""
        null = "" if self.path.nullable else " NOT NULL"
        more = f", mark {MARKS[self.way.deleted]}" if self.way.deleted else ""
        more += ", valid_from timestamptz, valid_to timestamptz" if self.way.versions else ""
        part = " PARTITION BY LIST (s)" if self.path.partitioned else ""
        self.session.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(QUOTED))
        self.session.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(TARGET.schema)))
        self.session.execute(
            sql.SQL("CREATE TABLE {} ({}s int4{}, excluded text, c0 numeric{},").format(
                QUOTED, sql.SQL("" if self.path.bare else "kept text DEFAULT 'default', "), sql.SQL(null), sql.SQL(null)
            )
            + sql.SQL(f" at int4, j json, made int4 GENERATED ALWAYS AS (s * 2) STORED{more}{index}){part}")
        )
        for name, bound in (("p1", "IN (1)"), ("p", "DEFAULT")) if self.path.partitioned else ():
            partition = sql.Identifier(TARGET.schema, name)
            bounds = sql.SQL("DEFAULT" if bound == "DEFAULT" else f"FOR VALUES {bound}")
            self.session.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(partition))
            self.session.execute(sql.SQL("CREATE TABLE {} PARTITION OF {} {}").format(partition, QUOTED, bounds))

    def fill(self, rows: Sequence[Row]) -> None:
        for row in rows:
            names = [*COLUMNS, *([] if self.path.bare else ["kept"]), *(["valid_from"] if self.way.versions else [])]
            values = [*row.values, *([] if self.path.bare else [row.kept])]
            values += [row.since] if self.way.versions else []
            self.session.execute(
                sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                    QUOTED, sql.SQL(", ").join(map(sql.Identifier, names)), sql.SQL(", ").join(map(sql.Literal, values))
                )
            )

    def stage(self, rows: Sequence[Row]) -> None:
        staging.create(self.session, STAGING, staging.columns_of(self.session, TARGET, COLUMNS))
        if rows:
            values = [sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, r.values))) for r in rows]
            self.session.execute(
                sql.SQL("INSERT INTO {} VALUES {}").format(
                    sql.Identifier(STAGING.schema, STAGING.name), sql.SQL(", ").join(values)
                )
            )

    def rows(self) -> list[Row]:
        columns: list[sql.Composable] = [sql.SQL("'default'" if self.path.bare else "kept")]
        columns += [sql.SQL("{}::text").format(sql.Identifier(c)) for c in COLUMNS]
        columns += [sql.SQL("mark::text" if self.way.deleted else "NULL")]
        columns += [sql.SQL("valid_from::text, valid_to::text" if self.way.versions else "NULL, NULL")]
        found = self.session.rows(sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(columns), QUOTED))
        return [
            Row(kept=kept, values=tuple(rest[:5]), mark=rest[5], since=rest[6], until=rest[7]) for kept, *rest in found
        ]

    def design(self, moment: str) -> MergeDesign:
        return MergeDesign(
            target=TARGET,
            staging=STAGING,
            columns=COLUMNS,
            key=COLUMNS[:2],
            mode=self.way.mode,
            nulls_match=self.path.nulls_match,
            latest_by="at" if self.way.latest else None,
            deleted="mark" if self.way.deleted else None,
            scope=self.way.scope,
            valid_from="valid_from",
            valid_to="valid_to",
            moment=moment,
            whole=self.way.whole,
            verify=True,
        )

    def merge(self, rows: Sequence[Row], moment: str) -> MergeCounts:
        self.stage(rows)
        with self.session.transaction():
            return merge.merge(self.session, self.design(moment), len(rows))


def some_rows(random: Random, path: Path, *, nulls: bool, most: int = 6) -> list[Row]:
    """Few values, so that keys meet."""
    return [
        Row(
            values=(
                random.choice(["1", "2", *([None] if nulls else [])]),
                random.choice(["1", "1.0", "2", "3", *([None] if nulls else [])]),
                random.choice(["", "x", "007", None]),
                random.choice(["1", " 1", None]),
                random.choice(["1", "2", "3", None]),
            )
        )
        for _ in range(random.randrange(most))
    ]


@contextmanager
def sessions(cluster: Cluster, count: int = 1) -> Iterator[list[Session]]:
    """Of a database of its own."""
    name = clone(cluster, template(cluster, ""), "target")
    try:
        with ExitStack() as stack:
            target = resolve(cluster.url(name))
            yield [stack.enter_context(connect(target, application_name="test", role="target")) for _ in range(count)]
    finally:
        drop(cluster, name)


def without_order(rows: Sequence[Row]) -> list[str]:
    return sorted(map(repr, rows))
