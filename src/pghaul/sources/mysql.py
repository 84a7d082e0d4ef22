"""MySQL from 5.7 and MariaDB: described by PyMySQL, read by connectorx through a process of our own.

docs/connectors.md says what is guaranteed. A Source has up to three sessions with the server: one that asks, one that
reads (in that process), and, where all workers are to see one moment, the leader's that keeps writers waiting.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pghaul.model.errors import NotFoundError, PghaulError, SnapshotLostError, SourceError, StoppedError, TransientError
from pghaul.model.foreign import Consistency, ForeignDatabase, ForeignEndpoint, Guarantees, KeyRange, Reading
from pghaul.model.probe import ForeignFacts
from pghaul.model.table import Name
from pghaul.model.text import listed, say
from pghaul.sources import _mysql_catalog_sql as sql
from pghaul.sources._mysql_batches import FinishedBatches, RawBatches
from pghaul.sources._mysql_catalog import Catalog, asked, without_nulls
from pghaul.sources._mysql_facts import facts
from pghaul.sources._mysql_look import alike, look, with_types
from pghaul.sources._mysql_process import start_ahead
from pghaul.sources._mysql_projection import Projected, alarmed, is_no_date, is_no_time, project, quoted
from pghaul.sources._mysql_query import rows_of_a_batch, select
from pghaul.sources._mysql_reader import Link
from pghaul.sources._mysql_rows import with_rows
from pghaul.sources._mysql_session import INTERRUPTED, connect, translated, translating
from pghaul.sources._mysql_snapshot import BEGIN, check_frozen, freeze
from pghaul.sources._mysql_types import TABLE
from pghaul.sources._mysql_url import SCHEMES, endpoint
from pghaul.sources.reading_sql import where_clause

if TYPE_CHECKING:
    import pymysql

    from pghaul.sources.protocol import Batches

__all__ = ["SCHEMES", "MysqlSource", "endpoint", "open", "sslmode", "types"]

SSLMODES = {
    "disabled": "disable", "preferred": "prefer", "required": "require", "verify-ca": "verify-ca",
    "verify-identity": "verify-full",
}  # fmt: skip
PATIENCE = 0.8  # seconds that cancel() goes on
AGAIN = 0.02
ZERO_DATES = say("name them in the URL: zero-dates=null reads them as NULL, zero-dates=text leaves them to quarantine")


def open(endpoint: ForeignEndpoint) -> MysqlSource:  # noqa: A001 -- the protocol's name
    """Connect. NotFoundError names the extra where a driver is missing."""
    return MysqlSource(endpoint)


def warm_up() -> None:
    """The process that reads starts while the drivers are imported."""
    starting = threading.Thread(target=start_ahead)
    starting.start()
    try:
        import connectorx  # noqa: F401, PLC0415
        import pyarrow as pa  # noqa: F401, PLC0415
    finally:
        starting.join()


def types() -> tuple[tuple[str, str, str], ...]:
    """For `pghaul types mysql`."""
    return TABLE


def sslmode(endpoint: ForeignEndpoint) -> str:
    """libpq's words are nearly the same."""
    mode = endpoint.get("ssl-mode", "preferred").lower()
    return SSLMODES["disabled" if endpoint.get("socket") and mode == "preferred" else mode]


class MysqlSource:
    """An open server; see sources/protocol.py."""

    def __init__(self, endpoint: ForeignEndpoint) -> None:
        self._endpoint = endpoint
        self._params = dict(endpoint.params)
        self._where = endpoint.display
        self._one_moment = endpoint.get("consistency") == "snapshot"
        self.guarantees = Guarantees(consistency=Consistency.SNAPSHOT if self._one_moment else Consistency.STATEMENT)
        self._link: Link | None = None
        self._keeper: pymysql.Connection[Any] | None = None
        self._batches: FinishedBatches | None = None
        self._token = ""
        self._stopped = False
        self._busy = 0  # how many of our calls wait for the server
        self._session = self._connect()

    def _connect(self) -> pymysql.Connection[Any]:
        with translating(self._where):
            return connect(self._params, self._endpoint.password)

    # --- what there is ------------------------------------------------------------------------------------------------

    def database(self) -> ForeignDatabase:
        """Described by information_schema, and by a bounded look at columns of which the type does not tell enough."""
        zero_dates = self._endpoint.get("zero-dates", "refuse")
        with translating(self._where):
            catalog = self._catalog()
            found = with_rows(self._session, catalog.database(self._identity()), self._endpoint.get("database"))
            said = look(self._session, [(self._database_of(t.name), t) for t in found.tables], zero_dates)
        found = alike(with_types(found, said))
        return without_nulls(found) if zero_dates == "null" else found

    def facts(self) -> ForeignFacts:
        """For `pghaul profile test`."""
        with self._waiting(), translating(self._where):
            return facts(self._asking(), self._catalog())

    def clock(self) -> float:
        """Of the server."""
        return float(self._one(sql.CLOCK)["NOW"])

    def _catalog(self) -> Catalog:
        one = self._endpoint.get("database")
        if one:
            return Catalog(self._session, (one,), single=True)
        chosen = [d.strip() for d in self._endpoint.get("databases").split(",") if d.strip()]
        there = [str(r["NAME"]) for r in asked(self._session, sql.DATABASES)]
        if missing := [d for d in chosen if d not in there]:
            raise NotFoundError(
                say("there is no database {names}", names=listed(missing)),
                where=self._where,
                advice=say("there are {names}", names=listed(there)),
                code=5292,
            )
        return Catalog(self._session, chosen or [d for d in there if d.lower() not in sql.OURS], single=False)

    def _identity(self) -> str:
        place = self._endpoint.get("socket") or f"{self._endpoint.get('host')}:{self._endpoint.get('port')}"
        return f"mysql://{place}/{self._endpoint.get('database') or self._endpoint.get('databases')}"

    def _database_of(self, table: Name) -> str:
        return table.schema or self._endpoint.get("database")

    def _quoted(self, table: Name) -> str:
        return f"{quoted(self._database_of(table))}.{quoted(table.name)}"

    def bounds(self, table: Name, column: str, where: str | None = None) -> tuple[int, int] | None:
        """MIN and MAX, which an index answers at once."""
        query = f"SELECT MIN({quoted(column)}) AS l, MAX({quoted(column)}) AS h FROM {self._quoted(table)}"  # noqa: S608
        row = self._one(query + where_clause(where, None, quoted))
        return None if row["L"] is None else (int(row["L"]), int(row["H"]))

    def count(self, table: Name, where: str | None = None, range_: KeyRange | None = None) -> int:
        """Counted."""
        query = f"SELECT COUNT(*) AS n FROM {self._quoted(table)}{where_clause(where, range_, quoted)}"  # noqa: S608
        return int(self._one(query)["N"])

    def _one(self, query: str) -> dict[str, Any]:
        return self._rows(query)[0]

    def _rows(self, query: str, *values: str) -> list[dict[str, Any]]:
        with self._waiting(), translating(self._where):
            return asked(self._asking(), query, values)

    def _asking(self) -> pymysql.Connection[Any]:
        """The session that asks; one that was lost is opened anew."""
        if not self._session.open:
            self._session = self._connect()
            if self._token:
                self._begin()
        return self._session

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        """What cancel() may end; StoppedError where it has."""
        self._busy += 1
        try:
            yield
        except TransientError as exc:
            if self._stopped:
                raise self._cancelled() from exc
            raise
        finally:
            self._busy -= 1

    def _cancelled(self) -> StoppedError:
        return StoppedError(say("reading was cancelled"), where=self._where, code=4040)

    # --- rows ---------------------------------------------------------------------------------------------------------

    def read(self, reading: Reading) -> Batches:
        """Through the process that reads. What was read before is ended."""
        self._stopped = False
        if self._batches is not None:
            self._batches.close()
        with self._waiting():
            columns = self._project(reading)
            sizes = self._rows(sql.SIZE_OF_ONE, self._database_of(reading.table), reading.table.name)
            link = self._reader()
            if self._stopped:
                raise self._cancelled()
            raw = RawBatches(
                link,
                select(self._quoted(reading.table), columns, reading),
                rows=rows_of_a_batch(reading, sizes[0] if sizes else {}),
                size=reading.batch_bytes,
                refused=lambda number, words: self._refused(reading, columns, number, words),
                kill=lambda: self._kill(link.id),
                waiting=self._waiting,
            )
        self._batches = FinishedBatches(raw, reading, columns, self._go_on, self._where)
        return self._batches

    def _go_on(self) -> None:
        if self._stopped:
            raise self._cancelled()

    def _project(self, reading: Reading) -> list[Projected]:
        """NotFoundError for a table or a column that is not there."""
        rows = self._rows(sql.COLUMNS_OF_ONE, self._database_of(reading.table), reading.table.name)
        charsets = {str(r["COLUMN_NAME"]).lower(): str(r["CHARACTER_SET_NAME"] or "") for r in rows}
        name = f"{reading.table.schema}.{reading.table.name}".removeprefix(".")
        if not rows:
            raise NotFoundError(say("the source has no table {table}", table=name), where=self._where, code=5293)
        wanted = [c for c in reading.columns if c.expression is None]
        if missing := [c.name for c in wanted if c.name.lower() not in charsets]:
            raise NotFoundError(
                say("{table} has no column {columns}", table=name, columns=listed(missing)),
                where=self._where,
                code=5294,
            )
        zero_dates = self._endpoint.get("zero-dates", "refuse")
        mariadb = "mariadb" in self._session.get_server_info().lower()
        return [
            project(c, i, charsets.get(c.name.lower(), ""), zero_dates, mariadb=mariadb)
            for i, c in enumerate(reading.columns)
        ]

    def _reader(self) -> Link:
        """The one that there is, or a new one, which sees what we see."""
        if self._link is not None and not self._link.broken:
            return self._link
        if self._link is not None:
            self._link.close()
        self._link = Link(self._endpoint, (BEGIN,) if self._token else ())
        if self._token:
            with translating(self._where):
                check_frozen(self._session, self._token, self._where)
        return self._link

    def _refused(self, reading: Reading, columns: list[Projected], number: int, words: str) -> PghaulError:
        """What the server has said while it was read."""
        if self._stopped and number in {INTERRUPTED, 2013}:
            return self._cancelled()
        column = alarmed(words)
        if number != 1690 or column is None or not 0 <= column < len(columns):
            return translated(number, words, self._where)
        return self._odd(reading, columns[column])

    def _odd(self, reading: Reading, column: Projected) -> SourceError:
        """The rows at which the server has stopped by our own wish: counted, and named."""
        name, table = quoted(column.name), self._shown(reading.table)
        if column.alarm == "date":
            return SourceError(
                say(
                    "{n} values of {column} in {table} are no dates, such as 0000-00-00",
                    n=self._count_of(reading, is_no_date(name)),
                    column=column.name,
                    table=table,
                ),
                where=self._where,
                advice=ZERO_DATES,
                code=6931,
            )
        if column.alarm == "time":
            return SourceError(
                say(
                    "{n} values of {column} in {table} are below 0 or beyond a day: no times",
                    n=self._count_of(reading, is_no_time(name)),
                    column=column.name,
                    table=table,
                ),
                where=self._where,
                advice=say("give the column the type interval in the plan"),
                code=6932,
            )
        return SourceError(
            say(
                "{column} in {table} holds bytes that are no characters of its character set",
                column=column.name,
                table=table,
            ),
            where=self._where,
            advice=say("say in the plan what they are (encodings), or give the column the type bytea"),
            code=6933,
        )

    def _count_of(self, reading: Reading, condition: str) -> int:
        with contextlib.suppress(PghaulError):
            where = f"({reading.where}\n) AND {condition}" if reading.where else condition
            return self.count(reading.table, where, reading.range)
        return 1

    def _shown(self, table: Name) -> str:
        return f"{table.schema}.{table.name}" if table.schema else table.name

    # --- one moment ---------------------------------------------------------------------------------------------------

    def hold(self) -> str:
        """Where one moment is asked for: keep writers waiting until close(), and see what is there now."""
        if self._one_moment and self._keeper is None:
            with translating(self._where):
                tables = [self._quoted(t.name) for t in self._catalog().database("").tables]
            self._keeper = self._connect()
            with translating(self._where):
                self._token = freeze(self._keeper, tables)
            self._begin()
        return self._token

    def join(self, token: str) -> None:
        """See what the one who holds it sees."""
        self._token = token
        if token:
            self._begin()

    def _begin(self) -> None:
        with translating(self._where):
            check_frozen(self._session, self._token, self._where)
            with self._session.cursor() as cursor:
                cursor.execute(BEGIN)
            check_frozen(self._session, self._token, self._where)

    def check(self) -> None:
        """Whether writers are still kept waiting; without one moment nothing is known of changes."""
        if self._token:
            try:
                with translating(self._where):
                    check_frozen(self._session, self._token, self._where)
            except SnapshotLostError:
                raise
            except PghaulError as exc:
                raise SnapshotLostError(
                    say("whether writers are kept waiting is not known any more: {why}", why=exc.message),
                    where=self._where,
                    code=2441,
                ) from exc

    # --- the end ------------------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """From another thread: end on the server what our sessions are doing, also what they are only about to do."""
        self._stopped = True
        deadline = time.monotonic() + PATIENCE
        with contextlib.suppress(PghaulError), contextlib.closing(self._connect()) as other:
            while True:
                self._kill_by(other, *([self._link.id] if self._link else []), self._session.thread_id())
                if not self._busy or time.monotonic() > deadline:
                    return
                time.sleep(AGAIN)

    def _kill(self, *sessions: int) -> None:
        with contextlib.closing(self._connect()) as other:
            self._kill_by(other, *sessions)

    def _kill_by(self, other: pymysql.Connection[Any], *sessions: int) -> None:
        """A session that has gone meanwhile needs no order."""
        with other.cursor() as cursor:
            for number in sessions:
                with contextlib.suppress(Exception):
                    cursor.execute(f"KILL QUERY {int(number)}")

    def close(self) -> None:
        """Twice does no harm."""
        with contextlib.suppress(Exception):
            if self._link is not None:
                self._link.close()
        for session in (self._session, self._keeper):
            with contextlib.suppress(Exception):
                if session is not None and session.open:
                    session.close()

    def __enter__(self) -> MysqlSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
