"""SQLite for the contract: files made by the standard library, with a rollback journal and with a WAL."""

# ruff: noqa: E501 -- a table is easier to read in lines

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from tests.contract import case
from tests.contract.case import Place, Probe

from pghaul.model.foreign import ReadColumn, Reading

# Column: declaration, values, type that is proposed, and how they arrive; or (type that is asked for, how they arrive).
Values = tuple[object, ...]
MATRIX: dict[str, tuple[str, Values, str, tuple[str | None, ...]]] = {
    "integers": ("INTEGER", (-(2**63), 2**63 - 1, 0, None), "bigint", (str(-(2**63)), str(2**63 - 1), "0", None)),
    "ints": ("INT", (-(2**31), 2**31 - 1, 0, None), "integer", (str(-(2**31)), str(2**31 - 1), "0", None)),
    "large_ints": ("INT", (2**31, -1, 0, None), "bigint", ("2147483648", "-1", "0", None)),
    "shorts": ("SMALLINT", (-32768, 32767, 0, None), "smallint", ("-32768", "32767", "0", None)),
    "reals": ("REAL", (0.1, 1.7976931348623157e308, 5e-324, 1 / 3), "double precision", ("0.1", "1.7976931348623157e308", "5e-324", "0.3333333333333333")),
    "endless": ("REAL", (float("inf"), float("-inf"), -0.0, 2**53 + 1.0), "double precision", ("inf", "-inf", "0", "9007199254740992")),
    "prices": ("DECIMAL(10,2)", (12.5, 0.1, 99999999.99, 3), "numeric(10,2)", ("12.50", "0.10", "99999999.99", "3.00")),
    "finer": ("DECIMAL(10,2)", (1.005, 2, 0.1 + 0.2, None), "numeric", ("1.005", "2", "0.30000000000000004", None)),
    "longer": ("DECIMAL(4,2)", (123.25, 2, None, None), "numeric", ("123.25", "2", None, None)),
    "huge": ("NUMERIC", (2**63 - 1, 0.5, 1e300, None), "numeric", (str(2**63 - 1), "0.5", "1e300", None)),
    "sizes": ("DECIMAL(19,0)", (2**63 - 1, -(2**63), 5, None), "numeric(19,0)", (str(2**63 - 1), str(-(2**63)), "5", None)),
    "texts": ("TEXT", ("", "é 한 😀", "x" * 70_000, None), "text", ("", "é 한 😀", "x" * 70_000, None)),
    "short_texts": ("VARCHAR(3)", ("abc", "한글한", "", None), "character varying(3)", ("abc", "한글한", "", None)),
    "long_texts": ("VARCHAR(3)", ("abcd", "", "a", None), "text", ("abcd", "", "a", None)),
    "blobs": ("BLOB", (b"", b"\x00\xff", bytes(range(256)), None), "bytea", ("\\x", "\\x00ff", "\\x" + bytes(range(256)).hex(), None)),
    "mixed_blobs": ("BLOB", (b"\xff", "한", b"", None), "bytea", ("\\xff", "\\xed959c", "\\x", None)),
    "truths": ("BOOLEAN", (0, 1, None, 1), "boolean", ("f", "t", None, "t")),
    "words": ("BOOLEAN", ("true", "false", None, "t"), "boolean", ("true", "false", None, "t")),
    "maybes": ("BOOLEAN", (0, 2, None, 1), "bigint", ("0", "2", None, "1")),
    "days": ("DATE", ("0001-01-01", "9999-12-31", "2024-02-29", None), "date", ("0001-01-01", "9999-12-31", "2024-02-29", None)),
    "midnights": ("DATE", ("2024-01-01 00:00:00", "2024-02-29", None, None), "date", ("2024-01-01", "2024-02-29", None, None)),
    "moments": ("DATETIME", ("2024-02-29 23:59:59.999999", "0001-01-01 00:00:00", "2024-01-01T10:00", "2024-01-01"), "timestamp without time zone", ("2024-02-29 23:59:59.999999", "0001-01-01 00:00:00", "2024-01-01 10:00:00", "2024-01-01 00:00:00")),
    "instants": ("DATETIME", ("2024-02-29 12:00:00Z", "2024-02-29 12:00:00+09:00", None, None), "timestamp with time zone", ("2024-02-29 12:00:00+00", "2024-02-29 03:00:00+00", None, None)),
    "epochs": ("DATETIME", (1709208000, 1000000000, None, None), "timestamp with time zone", ("2024-02-29 12:00:00+00", "2001-09-09 01:46:40+00", None, None)),
    "millis": ("TIMESTAMP", (1709208000123, 1000000000000, None, None), "timestamp with time zone", ("2024-02-29 12:00:00.123000+00", "2001-09-09 01:46:40+00", None, None)),
    "julians": ("DATETIME", (2460370.0, 2460370.25, None, None), "timestamp without time zone", ("2024-02-29 12:00:00", "2024-02-29 18:00:00", None, None)),
    "vague": ("DATETIME", ("2024-02-29 12:00:00", "yesterday", 12, None), "text", ("2024-02-29 12:00:00", "yesterday", "12", None)),
    "clocks": ("TIME", ("00:00", "23:59:59.999999", None, None), "time without time zone", ("00:00:00", "23:59:59.999999", None, None)),
    "ticks": ("DATETIME", ("2024-02-29 12:00:00.1234567", None, None, None), "text", ("2024-02-29 12:00:00.1234567", None, None, None)),
    "no_days": ("DATE", ("2024-02-31", None, None, None), "text", ("2024-02-31", None, None, None)),
    "zero_days": ("DATETIME", ("0000-01-01 00:00:00", None, None, None), "text", ("0000-01-01 00:00:00", None, None, None)),
    "late_days": ("DATE", ("2024-02-29 12:00:00", "2024-02-29", None, None), "timestamp without time zone", ("2024-02-29 12:00:00", "2024-02-29 00:00:00", None, None)),
    "typed_prices": ("TEXT", ("12.50", "1e3", "-0.01", None), "text", ("12.50", "1e3", "-0.01", None)),
    "padded": ("TEXT", ("ab  ", "a", None, None), "text", ("ab  ", "a", None, None)),
    "spoiled": ("INTEGER", (1, "one", 1.5, None), "text", ("1", "one", "1.5", None)),
    "undeclared": ("", (1, "a", 0.1, None), "text", ("1", "a", "0.1", None)),
    "sevens": ("", (7, 8, None, 9), "bigint", ("7", "8", None, "9")),
    "identifiers": ("GUID", ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", None, None, None), "uuid", ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", None, None, None)),
    **{
        f"of_{name.lower().replace(' ', '_')}": (name, (low, high, 0, None), kind, (str(low), str(high), "0", None))
        for name, kind, low, high in (
            ("BIGINT", "bigint", -(2**63), 2**63 - 1), ("INT8", "bigint", -(2**63), 2**63 - 1),
            ("INT4", "integer", -(2**31), 2**31 - 1), ("MEDIUMINT", "integer", -(2**31), 2**31 - 1),
            ("INT2", "smallint", -32768, 32767), ("TINYINT", "smallint", -32768, 32767),
            ("UNSIGNED BIG INT", "numeric", 0, 2**63 - 1),
        )
    },
    **{
        f"of_{name.lower()}": (name, (0.1, -1.7976931348623157e308, 7, None), "double precision", ("0.1", "-1.7976931348623157e308", "7", None))
        for name in ("DOUBLE", "FLOAT")
    },
    "numerics": ("NUMERIC(38,2)", (0.25, -(2**53), 9, None), "numeric(38,2)", ("0.25", str(-(2**53)), "9", None)),
    "chars": ("CHAR(4)", ("ab  ", "한글😀", "", None), "character varying(4)", ("ab  ", "한글😀", "", None)),
    "ntexts": ("NVARCHAR(4)", ("ab  ", "한글😀", "", None), "character varying(4)", ("ab  ", "한글😀", "", None)),
    "clobs": ("CLOB", ("한" * 70_000, "", "x", None), "text", ("한" * 70_000, "", "x", None)),
    "bools": ("BOOL", (0, 1, None, 1), "boolean", ("f", "t", None, "t")),
    "bits": ("BIT", (1, 0, None, 1), "boolean", ("t", "f", None, "t")),
    "stamps": ("TIMESTAMP", ("1970-01-01 00:00:00+00:00", "2024-02-29T23:59:59.999999-14:00", None, None), "timestamp with time zone", ("1970-01-01 00:00:00+00", "2024-03-01 13:59:59.999999+00", None, None)),
    "uuids": ("UUID", ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", None, None, None), "uuid", ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", None, None, None)),
    "jsons": ("JSON", ('{"a": 12345678901234567890.5}', "[]", None, None), "json", ('{"a": 12345678901234567890.5}', "[]", None, None)),
    "jsonbs": ("JSONB", ('{"a": 1}', "[]", None, None), "jsonb", ('{"a": 1}', "[]", None, None)),
    "xmls": ("XML", ("<a b='é'/>", "<x/>", None, None), "xml", ("<a b='é'/>", "<x/>", None, None)),
    "inets": ("INET", ("10.0.0.1/8", "::1", None, None), "inet", ("10.0.0.1/8", "::1", None, None)),
    "nuls": ("TEXT", ("a\x00b", "", None, None), "text", ("a\x00b", "", None, None)),
}  # fmt: skip
# Overrides of a plan: what arrives, or None where it has to be refused.
OVERRIDES: tuple[tuple[str, str, tuple[str | None, ...] | None], ...] = (
    ("integers", "text", (str(-(2**63)), str(2**63 - 1), "0", None)),
    ("integers", "integer", None),
    ("integers", "numeric", (str(-(2**63)), str(2**63 - 1), "0", None)),
    ("integers", "numeric(20,0)", (str(-(2**63)), str(2**63 - 1), "0", None)),
    ("integers", "double precision", None),
    ("reals", "text", ("0.1", "1.7976931348623157e+308", "4.94065645841247e-324", "0.3333333333333333")),
    ("reals", "real", None),
    ("finer", "numeric(10,2)", None),
    ("longer", "numeric(4,2)", None),
    ("maybes", "boolean", None),
    ("blobs", "text", None),
    ("spoiled", "bytea", None),
    ("epochs", "bigint", ("1709208000", "1000000000", None, None)),
    ("days", "text", ("0001-01-01", "9999-12-31", "2024-02-29", None)),
    ("typed_prices", "numeric(10,2)", ("12.50", "1000.00", "-0.01", None)),
    ("typed_prices", "numeric(50,2)", ("12.50", "1000.00", "-0.01", None)),
    ("typed_prices", "numeric(10,1)", None),
    ("padded", "character varying(4)", ("ab  ", "a", None, None)),
    ("padded", "character varying(2)", None),
    ("ticks", "timestamp without time zone", None),
    ("moments", "timestamp(3) without time zone", None),
    ("millis", "timestamp(3) with time zone", ("2024-02-29 12:00:00.123000+00", "2001-09-09 01:46:40+00", None, None)),
    ("clocks", "time(3) without time zone", None),
    ("sizes", "numeric(40,0)", (str(2**63 - 1), str(-(2**63)), "5", None)),
    ("huge", "numeric(20,2)", None),
    ("ints", "bigint", (str(-(2**31)), str(2**31 - 1), "0", None)),
)


# Another process: one has no locks against itself. It lets go when it reads the end of its input.
WRITE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=float(sys.argv[3]))
connection.execute(sys.argv[2])
connection.commit()
print("written", flush=True)
sys.stdin.read()
"""


class SQLitePlace(Place):
    """One file."""

    engine = "sqlite"
    unasked = MappingProxyType(
        {
            "integer primary key": "its declared type is INTEGER",
            "anything else": "what is undeclared is asked",
            "or nothing declared": "what is undeclared is asked",
        }
    )

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite://{quote(str(path))}"
        self.probes = (
            *(
                Probe(table="matrix", column=name, expected=expected, proposed=proposed)
                for name, (_, _, proposed, expected) in MATRIX.items()
            ),
            *(Probe(table="matrix", column=c, pg_type=t, expected=expected) for c, t, expected in OVERRIDES),
            Probe(table="latin", column="words", expected=None),
            Probe(table="latin", column="words", expected=("é", "ascii"), pg_type="text", encoding="latin-1"),
        )

    def above(self, column: str, value: int) -> str:
        return f'"{column}" > {value}'

    def fat(self) -> Reading:
        column = ReadColumn(name="word", native="TEXT", pg_type="text", expression="printf('%10500d', id)")
        many = "id > 0 AND (SELECT 1 FROM json_each('[1]'))"
        return Reading(table=self.name("fat"), columns=(column,), where=many)

    def slow(self) -> Reading:
        # Some seconds, no more: the driver cannot be interrupted, and who is left behind counts on beside all other tests.
        count = (
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 15000000) SELECT count(*) FROM c"
        )
        column = ReadColumn(name="id", native="INTEGER", pg_type="bigint")
        return Reading(table=self.name(case.CHANGING), columns=(column,), where=f"({count}) < 0")

    def change(self) -> bool:
        return self._write(f"INSERT INTO {case.CHANGING} (word) VALUES ('more')")

    def vanish(self) -> None:
        # A reading that was left behind may still have to end.
        assert self._write(f"DROP TABLE {case.VANISHING}", patience=10)

    def _write(self, statement: str, patience: float = 0) -> bool:
        program = [sys.executable, "-I", "-c", WRITE, str(self.path), statement, str(patience)]
        return subprocess.run(program, check=False, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def quoted(name: str) -> str:
    """An identifier."""
    return '"' + name.replace('"', '""') + '"'


def fill(connection: sqlite3.Connection, widest: int) -> None:
    """The tables of the contract."""
    columns = "(id INTEGER PRIMARY KEY, half INTEGER, word TEXT)"
    for table in (case.NUMBERS, case.EMPTY, case.CHANGING, case.VANISHING):
        connection.execute(f"CREATE TABLE {table} {columns}")
    connection.executemany(f"INSERT INTO {case.NUMBERS} VALUES (?, ?, ?)", case.number_rows())
    connection.executemany(f"INSERT INTO {case.CHANGING} VALUES (?, ?, ?)", case.number_rows(10))
    connection.execute(f"CREATE TABLE {case.LOOSE} (nr INTEGER, word TEXT)")
    connection.executemany(f"INSERT INTO {case.LOOSE} VALUES (?, ?)", case.loose_rows())
    for statement in (
        "CREATE TABLE parent (id INTEGER PRIMARY KEY, code VARCHAR(10) NOT NULL UNIQUE)",
        "CREATE TABLE child (id INTEGER PRIMARY KEY, parent_id INTEGER REFERENCES parent ON DELETE CASCADE)",
        "CREATE INDEX child_parent ON child (parent_id)",
    ):
        connection.execute(statement)
    connection.execute(f"CREATE TABLE wide ({', '.join(f'c{i} INTEGER' for i in range(widest))})")
    connection.execute(f"INSERT INTO wide VALUES ({', '.join(str(i % 100) for i in range(widest))})")
    for name in case.ODD:
        connection.execute(f"CREATE TABLE {quoted(name)} ({quoted(name)} INTEGER)")
        connection.execute(f"INSERT INTO {quoted(name)} VALUES (1)")
    connection.execute("CREATE TABLE fat (id INTEGER PRIMARY KEY)")
    connection.executemany("INSERT INTO fat VALUES (?)", ((i,) for i in range(20_500)))
    fill_matrix(connection)


def fill_matrix(connection: sqlite3.Connection) -> None:
    """The type matrix."""
    declared = ", ".join(f"{name} {native}" for name, (native, *_) in MATRIX.items())
    connection.execute(f"CREATE TABLE matrix (id INTEGER PRIMARY KEY, {declared})")
    for i in range(4):
        values = [values[i] for _, values, *_ in MATRIX.values()]
        connection.execute(f"INSERT INTO matrix VALUES ({', '.join('?' * (len(values) + 1))})", (i, *values))
    connection.execute("CREATE TABLE latin (id INTEGER PRIMARY KEY, words TEXT)")
    connection.execute("INSERT INTO latin VALUES (1, CAST(x'e9' AS TEXT)), (2, 'ascii')")


def make(path: Path, mode: str, widest: int = SQLitePlace.widest) -> None:
    """A file with all of it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("BEGIN")
        fill(connection, widest)
        connection.execute("COMMIT")


@contextmanager
def rollback(folder: Path) -> Iterator[Place]:
    """With a rollback journal: who reads keeps writers out."""
    path = folder / "a place?.db"
    make(path, "delete")
    yield SQLitePlace(path)


@contextmanager
def wal(folder: Path) -> Iterator[Place]:
    """With a write-ahead log, and a program that has the database open and has written to it."""
    path = folder / "wal.db"
    make(path, "wal", widest=3)  # its sizes are not tried
    program = [sys.executable, "-I", "-c", WRITE, str(path), "CREATE TABLE later (n INTEGER)", "0"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"written\n"
        place = SQLitePlace(path)
        place.sizes = False
        yield place


PLACES: tuple[Callable[[Path], AbstractContextManager[Place]], ...] = (rollback, wal)
