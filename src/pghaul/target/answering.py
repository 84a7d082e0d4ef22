"""The health check: does a database answer, may it be read, and how full and how far behind is its server?

For load balancers and schedulers: it never waits longer than it was told to, whatever the network does.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace
from queue import Empty, Queue

from pghaul.model.errors import PghaulError
from pghaul.model.profile import Endpoint
from pghaul.model.text import say
from pghaul.model.upkeep import Health
from pghaul.postgres.pressure import replication_lag
from pghaul.postgres.session import Session, connect

LEAST_CONNECT = 2  # seconds: libpq takes no less
READ = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_class"
LIMIT = "SELECT pg_catalog.set_config('statement_timeout', %s, false)"
READ_ONLY = "SELECT pg_catalog.current_setting('transaction_read_only') = 'on'"
CONNECTIONS = """
SELECT pg_catalog.count(*)::int4, pg_catalog.current_setting('max_connections')::int4
  FROM pg_catalog.pg_stat_activity AS a
"""
OF_CLIENTS = " WHERE a.backend_type = 'client backend'"


def health(endpoint: Endpoint, timeout: float) -> Health:
    """Never raises for what is wrong with the server, and returns within `timeout` seconds."""
    answers: Queue[Health] = Queue()
    threading.Thread(target=lambda: answers.put(_look(endpoint, timeout)), daemon=True, name="health").start()
    try:
        return answers.get(timeout=timeout)
    except Empty:
        return Health(
            ok=False,
            url=endpoint.display,
            problem=say("no answer within {seconds:g} s", seconds=timeout),
            advice=say("look at host and port, and whether the server is overloaded; --timeout waits longer"),
            code="PGH-2200",
        )


def _look(endpoint: Endpoint, timeout: float) -> Health:
    patience = str(max(LEAST_CONNECT, math.ceil(timeout)))
    hurried = replace(endpoint, params=tuple(sorted({**dict(endpoint.params), "connect_timeout": patience}.items())))
    begun = time.monotonic()
    try:
        # As a source: a session of a target would switch off what makes the database read-only.
        with connect(hurried, application_name="pghaul/check", role="source") as session:
            return _seen(session, endpoint, time.monotonic() - begun, timeout)
    except PghaulError as exc:
        return Health(ok=False, url=endpoint.display, problem=exc.message, advice=exc.advice, code=exc.code)


def _seen(session: Session, endpoint: Endpoint, seconds: float, timeout: float) -> Health:
    server = session.server
    session.value(LIMIT, (f"{max(1, round(timeout * 1000))}ms",))
    begun = time.monotonic()
    session.value(READ)
    took = time.monotonic() - begun
    used, most = session.rows(CONNECTIONS + (OF_CLIENTS if server.capabilities.backend_type else ""))[0]
    return Health(
        ok=True,
        url=endpoint.display,
        version=server.version,
        version_num=server.version_num,
        encoding=server.encoding,
        in_recovery=server.in_recovery,
        lag_seconds=_lag(session),
        read_only=bool(session.value(READ_ONLY)),
        connections=used,
        max_connections=most,
        connect_seconds=round(seconds, 4),
        read_seconds=round(took, 4),
    )


def _lag(session: Session) -> float | None:
    """Servers before 10 do not tell a primary how far behind its standbys are."""
    if not session.server.in_recovery and not session.server.capabilities.replay_lag:
        return None
    return round(replication_lag(session), 3)
