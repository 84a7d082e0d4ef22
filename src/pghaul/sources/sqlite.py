"""SQLite files, read through ADBC (adbc-driver-sqlite): never written to, never made.

A reading transaction of one connection sees one moment. Several connections see the same one only as long as nobody
writes: in rollback-journal mode our shared lock keeps writers out; in WAL mode it does not, so `join` and `check`
compare fingerprints of the file and refuse.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qsl, unquote

from pghaul.model.errors import SnapshotLostError, SourceError, UsageError
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
from pghaul.model.text import listed, say
from pghaul.sources import _sqlite_file as file
from pghaul.sources import _sqlite_sql as sql
from pghaul.sources._sqlite_connection import Connection, driver, literal, quoted
from pghaul.sources._sqlite_description import describe
from pghaul.sources._sqlite_forms import Form, form
from pghaul.sources._sqlite_look import Asked, Look, limit_for, look, recalled
from pghaul.sources._sqlite_reading import MOST_ROWS, Rows, condition
from pghaul.sources._sqlite_types import TYPES
from pghaul.sources.misfits import SQLSTATE
from pghaul.sources.reading_sql import check_names

SCHEMES = ("sqlite",)
TAKES_PASSWORD = False
OF_EXPRESSIONS = 1_000  # rows: whoever writes one knows what it yields
QUICKLY_WALKED = 1 << 30  # bytes of a file whose pages are all looked at, in half a second, for a part of a table too
WORST = 32 << 20  # bytes of one batch of the driver, if all of its rows were as large as the largest


def endpoint(url: str, environ: Mapping[str, str], password: str | None) -> ForeignEndpoint:  # noqa: ARG001
    """sqlite:///absolute/path.db, sqlite:relative.db; `?mode=ro` is what we do anyway; ?look=all looks at all rows."""
    rest = url.partition(":")[2].partition("#")[0]
    place, _, query = rest.partition("?")
    if place.startswith("//"):
        if not place.startswith("///"):
            raise UsageError(
                say("a file has no host: {url}", url=url),
                advice=say("write sqlite:relative.db, or sqlite:///absolute/path.db"),
                code=1050,
            )
        place = "/" + place.lstrip("/")  # SQLAlchemy writes four of them
    options = dict(parse_qsl(query, keep_blank_values=True))
    rows = options.pop("look", "")
    if not place or options not in ({}, {"mode": "ro"}) or not (rows in {"", "all"} or rows.isdigit()):
        raise UsageError(
            say("the URL is not understood: {url}", url=url),
            advice=say("write sqlite:relative.db, or sqlite:///absolute/path.db; it is only ever read"),
            code=1051,
        )
    path = Path(os.path.abspath(Path(unquote(place)).expanduser()))  # noqa: PTH100 -- resolve() would follow links
    look_at = (("look", rows),) if rows else ()
    return ForeignEndpoint(engine="sqlite", params=(("path", str(path)), *look_at))


def open(endpoint: ForeignEndpoint) -> SQLite:  # noqa: A001 -- the protocol's word
    """Open the file, read-only."""
    return SQLite(Path(endpoint.get("path")), endpoint.get("look"))


def warm_up() -> None:
    """The driver takes longest to import."""
    driver()


def types() -> tuple[tuple[str, str, str], ...]:
    """For `pghaul types sqlite`."""
    return TYPES


class SQLite:
    """An open database (sources.protocol.Source)."""

    guarantees = Guarantees(consistency=Consistency.SNAPSHOT, sees_changes=True, loose=True)

    def __init__(self, path: Path, rows: str = "") -> None:
        self._path = path
        self._held: str | None = None
        self._rows: list[Rows] = []
        self._looks: dict[tuple[str, str, str, str], Look] = {}
        self._largest_of: dict[str, int] = {}
        self._connection = Connection(path)
        try:
            self._opened = file.fingerprint(path)
            self._look_at = _rows_to_look_at(self._connection, rows)
            self._small = path.stat().st_size <= QUICKLY_WALKED
        except BaseException:
            self._connection.close()
            raise

    def database(self) -> ForeignDatabase:
        return describe(self._at_rest(), self._look_at)

    def facts(self) -> ForeignFacts:
        """For `pghaul profile test`."""
        asking = self._at_rest()
        return ForeignFacts(
            product=f"SQLite {asking.one(sql.VERSION)}",
            encoding=asking.one(sql.ENCODING),
            tables=asking.one(sql.TABLES),
            read_only=not os.access(self._path, os.W_OK),
        )

    def clock(self) -> None:
        """There is no server."""

    def bounds(self, table: Name, column: str, where: str | None = None) -> tuple[int, int] | None:
        low, high = self._at_rest().one(
            sql.ENDS.format(column=quoted(column), table=quoted(table.name), where=condition(where, None))
        )
        if low is None:
            return None
        if not isinstance(low, int) or not isinstance(high, int):
            raise SourceError(
                say("column {column} is no integer key", column=column), where=f"{self._path}, {table.name}", code=6927
            )
        return low, high

    def count(self, table: Name, where: str | None = None, range_: KeyRange | None = None) -> int:
        part = condition(where, range_)
        return int(self._at_rest().one(sql.COUNT.format(table=quoted(table.name), where=part)))

    def read(self, reading: Reading) -> Rows:
        self._at_rest()
        self._check_names(reading)
        self._check_encoding(reading)
        forms = self._forms(reading)
        rows = Rows(self._connection, reading, forms, self._batch_rows(reading), lambda: self._locate(reading, forms))
        self._rows.append(rows)
        return rows

    def _at_rest(self) -> Connection:
        """A reading that was stopped may still be at work on our connection, and hold it up: then we take another."""
        self._rows = [r for r in self._rows if not r.done.is_set()]
        stopped = [r for r in self._rows if r.stopped]
        if not stopped:
            return self._connection
        if self._held is not None:
            raise self._lost()
        self._let_go()
        self._connection = Connection(self._path)
        return self._connection

    def _let_go(self) -> None:
        """Close the connection, or have the last one that still reads from it do so."""
        for rows in self._rows:
            rows.close()
        left = [r.leave() for r in self._rows]
        self._rows = []
        if not any(left):
            self._connection.close()

    def hold(self) -> str:
        if self._held is not None:
            return self._held
        self._at_rest().run("BEGIN")
        for _ in range(3):
            before = file.fingerprint(self._path)
            self._connection.one(sql.ANY)
            self._held = file.fingerprint(self._path)
            if before == self._held:
                return self._held
            self._connection.run("COMMIT")
            self._connection.run("BEGIN")
        raise self._lost()

    def join(self, token: str) -> None:
        if self.hold() != token:
            raise self._lost()

    def check(self) -> None:
        if file.fingerprint(self._path) != (self._held or self._opened):
            raise self._lost()

    def cancel(self) -> None:
        for rows in list(self._rows):
            rows.stop()

    def close(self) -> None:
        self._let_go()

    def __enter__(self) -> SQLite:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lost(self) -> SnapshotLostError:
        return SnapshotLostError(
            say("somebody has written to the database meanwhile"),
            where=str(self._path),
            advice=say("end the programs that write to it, or read a copy made by VACUUM INTO"),
            code=2410,
        )

    def _check_names(self, reading: Reading) -> None:
        # Names of SQLite differ by case only where they are not ASCII; an unknown "name" would be read as a string.
        known = self._connection.ask(sql.NAMES.format(t=literal(reading.table.name)))
        check_names(reading, known, str(self._path))

    def _check_encoding(self, reading: Reading) -> None:
        """Bytes that are to be decoded have to be those that somebody has written, not the library's own."""
        encoded = [c.name for c in reading.columns if c.encoding]
        if encoded and (own := self._connection.one(sql.ENCODING)) != "UTF-8":
            raise SourceError(
                say(
                    "columns {columns} are kept as {encoding}: no other encoding can be meant",
                    columns=listed(encoded),
                    encoding=own,
                ),
                where=f"{self._path}, {reading.table.name}",
                advice=say("leave their encoding out of the plan"),
                code=6929,
            )

    def _forms(self, reading: Reading) -> list[Form]:
        return [form(c, seen) for c, seen in zip(reading.columns, self._peek(reading), strict=True)]

    def _peek(self, reading: Reading) -> list[Look]:
        """As for the description, and for every part of the table, so that all agree on the form of a column."""
        for column in reading.columns:
            if not column.expression and (told := recalled(column.seen, dates=_asked(column).dates)):
                self._looks[self._key(reading, column)] = told
        asked = {self._key(reading, c): _asked(c) for c in reading.columns}
        missing = [k for k in asked if k not in self._looks]
        for limit, keys in (
            (self._look_at, [k for k in missing if not k[2]]),
            (min(OF_EXPRESSIONS, self._look_at or OF_EXPRESSIONS), [k for k in missing if k[2]]),
        ):
            found = look(self._connection, reading.table.name, [asked[k] for k in keys], limit)
            self._looks.update(zip(keys, found, strict=True))
        return [self._looks[self._key(reading, c)] for c in reading.columns]

    @staticmethod
    def _key(reading: Reading, column: ReadColumn) -> tuple[str, str, str, str]:
        return reading.table.name, column.name, column.expression or "", column.pg_type

    def _batch_rows(self, reading: Reading) -> int:
        """By the width of the rows that were looked at, an eighth of what a batch may weigh."""
        looks = self._peek(reading)
        rows = looks[0].rows if looks else 0
        width = sum(seen.bytes for seen in looks) / rows if rows else 64.0
        usual = int(reading.batch_bytes / 8 / max(width, 1.0))
        return max(1, min(MOST_ROWS, reading.batch_rows, usual, WORST // max(self._largest(reading, looks), 1)))

    def _largest(self, reading: Reading, looks: Sequence[Look]) -> int:
        """Bytes of the largest row, where not all of them were looked at."""
        sized = [c for c, seen in zip(reading.columns, looks, strict=True) if not c.expression]
        if not sized or all(seen.all for seen in looks):
            return 0
        table = reading.table.name
        if self._small or (reading.range is None and not reading.where):
            if table not in self._largest_of:
                self._largest_of[table] = self._connection.one(sql.LARGEST.format(t=literal(table))) or 0
            return self._largest_of[table]
        # A sum of a thousand parts is too deep for the library: the columns beyond are taken to be like these.
        columns = " + ".join(f"ifnull(octet_length({quoted(c.name)}), 0)" for c in sized[:500])
        where = condition(reading.where, reading.range)
        found = self._connection.one(sql.LARGEST_OF_PART.format(columns=columns, table=quoted(table), where=where))
        return (found or 0) * len(sized) // len(sized[:500])

    def _locate(self, reading: Reading, forms: Sequence[Form]) -> None:
        """Raise an error that names the first value of a class that cannot be read so."""
        for column, its in zip(reading.columns, forms, strict=True):
            source = f"({column.expression})" if column.expression else quoted(column.name)
            where = condition(reading.where, reading.range)
            where += (" AND " if where else " WHERE ") + its.offends.replace("{c}", source)
            found = self._connection.ask(
                sql.OFFENDING.format(column=source, table=quoted(reading.table.name), where=where)
            )
            if found:
                raise SourceError(
                    say(
                        "column {column} holds a value of class {found} that cannot become {type}",
                        column=column.name,
                        found=found[0],
                        type=column.pg_type,
                    ),
                    where=f"{self._path}, {reading.table.name}",
                    advice=say("give the column another type in the plan: text holds everything that is text"),
                    sqlstate=SQLSTATE,
                    code=6928,
                )


def _rows_to_look_at(connection: Connection, option: str) -> int | None:
    if option == "all":
        return None
    return int(option) if option else limit_for(connection)


def _asked(column: ReadColumn) -> Asked:
    return Asked(sql=column.expression or quoted(column.name), dates=column.pg_type.startswith(("date", "time")))
