"""Whether anybody writes to the source: two looks over a short time, and who was seen.

Nothing can be written without a transaction number. So where the server gave none away between two looks, and nobody
holds a lock for writing, nobody wrote; where it did, the tables' own counters say whether it was to them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg import sql

from pghaul.model.errors import AccessError, NotQuietError, NotSupportedError, StoppedError
from pghaul.model.table import Name
from pghaul.model.text import Text, joined, say
from pghaul.postgres.catalog_sql import NAMED
from pghaul.postgres.session import Session, terminate_sessions

NAP = 0.1  # seconds between looks at the wish to stop
ROUNDS = 3  # a counter may come late, and a last statement may be just ending

WRITTEN = sql.SQL(
    """
SELECT n.nspname::text, c.relname::text,
       pg_catalog.pg_stat_get_tuples_inserted(c.oid) + pg_catalog.pg_stat_get_tuples_updated(c.oid)
       + pg_catalog.pg_stat_get_tuples_deleted(c.oid)
FROM {named} w
JOIN pg_catalog.pg_namespace n ON n.nspname = w.nspname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.relname
"""
).format(named=NAMED)
# Locks that only writing takes (and DDL). Those of prepared transactions have no pid.
WRITERS = sql.SQL(
    """
SELECT DISTINCT coalesce(l.pid, 0), coalesce(a.application_name, ''), coalesce(a.usename::text, ''),
       coalesce(pg_catalog.host(a.client_addr), ''), n.nspname::text, c.relname::text
FROM {named} w
JOIN pg_catalog.pg_namespace n ON n.nspname = w.nspname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.relname
JOIN pg_catalog.pg_locks l ON l.relation = c.oid AND l.locktype = 'relation' AND l.granted
 AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
ORDER BY 1, 5, 6
"""
).format(named=NAMED)
OTHERS = """
SELECT a.pid, a.application_name, a.usename::text, coalesce(pg_catalog.host(a.client_addr), '')
  FROM pg_catalog.pg_stat_activity AS a
 WHERE a.datname = pg_catalog.current_database() AND a.usename IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid()
   AND a.application_name NOT LIKE 'pghaul/%%'
 ORDER BY 2, 1
"""
NEXT_XID = "SELECT pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot())"
# The function was renamed in 10: its name is asked for, and nothing else depends on the version.
WAL_FUNCTION = """
SELECT p.proname::text FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
 WHERE n.nspname = 'pg_catalog' AND p.proname IN ('pg_current_wal_lsn', 'pg_current_xlog_location')
"""
WAL = sql.SQL("SELECT pg_catalog.{}()::text")

SETTING = """
SELECT s.setconfig FROM pg_catalog.pg_db_role_setting AS s JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase
 WHERE d.datname = pg_catalog.current_database() AND s.setrole = 0
"""
READ_ONLY = "default_transaction_read_only"
SET = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}")
RESET = sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only")


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Somebody else's session; `table` is one that it writes to."""

    pid: int
    application: str
    user: str
    address: str = ""
    table: Name | None = None

    @property
    def said(self) -> Text:
        """Who it is."""
        if self.pid == 0:
            return say("a prepared transaction")
        who = self.application or say("a session without a name")
        if not self.address:
            return say("{who} (user {user}, pid {pid})", who=who, user=self.user, pid=str(self.pid))
        return say(
            "{who} (user {user} at {address}, pid {pid})",
            who=who,
            user=self.user,
            address=self.address,
            pid=str(self.pid),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One moment of the source."""

    at: datetime
    next_xid: int  # of the whole server
    wal: str
    written: Mapping[Name, int]  # rows inserted, updated and deleted since ever
    writers: tuple[Other, ...]
    others: tuple[Other, ...]


def look(session: Session, tables: Sequence[Name]) -> Look:
    """Locks first: who ends between the queries is then still seen."""
    names = ([t.schema for t in tables], [t.name for t in tables])
    writers = [
        Other(pid=pid, application=app, user=user, address=at, table=Name(s, n))
        for pid, app, user, at, s, n in session.rows(WRITERS, names)
    ]
    position = WAL.format(sql.Identifier(session.value(WAL_FUNCTION)))
    return Look(
        at=datetime.now(UTC),
        next_xid=int(session.value(NEXT_XID)),
        wal=str(session.value(position)),
        written={Name(s, n): int(count or 0) for s, n, count in session.rows(WRITTEN, names)},
        writers=tuple(writers),
        others=tuple(Other(pid=p, application=a, user=u, address=h) for p, a, u, h in session.rows(OTHERS)),
    )


def written_between(before: Look, after: Look) -> list[Name]:
    """Tables that were written to. A counter that moves while no transaction number was given away comes late."""
    if before.next_xid == after.next_xid:
        return []
    return sorted(n for n, count in after.written.items() if count != before.written.get(n, count))


def wait_until_quiet(
    session: Session, tables: Sequence[Name], *, seconds: float, stop: Callable[[], bool]
) -> tuple[Look, Look]:
    """The two looks between which nobody wrote. NotQuietError names who does, and where."""
    if session.server.in_recovery:
        raise NotSupportedError(
            say("a standby does not tell who writes"),
            where=session.server.database,
            advice=say("name the primary server"),
            code=5346,
        )
    reasons: list[Text] = []
    before = look(session, tables)
    for _ in range(ROUNDS):
        _wait(seconds, stop)
        after = look(session, tables)
        reasons = _against(before, after)
        if not reasons:
            return before, after
        before = after
    raise NotQuietError(
        say("it has writers: {reasons}", reasons=joined("; ", reasons)),
        where=session.server.database,
        advice=say("stop these applications, or let pghaul cutover --read-only --end-sessions do it"),
        code=6130,
    )


def _against(before: Look, after: Look) -> list[Text]:
    holding = {w.said: w.table for w in (*before.writers, *after.writers) if w in after.writers}
    reasons = [say("{who} writes to {table}", who=who, table=str(table)) for who, table in holding.items()]
    if written := written_between(before, after):
        shown = ", ".join(map(str, written[:3])) + (" …" if len(written) > 3 else "")
        seen = sorted({o.said for o in after.others})[:3]
        reasons.append(say("somebody writes to {tables}", tables=shown))
        if seen and not holding:
            reasons.append(say("connected: {sessions}", sessions=joined(", ", seen)))
    return reasons


def _wait(seconds: float, stop: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if stop():
            raise StoppedError(say("stopped as asked, before the cutover began"), code=4034)
        time.sleep(min(NAP, left))


def read_only_setting(session: Session) -> str | None:
    """What the database says now of its sessions' default; None where it says nothing."""
    found = session.value(SETTING) or []
    said = [entry.partition("=")[2] for entry in found if entry.partition("=")[0] == READ_ONLY]
    return said[0] if said else None


def set_read_only(session: Session, value: str | None) -> None:
    """For sessions that begin from now on; None takes the setting away. AccessError says who may."""
    database = sql.Identifier(session.server.database)
    statement = RESET.format(database) if value is None else SET.format(database, sql.Literal(value))
    try:
        session.execute("SET default_transaction_read_only = off")  # ours began under what is to be undone
        session.execute(statement)
    except AccessError as exc:
        raise AccessError(
            say("role {role} may not make the source read-only: {error}", role=session.server.user, error=exc.message),
            where=session.server.database,
            advice=say("it takes the database's owner or a superuser; or stop the applications yourself"),
            sqlstate=exc.sqlstate,
            code=5130,
        ) from exc


def end_other_sessions(session: Session) -> int:
    """All of this database that our role may end; returns how many went."""
    return terminate_sessions(session, "")
