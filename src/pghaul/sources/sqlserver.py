"""SQL Server from 2008, and Azure SQL: described by its catalogue, read by pymssql.

What a reading sees: where the database allows snapshot isolation, each statement sees one moment (and with
`consistency=table`, where no table is cut into ranges, so does each table); else what is committed when it is met. A
database that is read-only, and a database snapshot, is one moment as a whole. docs/connectors.md says it to people.
"""

from __future__ import annotations

from types import TracebackType

from pghaul.model.errors import AccessError, SnapshotLostError, SourceError
from pghaul.model.foreign import (
    Consistency,
    ForeignDatabase,
    ForeignEndpoint,
    Guarantees,
    KeyRange,
    ReadColumn,
    Reading,
)
from pghaul.model.probe import ForeignFacts
from pghaul.model.table import Name
from pghaul.model.text import say
from pghaul.sources import _sqlserver_sql as sql
from pghaul.sources._sqlserver_catalog import charset, describe
from pghaul.sources._sqlserver_connection import Connection, literal, quoted
from pghaul.sources._sqlserver_forms import Form, form
from pghaul.sources._sqlserver_reading import Rows, condition, table_sql
from pghaul.sources._sqlserver_types import TYPES, native
from pghaul.sources._sqlserver_url import SCHEMES, endpoint
from pghaul.sources.reading_sql import check_names

__all__ = ["SCHEMES", "SQLServer", "endpoint", "open", "sslmode", "types"]

FROZEN = "read-only"  # the token of a database that nobody can write to
Y2000 = 946_684_800  # seconds from 1970 on
ALLOWED = 1  # of snapshot_isolation_state


def open(endpoint: ForeignEndpoint) -> SQLServer:  # noqa: A001 -- the protocol's word
    """Connect. NotFoundError names the extra where the driver is missing."""
    return SQLServer(endpoint)


def types() -> tuple[tuple[str, str, str], ...]:
    """For `pghaul types sqlserver`."""
    return TYPES


def sslmode(endpoint: ForeignEndpoint) -> str:
    """The driver encrypts, and looks at no certificate."""
    return "disable" if endpoint.get("encrypt") == "no" else "require"


class SQLServer:
    """An open database (sources.protocol.Source)."""

    def __init__(self, endpoint: ForeignEndpoint) -> None:
        self._endpoint = endpoint
        self._where = endpoint.display
        self._idle: list[Connection] = []  # those that read, and have read to the end
        self._rows: list[Rows] = []
        self._closed = False
        self._connection = Connection(endpoint)
        self._frozen, snapshots = self._reached()
        self._level = "SNAPSHOT" if snapshots and not self._frozen else "READ COMMITTED"
        self._connection.isolate(self._level)
        self.guarantees = self._promised()

    def _reached(self) -> tuple[bool, bool]:
        """Whether the database is read-only, and whether it allows snapshots. The driver tells of no wrong one."""
        _, _, name, _, _, state, read_only = self._connection.ask(sql.DATABASE)[0]
        if name.casefold() != self._endpoint.get("database").casefold():
            self.close()
            raise AccessError(
                say("there is no database {name}, or it may not be used", name=self._endpoint.get("database")),
                where=self._where,
                advice=say("look at its name, and whether the login has a user in it"),
                code=5176,
            )
        return bool(read_only), state == ALLOWED

    def _promised(self) -> Guarantees:
        """The best that costs no speed, or what the URL or the plan asks for."""
        if self._frozen:
            return Guarantees(consistency=Consistency.SNAPSHOT)
        whole = self._level == "SNAPSHOT" and self._endpoint.get("consistency", "auto") != "auto"
        return Guarantees(consistency=Consistency.TABLE if whole else Consistency.STATEMENT, ranges=not whole)

    def database(self) -> ForeignDatabase:
        return describe(self._connection, self._identity(), self._endpoint.get("schema"))

    def facts(self) -> ForeignFacts:
        """For `pghaul profile test`."""
        ask, schema = self._connection.ask, self._endpoint.get("schema")
        version, edition, _, _, page, _, read_only = ask(sql.DATABASE)[0]
        login, user, zone, *rights = ask(sql.ABOUT_US)[0]
        seen = [(s, name, may) for s, name, may in ask(sql.SEEN) if schema in {"", s}]
        named = dict(zip(("SELECT", "VIEW DEFINITION"), rights, strict=True))
        return ForeignFacts(
            product=f"SQL Server {version} ({edition})",
            encoding=charset(page) or "",
            time_zone=str(zone),
            user=f"{login} ({user})",
            granted=tuple(word for word, has in named.items() if has),
            not_granted=tuple(word for word, has in named.items() if not has),
            tables=len(seen),
            unreadable=tuple(f"{s}.{name}" for s, name, may in seen if not may),
            read_only=bool(read_only),
            encrypted=sslmode(self._endpoint) != "disable",
        )

    def clock(self) -> float:
        """Of the server."""
        seconds, micro = self._connection.ask(sql.CLOCK)[0]
        return Y2000 + int(seconds) + int(micro) / 1_000_000

    def _identity(self) -> str:
        get = self._endpoint.get
        place = get("port") or get("instance")
        return f"sqlserver://{get('host')}:{place}/{get('database')}"

    def bounds(self, table: Name, column: str, where: str | None = None) -> tuple[int, int] | None:
        statement = sql.ENDS.format(column=quoted(column), table=table_sql(table), where=condition(where, None))
        low, high = self._connection.ask(statement)[0]
        if low is None:
            return None
        if int(low) != low or int(high) != high:
            raise SourceError(
                say("column {column} is no integer key", column=column), where=f"{self._where}, {table}", code=6927
            )
        return int(low), int(high)

    def count(self, table: Name, where: str | None = None, range_: KeyRange | None = None) -> int:
        statement = sql.COUNT.format(table=table_sql(table), where=condition(where, range_))
        return int(self._connection.ask(statement)[0][0])

    def read(self, reading: Reading) -> Rows:
        forms = self._forms(reading)
        self._rows = [r for r in self._rows if not r.done.is_set()]
        rows = Rows(self._reader(), reading, forms, self._release)
        self._rows.append(rows)
        return rows

    def _reader(self) -> Connection:
        """A session to read with: the one that asks has to stay free."""
        if self._idle:
            return self._idle.pop()
        connection = Connection(self._endpoint)
        connection.isolate(self._level)
        return connection

    def _release(self, connection: Connection) -> None:
        if self._closed:
            connection.close()
        else:
            self._idle.append(connection)

    def hold(self) -> str:
        return FROZEN if self._frozen else ""

    def join(self, token: str) -> None:
        if token == FROZEN and not self._frozen:
            raise self._lost()

    def check(self) -> None:
        if self._frozen and not self._connection.ask(sql.FROZEN)[0][0]:
            raise self._lost()

    def cancel(self) -> None:
        for rows in list(self._rows):
            rows.stop()

    def close(self) -> None:
        self._closed = True
        for rows in self._rows:
            rows.close()
        for connection in (self._connection, *self._idle):
            connection.close()
        self._idle.clear()

    def __enter__(self) -> SQLServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lost(self) -> SnapshotLostError:
        return SnapshotLostError(
            say("the database was read-only, and can be written to now"), where=self._where, code=2476
        )

    def _forms(self, reading: Reading) -> list[Form]:
        """By the types that the server has now: what was described may have changed."""
        known = self._types_of(reading)
        expressions = [c for c in reading.columns if c.expression]
        made = dict(zip(expressions, self._types_of_expressions(reading, expressions), strict=True))
        return [
            form(c, f"({c.expression})" if c.expression else quoted(c.name), made[c] if c in made else known[c.name])
            for c in reading.columns
        ]

    def _types_of(self, reading: Reading) -> dict[str, str]:
        table = reading.table
        rows = self._connection.ask(sql.COLUMNS_OF.format(t=literal(table_sql(table))))
        known = {name: native(base, length, precision, scale) for name, base, length, precision, scale in rows}
        check_names(reading, known, self._where)
        return known

    def _types_of_expressions(self, reading: Reading, columns: list[ReadColumn]) -> list[str]:
        if not columns:
            return []
        asked = ", ".join(f"({c.expression}) AS {quoted(f'c{i}')}" for i, c in enumerate(columns))
        statement = sql.READ.format(top="", columns=asked, table=table_sql(reading.table), where="", order="")
        rows = self._connection.ask(sql.TYPES_OF.format(statement=literal(statement)))
        if len(rows) != len(columns) or any(type_ is None for type_, _ in rows):
            why = next((str(error) for _, error in rows if error), "?")
            raise SourceError(
                say("SQL Server does not understand an expression: {why}", why=why),
                where=f"{self._where}, {reading.table}",
                advice=say("look at the expressions of the columns in the plan"),
                code=6946,
            )
        return [type_ for type_, _ in rows]
