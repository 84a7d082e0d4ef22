"""What a target's ledger says of runs, for whoever has lost the state store. Reads only; installs nothing."""

from __future__ import annotations

from pghaul.model.errors import NotFoundError
from pghaul.model.run import LedgerRun
from pghaul.model.text import say
from pghaul.postgres.session import Session
from pghaul.target.ledger_sql import IS_INSTALLED

RUNS = """
SELECT r.run_id, r.state, r.epoch, r.started_at, r.finished_at,
       (SELECT pg_catalog.count(*) FROM pghaul.claim c WHERE c.run_id = r.run_id),
       COALESCE(m.chunks, 0), COALESCE(m.rows, 0)::int8, COALESCE(m.bytes, 0)::int8
FROM pghaul.run r LEFT JOIN (
    SELECT a.run_id, pg_catalog.count(*) AS chunks, pg_catalog.sum(a.rows) AS rows, pg_catalog.sum(a.bytes) AS bytes
    FROM (SELECT run_id, rows, bytes FROM pghaul.chunk_marker WHERE finished_at IS NOT NULL
          UNION ALL SELECT run_id, rows, bytes FROM pghaul.chunk_marker_unlogged WHERE finished_at IS NOT NULL) a
    GROUP BY a.run_id) m ON m.run_id = r.run_id
ORDER BY r.started_at DESC, r.run_id LIMIT %s
"""


def runs(session: Session, limit: int) -> list[LedgerRun]:
    """The latest first. NotFoundError where no run has ever written."""
    if not session.value(IS_INSTALLED):
        raise NotFoundError(
            say("this database has no ledger of pghaul"),
            where=session.server.database,
            advice=say("name the target of the run that you look for"),
            code=5286,
        )
    return [
        LedgerRun(
            id=run,
            state=state,
            epoch=epoch,
            started=started,
            finished=finished,
            tables=tables,
            chunks=chunks,
            rows=rows,
            bytes=size,
        )
        for run, state, epoch, started, finished, tables, chunks, rows, size in session.rows(RUNS, (limit,))
    ]
