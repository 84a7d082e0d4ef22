"""Oracle from 12.1: described by its catalogue, read by python-oracledb in thin mode as Arrow data frames.

What a reading sees: one moment of the whole database, by flashback (AS OF SCN), where the user may look back at every
table; else each statement sees one moment, as always in Oracle. Never run against a real server: docs/connectors.md.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from types import TracebackType
from typing import Any

from pghaul.model.errors import AccessError, NotFoundError, SnapshotLostError, SourceError
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
from pghaul.sources import _oracle_sql as sql
from pghaul.sources._oracle_catalog import about, describe
from pghaul.sources._oracle_connection import Connection, quoted
from pghaul.sources._oracle_forms import Form, form
from pghaul.sources._oracle_reading import Rows, condition, table_sql
from pghaul.sources._oracle_types import TYPES, native
from pghaul.sources._oracle_url import SCHEMES, endpoint
from pghaul.sources.reading_sql import check_names

__all__ = ["SCHEMES", "Oracle", "endpoint", "open", "sslmode", "types"]

WANTED = ("SELECT ANY TABLE", "FLASHBACK ANY TABLE")  # where they are missing, each table has to be granted
# What the driver calls the type of an expression, where a CREATE TABLE has another word.
DRIVERS_WORDS = {
    "VARCHAR": "VARCHAR2", "NVARCHAR": "NVARCHAR2", "LONG_RAW": "LONG RAW", "LONG_NVARCHAR": "LONG",
    "TIMESTAMP_TZ": "TIMESTAMP(9) WITH TIME ZONE", "TIMESTAMP_LTZ": "TIMESTAMP(9) WITH LOCAL TIME ZONE",
    "TIMESTAMP": "TIMESTAMP(9)", "INTERVAL_DS": "INTERVAL DAY(9) TO SECOND(9)",
    "INTERVAL_YM": "INTERVAL YEAR(9) TO MONTH", "XMLTYPE": "XMLTYPE",
}  # fmt: skip


def open(endpoint: ForeignEndpoint) -> Oracle:  # noqa: A001 -- the protocol's word
    """Connect. NotFoundError names the extra where the driver is missing."""
    return Oracle(endpoint)


def types() -> tuple[tuple[str, str, str], ...]:
    """For `pghaul types oracle`."""
    return TYPES


def sslmode(endpoint: ForeignEndpoint) -> str:
    """With TLS, thin mode verifies the certificate and its name; native network encryption it does not speak."""
    return "verify-full" if endpoint.get("tls") == "yes" else "disable"


class Oracle:
    """An open database (sources.protocol.Source)."""

    def __init__(self, endpoint: ForeignEndpoint) -> None:
        self._endpoint = endpoint
        self._where = endpoint.display
        self._idle: list[Connection] = []  # those that read, and have read to the end
        self._rows: list[Rows] = []
        self._scn: int | None = None
        self._closed = False
        self._connection = Connection(endpoint)
        try:
            self._about = about(self._connection.ask)
            self._flashback = self._may_look_back()
        except BaseException:
            self.close()
            raise
        seen = Consistency.SNAPSHOT if self._flashback else Consistency.STATEMENT
        self.guarantees = Guarantees(consistency=seen)

    def _may_look_back(self) -> bool:
        """At every table: at one's own, or by the privilege; and there is a number to look back to."""
        wish = self._endpoint.get("consistency", "auto")
        if wish == "statement":
            return False
        own = self._endpoint.get("schema") == self._about.user
        if wish == "auto" and not own and not self._connection.ask(sql.FLASHBACK)[0][0]:
            return False
        if self._current() is not None:
            return True
        if wish == "auto":
            return False
        raise AccessError(
            say("the number of the moment (SCN) may not be asked for"),
            where=self._where,
            advice=say("GRANT EXECUTE ON DBMS_FLASHBACK to the user, or leave consistency=snapshot out"),
            code=5181,
        )

    def _current(self) -> int | None:
        for asked in sql.SCN:
            try:
                return int(self._connection.ask(asked)[0][0])
            except (AccessError, NotFoundError):  # ORA-00904 where the package may not be seen
                continue
        return None

    def database(self) -> ForeignDatabase:
        get = self._endpoint.get
        identity = f"oracle://{get('host')}:{get('port')}/{get('database') or get('sid')}"
        return describe(self._connection.ask, self._about, identity, get("schema"))

    def facts(self) -> ForeignFacts:
        """For `pghaul profile test`."""
        ask, known = self._connection.ask, self._about
        held = [str(name) for (name,) in ask(sql.PRIVILEGES)]
        return ForeignFacts(
            product=known.product,
            encoding=known.charset,
            time_zone=known.timezone,
            user=known.user,
            granted=tuple(held),
            not_granted=tuple(w for w in WANTED if w not in held),
            tables=int(ask(sql.SEEN, {"owner": self._endpoint.get("schema") or None})[0][0]),
            encrypted=sslmode(self._endpoint) != "disable",
        )

    def clock(self) -> float:
        """Of the server."""
        return datetime.fromisoformat(f"{self._connection.ask(sql.CLOCK)[0][0]}+00:00").timestamp()

    def bounds(self, table: Name, column: str, where: str | None = None) -> tuple[int, int] | None:
        asked = sql.ENDS.format(column=quoted(column), **self._of(table, where, None))
        low, high = self._ask(asked)[0]
        if low is None:
            return None
        ends = Decimal(low), Decimal(high)
        if any(e != e.to_integral_value() for e in ends):
            raise SourceError(
                say("column {column} is no integer key", column=column), where=f"{self._where}, {table}", code=6927
            )
        return int(ends[0]), int(ends[1])

    def count(self, table: Name, where: str | None = None, range_: KeyRange | None = None) -> int:
        return int(self._ask(sql.COUNT.format(**self._of(table, where, range_)))[0][0])

    def _of(self, table: Name, where: str | None, range_: KeyRange | None) -> dict[str, str]:
        moment = "" if self._scn is None else sql.MOMENT
        return {"table": table_sql(table), "moment": moment, "where": condition(where, range_)}

    def _ask(self, asked: str) -> list[tuple[Any, ...]]:
        return self._connection.ask(asked, {} if self._scn is None else {"scn": self._scn})

    def read(self, reading: Reading) -> Rows:
        forms = self._forms(reading)
        self._rows = [r for r in self._rows if not r.done.is_set()]
        reader = self._idle.pop() if self._idle else Connection(self._endpoint)
        rows = Rows(reader, reading, forms, self._scn, self._release, unicode=self._about.unicode)
        self._rows.append(rows)
        return rows

    def _release(self, connection: Connection) -> None:
        if self._closed:
            connection.close()
        else:
            self._idle.append(connection)

    def hold(self) -> str:
        if not self._flashback:
            return ""
        self._scn = self._current()
        if self._scn is None:
            raise self._lost()
        self.guarantees = replace(self.guarantees, moment=sql.MOMENT.replace(":scn", str(self._scn)))
        return str(self._scn)

    def join(self, token: str) -> None:
        if not token:
            return
        now = self._current()
        if now is None or now < int(token):  # another database, or one that was opened with RESETLOGS
            raise self._lost()
        self._scn = int(token)

    def check(self) -> None:
        """Nothing is to be compared: what is read AS OF a moment that is gone is refused by the server (ORA-01555)."""
        now = self._current() if self._scn is not None else None
        if self._scn is not None and (now is None or now < self._scn):
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

    def __enter__(self) -> Oracle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lost(self) -> SnapshotLostError:
        return SnapshotLostError(
            say("the moment that is read is not one of this database any more"), where=self._where, code=2478
        )

    def _forms(self, reading: Reading) -> list[Form]:
        """By the types that the server has now: what was described may have changed."""
        known = self._types_of(reading)
        expressions = [c for c in reading.columns if c.expression]
        made = dict(zip((c.name for c in expressions), self._types_of_expressions(reading, expressions), strict=True))
        return [
            form(c, f"({c.expression})", made[c.name])
            if c.expression
            else form(c, f"t.{quoted(c.name)}", known[c.name])
            for c in reading.columns
        ]

    def _types_of(self, reading: Reading) -> dict[str, str]:
        table = reading.table
        values = {"owner": table.schema or self._about.user, "name": table.name}
        rows = self._connection.ask(sql.COLUMNS_OF, values)
        known = {name: native(*rest) for name, *rest in rows}
        check_names(reading, known, self._where)
        return known

    def _types_of_expressions(self, reading: Reading, columns: list[ReadColumn]) -> list[str]:
        if not columns:
            return []
        asked = sql.READ.format(
            columns=", ".join(f"({c.expression}) AS C{i}" for i, c in enumerate(columns)),
            table=table_sql(reading.table),
            moment="",
            where="",
            order="",
            limit="",
        )
        return [_spelled(kind) for kind, _, _ in self._connection.described(asked)]


def _spelled(kind: str) -> str:
    """ "DB_TYPE_VARCHAR" is VARCHAR2; a number of an expression has any digits."""
    word = kind.removeprefix("DB_TYPE_")
    return DRIVERS_WORDS.get(word, word)
