"""Increments: which rows of a source are new or changed since the last look, and how far the next one may go.

The order of things is the guarantee: a look at the open transactions (`horizon`), then the snapshot, then `reading` in
it, then the merge, then `advance`, committed together with the rows. Reading again what is known already is harmless,
for a merge finds it unchanged; what must not happen is that a row which commits late lies below the next low.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from psycopg.sql import SQL, Composable, Identifier, Literal

from pghaul.model.errors import WatermarkError
from pghaul.model.merging import Mark, Reading, WatermarkKind
from pghaul.model.plan import Merge, MergeMode, NullWatermarks
from pghaul.model.table import Name, RelationKind, Table
from pghaul.model.text import Text, listed, say
from pghaul.sources import increments_sql as texts
from pghaul.sources.increments_advance import MARGIN, Horizon, advance, changed_since, start
from pghaul.sources.increments_findings import again, of_reading
from pghaul.sources.increments_kinds import indexed, kind_of, promise
from pghaul.sources.increments_moments import TIMES
from pghaul.sources.increments_rows import Rows
from pghaul.sources.queries import bare

if TYPE_CHECKING:
    from pghaul.postgres.session import Session

__all__ = ["Horizon", "Wanted", "advance", "horizon", "left_out", "origin", "reading", "seen_sql"]

ORDERED = frozenset({WatermarkKind.INTEGER, WatermarkKind.NUMERIC})
LEAVING_OUT = (MergeMode.INSERT_ONLY, MergeMode.UPDATE_ONLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A reading that is going to be asked for: its greatest number is looked up before the transactions are."""

    table: Table
    merge: Merge
    where: str | None = None
    query: str | None = None
    first: bool = False  # there is no mark yet


def origin(session: Session, table: Table, merge: Merge, *, where: str | None = None, query: str | None = None) -> str:
    """The key of a mark beside its target table: what is read, by what, and of which database."""
    said = [query or str(table.name), merge.watermark, merge.watermark_format, merge.watermark_zone, where]
    digest = blake2b(json.dumps(said).encode(), digest_size=8).hexdigest()
    return f"{'query' if query else table.name}#{digest}@{session.server.identity}"


def horizon(session: Session, wanted: Sequence[Wanted] = ()) -> Horizon:
    """The look at what is going on. Take it *before* the snapshot, outside of any transaction.

    With `wanted`, numbers that count up are known to be complete at once where nobody else is at work; without, a round
    later, and a table that was read for the first time is read whole once more.
    """
    able = session.server.capabilities
    tops = {_key(session, w): top for w in wanted if (top := _top(session, w)) is not None}
    session.value(texts.CLEAR)
    clock, in_recovery, sees_all = session.rows(texts.CLOCK.format(sees_all=texts.SEES_ALL[able.read_all_stats]))[0]
    sessions = session.rows(texts.OPEN[able.backend_type])
    prepared = session.rows(texts.PREPARED)  # after the sessions: what was prepared meanwhile is in one of the two
    xmin, xmax = session.rows(texts.NUMBERS)[0]
    begun = sorted((s[3], s[0], s[1], s[2]) for s in sessions if s[3] is not None)
    return Horizon(
        clock=clock,
        oldest=begun[0][0] if begun else None,
        oldest_session=_who(*begun[0][1:]) if begun else "",
        sees_all=sees_all or session.server.superuser,
        hidden=sum(1 for s in sessions if s[4]),
        prepared=tuple(gid for (gid,) in prepared),
        xmin=xmin,
        xmax=xmax,
        in_recovery=in_recovery,
        tops={key: (clock, top) for key, top in tops.items()},
    )


def _who(pid: int, user: str, application: str) -> Text:
    return say("pid {pid}, user {user}, {application}", pid=str(pid), user=user, application=application or "?")


def _key(session: Session, wanted: Wanted) -> str:
    return origin(session, wanted.table, wanted.merge, where=wanted.where, query=wanted.query)


def _top(session: Session, wanted: Wanted) -> str | None:
    """The greatest number, where it costs little beside the reading: the first time, or by an index."""
    kind = kind_of(wanted.table, wanted.merge, query=wanted.query is not None)
    if kind not in ORDERED or wanted.merge.watermark is None:
        return None
    if not (wanted.first or indexed(session, wanted.table, wanted.merge)):
        return None
    rows = texts.rows_of(wanted.table.name, _query(wanted.query))
    where = texts.stated(wanted.where) if wanted.where else SQL("true")
    top: str | None = session.value(texts.greatest(wanted.merge.watermark, kind, None, rows, where))
    return top


def reading(
    session: Session,
    table: Table,
    merge: Merge,
    mark: Mark | None,
    horizon: Horizon,
    *,
    where: str | None = None,
    query: str | None = None,
    columns: Sequence[str] | None = None,
) -> Reading:
    """How the next increment is read. Call it *in* the snapshot that the rows are read by, after `horizon`.

    `columns` are those to read, all by default. Raises WatermarkError for a watermark that cannot be used, for rows
    that have none (unless the plan says what becomes of them), and where a lookback is missing.
    """
    kind = kind_of(table, merge, query=query is not None)
    source = texts.rows_of(table.name, _query(query))
    guarantee, why = promise(session, table, kind, merge, horizon, source)
    taken = tuple(columns) if columns is not None else tuple(c.name for c in table.copied_columns)
    moment, xmax = session.rows(texts.AFTER)[0]
    known = _known(session, mark, kind, merge.mode, taken, horizon)
    low = start(known.base, merge) if known.base is not None and known.again is None else None
    rows = Rows(
        rows=source,
        stated=[texts.stated(where)] if where else [],
        fresh=_fresh(session, merge, kind, low, xmax),
        no_order=_unusable(session, merge, kind),
        nulls=merge.null_watermarks,
    )
    _refuse_unusable(session, table, merge, kind, rows)
    members = _members(session, table) if query is None else {}
    staged = rows.no_order is None or merge.watermark in taken
    return Reading(
        query=rows.query(taken, _newcomers(known.base, members)).as_string(None),
        kind=kind,
        guarantee=guarantee,
        why=why,
        nulls=merge.null_watermarks,
        full=rows.fresh is None,
        findings=(*again(table, known.again), *of_reading(session, table, merge, kind, horizon, query=query)),
        merge=merge,
        origin=origin(session, table, merge, where=where, query=query),
        moment=moment.isoformat(),
        low=low if rows.fresh is not None else None,
        staged=staged,
        top=None if staged else _top_unstaged(session, merge, kind, rows),
        next=replace(
            known.base or Mark(kind=kind),
            kind=kind,
            column=merge.watermark or "",
            read_at=horizon.clock.isoformat(),
            txid=max(horizon.xmax, known.base.txid if known.base else 0),  # a replica may be behind
            source_identity=session.server.identity,
            filenode=mark.filenode if mark else 0,
            witness=mark.witness if mark else (),
            columns=taken,
            members=tuple(members),
            mode=merge.mode.value,
        ),
    )


def _newcomers(base: Mark | None, members: Mapping[str, Name]) -> list[Name]:
    """What has come into the tree since the mark."""
    return [] if base is None else [name for key, name in members.items() if key not in base.members]


def _members(session: Session, table: Table) -> dict[str, Name]:
    """The tables below a parent, by what tells each of them and its place in the tree."""
    if not table.has_children and table.kind is not RelationKind.PARTITIONED:
        return {}
    return {key: Name(schema, name) for key, schema, name in session.rows(texts.MEMBERS, (table.oid,))}


def _query(query: str | None) -> str | None:
    return None if query is None else bare(query)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is left of the last mark: `again` says why all rows are read nevertheless."""

    base: Mark | None = None
    again: Text | None = None


def _known(
    session: Session, mark: Mark | None, kind: WatermarkKind, mode: MergeMode, taken: Sequence[str], horizon: Horizon
) -> _Known:
    if mark is None or kind is WatermarkKind.NONE:
        return _Known()
    _check_source(session, mark, horizon)
    if why := _void(mark, kind, horizon):
        return _Known(again=why)
    if fresh := [c for c in taken if c not in mark.columns]:
        return _Known(base=mark, again=say("these columns were not read before: {columns}", columns=listed(fresh)))
    if mark.mode in LEAVING_OUT and mark.mode != mode:
        return _Known(base=mark, again=say("the mode was {old}, which leaves rows out", old=mark.mode))
    if mark.low is None and mark.seen is not None:
        return _Known(base=mark, again=say("the last reading could not tell up to where it was complete"))
    return _Known(base=mark)


def _void(mark: Mark, kind: WatermarkKind, horizon: Horizon) -> Text | None:
    """Why a mark's low says nothing any more."""
    if mark.kind is not kind:
        return say("the watermark was {old}, and is {new} now", old=mark.kind.value, new=kind.value)
    if kind in TIMES and mark.read_at and horizon.clock < datetime.fromisoformat(mark.read_at) - MARGIN:
        return say("the source's clock shows less than at the last look, {moment}", moment=mark.read_at)
    if kind is WatermarkKind.XMIN and mark.low is not None and changed_since(int(mark.low), horizon.xmax) is None:
        return say("more than two thousand million transactions have passed since the last look")
    return None


def _check_source(session: Session, mark: Mark, horizon: Horizon) -> None:
    """A source that is not the one of the mark, or older than it: what is there now was never merged."""
    server = session.server
    if mark.source_identity and mark.source_identity != server.identity:
        raise WatermarkError(
            say("the rows so far came from another database: {old}", old=mark.source_identity),
            where=server.database,
            advice=say("if it is meant to be this one from now on, read all rows again: --reload"),
            code=6709,
        )
    if mark.txid > horizon.xmax and not horizon.in_recovery:
        raise WatermarkError(
            say("the source is older than what was read from it: it was restored from a backup"),
            where=server.database,
            advice=say(
                "the target has rows that the source has lost: look at them, then read all rows again: --reload"
            ),
            code=6710,
        )


def _top_unstaged(session: Session, merge: Merge, kind: WatermarkKind, rows: Rows) -> str | None:
    """The greatest watermark that is read, of a column that is not among those: a generated one, or one left out."""
    where = SQL(" AND ").join(rows.conditions) if rows.conditions else SQL("true")
    form = merge.watermark_format
    top: str | None = session.value(texts.greatest(merge.watermark or "", kind, form, rows.rows, where))
    return top


def _fresh(session: Session, merge: Merge, kind: WatermarkKind, low: str | None, xmax: int) -> Composable | None:
    """What keeps old rows away; None for none."""
    if low is None or merge.watermark is None:
        return None
    if kind is not WatermarkKind.XMIN:
        return texts.from_low(merge.watermark, kind, low)
    span = changed_since(int(low), xmax)
    by_flag = session.server.capabilities.frozen_by_flag
    return None if span is None else texts.changed_from(*span, frozen_by_flag=by_flag)


def _unusable(session: Session, merge: Merge, kind: WatermarkKind) -> Composable | None:
    if kind in {WatermarkKind.NONE, WatermarkKind.XMIN} or merge.watermark is None:
        return None
    return texts.unusable(merge.watermark, kind, merge.watermark_format, session.server.capabilities)


def left_out(session: Session, table: Table, merge: Merge) -> str | None:
    """The condition of rows that no reading brings; None where all come. Raises WatermarkError."""
    if merge.null_watermarks is not NullWatermarks.EXCLUDE:
        return None
    condition = _unusable(session, merge, kind_of(table, merge))
    return None if condition is None else condition.as_string(None)


def _by_index(session: Session, statement: Composable) -> list[tuple[Any, ...]]:
    """Without fresh statistics PostgreSQL expects to meet such rows soon, and reads the whole table for none."""
    session.execute("SET LOCAL enable_seqscan = off")
    found = session.rows(statement)
    session.execute("SET LOCAL enable_seqscan TO DEFAULT")
    return found


def _refuse_unusable(session: Session, table: Table, merge: Merge, kind: WatermarkKind, rows: Rows) -> None:
    """No order places them: nobody could say when they have changed. Of uuids those at the mark and above are looked
    at: among millions of uuids of another version nearly all are.
    """
    if rows.no_order is None or merge.null_watermarks is not NullWatermarks.FAIL:
        return
    searched = [rows.fresh] if kind is WatermarkKind.UUID and rows.fresh is not None else []
    where = SQL(" AND ").join([*rows.stated, *searched, rows.no_order])
    found = texts.SOME.format(column=Identifier(merge.watermark or ""), rows=rows.rows, where=where)
    some = _by_index(session, found) if indexed(session, table, merge) else session.rows(found)
    if not some:
        return
    count = session.value(SQL("SELECT pg_catalog.count(*) FROM {} WHERE {}").format(rows.rows, where))
    raise WatermarkError(
        say(
            "{n} rows of {table} have no usable watermark in {column}: {values}",
            n=count,
            table=str(table.name),
            column=str(merge.watermark),
            values=", ".join(dict.fromkeys("NULL" if value is None else value or "''" for (value,) in some)),
        ),
        where=session.server.database,
        advice=say(
            "mend them, or say what becomes of such rows: --null-watermarks include (read every time) or exclude"
        ),
        code=6711,
    )


def seen_sql(staging: Name, reading: Reading) -> Composable:
    """The greatest watermark among staged rows, as exact text; NULL where there is none. For the target."""
    if reading.kind in {WatermarkKind.NONE, WatermarkKind.XMIN}:
        return SQL("SELECT NULL::pg_catalog.text")
    if not reading.staged:
        return SQL("SELECT {}::pg_catalog.text").format(Literal(reading.top))
    merge, table = reading.merge, texts.rows_of(staging, None)
    return texts.greatest(merge.watermark or "", reading.kind, merge.watermark_format, table, SQL("true"))
