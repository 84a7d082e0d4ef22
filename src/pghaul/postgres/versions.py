"""What a server can do, decided here and nowhere else: code asks for a capability, never for a version.

PGHAUL_ASSUME_VERSION makes tests of old paths possible where no such server can be had: it lowers what a newer one is
taken to be able to do, on both sides (`9.3`) or on one (`source=9.3`, `source=9.3,target=16`). It never raises, and
it proves nothing about a real old server: docs/versions.md says what was run against what.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from pghaul.model.errors import UsageError
from pghaul.model.text import say

Side: TypeAlias = Literal["source", "target"]

ASSUME_VERSION = "PGHAUL_ASSUME_VERSION"

# The first version (as server_version_num) with each feature, from PostgreSQL's release notes.
SINCE: dict[str, int] = {
    "record_image": 90400,  # *<> and its kin: are two rows the same, bit by bit
    "replica_identity": 90400,
    "alter_system": 90400,
    "frozen_by_flag": 90400,  # VACUUM leaves a frozen row's xmin as it was; before, it wrote 2
    "on_conflict": 90500,
    "row_security": 90500,
    "ssl_view": 90500,  # pg_stat_ssl
    "wait_events": 90600,
    "idle_timeout": 90600,  # idle_in_transaction_session_timeout
    "system_identifier": 90600,  # pg_control_system()
    "parallel_query": 90600,
    "access_methods": 90600,  # CREATE ACCESS METHOD
    "declarative_partitions": 100000,
    "identity": 100000,
    "sequence_types": 100000,  # CREATE SEQUENCE … AS integer
    "backend_type": 100000,  # pg_stat_activity shows the server's own processes too, and says so
    "read_all_stats": 100000,  # the role pg_read_all_stats
    "scram": 100000,  # passwords as SCRAM-SHA-256 verifiers; before, as md5
    "replay_lag": 100000,  # pg_stat_replication.replay_lag; functions say "wal" and "lsn"
    "extended_statistics": 100000,
    "publications": 100000,
    "snapshot_on_standby": 100000,  # pg_export_snapshot() during recovery
    "hash_extended": 110000,
    "parallel_index": 110000,  # CREATE INDEX with parallel workers
    "partitioned_indexes": 110000,
    "index_statistics": 110000,  # ALTER INDEX … ALTER COLUMN … SET STATISTICS
    "execute_function": 110000,  # EXECUTE FUNCTION in CREATE TRIGGER; before, it says PROCEDURE
    "default_partitions": 110000,
    "hash_partitions": 110000,
    "index_include": 110000,  # columns in an index beside its key
    "generated_columns": 120000,
    "partitioned_references": 120000,  # foreign keys to partitioned tables
    "exact_float_text": 120000,  # the shortest text that reads back as the same float
    "tid_range_scan": 140000,
    "multiranges": 140000,
    "infinite_numerics": 140000,
    "compression": 140000,  # a column's own method of compression
    "reltuples_unknown": 140000,  # -1 for never analysed; before, 0 may mean either
    "idle_session_timeout": 140000,
    "published_schemas": 150000,
    "parameter_privileges": 150000,  # GRANT SET ON PARAMETER
    "nulls_not_distinct": 150000,
    "set_role_option": 160000,  # a member of a role may or may not SET ROLE to it
    "transaction_timeout": 170000,
    "checkpointer_view": 170000,  # pg_stat_checkpointer; before, pg_stat_bgwriter
    "infinite_intervals": 170000,  # what was the longest interval before
    "not_null_constraints": 180000,  # NOT NULL as a constraint with a name, NOT VALID and NO INHERIT
    "not_valid_on_partitioned": 180000,  # foreign keys NOT VALID on partitioned tables, validated with their shares
    "virtual_columns": 180000,
    "temporal_keys": 180000,  # WITHOUT OVERLAPS, PERIOD
    "unenforced_constraints": 180000,
    "builtin_locales": 170000,  # datlocale and colllocale, of ICU's and its own
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """One server's features; `version_num` is for messages, not for decisions."""

    version_num: int
    record_image: bool
    replica_identity: bool
    alter_system: bool
    frozen_by_flag: bool
    on_conflict: bool
    row_security: bool
    ssl_view: bool
    wait_events: bool
    idle_timeout: bool
    system_identifier: bool
    parallel_query: bool
    access_methods: bool
    declarative_partitions: bool
    identity: bool
    sequence_types: bool
    backend_type: bool
    read_all_stats: bool
    scram: bool
    replay_lag: bool
    extended_statistics: bool
    publications: bool
    snapshot_on_standby: bool
    hash_extended: bool
    parallel_index: bool
    partitioned_indexes: bool
    index_statistics: bool
    execute_function: bool
    default_partitions: bool
    hash_partitions: bool
    index_include: bool
    generated_columns: bool
    partitioned_references: bool
    exact_float_text: bool
    tid_range_scan: bool
    multiranges: bool
    infinite_numerics: bool
    compression: bool
    reltuples_unknown: bool
    idle_session_timeout: bool
    published_schemas: bool
    parameter_privileges: bool
    nulls_not_distinct: bool
    set_role_option: bool
    transaction_timeout: bool
    checkpointer_view: bool
    infinite_intervals: bool
    not_null_constraints: bool
    not_valid_on_partitioned: bool
    virtual_columns: bool
    temporal_keys: bool
    unenforced_constraints: bool
    builtin_locales: bool


def capabilities(
    version_num: int, side: Side | None = None, *, environ: Mapping[str, str] = os.environ
) -> Capabilities:
    """The features of a server of this version on this side; PGHAUL_ASSUME_VERSION lowers it, never raises.

    Raises UsageError where the variable is malformed.
    """
    assumed = assumed_versions(environ.get(ASSUME_VERSION, "").strip())
    version_num = min([version_num, *(v for s, v in assumed.items() if side in {s, None})])
    return Capabilities(version_num=version_num, **{feature: version_num >= since for feature, since in SINCE.items()})


def assumed_versions(text: str) -> dict[Side, int]:
    """'9.3' is both sides; 'source=9.3,target=16' each its own, 'source=9.3' that one alone."""
    if not text:
        return {}
    if "=" not in text:
        return dict.fromkeys(get_args(Side), parse_version(text))
    found: dict[Side, int] = {}
    for part in text.split(","):
        name, _, version = (word.strip() for word in part.partition("="))
        side: Side | None = next((s for s in get_args(Side) if s == name), None)
        if side is None:
            raise UsageError(
                say("{variable}={text!r} names no side {name!r}", variable=ASSUME_VERSION, text=text, name=name),
                advice=say("write it like source=9.3,target=16"),
                code=1014,
            )
        found[side] = parse_version(version)
    return found


def parse_version(text: str) -> int:
    """'9.3' → 90300, '9.3.10' → 90310, '16' → 160000, '16.2' → 160002; UsageError for anything else."""
    if not re.fullmatch(r"\d{1,2}(\.\d{1,2}){0,2}", text):
        raise UsageError(
            say("{variable}={text!r} is not a PostgreSQL version", variable=ASSUME_VERSION, text=text),
            advice=say("write it like 9.3 or 16"),
            code=1015,
        )
    parts = [int(p) for p in text.split(".")] + [0, 0]
    if parts[0] < 10:
        return parts[0] * 10000 + parts[1] * 100 + parts[2]
    return parts[0] * 10000 + parts[1]
