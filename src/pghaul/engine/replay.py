"""Rows that were set aside are loaded once more: exactly those, once, a transaction for each table.

Tables may refer to each other, and rows to rows of their own table. So what was refused for a missing reference is
tried again as long as anything else of the replay arrives.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from psycopg import sql

from pghaul.engine.inserts import arbiters
from pghaul.model.errors import QuarantineError, TableTakenError, UsageError
from pghaul.model.quarantine import Conflict, Lot, Reason, Replayed, SetAside, Which
from pghaul.model.table import Name, Table
from pghaul.model.text import say
from pghaul.postgres.catalog import describe
from pghaul.postgres.session import Session
from pghaul.target import quarantine, replay
from pghaul.target.ledger import being_loaded

MISSING_REFERENCE = "23503"
NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked. `run` is the replay's own number."""

    run: str
    which: Which
    conflict: Conflict = Conflict.ERROR
    all_or_nothing: bool = False


@dataclass(kw_only=True)
class _Course:
    """How far a table is. Of rows that stay, only what has to be told is kept: there may be millions."""

    written: replay.Written = field(default_factory=replay.Written)
    reasons: dict[str, Reason] = field(default_factory=dict)
    again: list[int] = field(default_factory=list)  # refused for a missing reference: it may arrive yet

    def refused(self, each: replay.Refused) -> None:
        state = each.error.sqlstate or ""
        known = self.reasons.get(state)
        first = Reason(sqlstate=state, constraint=None, column=None, rows=0, message=each.error.message)
        self.reasons[state] = replace(known or first, rows=(known or first).rows + 1)
        if state == MISSING_REFERENCE:
            self.again.append(each.row.id)

    def told(self, table: str) -> Replayed:
        reasons = sorted(self.reasons.values(), key=lambda r: -r.rows)
        written = self.written
        return Replayed(
            table=table,
            inserted=written.inserted,
            updated=written.updated,
            ignored=written.ignored,
            left=sum(r.rows for r in reasons),
            reasons=tuple(reasons),
        )


def perform(session: Session, order: Order) -> list[Replayed]:
    """Table by table, what became of the rows. Raises QuarantineError, UsageError; then nothing of a table is changed.

    With `all_or_nothing`, nothing at all.
    """
    order = replace(order, which=replace(order.which, replayed=False))
    lots = quarantine.lots(session, order.which)
    _refuse_ambiguity(lots, order)
    courses = {lot.table: _Course() for lot in reversed(lots)}
    with session.transaction() if order.all_or_nothing else contextlib.nullcontext():
        _rounds(session, order, courses)
        found = [course.told(table) for table, course in courses.items()]
        left = [each for each in found if each.left]
        if left and order.all_or_nothing:
            raise _not_all(left)
        if found:
            replay.end(session, order.run, complete=not left)
    return found


def _rounds(session: Session, order: Order, courses: Mapping[str, _Course]) -> None:
    for table, course in courses.items():
        _table(session, order, table, course, 1)
    number, before = 1, -1
    while (waiting := [t for t, c in courses.items() if c.again]) and before != (left := _left(courses)):
        number, before = number + 1, left
        for table in waiting:
            course = courses[table]
            ids, course.again = course.again, []
            del course.reasons[MISSING_REFERENCE]
            _table(session, replace(order, which=Which(ids=tuple(ids), replayed=False)), table, course, number)


def _left(courses: Mapping[str, _Course]) -> int:
    return sum(len(c.again) for c in courses.values())


def _table(session: Session, order: Order, name: str, course: _Course, number: int) -> None:
    """One transaction: the rows, that they are replayed, and the ledger's receipt of it."""
    started, size, left = time.monotonic(), 0, 0
    written = replay.Written()
    with session.transaction():
        replay.alone(session, name)
        table = _target(session, order, name)
        replay.begin(session, order.run)
        for rows in _rows(session, replace(order.which, tables=()), name):
            key = _key(session, table, rows[0], order)
            writer = replay.Writer(session, table, rows[0].columns, order.conflict, key)
            writer.prepare()
            taken, refused = writer.write(rows)
            out = {each.row.id for each in refused}
            replay.done(session, order.run, [row for row in rows if row.id not in out])
            for each in refused:
                replay.still(session, each)
                course.refused(each)
            written, left, size = written + taken, left + len(out), size + sum(len(row.line) for row in rows)
        seconds = time.monotonic() - started
        replay.mark(session, order.run, name, number, written, left=left, size=size, seconds=seconds)
    course.written += written


def _rows(session: Session, which: Which, table: str) -> Iterator[list[SetAside]]:
    """Locked, as many at a time as fit into memory, and alike in their columns and encoding."""
    where = sql.SQL("{} AND relation = {}").format(quarantine.condition(session, which), sql.Literal(table))
    for ids in quarantine.portions(session, where, lock=True):
        rows = quarantine.read(session, ids)
        for _, alike in itertools.groupby(rows, key=lambda row: (row.columns, row.encoding)):
            yield list(alike)


def _target(session: Session, order: Order, name: str) -> Table:
    for _, run in being_loaded(session, order.run, [name]):
        raise TableTakenError(
            say("run {run} is loading {table} now", run=run, table=name),
            where=session.server.database,
            advice=say("wait for it, or stop it: pghaul stop {run}", run=run),
            code=5530,
        )
    found = describe(session, [Name.read(name)])
    for table in found.values():
        return table
    raise QuarantineError(
        say("the table {table} is no longer there", table=name),
        where=session.server.database,
        advice=say("make it again, or export the rows and drop them: pghaul quarantine export"),
        code=6843,
    )


def _key(session: Session, table: Table, row: SetAside, order: Order) -> tuple[str, ...]:
    """By which a conflict is met; empty where none is needed."""
    if order.conflict is Conflict.ERROR:
        return ()
    if not session.server.capabilities.on_conflict:
        raise QuarantineError(
            say("this server cannot meet conflicts by itself: it takes PostgreSQL 9.5"),
            where=session.server.database,
            advice=say("leave --on-conflict out"),
            code=6844,
        )
    if order.conflict is Conflict.IGNORE:
        return ()
    for key in arbiters(table):
        if set(key) <= set(row.columns):
            return key
    raise QuarantineError(
        say("{table} has no key to update its rows by", table=str(table.name)),
        where=session.server.database,
        advice=say("use --on-conflict ignore, or leave it out"),
        code=6845,
    )


def _refuse_ambiguity(lots: Sequence[Lot], order: Order) -> None:
    """Several runs may have set the same row aside: it is to arrive once."""
    if order.which.runs or order.which.ids or order.conflict is not Conflict.ERROR:
        return
    for table, of_table in itertools.groupby(sorted(lots, key=lambda lot: lot.table), key=lambda lot: lot.table):
        runs = [lot.run for lot in of_table]
        if len(runs) > 1:
            raise UsageError(
                say("rows of {table} were set aside by several runs, maybe the same ones: {runs}",
                    table=table, runs=", ".join(runs[:NAMED])),
                advice=say("name one with --run, or say what a key that is there means: --on-conflict update"),
                code=1099,
            )  # fmt: skip


def _not_all(left: Sequence[Replayed]) -> QuarantineError:
    first = left[0]
    return QuarantineError(
        say(
            "rows are refused once more, {n} of them, and so none is loaded; the first: {sqlstate}: {message}",
            n=str(sum(each.left for each in left)),
            sqlstate=first.reasons[0].sqlstate,
            message=first.reasons[0].message,
        ),
        where=first.table,
        advice=say("mend the cause, or leave --all-or-nothing out: then those that can be loaded are"),
        code=6846,
    )
