"""What a MySQL or MariaDB server tells of itself, and of us: for `pghaul profile test`."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pghaul.model.probe import ForeignFacts
from pghaul.sources import _mysql_catalog_sql as sql
from pghaul.sources._mysql_catalog import Catalog, asked
from pghaul.sources._mysql_projection import quoted
from pghaul.sources._mysql_session import wire

if TYPE_CHECKING:
    import pymysql

WANTED = ("SELECT", "SHOW VIEW", "LOCK TABLES", "RELOAD")  # docs/profiles.md says what each of them is for
ALL = "ALL PRIVILEGES"
MOST = 500  # tables that are tried one by one
# What comes after TO is left alone: older servers show the hash of the password there.
_GRANT = re.compile(r"GRANT (?P<what>.+?) ON (?P<where>.+?) TO ")
_ROLE = re.compile(r"GRANT (?P<role>[`'][^ ]+) TO ")
_DENIED = frozenset({1142, 1143})


def facts(session: pymysql.Connection[Any], catalog: Catalog) -> ForeignFacts:
    """By a handful of small questions. PyMySQL's errors."""
    row = asked(session, sql.ABOUT_US)[0]
    granted = list(_granted(session))
    words = " ".join(granted)
    tables = [(str(r["TABLE_SCHEMA"]), str(r["TABLE_NAME"])) for r in catalog.rows(sql.TABLE_NAMES)]
    encrypted, tls = _tls(wire(session))
    server = catalog.server
    return ForeignFacts(
        product=server.product,
        encoding=server.charset,
        time_zone=server.zone if row["ZONE"] == "SYSTEM" else str(row["ZONE"]),
        user=str(row["ACCOUNT"]),
        granted=tuple(granted),
        not_granted=() if ALL in words else tuple(w for w in WANTED if w not in words),
        tables=len(tables),
        unreadable=() if _reads_all(granted) else tuple(_unreadable(session, tables[:MOST])),
        read_only=bool(int(row["FROZEN"])),
        encrypted=encrypted,
        tls=tls,
    )


def _granted(session: pymysql.Connection[Any]) -> Iterable[str]:
    with session.cursor() as cursor:
        cursor.execute("SHOW GRANTS")
        said = [str(row[0]) for row in cursor.fetchall()]
    for line in said:
        if found := _GRANT.match(line):
            if found["what"] != "USAGE":  # nothing but to log in
                yield f"{found['what']} ON {found['where']}"
        elif found := _ROLE.match(line):
            yield found["role"]


def _reads_all(granted: Sequence[str]) -> bool:
    return any(g.endswith(" ON *.*") and re.search(rf"\b(SELECT|{ALL})\b", g) for g in granted)


def _unreadable(session: pymysql.Connection[Any], tables: Iterable[tuple[str, str]]) -> Iterable[str]:
    """By trying: roles, and privileges on columns, are in none of the server's answers as a whole."""
    import pymysql  # noqa: PLC0415

    for schema, name in tables:
        try:
            asked(session, sql.NOTHING_OF.format(table=f"{quoted(schema)}.{quoted(name)}"))
        except pymysql.err.MySQLError as exc:
            if exc.args[0] in _DENIED:
                yield f"{schema}.{name}"


def _tls(socket: Any) -> tuple[bool, str | None]:
    if not isinstance(socket, ssl.SSLSocket):
        return False, None
    cipher = socket.cipher()
    return True, " ".join(part for part in (socket.version(), cipher[0] if cipher else None) if part)
