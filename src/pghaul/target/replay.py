"""How rows that were set aside are written once more: every statement of a replay, on the session that runs them.

Rows and the word that they are replayed are committed together. A replay writes as any application does: triggers fire,
foreign keys and policies are checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from pghaul.model.errors import PghaulError, QuarantineError
from pghaul.model.quarantine import Conflict, SetAside
from pghaul.model.table import Name, Table
from pghaul.model.text import say
from pghaul.postgres.session import Session

# What the target says against one row; anything else is against the whole replay. By class, and by code.
OF_A_ROW = ("02", "21", "22", "23", "27", "38", "39", "44", "54", "P0")
NOT_WRITTEN = "02000"  # no_data: ours, for a row that vanished on its way

LOCK = "SELECT pg_catalog.pg_advisory_xact_lock(28520, pg_catalog.hashtext('pghaul replay ' || %s))"
PATIENT = "SET LOCAL lock_timeout = 0"
# The next one waits for as long as it takes, but not for one whose client is gone without a word.
AWAKE = "SET LOCAL idle_in_transaction_session_timeout = '30s'"
LOCK_TIMEOUT = "SELECT pg_catalog.current_setting('lock_timeout')"
WITHIN = "SELECT pg_catalog.set_config('lock_timeout', %s, true)"
AT_ONCE = "SET CONSTRAINTS ALL IMMEDIATE"  # a key that is checked at the commit would end all of it

BEGIN_RUN = """
INSERT INTO pghaul.run (run_id, epoch, leader, state, source_identity)
SELECT %s, 1, 'replay', 'done', 'pghaul.quarantine'
WHERE NOT EXISTS (SELECT 1 FROM pghaul.run WHERE run_id = %s)
"""
END_RUN = "UPDATE pghaul.run SET state = %s, finished_at = pg_catalog.clock_timestamp() WHERE run_id = %s"
MARK = """
INSERT INTO pghaul.chunk_marker (run_id, relation, chunk, epoch, rows, bytes, seconds, proof, updated, ignored,
                                 rejected, finished_at)
VALUES (%s, %s, %s, 1, %s, %s, %s, 'count', %s, %s, %s, pg_catalog.clock_timestamp())
"""
DONE = """
UPDATE pghaul.quarantine SET replayed_by = %s, replayed_at = pg_catalog.clock_timestamp() WHERE id = ANY (%s)
"""
STILL = """
UPDATE pghaul.quarantine SET sqlstate = %s, message = %s, column_name = %s, constraint_name = %s WHERE id = %s
"""
COPY = "COPY {} ({}) FROM STDIN (FORMAT text, ENCODING {})"
COPY_BARE = "COPY {} FROM STDIN (FORMAT text, ENCODING {})"
WAITING_ROOM = "CREATE TEMPORARY TABLE pghaul_replay ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA"
EMPTY_ROOM = "TRUNCATE TABLE pg_temp.pghaul_replay"
NO_ROOM = "DROP TABLE IF EXISTS pg_temp.pghaul_replay"
UPSERT = """
WITH written AS (
    INSERT INTO {table} AS t ({columns}) {overriding} SELECT {columns} FROM pg_temp.pghaul_replay
    ON CONFLICT {action} RETURNING (xmax = 0) AS is_new)
SELECT pg_catalog.count(*), pg_catalog.count(CASE WHEN is_new THEN 1 END) FROM written
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of rows that were taken."""

    inserted: int = 0
    updated: int = 0
    ignored: int = 0

    def __add__(self, other: Written) -> Written:
        """Both together."""
        return Written(
            inserted=self.inserted + other.inserted,
            updated=self.updated + other.updated,
            ignored=self.ignored + other.ignored,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A row that stays set aside, and why."""

    row: SetAside
    error: PghaulError


class Writer:
    """Writes lines of one table with one list of columns. `key`: by which a conflict is met."""

    def __init__(
        self, session: Session, table: Table, columns: tuple[str, ...], conflict: Conflict, key: Sequence[str]
    ) -> None:
        self._session = session
        self._table = table
        self._columns = columns
        self._conflict = conflict
        self._key = key
        self._names = sql.SQL(", ").join(map(sql.Identifier, columns))

    def prepare(self) -> None:
        """Outside of any savepoint."""
        if self._conflict is not Conflict.ERROR:
            self._session.execute(NO_ROOM)
            self._session.execute(sql.SQL(WAITING_ROOM).format(self._names, _identifier(self._table.name)))

    def write(self, rows: Sequence[SetAside]) -> tuple[Written, list[Refused]]:
        """All that the target takes; of a portion that it refuses, each half by itself."""
        try:
            with self._session.transaction():
                return self._write(rows), []
        except PghaulError as exc:
            if not is_of_a_row(exc):
                raise
            if len(rows) == 1:
                return Written(), [Refused(row=rows[0], error=exc)]
        middle = len(rows) // 2
        left, refused = self.write(rows[:middle])
        right, others = self.write(rows[middle:])
        return left + right, refused + others

    def _write(self, rows: Sequence[SetAside]) -> Written:
        if self._conflict is Conflict.ERROR:
            self._expect(self._copy(_identifier(self._table.name), rows), rows)
            return Written(inserted=len(rows))
        self._session.execute(EMPTY_ROOM)
        self._expect(self._copy(sql.Identifier("pg_temp", "pghaul_replay"), rows), rows)
        ((written, new),) = self._session.rows(self._upsert())
        if self._conflict is Conflict.IGNORE:
            return Written(inserted=written, ignored=len(rows) - written)
        self._expect(written, rows)
        return Written(inserted=new, updated=written - new)

    def _copy(self, into: sql.Composable, rows: Sequence[SetAside]) -> int:
        encoding = sql.Literal(rows[0].encoding)
        words = sql.SQL(COPY).format(into, self._names, encoding) if self._columns else None
        statement = words or sql.SQL(COPY_BARE).format(into, encoding)
        return self._session.copy_in(statement.as_string(None), b"".join(row.line + b"\n" for row in rows))

    def _expect(self, written: int, rows: Sequence[SetAside]) -> None:
        if written != len(rows):
            raise QuarantineError(
                say("a trigger or a rule of the table left the row out"),
                where=str(self._table.name),
                advice=say("look at the table's triggers"),
                sqlstate=NOT_WRITTEN,
                code=6841,
            )

    def _upsert(self) -> sql.Composable:
        identities = {c.name for c in self._table.columns if c.identity}
        changed = [sql.Identifier(c) for c in self._columns if c not in self._key and c not in identities]
        if self._conflict is Conflict.IGNORE:
            action: sql.Composable = sql.SQL("DO NOTHING")
        else:
            # Where there is nothing but the key, it is written over itself, so that the row is counted.
            pairs = changed or [sql.Identifier(c) for c in self._key]
            sets = sql.SQL(", ").join(sql.SQL("{} = excluded.{}").format(c, c) for c in pairs)
            by = sql.SQL(", ").join(map(sql.Identifier, self._key))
            action = sql.SQL("({}) DO UPDATE SET {}").format(by, sets)
        return sql.SQL(UPSERT).format(
            table=_identifier(self._table.name),
            columns=self._names,
            overriding=sql.SQL("OVERRIDING SYSTEM VALUE" if identities else ""),
            action=action,
        )


def is_of_a_row(exc: PghaulError) -> bool:
    """Is it about the rows at hand, and not about the table, the server or the way to it?"""
    return (exc.sqlstate or "")[:2] in OF_A_ROW


def alone(session: Session, table: str) -> None:
    """Two replays of a table go one after the other, however long that takes."""
    if session.server.capabilities.idle_timeout:
        session.execute(AWAKE)
    before = session.value(LOCK_TIMEOUT)
    session.execute(PATIENT)
    session.rows(LOCK, (table,))
    session.rows(WITHIN, (before,))


def begin(session: Session, run: str) -> None:
    """The ledger's entry of the replay, once, and how this transaction checks."""
    session.execute(BEGIN_RUN, (run, run))
    session.execute(AT_ONCE)


def done(session: Session, run: str, rows: Sequence[SetAside]) -> None:
    """They are no longer set aside, once this transaction is committed."""
    session.execute(DONE, (run, [row.id for row in rows]))


def still(session: Session, refused: Refused) -> None:
    """It stays, with the reason of today."""
    error = refused.error
    diag = getattr(error.__cause__, "diag", None)
    column, constraint = (getattr(diag, name, None) for name in ("column_name", "constraint_name"))
    session.execute(STILL, (error.sqlstate, error.message, column, constraint, refused.row.id))


def mark(
    session: Session, run: str, table: str, number: int, written: Written, *, left: int, size: int, seconds: float
) -> None:
    """The ledger's receipt of what this transaction did."""
    rows = written.inserted + written.updated + written.ignored + left
    session.execute(MARK, (run, table, f"replay:{number}", rows, size, seconds, written.updated, written.ignored, left))


def end(session: Session, run: str, *, complete: bool) -> None:
    """How it ended. Until then it counts as done: what a killed replay has committed is complete in itself."""
    session.execute(END_RUN, ("done" if complete else "different", run))


def _identifier(name: Name) -> sql.Identifier:
    return sql.Identifier(name.schema, name.name)
