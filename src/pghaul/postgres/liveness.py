"""Whether a backend works or waits for us: asked over a second connection when the first has fallen silent.

Silence alone proves nothing (an index build says nothing for an hour); a server that waits for its client while the
client waits for the server does: what lies between them has stopped.
"""

from __future__ import annotations

# Placeholder: the backend's pid. No row, hence NULL, when the backend is gone.
BACKEND_WORKING_SQL = """
SELECT pg_catalog.bool_or(a.state IN ('active', 'fastpath function call')
                          AND COALESCE(a.wait_event_type, '') <> 'Client')
  FROM pg_catalog.pg_stat_activity AS a
 WHERE a.pid = {0}::pg_catalog.int4
"""

# Before 9.6 the view does not say what a backend waits for.
BACKEND_ACTIVE_SQL = """
SELECT pg_catalog.bool_or(a.state IN ('active', 'fastpath function call'))
  FROM pg_catalog.pg_stat_activity AS a
 WHERE a.pid = {0}::pg_catalog.int4
"""


def working_sql(*, wait_events: bool, placeholder: str) -> str:
    """The question in a driver's own words: its placeholder is `%s` or `$1`."""
    return (BACKEND_WORKING_SQL if wait_events else BACKEND_ACTIVE_SQL).format(placeholder)
