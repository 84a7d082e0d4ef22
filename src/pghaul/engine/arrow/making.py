"""What the mapping says is to be made on the target, by the leader: before the rows, and after them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from pghaul.engine.report import Reporter
from pghaul.model.errors import PghaulError, TransientError
from pghaul.model.foreign import ForeignDatabase
from pghaul.model.mapped import Made, MappedDatabase
from pghaul.model.table import Name
from pghaul.postgres.session import Session
from pghaul.target.ledger import Ledger

NAMED = frozenset({"schema", "type"})  # what the ledger keeps, so that it is known to be ours


def before(
    target: Session, ledger: Ledger, mapped: MappedDatabase, created: Collection[Name], report: Reporter
) -> None:
    """Schemas, types, and the tables that the target lacks."""
    wanted = [m for m in mapped.before if m.table is None or m.table in created] if created else []
    missing = [m for m in wanted if not _is_there(target, m)]
    ledger.will_make(m.name for m in missing if m.kind in NAMED)
    for one in missing:
        target.execute(one.sql)
    if missing:
        report.schema("create", [m.name for m in missing])


def run(target: Session, made: Iterable[Made], report: Reporter, step: str) -> None:
    """One after the other, but for what is there already."""
    done = []
    for one in made:
        report.check_wish()
        if not _is_there(target, one):
            target.execute(one.sql)
            done.append(one.name)
    if done:
        report.schema(step, done)


def views(target: Session, made: Iterable[Made], report: Reporter) -> None:
    """A view that the target refuses stays behind, and is named with its own text; others may stand on it."""
    done = []
    for one in made:
        report.check_wish()
        if _is_there(target, one):
            continue
        try:
            with target.transaction():
                target.execute(one.sql)
        except TransientError:
            raise
        except PghaulError as exc:
            report.notice("VIEW", one.name, exc.message)
            continue
        done.append(one.name)
    if done:
        report.schema("views", done)


def _is_there(target: Session, made: Made) -> bool:
    return made.exists is not None and bool(target.value(made.exists))


def facts(database: ForeignDatabase) -> dict[str, Any]:
    """Of the source, for the report."""
    return {
        "version": database.product,
        "database": database.identity,
        "encoding": database.encoding,
        "timezone": database.timezone,
        "engine": database.engine,
    }
