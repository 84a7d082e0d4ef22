"""The one transaction of a merge, over all tables of the run: shapes, rows, watermarks, markers, or nothing of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from psycopg import sql

from pghaul.engine import statements
from pghaul.engine.compose import Epoch
from pghaul.engine.merge import creation
from pghaul.engine.merge.beside import Breath
from pghaul.engine.merge.scene import Ground
from pghaul.engine.merge.staging import Staged
from pghaul.model.errors import MergeError, RowError, TerminalError, TransientError
from pghaul.model.merging import Mark, MergeCounts, MergeDesign
from pghaul.model.plan import MergeMode, NullWatermarks, Verify
from pghaul.model.receipt import Proof, Receipt
from pghaul.model.text import listed, say
from pghaul.postgres.session import Session
from pghaul.sources import increments
from pghaul.target import merge, merge_markers, merge_outdated, watermarks
from pghaul.target import staging as tables
from pghaul.target.merge_target import Target

INCREMENT = "increment"
# By a foreign key that acts, of its own or of a partition; or by whatever a trigger does when another one loses rows.
REACHED = """
WITH RECURSIVE own (oid) AS (
    SELECT %s::pg_catalog.regclass::pg_catalog.oid
    UNION ALL SELECT h.inhrelid FROM pg_catalog.pg_inherits AS h JOIN own ON own.oid = h.inhparent)
SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint AS k JOIN own ON own.oid = k.conrelid
                WHERE k.contype = 'f' AND k.confdeltype IN ('c', 'n', 'd'))
    OR EXISTS (SELECT 1 FROM pg_catalog.pg_trigger AS g
                WHERE g.tgrelid = ANY (%s::pg_catalog.regclass[]) AND NOT g.tgisinternal AND g.tgenabled <> 'D'
                  AND g.tgtype::pg_catalog.int4 & 8 <> 0)
"""
HOLDS_ROWS = sql.SQL("SELECT EXISTS (SELECT 1 FROM {})")  # its partitions' count, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    staged: Staged
    receipt: Receipt
    counts: MergeCounts
    mark: Mark
    outdated: int = 0  # rows that were set aside by earlier runs, and have come in a later version now

    @property
    def agrees(self) -> bool:
        """Nothing that was compared differs, and nothing was set aside."""
        return self.counts.differing == 0 and not self.receipt.rejected


def merge_all(ground: Ground, epoch: Epoch, verify: Verify, staged: Sequence[Staged], breath: Breath) -> list[Merged]:
    """Merge what is staged. Everything that the caller is told is committed."""
    session = ground.target
    started = time.monotonic()
    with _committed(session, staged):
        _begin(ground, epoch, staged)
        for one in staged:
            breath.take()
            _check_staged(session, one)
            _shape(session, one)
        merged = _merge(session, verify, staged, breath)
        done = [
            _account(ground, epoch, one, *came, time.monotonic() - started)
            for one, came in zip(staged, merged, strict=True)
        ]
        merge_markers.keep_rejected(session, epoch.run, INCREMENT)
        merge_markers.forget_staged(session, epoch.run)
        breath.take()
    return done


@contextlib.contextmanager
def _committed(session: Session, staged: Sequence[Staged]) -> Iterator[None]:
    """One transaction. What waits for the commit (a constraint trigger, a deferred key) is told with the tables."""
    tables = listed(str(s.unit.name) for s in staged)
    ended = False
    try:
        with session.transaction():
            yield
            ended = True
    except RowError as exc:
        exc.where = f"{tables}, {session.server.database}" if ended else exc.where
        raise
    except TerminalError as exc:
        if not ended or type(exc) is not TerminalError:
            raise
        raise MergeError(
            say("the target refuses to commit the merge into {tables}: {error}", tables=tables, error=exc.message),
            where=session.server.database,
            advice=say("look at the constraint triggers of the target's tables"),
            sqlstate=exc.sqlstate,
            code=6651,
        ) from exc


def _begin(ground: Ground, epoch: Epoch, staged: Sequence[Staged]) -> None:
    session = ground.target
    names = sorted(str(s.unit.name) for s in staged)
    merge_markers.own(session, epoch.run, names, epoch.number)
    now = merge_markers.stamps(session)
    for one in sorted(staged, key=lambda s: s.unit.name):
        name, unlogged = str(one.unit.name), _unlogged(one)
        merge_markers.mark(session, epoch.run, name, INCREMENT, epoch.number, unlogged=unlogged)
        if now.get(name) != ground.stamps.get(name):
            raise TransientError(
                say("another run has merged into {table} since this one looked", table=name), code=2035
            )


def _unlogged(staged: Staged) -> bool:
    return staged.unit.there is not None and staged.unit.there.unlogged


def _check_staged(session: Session, staged: Staged) -> None:
    """A crash or a failover of the target empties an UNLOGGED table: then everything is staged again."""
    found = tables.count(session, staged.table)
    if found != staged.rows:
        raise TransientError(
            say(
                "{found} rows are staged for {table}, and {rows} were sent: the target has been restarted meanwhile",
                found=found,
                table=str(staged.unit.name),
                rows=staged.rows,
            ),
            code=2034,
        )


def _shape(session: Session, staged: Staged) -> None:
    """The table itself, where it is missing; columns that it lacks."""
    unit = staged.unit
    if unit.there is None:
        changes = creation.create(unit.asked, unit.drift.columns, unit.key)
    else:
        changes = [c.sql for c in unit.drift.changes]
    for statement in changes:
        session.execute(statement)


def _merge(
    session: Session, verify: Verify, staged: Sequence[Staged], breath: Breath
) -> list[tuple[Target, MergeCounts]]:
    """Deletes go from children to parents, everything else from parents to children."""
    _refuse_emptiness(session, staged)
    plans = [merge.plan(session, _design(s, verify), s.rows) for s in staged]
    for plan in plans:
        breath.take()
        plan.prepare()
    for plan in reversed(plans):
        breath.take()
        plan.remove()
    if any(plan.deleted for plan in plans):
        for plan, one in zip(plans, staged, strict=True):
            breath.take()
            if _is_reached(session, one, staged):
                plan.reconsider()
    for plan in plans:
        breath.take()
        plan.write()
    return [(plan.target, plan.account()) for plan in plans]


def _is_reached(session: Session, staged: Staged, all_of_them: Sequence[Staged]) -> bool:
    """Whether deletions elsewhere, or its own, can have taken rows of this table along: the source need not have the
    target's foreign keys.
    """
    tables = [statements.identifier(s.unit.name).as_string(None) for s in all_of_them if s.unit.there is not None]
    name = statements.identifier(staged.unit.name).as_string(None)
    return bool(session.value(REACHED, (name, tables)))


def _design(staged: Staged, verify: Verify) -> MergeDesign:
    """Rows that were set aside are in the source, and not in the staging table: nothing may be deleted for it."""
    unit, reading = staged.unit, staged.reading
    whole = reading.full and reading.nulls is not NullWatermarks.EXCLUDE and not staged.keeps_all
    design = unit.design(
        staged.table,
        moment=reading.moment,
        whole=whole and unit.asked.merge.mode is MergeMode.SCD2,
        verify=verify is Verify.CHECKSUM,
    )
    if staged.keeps_all and design.mode is MergeMode.FULL_SYNC:
        return replace(design, mode=MergeMode.UPSERT, scope="")
    return design


def _refuse_emptiness(session: Session, staged: Sequence[Staged]) -> None:
    """A full-sync deletes what the source does not have: of a source without any row, everything."""
    for one in staged:
        asked = one.unit.asked
        if asked.merge.mode is not MergeMode.FULL_SYNC or asked.merge.allow_empty or one.rows:
            continue
        if one.unit.there is None or not session.value(HOLDS_ROWS.format(statements.identifier(one.unit.name))):
            continue
        raise MergeError(
            say(
                "the source has no row for {table}: a full-sync would delete all that is there",
                table=str(one.unit.name),
            ),
            where=str(asked.source.name),
            advice=say("look at the source; where it is meant to be empty: --allow-empty"),
            code=6646,
        )


def _account(
    ground: Ground, epoch: Epoch, staged: Staged, target: Target, counts: MergeCounts, seconds: float
) -> Merged:
    """Count, save the mark, complete the marker."""
    if not counts.settled:
        raise MergeError(
            say("the rows of {table} do not add up: {counts}", table=str(staged.unit.name), counts=str(counts)),
            where=str(staged.unit.name),
            advice=say("nothing was committed; please report it, with these numbers"),
            code=6647,
        )
    receipt = _receipt(epoch, staged, counts, seconds)
    session, unit, reading = ground.target, staged.unit, staged.reading
    seen = session.value(increments.seen_sql(staged.table, reading)) if staged.rows else None
    mark = increments.advance(reading, ground.horizon, seen)
    mark = watermarks.complete(session, target, unit.design(staged.table), mark)
    watermarks.save(session, str(unit.name), reading.origin, epoch.run, mark)
    outdated = merge_outdated.settle(session, epoch.run, _design(staged, Verify.COUNT))
    merge_markers.complete(session, epoch.run, receipt, unlogged=_unlogged(staged))
    return Merged(staged=staged, receipt=receipt, counts=counts, mark=mark, outdated=outdated)


def _receipt(epoch: Epoch, staged: Staged, counts: MergeCounts, seconds: float) -> Receipt:
    found = staged.sum
    compared = counts.compared + counts.differing
    return Receipt(
        table=staged.unit.name,
        chunk=INCREMENT,
        rows=found.rows,
        bytes=found.bytes,
        seconds=found.seconds + seconds,
        epoch=epoch.number,
        proof=Proof.ROWS if compared else Proof.COUNT,
        source_hash=str(compared) if compared else "",
        target_hash=str(counts.compared) if compared else "",
        updated=counts.updated,
        unchanged=counts.unchanged,
        ignored=counts.passed_over + counts.superseded,
        rejected=found.rejected,
        deleted=counts.deleted,
    )
