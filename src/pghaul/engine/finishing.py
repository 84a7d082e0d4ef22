"""Foreign keys after the load: those that were in its way are put back, those of new tables are made, all are checked.

Rows that break them are set aside where the plan allows it. Else what was taken away is back all the same, unchecked,
and the run ends as different; and a new table that breaks its keys fails the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pghaul.engine.orphans import Orphans
from pghaul.engine.report import Reporter
from pghaul.engine.schema import Schema
from pghaul.model.errors import PghaulError, ProgramError, QuarantineError, RowError, StoppedError
from pghaul.model.table import Name
from pghaul.model.text import saying
from pghaul.postgres.session import Session
from pghaul.target import references
from pghaul.target.ledger import Ledger, Undo
from pghaul.target.references import Reference


class Settles(Protocol):
    """Who treats rows that break keys."""

    def settle(self, keys: Sequence[Reference]) -> list[Name]: ...


BROKEN = saying("a foreign key of {table} is back, but rows break it: {error}")


def put_back(target: Session, ledger: Ledger, orphans: Settles, report: Reporter) -> list[str]:
    """What was taken away for the load; returns the tables that differ for it.

    Raises QuarantineError where a key can only be put back with its check, and rows break it.
    """
    pending = ledger.pending_undo()
    failed: list[Undo] = []
    differing: list[str] = []
    for number, undo in enumerate(pending):
        try:
            ledger.put_back(undo)
        except RowError:
            differing += map(str, orphans.settle(_keys(target, pending[:number], pending[number:])))
            ledger.put_back(undo)
        if undo.validate_sql and not _valid(target, undo, report):
            failed.append(undo)
    if failed:
        differing += _settled(target, orphans, pending, report)
        differing += [undo.relation for undo in failed if not _valid(target, undo, report)]
    return list(dict.fromkeys(differing))


def _keys(target: Session, there: Sequence[Undo], missing: Sequence[Undo]) -> list[Reference]:
    """All keys of these tables, not only those that failed: a row that goes may break another."""
    tables = dict.fromkeys(Name.read(undo.relation) for undo in (*there, *missing))
    keys = [key for table in tables for key in references.of_table(target, table)]
    for undo in missing:
        keys += references.before_it_is_back(target, Name.read(undo.relation), undo.restore_sql)
    return keys


def _valid(target: Session, undo: Undo, report: Reporter) -> bool:
    try:
        target.execute(undo.validate_sql or "")
    except StoppedError:
        raise
    except RowError:
        return False
    except PghaulError as exc:
        report.warn(BROKEN.format(table=undo.relation, error=exc.message))
        return False
    return True


def _settled(target: Session, orphans: Settles, there: Sequence[Undo], report: Reporter) -> list[str]:
    try:
        return [str(table) for table in orphans.settle(_keys(target, there, ()))]
    except QuarantineError as exc:
        report.warn(BROKEN.format(table=exc.where or "", error=exc.message))
        return []


def finish(steps: Schema, orphans: Orphans, *, suspicious: bool) -> list[str]:
    """What comes after the rows; returns the tables of which rows were set aside for it.

    `suspicious`: rows were set aside before, and others may refer to them. Else nobody looks until something fails, and
    then the rows are named, as pg_restore does not.
    """
    found = orphans.settle(steps.references()) if suspicious else []
    try:
        steps.finish()
    except ProgramError:
        more = orphans.settle(steps.references())
        if not more:
            raise
        steps.finish()
        found += more
    return [str(table) for table in found]
