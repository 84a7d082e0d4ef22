"""The ledger's part of a merge: one transaction over several tables, run by the leader (psycopg).

The order of locks is that of a chunk's transaction: run row, claim rows, markers, then the tables.
"""

from __future__ import annotations

from collections.abc import Sequence

from pghaul.model.errors import StaleRunError
from pghaul.model.receipt import Receipt
from pghaul.model.text import say
from pghaul.postgres.session import Session
from pghaul.target import staging
from pghaul.target.ledger_sql import MARKER, MARKER_UNLOGGED

STAGED = "stage:"  # how the chunks begin that fill staging tables: their markers go with these

IS_THERE = (
    "SELECT pg_catalog.count(*) FROM pg_catalog.pg_tables WHERE schemaname = 'pghaul' AND tablename = 'watermark'"
)
STAMPS = "SELECT relation, origin, run_id, moved_at::text FROM pghaul.watermark ORDER BY 1, 2"

OWNED = """
SELECT pg_catalog.count(*) FROM (
    SELECT 1 FROM pghaul.run r JOIN pghaul.claim c ON c.run_id = r.run_id
    WHERE r.run_id = %s AND r.epoch = %s AND c.relation = ANY(%s::text[]) FOR SHARE
) AS owned
"""


def stamps(session: Session) -> dict[str, tuple[tuple[str, str, str], ...]]:
    """By target: which runs have merged into it last, and when.

    Whoever takes a snapshot looks before, and once more when the tables are his: a merge that has come between would be
    undone by the older rows of his snapshot.
    """
    out: dict[str, tuple[tuple[str, str, str], ...]] = {}
    for relation, *stamp in session.rows(STAMPS) if session.value(IS_THERE) else []:
        out[relation] = (*out.get(relation, ()), (stamp[0], stamp[1], stamp[2]))
    return out


def own(session: Session, run: str, relations: Sequence[str], epoch: int) -> None:
    """Hold the run's and the claims' rows until this transaction ends. Raises StaleRunError where they are not ours."""
    found = session.value(OWNED, (run, epoch, list(relations)))
    if found != len(relations):
        raise StaleRunError(
            say(
                "{n} of {all} tables do not belong to epoch {epoch} now",
                n=len(relations) - found,
                all=len(relations),
                epoch=epoch,
            ),
            code=5605,
        )


def mark(session: Session, run: str, relation: str, chunk: str, epoch: int, *, unlogged: bool) -> None:
    """Insert the marker, before the table is touched."""
    table = MARKER_UNLOGGED if unlogged else MARKER
    session.execute(
        f"INSERT INTO {table} (run_id, relation, chunk, epoch) VALUES (%s, %s, %s, %s)",  # noqa: S608
        (run, relation, chunk, epoch),
    )


def complete(session: Session, run: str, receipt: Receipt, *, unlogged: bool) -> None:
    """Write the receipt into the marker, last before commit."""
    table = MARKER_UNLOGGED if unlogged else MARKER
    session.execute(
        f"UPDATE {table} SET rows = %s, bytes = %s, seconds = %s, proof = %s, source_hash = %s, target_hash = %s, "  # noqa: S608
        "updated = %s, unchanged = %s, ignored = %s, rejected = %s, deleted = %s, "
        "finished_at = pg_catalog.clock_timestamp() WHERE run_id = %s AND relation = %s AND chunk = %s",
        (
            receipt.rows,
            receipt.bytes,
            receipt.seconds,
            receipt.proof.value,
            receipt.source_hash,
            receipt.target_hash,
            receipt.updated,
            receipt.unchanged,
            receipt.ignored,
            receipt.rejected,
            receipt.deleted,
            run,
            str(receipt.table),
            receipt.chunk,
        ),
    )


# A row that is read once more, and refused once more, is in quarantine already.
KNOWN = """
DELETE FROM pghaul.quarantine AS q WHERE q.run_id = %s AND pg_catalog.left(q.chunk, %s) = %s AND EXISTS (
    SELECT 1 FROM pghaul.quarantine AS o WHERE o.relation = q.relation AND o.run_id <> q.run_id
       AND o.replayed_at IS NULL AND o.row_data = q.row_data AND o.columns = q.columns AND o.encoding = q.encoding)
"""
KEEP = "UPDATE pghaul.quarantine SET chunk = %s WHERE run_id = %s AND pg_catalog.left(chunk, %s) = %s"
STAGING_RUNS = "SELECT DISTINCT run_id FROM pghaul.quarantine WHERE pg_catalog.left(chunk, %s) = %s"
DISCARD = "DELETE FROM pghaul.quarantine WHERE run_id = %s AND pg_catalog.left(chunk, %s) = %s"


def keep_rejected(session: Session, run: str, chunk: str) -> None:
    """Rows that were set aside while they were staged belong to what is merged now."""
    ours = (len(STAGED), STAGED)
    session.execute(KNOWN, (run, *ours))
    session.execute(KEEP, (chunk, run, *ours))


def discard_rejected(session: Session, run: str) -> None:
    """What was staged comes to nothing, and so does what was set aside of it: it is staged anew, or not at all."""
    session.execute(DISCARD, (run, len(STAGED), STAGED))


def discard_abandoned(session: Session) -> None:
    """The same of all runs that nobody leads: the process that was to discard it, or its connection, is gone."""
    runs = [run for (run,) in session.rows(STAGING_RUNS, (len(STAGED), STAGED))]
    for run in set(runs) - staging.led_of(session, runs):
        discard_rejected(session, run)


def forget_staged(session: Session, run: str) -> None:
    """The markers of what was staged: the rows are merged, or staged anew."""
    session.execute(
        f"DELETE FROM {MARKER_UNLOGGED} WHERE run_id = %s AND pg_catalog.left(chunk, %s) = %s",  # noqa: S608
        (run, len(STAGED), STAGED),
    )
