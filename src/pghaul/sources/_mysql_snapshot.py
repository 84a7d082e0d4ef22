"""One moment for all sessions of a run: InnoDB's snapshots begun while a session of the leader keeps writers waiting.

MySQL cannot hand a snapshot on. So the leader takes the global read lock (or, where it may not, a read lock on every
table) for as long as it is open: whoever begins a snapshot meanwhile sees the same. A lock with a name tells the others
that it is still held.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pghaul.model.errors import SnapshotLostError
from pghaul.model.text import say
from pghaul.sources._mysql_catalog import asked

if TYPE_CHECKING:
    import pymysql

BEGIN = "START TRANSACTION WITH CONSISTENT SNAPSHOT"
FREEZE = "FLUSH TABLES WITH READ LOCK"
NOT_ALLOWED = frozenset({1044, 1142, 1227})
KEPT = say("keep the leader's session with the server open: wait_timeout, proxies and firewalls end idle ones")


def freeze(session: pymysql.Connection[Any], tables: Sequence[str]) -> str:
    """Keep writers waiting until the session ends. `tables` are quoted. What it returns goes to `is_frozen`."""
    import pymysql  # noqa: PLC0415

    token = f"pghaul-{secrets.token_hex(8)}"
    with session.cursor() as cursor:
        try:
            cursor.execute(FREEZE)
        except pymysql.err.MySQLError as exc:
            if exc.args[0] not in NOT_ALLOWED or not tables:
                raise
            cursor.execute("LOCK TABLES " + ", ".join(f"{t} READ" for t in tables))
    asked(session, "SELECT GET_LOCK(%s, 0)", (token,))
    return f"{token}:{session.thread_id()}"


def check_frozen(session: pymysql.Connection[Any], token: str, where: str) -> None:
    """SnapshotLostError where whoever froze it has let go."""
    name, _, holder = token.partition(":")
    (row,) = asked(session, "SELECT IS_USED_LOCK(%s) AS holder", (name,))
    if row["HOLDER"] is None or str(row["HOLDER"]) != holder:
        raise SnapshotLostError(
            say("nobody keeps writers waiting any more: the moment that all read is gone"),
            where=where,
            advice=KEPT,
            code=2440,
        )
