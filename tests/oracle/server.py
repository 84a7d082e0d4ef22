"""A driver that answers the very statements of the Oracle source with recorded rows and data frames. No server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import oracledb

from pghaul.sources import _oracle_sql


class Complaint:
    """What the driver's errors carry."""

    def __init__(self, code: str, words: str = "what it says") -> None:
        self.full_code, self.message = code, f"{code}: {words}"


def complaint(code: str, words: str = "what it says") -> oracledb.DatabaseError:
    return oracledb.DatabaseError(Complaint(code, words))


# Rows as a server's catalogue has them, by the statement that asks for them.
def column(name: str, base: str, **more: Any) -> tuple[Any, ...]:
    given = {
        "owner": "HR", "table": "ITEM", "name": name, "base": base, "type_owner": None, "length": 22, "chars": 0,
        "used": None, "precision": None, "scale": None, "nullable": "Y", "virtual": "NO", "hidden": "NO",
        "made_by_user": "YES", "sequence": None, "next": None, "comment": None, "default": None, **more,
    }  # fmt: skip
    return tuple(given.values())


COLUMNS = [
    column(
        "ID", "NUMBER", precision=9, scale=0, nullable="N", sequence="ISEQ$$_9", next=41, default='"HR"."X".nextval'
    ),
    column("NAME", "VARCHAR2", length=80, chars=20, used="C", comment="as printed", default="'x'\n"),
    column("PRICE", "NUMBER"),
    column("MADE", "DATE", default="SYSDATE "),
    column("TWICE", "NUMBER", virtual="YES", default='"PRICE"*2'),
    column("NOTE", "CLOB"),
    column("LATER", "NUMBER", hidden="YES", precision=3, scale=1),
    column("SYS_NC00007$", "VARCHAR2", hidden="YES", made_by_user="NO"),
    column("WHERE", "SHAPE", type_owner="HR"),
    column("GROUP_ID", "NUMBER", table="PART"),
    column("NAME", "VARCHAR2", table="V"),
]
CATALOGUE: dict[str, list[tuple[Any, ...]]] = {
    _oracle_sql.PRODUCT: [("Oracle Database 19c Enterprise Edition", "19.0.0.0.0")],
    _oracle_sql.DATABASE: [("SHOP", "HR", "AL32UTF8", "+09:00")],
    _oracle_sql.PRIVILEGES: [("CREATE SESSION",), ("FLASHBACK ANY TABLE",)],
    _oracle_sql.SEEN: [(5,)],
    _oracle_sql.CLOCK: [("2030-01-01 00:00:00.000000",)],
    _oracle_sql.SCN[0]: [("5000",)],
    _oracle_sql.FLASHBACK: [(1,)],
    _oracle_sql.TABLES: [
        ("HR", "ITEM", 1000, 40, "N", "NO", "what is sold", 0, 0),
        ("HR", "MINE", None, None, "Y", "NO", None, 0, 0),
        ("HR", "OUTSIDE", None, None, "N", "NO", None, 1, 0),
        ("HR", "PART", 0, 0, "N", "NO", None, 0, 0),
        ("HR", "SUMS", 3, 10, "N", "NO", None, 0, 1),
    ],
    _oracle_sql.COLUMNS: COLUMNS,
    _oracle_sql.CONSTRAINTS: [
        ("HR", "ITEM", "CK_ITEM", "C", "ENABLED", None, None, None, None, "PRICE > 0"),
        ("HR", "ITEM", "CK_OFF", "C", "DISABLED", None, None, None, None, "PRICE > 1"),
        ("HR", "ITEM", "SYS_C001", "C", "ENABLED", None, None, None, None, '"ID" IS NOT NULL'),
        ("HR", "ITEM", "PK_ITEM", "P", "ENABLED", None, None, None, "PK_ITEM", None),
        ("HR", "PART", "FK_PART", "R", "ENABLED", "HR", "PK_ITEM", "SET NULL", None, None),
    ],
    _oracle_sql.CONSTRAINT_COLUMNS: [("HR", "FK_PART", "PART", "GROUP_ID"), ("HR", "PK_ITEM", "ITEM", "ID")],
    _oracle_sql.INDEXES: [
        ("HR", "ITEM", "HR", "IX_BITS", "BITMAP", "NONUNIQUE", "VALID", None),
        ("HR", "ITEM", "HR", "IX_DOWN", "FUNCTION-BASED NORMAL", "NONUNIQUE", "VALID", "ENABLED"),
        ("HR", "ITEM", "HR", "IX_OFF", "NORMAL", "NONUNIQUE", "UNUSABLE", None),
        ("HR", "ITEM", "HR", "IX_UPPER", "FUNCTION-BASED NORMAL", "UNIQUE", "VALID", "ENABLED"),
        ("HR", "ITEM", "HR", "PK_ITEM", "NORMAL", "UNIQUE", "VALID", None),
    ],
    _oracle_sql.INDEX_COLUMNS: [
        ("HR", "IX_BITS", "MADE", "ASC", None),
        ("HR", "IX_DOWN", "NAME", "ASC", None),
        ("HR", "IX_DOWN", "SYS_NC00008$", "DESC", '"MADE"'),
        ("HR", "IX_OFF", "MADE", "ASC", None),
        ("HR", "IX_UPPER", "SYS_NC00007$", "ASC", 'UPPER("NAME")'),
        ("HR", "PK_ITEM", "ID", "ASC", None),
    ],
    _oracle_sql.VIEWS: [("HR", "V", "names", "SELECT Name FROM item WITH READ ONLY"), ("HR", "W", None, None)],
    _oracle_sql.OTHERS: [("HR", "PACKAGE", "PAY"), ("HR", "MATERIALIZED VIEW", "SUMS"), ("HR", "SEQUENCE", "S")],
    _oracle_sql.OBJECT_TABLES: [("HR", "SHAPES")],
}


@dataclass
class Server:
    """What the connections of a test answer, and what they were asked."""

    answers: dict[str, Any] = field(default_factory=lambda: dict(CATALOGUE))
    frames: list[Any] = field(default_factory=list)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    read: list[tuple[str, dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    logins: list[dict[str, Any]] = field(default_factory=list)
    described: list[str] = field(default_factory=list)
    cancelled: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(oracledb, name)

    def connect(self, **arguments: Any) -> Session:
        self.logins.append(arguments)
        if isinstance(refused := self.answers.get("login"), Exception):
            raise refused
        return Session(self)


class Session:
    """A connection, and its cursor."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.description: list[Any] = []
        self._rows: list[tuple[Any, ...]] = []

    def cursor(self) -> Session:
        return self

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def execute(self, sql: str, values: dict[str, Any] | None = None) -> None:
        self._server.asked.append((sql, values or {}))
        if sql.startswith("ALTER SESSION"):
            return
        if sql == _oracle_sql.COLUMNS_OF:
            wanted = (values or {}).get("name")
            self._rows = [(c[2], *c[3:10]) for c in COLUMNS if c[1] == wanted]
            return
        answer = self._server.answers.get(sql, [])
        if isinstance(answer, Exception):
            raise answer
        self._rows = answer

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._rows

    def parse(self, sql: str) -> None:
        @dataclass
        class Described:
            type_code: Any
            precision: int | None = None
            scale: int | None = None

        self._server.asked.append((sql, {}))
        self.description = [Described(getattr(oracledb, kind)) for kind in self._server.described]

    def fetch_df_batches(self, sql: str, values: dict[str, Any], **options: Any) -> Iterator[Any]:
        self._server.read.append((sql, values, options))
        for frame in self._server.frames:
            if isinstance(frame, Exception):
                raise frame
            yield frame() if callable(frame) else frame

    def cancel(self) -> None:
        self._server.cancelled += 1

    def close(self) -> None:
        return
