"""Taking the ledger away: schema `pghaul`, or one finished run of it.

What could not be had again is not removed without being asked twice: rows in quarantine, foreign keys that are still
to be put back, runs that could be resumed, watermarks of increments. Where a run is alive nothing is removed at all.
"""

from __future__ import annotations

from collections.abc import Iterator

from psycopg.sql import SQL, Identifier

from pghaul.model.errors import NotFoundError, TerminalError
from pghaul.model.text import listed, say
from pghaul.model.upkeep import Cleaned
from pghaul.postgres.session import Session
from pghaul.target import staging
from pghaul.target.ledger_sql import CLAIM_LOCK, IS_INSTALLED

SCHEMA_THERE = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace AS n WHERE n.nspname = 'pghaul')"
TABLES = """
SELECT c.relname::text FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = 'pghaul' AND c.relkind = 'r' ORDER BY 1
"""
# What somebody else has put into our schema, or built on our tables.
STRANGE = """
SELECT c.relname::text FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = 'pghaul' AND c.relkind IN ('r', 'v', 'm', 'f', 'p')
   AND c.relname <> ALL (ARRAY['run', 'claim', 'run_table', 'chunk_marker', 'chunk_marker_unlogged', 'undo', 'made',
                               'watermark', 'quarantine'])
   AND pg_catalog.left(c.relname::text, 6) <> 'stage_'
 ORDER BY 1
"""
RUNS = "SELECT r.run_id, r.state FROM pghaul.run AS r ORDER BY r.started_at"
ALIVE = """
SELECT r.run_id FROM pghaul.run AS r WHERE EXISTS (
    SELECT 1 FROM pg_catalog.pg_locks AS l WHERE l.locktype = 'advisory' AND l.classid = 28519 AND l.granted
       AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
       AND l.objid::int8 = pg_catalog.hashtext('pghaul run ' || r.run_id)::int8 & 4294967295)
 ORDER BY 1
"""
SET_ASIDE = "SELECT pg_catalog.count(*) FROM pghaul.quarantine AS q WHERE q.replayed_at IS NULL AND q.run_id = ANY (%s)"
ALL_SET_ASIDE = "SELECT pg_catalog.count(*) FROM pghaul.quarantine AS q WHERE q.replayed_at IS NULL"
TO_PUT_BACK = "SELECT pg_catalog.count(*) FROM pghaul.undo AS u WHERE NOT u.done AND u.run_id = ANY (%s)"
WATERMARKS = "SELECT pg_catalog.count(*) FROM pghaul.watermark"
OF_A_RUN = ("claim", "run_table", "chunk_marker", "chunk_marker_unlogged", "undo", "made", "quarantine", "run")
FORGET = SQL("DELETE FROM {table} WHERE run_id = %s")
DROP_TABLES = SQL("DROP TABLE {tables}")
DROP_SCHEMA = "DROP SCHEMA pghaul"
OVER = ("done", "different")


def clean(session: Session, run: str | None, *, force: bool) -> Cleaned:
    """One run, or with None all of the ledger; nothing happens where there is none. TerminalError, NotFoundError."""
    if not session.value(SCHEMA_THERE):
        if run is None:
            return Cleaned(url=session.endpoint.display)
        raise _unknown(session, run)
    with session.transaction():
        session.execute("SELECT pg_catalog.pg_advisory_xact_lock(%s)", (CLAIM_LOCK,))  # no run begins meanwhile
        return _all(session, force=force) if run is None else _one(session, run, force=force)


def _all(session: Session, *, force: bool) -> Cleaned:
    where = session.endpoint.display
    installed = bool(session.value(IS_INSTALLED))
    runs = session.rows(RUNS) if installed else []
    strangers = [name for (name,) in session.rows(STRANGE)]
    tables = [name for (name,) in session.rows(TABLES)]
    if "run" in tables:
        _refuse_living(session, None)
    reasons = list(_reasons(session, [r for r, _ in runs], runs, everything=True)) if installed else []
    if tables and not installed:
        reasons.append(say("it is of another release, and what is in it cannot be looked at"))
    if strangers:
        reasons.append(say("tables that are not ours are in it: {names}", names=listed(strangers)))
    _refuse(reasons, where, force=force and not strangers)
    aside = int(session.value(ALL_SET_ASIDE)) if installed else 0
    if tables:
        session.execute(DROP_TABLES.format(tables=SQL(", ").join(Identifier("pghaul", t) for t in tables)))
    session.execute(DROP_SCHEMA)
    staged = sum(staging.NAME.fullmatch(t) is not None for t in tables)
    return Cleaned(url=where, runs=tuple(r for r, _ in runs), rows_set_aside=aside, staging_tables=staged, schema=True)


def _one(session: Session, run: str, *, force: bool) -> Cleaned:
    if not session.value(IS_INSTALLED):
        raise _unknown(session, run)
    runs = [(r, state) for r, state in session.rows(RUNS) if r == run]
    if not runs:
        raise _unknown(session, run)
    _refuse_living(session, {run})
    _refuse(list(_reasons(session, [run], runs, everything=False)), session.endpoint.display, force=force)
    aside = int(session.value(SET_ASIDE, ([run],)))
    for table in OF_A_RUN:
        session.execute(FORGET.format(table=Identifier("pghaul", table)), (run,))
    found = (name for (name,) in session.rows(staging.FOUND))
    staged = [name for name in found if (m := staging.NAME.fullmatch(name)) and m[1] == run]
    if staged:
        session.execute(DROP_TABLES.format(tables=SQL(", ").join(Identifier("pghaul", t) for t in staged)))
    return Cleaned(url=session.endpoint.display, runs=(run,), rows_set_aside=aside, staging_tables=len(staged))


def _refuse_living(session: Session, runs: set[str] | None) -> None:
    """Whatever was asked for: workers would go on without what keeps them from doing a chunk twice."""
    alive = [r for (r,) in session.rows(ALIVE) if runs is None or r in runs]
    if alive:
        raise TerminalError(
            say("run {run} is at work on this target", run=alive[0]),
            where=session.endpoint.display,
            advice=say("wait for it, or stop it first: pghaul stop {run}", run=alive[0]),
            code=5060,
        )


def _reasons(session: Session, ids: list[str], runs: list[tuple[str, str]], *, everything: bool) -> Iterator[str]:
    """Why somebody should think twice."""
    if open_ := [r for r, state in runs if state not in OVER]:
        yield say("runs are not finished, and could not be resumed: {runs}", runs=listed(open_))
    if aside := int(session.value(ALL_SET_ASIDE) if everything else session.value(SET_ASIDE, (ids,))):
        yield say("{n} rows are in quarantine, and were not replayed", n=aside)
    if back := int(session.value(TO_PUT_BACK, (ids,))):
        yield say("{n} foreign keys were taken away for the load, and are still to be put back", n=back)
    if everything and (marks := int(session.value(WATERMARKS))):
        yield say("{n} watermarks say up to where increments have been merged", n=marks)


def _refuse(reasons: list[str], where: str, *, force: bool) -> None:
    if not reasons or force:
        return
    raise TerminalError(
        say("what would be removed is still needed: {why}", why=_joined(reasons)),
        where=where,
        advice=say("finish, replay or export it first; --force removes it all the same, but no tables of others"),
        code=5061,
    )


def _joined(reasons: list[str]) -> str:
    words = reasons[0]
    for reason in reasons[1:]:
        words = say("{one}; {other}", one=words, other=reason)
    return words


def _unknown(session: Session, run: str) -> NotFoundError:
    return NotFoundError(
        say("the ledger of this database knows no run {run}", run=run),
        where=session.endpoint.display,
        advice=say("pghaul runs --target URL lists those that it knows"),
        code=5271,
    )
