"""PostgreSQL as a source: one snapshot for all readers, chunks from estimates, and what stays behind.

A snapshot does not see through TRUNCATE or a rewrite, so every table is locked ACCESS SHARE before it is
taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from psycopg.sql import SQL, Identifier

from pghaul.model.chunk import Chunk, ChunkKind
from pghaul.model.errors import PghaulError, SnapshotLostError
from pghaul.model.finding import Finding, Kind, refuse
from pghaul.model.placement import Placement, shares
from pghaul.model.plan import Locks
from pghaul.model.table import Name, RelationKind, Table, Unsupported
from pghaul.model.text import listed, say, saying
from pghaul.sources._layout_sql import left_by_layout_sql
from pghaul.sources._postgresql_sql import LOCK, WANTED, left_behind_sql

if TYPE_CHECKING:
    from pghaul.postgres.session import Session
    from pghaul.postgres.versions import Capabilities

LOCK_BATCH = 500  # tables per LOCK statement: few round trips, and statements that a log can hold
BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
WHY_LEFT = say(
    "the table has another name or layout on the target; what is written for the old one is not turned to it"
)
# By what left_behind_sql() says.
WHY = {
    "labels": saying("security labels are not carried"),
    "invalid": saying("the index is not valid"),
    "incoming": saying("it points at {table} from a table that was not selected"),
    "outgoing": saying("it points at {table}, which was not selected"),
    "elsewhere": saying("its rows live on another server"),
    "unread": saying("its position may not be read: without SELECT on it the target's begins anew"),
    "published": saying("publications come with a whole database only"),
}
EXPORT = "SELECT pg_catalog.pg_export_snapshot()"


class Snapshot:
    """An open transaction of `session` whose snapshot all readers share; its locks hold until release()."""

    def __init__(self, session: Session, identifier: str) -> None:
        self.session = session
        self.id = identifier

    @classmethod
    def acquire(cls, session: Session, tables: Sequence[Name], *, locks: Locks) -> Snapshot:
        """Lock the tables (unless `locks` is CHUNK), then export the snapshot.

        Describe the tables after this: only then can nobody change them. Raises AccessError for tables that
        may not be read, NotSupportedError where the server cannot do it.
        """
        refuse(snapshot_findings(session))
        lockable = _readable(session, tables)
        if locks is Locks.RUN:
            refuse(lock_findings(session, len(lockable)))
        session.execute(BEGIN)
        try:
            if locks is Locks.RUN:
                _lock(session, lockable)
            return cls(session, str(session.value(EXPORT)))
        except PghaulError:
            _roll_back(session)
            raise

    @classmethod
    def glance(cls, session: Session) -> Snapshot:
        """For a look only: one instant of the catalogues, no locks, nothing that another session could read by."""
        session.execute(BEGIN)
        return cls(session, "")

    def check(self) -> None:
        """Raise SnapshotLostError when the session that holds the snapshot is gone."""
        if self.session.closed:
            raise SnapshotLostError(
                say("the session that held the snapshot was closed"), where=self.session.endpoint.display, code=2401
            )
        try:
            self.session.value("SELECT 1")
        except PghaulError as exc:
            raise SnapshotLostError(
                say("the session that held the snapshot is lost: {why}", why=exc.message),
                where=exc.where,
                sqlstate=exc.sqlstate,
                code=2402,
            ) from exc

    def release(self) -> None:
        """End the transaction and free its locks; nothing happens the second time."""
        _roll_back(self.session)


def _roll_back(session: Session) -> None:
    if session.closed:
        return
    try:
        session.execute("ROLLBACK")
    except PghaulError:  # the server is gone, and the locks with it
        session.close()


def snapshot_findings(session: Session) -> Iterator[Finding]:
    """A server that cannot export a snapshot."""
    server = session.server
    if server.in_recovery and not server.capabilities.snapshot_on_standby:
        yield Finding(
            kind=Kind.SERVER,
            object=say("source"),
            what=say("a standby of PostgreSQL {version} cannot export a snapshot", version=server.version),
            where=server.database,
            advice=say("read from the primary, or promote a copy of the standby"),
            code=5312,
        )


def _readable(session: Session, tables: Sequence[Name]) -> list[Name]:
    """The tables that can be locked: foreign ones cannot. AccessError names those that may not be read."""
    found = rights(session, tables)
    refuse(_reading(session, tables, found))
    return [t for t in tables if found[t][0] != RelationKind.FOREIGN.value]


def reading_findings(session: Session, tables: Sequence[Name]) -> Iterator[Finding]:
    """Tables that are gone, that may not be read, or whose rows are hidden from us."""
    return _reading(session, tables, rights(session, tables))


def rights(session: Session, tables: Sequence[Name]) -> dict[Name, tuple[str, bool, bool]]:
    """By name: its kind, whether our role may read it, and whether row security hides rows of it."""
    names = ([t.schema for t in tables], [t.name for t in tables])
    rows = session.rows(WANTED[session.server.capabilities.row_security], names)
    return {Name(schema, name): (kind, may, hides) for schema, name, kind, may, hides in rows}


def _reading(
    session: Session, tables: Sequence[Name], found: Mapping[Name, tuple[str, bool, bool]]
) -> Iterator[Finding]:
    user, database = session.server.user, session.server.database
    if missing := [t for t in tables if t not in found]:
        yield Finding(
            kind=Kind.NOTHING_SELECTED,
            object=str(missing[0]),
            what=say("gone from the source: {tables}", tables=listed(missing)),
            where=database,
            advice=say("plan again"),
            code=5207,
        )
    if denied := [t for t, (_, may, _) in found.items() if not may]:
        yield Finding(
            kind=Kind.PRIVILEGE,
            object=str(denied[0]),
            what=say("{user} may not read {tables}", user=user, tables=listed(denied)),
            where=database,
            advice=say("GRANT SELECT on it to {user}, and USAGE on its schema", user=user),
            sqlstate="42501",
            code=5103,
        )
    if hiding := [t for t, (_, _, hides) in found.items() if hides]:
        yield Finding(
            kind=Kind.ROW_SECURITY,
            object=str(hiding[0]),
            what=say("row security hides rows of {tables} from {user}", tables=listed(hiding), user=user),
            where=database,
            advice=say("use the owner, a superuser or a role with BYPASSRLS"),
            code=5104,
        )


def lock_findings(session: Session, count: int) -> Iterator[Finding]:
    """Half of the server's lock table at most: the other half is everybody else's."""
    safe = session.server.max_locks // 2
    if count > safe:
        yield Finding(
            kind=Kind.LOCKS,
            object=say("source"),
            what=say(
                "{n} tables need as many locks, and this server has room for about {safe} of them", n=count, safe=safe
            ),
            where=session.server.database,
            advice=say("use --locks chunk, or raise max_locks_per_transaction on the source"),
            code=5313,
        )


def _lock(session: Session, tables: Sequence[Name]) -> None:
    """In a fixed order, so that two runs cannot wait for each other in a ring."""
    ordered = sorted(tables)
    for start in range(0, len(ordered), LOCK_BATCH):
        batch = ordered[start : start + LOCK_BATCH]
        session.execute(LOCK.format(SQL(", ").join([SQL("ONLY ") + Identifier(t.schema, t.name) for t in batch])))


def plan_chunks(
    placements: Iterable[Placement], tables: Mapping[Name, Table], *, split_bytes: int, capabilities: Capabilities
) -> list[Chunk]:
    """The chunks of these placements, largest first.

    Page ranges are of one relation: several are read as a whole, and so is a part of one that is spread over many.
    """
    given = list(placements)
    share = shares(given)
    chunks: list[Chunk] = []
    for placement in given:
        origins = [_part(tables[o.table], share[o.table]) for o in placement.origins]
        first = origins[0]
        alone = len(origins) == 1 and share[first.name] == 1
        split = capabilities.tid_range_scan and first.bytes > split_bytes and first.pages > 1 and alone
        chunks += _ranges(placement.target, first, split_bytes) if split else [_leaf(placement.target, origins)]
    return sorted(chunks, key=lambda c: (-c.bytes, c.table, c.first_page))


def _part(table: Table, share: int) -> Table:
    if share == 1:
        return table
    return replace(table, bytes=table.bytes // share, rows=None if table.rows is None else table.rows // share)


def _leaf(target: Name, origins: Sequence[Table]) -> Chunk:
    rows = [t.rows for t in origins]
    return Chunk(
        table=target,
        kind=ChunkKind.LEAF,
        bytes=sum(t.bytes for t in origins),
        rows=None if None in rows else sum(r or 0 for r in rows),
    )


def _ranges(target: Name, table: Table, split_bytes: int) -> Iterator[Chunk]:
    """Equal page ranges; the last is open-ended, for the heap grows between plan and snapshot."""
    count = min(-(-table.bytes // split_bytes), table.pages)
    edges = [table.pages * i // count for i in range(count + 1)]
    for first, end in pairwise(edges):
        yield Chunk(
            table=target,
            kind=ChunkKind.CTID,
            first_page=first,
            end_page=end if end < table.pages else None,
            bytes=table.bytes * (end - first) // table.pages,
            rows=None if table.rows is None else table.rows * (end - first) // table.pages,
        )


def not_carried(session: Session, names: Sequence[Name], *, whole: bool = False) -> list[Unsupported]:
    """What belongs to these relations and stays behind whatever the target is, one record each."""
    wanted: tuple[Any, ...] = ([n.schema for n in names], [n.name for n in names])
    rows = session.rows(left_behind_sql(session.server.capabilities, whole=whole), wanted)
    return [Unsupported(kind=kind, name=name, why=WHY[why].format(table=table)) for kind, name, why, table in rows]


def left_by_layout(session: Session, names: Sequence[Name]) -> list[Unsupported]:
    """What belongs to tables that are made anew on the target, and cannot follow them there."""
    wanted: tuple[Any, ...] = ([n.schema for n in names], [n.name for n in names])
    rows = session.rows(left_by_layout_sql(session.server.capabilities), wanted)
    return [Unsupported(kind=kind, name=name, why=WHY_LEFT) for kind, name in rows]
