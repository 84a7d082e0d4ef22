"""What the mapping says is to be made on the target, by the leader: before the rows, and after them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from pghaul.engine.report import Reporter
from pghaul.model.errors import PghaulError, TransientError
from pghaul.model.foreign import ForeignDatabase
from pghaul.model.mapped import Made, MappedDatabase
from pghaul.model.table import Name
from pghaul.postgres.session import Session
from pghaul.target.ledger import Ledger

TOGETHER = 32  # statements: each by itself takes a turn, and a commit that waits for the disk
LOCKS = 64  # of the server's table of locks for each of them: about eight are taken, and others need some, too
NAMED = frozenset({"schema", "type"})  # what the ledger keeps, so that it is known to be ours


def before(
    target: Session, ledger: Ledger, mapped: MappedDatabase, created: Collection[Name], report: Reporter
) -> None:
    """Schemas, types, and the tables that the target lacks."""
    wanted = [m for m in mapped.before if m.table is None or m.table in created] if created else []
    missing = [m for some in together(target, wanted) for m in not_there(target, some)]
    ledger.will_make(m.name for m in missing if m.kind in NAMED)
    for some in together(target, missing):
        report.check_wish()
        target.execute(as_one(some))
    if missing:
        report.schema("create", [m.name for m in missing])


def run(target: Session, made: Iterable[Made], report: Reporter, step: str) -> None:
    """In their order, but for what is there already."""
    done = []
    for some in together(target, list(made)):
        report.check_wish()
        if missing := not_there(target, some):
            target.execute(as_one(missing))
            done += [m.name for m in missing]
    if done:
        report.schema(step, done)


def together(target: Session, made: Sequence[Made]) -> Iterator[Sequence[Made]]:
    """As many as go in one message and one transaction: all that they lock stays locked to its end."""
    most = min(TOGETHER, room(target))
    return (made[at : at + most] for at in range(0, len(made), most))


def room(target: Session) -> int:
    """How many tables one transaction may make or fill."""
    return max(1, target.server.max_locks // LOCKS)


def not_there(target: Session, made: Sequence[Made]) -> list[Made]:
    """What has not been made yet, or cannot be told; asked at once."""
    asked = [m for m in made if m.exists is not None]
    row = target.rows("SELECT " + ", ".join(f"({m.exists})" for m in asked))[0] if asked else ()
    there = {m.name for m, found in zip(asked, row, strict=True) if found}
    return [m for m in made if m.name not in there]


def as_one(made: Iterable[Made]) -> str:
    """A message of several statements, which the server takes as one transaction."""
    return ";\n".join(m.sql for m in made)


def views(target: Session, made: Iterable[Made], report: Reporter) -> None:
    """A view that the target refuses stays behind, and is named with its own text; others may stand on it."""
    done = []
    for one in made:
        report.check_wish()
        if not not_there(target, [one]):
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


def facts(database: ForeignDatabase) -> dict[str, Any]:
    """Of the source, for the report."""
    return {
        "version": database.product,
        "database": database.identity,
        "encoding": database.encoding,
        "timezone": database.timezone,
        "engine": database.engine,
    }
