"""Large objects: with their oids, which the rows of tables refer to; contents, comments, and owners where asked.

A batch and the marker that says "done" are one transaction on the target. A resume makes the finished batches again
under its own snapshot, unless the ledger is trusted: there is no cheaper proof that a content is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

from pghaul.model.finding import Finding, Kind
from pghaul.model.plan import OnExisting
from pghaul.model.table import Unsupported
from pghaul.model.text import say, saying
from pghaul.postgres.session import Session
from pghaul.target.ledger import Ledger

BATCH = 100  # objects in a transaction, each of which locks one while it is replaced
BLOCK = 1 << 20  # bytes of a content in our memory at a time
READ, WRITE = 0x40000, 0x20000  # INV_READ, INV_WRITE

PAGE = """
SELECT m.oid::int8, pg_catalog.pg_get_userbyid(m.lomowner)::text, d.description
  FROM pg_catalog.pg_largeobject_metadata AS m
  LEFT JOIN pg_catalog.pg_description AS d ON d.classoid = 2613 AND d.objoid = m.oid
 WHERE m.oid > %s::oid ORDER BY m.oid LIMIT %s
"""
THERE = "SELECT m.oid::int8 FROM pg_catalog.pg_largeobject_metadata AS m WHERE m.oid = ANY (%s::oid[])"
GRANTED = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata AS m WHERE m.lomacl IS NOT NULL"
OPEN = "SELECT pg_catalog.lo_open(%s::oid, %s)"
CLOSE = "SELECT pg_catalog.lo_close(%s)"
LOAD = "SELECT pg_catalog.loread(%s, %s)"
STORE = "SELECT pg_catalog.lowrite(%s, %s::bytea)"
CREATE = "SELECT pg_catalog.lo_create(%s::oid)"
UNLINK = "SELECT pg_catalog.lo_unlink(%s::oid)"
COMMENT = sql.SQL("COMMENT ON LARGE OBJECT {} IS {}")
OWNER = sql.SQL("ALTER LARGE OBJECT {} OWNER TO {}")

PRESENT = saying("the target has a large object {oid} already")
ADVICE = say("--on-existing truncate replaces it, skip leaves it")
GRANTS = say("what is granted on large objects is not carried")


@dataclass(frozen=True, slots=True, kw_only=True)
class Large:
    """One object, without its content."""

    oid: int
    owner: str
    comment: str | None


def findings(source: Session, target: Session, choice: OnExisting) -> Iterator[Finding]:
    """The first that would collide, where the plan does not say what to do about it."""
    if choice in {OnExisting.TRUNCATE, OnExisting.REFRESH, OnExisting.SKIP}:
        return
    for page in pages(source):
        for oid in sorted(_there(target, page)):
            yield Finding(
                kind=Kind.ROWS_PRESENT,
                object=say("large object {oid}", oid=oid),
                what=PRESENT.format(oid=oid),
                where=target.server.database,
                advice=ADVICE,
                code=5401,
            )
            return


def left(source: Session) -> Iterator[Unsupported]:
    """Privileges on them."""
    if count := int(source.value(GRANTED)):
        yield Unsupported(kind="PRIVILEGE", name=say("{n} large objects", n=count), why=GRANTS)


def carry(
    source: Session,
    target: Session,
    ledger: Ledger,
    *,
    choice: OnExisting,
    epoch: int,
    owners: bool,
    trusted: bool,
    between: Callable[[], None],
) -> int:
    """Copy all; how many. `between` is called after each batch, and may raise."""
    done = ledger.batches()
    count = 0
    for page in pages(source):
        key = f"{page[0].oid}-{page[-1].oid}"
        finished = {o.oid for o in page if any(first <= o.oid <= last for first, last in done)}
        kept = finished if choice is OnExisting.SKIP or trusted else set()
        todo = [o for o in page if o.oid not in kept]
        with ledger.batch(key, epoch, len(todo)):
            count += _copy(source, target, todo, choice=choice, ours=finished, owners=owners)
        between()
    return count


def pages(source: Session) -> Iterator[list[Large]]:
    """By oid, so many at a time."""
    last = 0
    while rows := source.rows(PAGE, (last, BATCH)):
        yield [Large(oid=oid, owner=owner, comment=comment) for oid, owner, comment in rows]
        last = rows[-1][0]


def _there(target: Session, page: Sequence[Large]) -> set[int]:
    return {oid for (oid,) in target.rows(THERE, ([o.oid for o in page],))}


def _copy(
    source: Session, target: Session, todo: Sequence[Large], *, choice: OnExisting, ours: Collection[int], owners: bool
) -> int:
    there = _there(target, todo)
    count = 0
    for large in todo:
        if large.oid in there and large.oid not in ours and choice is OnExisting.SKIP:
            continue
        if large.oid in there:
            target.value(UNLINK, (large.oid,))
        target.value(CREATE, (large.oid,))
        _fill(source, target, large.oid)
        if large.comment is not None:
            target.execute(COMMENT.format(sql.Literal(large.oid), sql.Literal(large.comment)))
        if owners:
            target.execute(OWNER.format(sql.Literal(large.oid), sql.Identifier(large.owner)))
        count += 1
    return count


def _fill(source: Session, target: Session, oid: int) -> None:
    here, far = source.value(OPEN, (oid, READ)), target.value(OPEN, (oid, WRITE))
    while block := source.value(LOAD, (here, BLOCK)):
        target.value(STORE, (far, block))
    source.value(CLOSE, (here,))
    target.value(CLOSE, (far,))
