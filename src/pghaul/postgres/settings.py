"""What every session of ours sets, on either driver: rows must leave and enter as the same text everywhere.

Databases and roles carry defaults of their own (a DateStyle, a statement_timeout, a search_path); none of
them may change what COPY writes or end a long load.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from pghaul.postgres.versions import Capabilities, Side

Role: TypeAlias = Side

# The settings of the text of values: equal on both sides, whatever their defaults.
TEXT_OF_VALUES = (
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("xmloption", "content"),
    ("lc_monetary", "C"),
)

# The server should notice within 80 s that we are gone, and free our locks (its default is two hours).
KEEPALIVES = (("tcp_keepalives_idle", "30"), ("tcp_keepalives_interval", "10"), ("tcp_keepalives_count", "5"))

# One round trip for all of them; unnest() of two arrays would need 9.4. Placeholders: names, values, count.
APPLY_SQL = """
SELECT pg_catalog.set_config(({0}::pg_catalog.text[])[i], ({1}::pg_catalog.text[])[i], false)
  FROM pg_catalog.generate_series(1, {2}::pg_catalog.int4) AS i
"""
APPLY_PSYCOPG_SQL = APPLY_SQL.format("%s", "%s", "%s")
APPLY_ASYNCPG_SQL = APPLY_SQL.format("$1", "$2", "$3")


def settings(capabilities: Capabilities, role: Role, *, lock_timeout: float) -> list[tuple[str, str]]:
    """Names and values for set_config(), only such as this server knows. `lock_timeout` is in seconds."""
    wanted = [
        ("statement_timeout", "0"),
        ("lock_timeout", f"{max(1, round(lock_timeout * 1000))}ms"),
        ("search_path", ""),  # names must be qualified: nobody can slip in a function of his own
        ("standard_conforming_strings", "on"),
        ("quote_all_identifiers", "off"),
        ("client_min_messages", "warning"),
        ("default_transaction_isolation", "read committed"),
        ("synchronize_seqscans", "off"),  # a stream hash needs heap order
        *TEXT_OF_VALUES,
        *KEEPALIVES,
    ]
    by_version = [
        (capabilities.row_security, "row_security", "off"),  # an error rather than rows left out
        (capabilities.idle_timeout, "idle_in_transaction_session_timeout", "0"),
        (capabilities.parallel_query, "max_parallel_workers_per_gather", "0"),
        (capabilities.hash_extended, "jit", "off"),  # our queries are short, or read each row once
        (capabilities.idle_session_timeout, "idle_session_timeout", "0"),
        (capabilities.transaction_timeout, "transaction_timeout", "0"),
    ]
    wanted += [(name, value) for known, name, value in by_version if known]
    if role == "target":
        wanted += [("default_transaction_read_only", "off"), ("array_nulls", "on")]
    return wanted


def arguments(settings: Sequence[tuple[str, str]]) -> tuple[list[str], list[str], int]:
    """The three arguments of APPLY_SQL."""
    return [name for name, _ in settings], [value for _, value in settings], len(settings)
