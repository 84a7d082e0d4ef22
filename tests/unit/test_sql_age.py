"""No statement uses what 9.3 does not have, unless a capability stands before it; nor what a newer server has lost.

A net of words, not a proof: it catches what is easily written without thinking of old servers.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from pghaul.postgres.versions import SINCE

SOURCE = Path(__file__).resolve().parents[2] / "src" / "pghaul"

# What came after 9.3, by the version that brought it.
YOUNG = {
    90400: r"""
        to_reg(?:class|type|proc|oper)\b | \bjsonb | \bFILTER\s*\( | WITH\ ORDINALITY | ROWS\ FROM\s*\(
        | relreplident | WITHIN\ GROUP | \bmake_(?:date|time|timestamp|interval)\w*\( | \bcardinality\(
        | ALTER\ SYSTEM | \blo_(?:get|put)\( | VIEW\ CONCURRENTLY
        | unnest\([^()]*\),?\s*pg_catalog\.unnest\([^()]*\)\s+AS\s+\w+\s*\( | json_build_\w+ | backend_xmin
    """,
    90500: r"""
        \bON\ CONFLICT\b | SKIP\ LOCKED | \bpg_policy\b | relrowsecurity | relforcerowsecurity
        | row_security_active | (?:INDEX|SEQUENCE)\ IF\ NOT\ EXISTS
        | ::(?:pg_catalog\.)?reg(?:role|namespace)\b | GROUPING\ SETS | TABLESAMPLE | SET\ (?:UN)?LOGGED
        | array_positions?\( | pg_identify_object_as_address | \brow_security\b | pg_stat_ssl | rolbypassrls
    """,
    90600: r"""
        \bwait_event | pg_control_\w+\( | pg_blocking_pids | parallel_workers_per_gather
        | COLUMN\ IF\ NOT\ EXISTS | current_setting\([^()]*,\s*true\) | idle_in_transaction_session_timeout
        | pg_size_bytes | parse_ident\(
    """,
    100000: r"""
        relispartition | relpartbound | pg_partitioned_table | pg_get_partkeydef | partattrs\b | attidentity
        | \bpg_sequences?\b | pg_statistic_ext | pg_publication | pg_get_statisticsobjdef | \bbackend_type\b
        | \b(?:write|flush|replay)_lag\b | (?:ATTACH|DETACH)\ PARTITION | PARTITION\ (?:OF|BY)\b
        | \bAS\ IDENTITY | \w+_wal_(?:lsn|replay)\w* | pg_wal_lsn_diff | collprovider
    """,
    110000: r"""
        hash\w*extended | hash_extended\( | \bprokind\b | \bjit\b | max_parallel_maintenance_workers
        | conparentid | \bINCLUDE\s*\( | EXECUTE\ FUNCTION | \bsha(?:224|256|384|512)\(
    """,
    120000: r"""
        attgenerated | AS\ (?:NOT\ )?MATERIALIZED | pg_stat_progress_(?:create_index|cluster)
        | collisdeterministic | pg_partition_(?:tree|ancestors|root) | default_table_access_method
        | GENERATED\ ALWAYS\ AS\ \(
    """,
    130000: r"""
        WITH\ \(FORCE\) | gen_random_uuid | \bleader_pid\b | pg_stat_progress_(?:basebackup|analyze)
    """,
    140000: r"""
        multirange | idle_session_timeout | pg_stat_progress_copy | attcompression | pg_stat_wal\b
        | stxexprs | date_bin\(
    """,
    150000: r"""
        MERGE\ INTO | NULLS\ (?:NOT\ )?DISTINCT | nullsnotdistinct | pg_parameter_acl
        | has_parameter_privilege
    """,
    160000: r"""
        \bpg_stat_io\b | any_value\(
    """,
    170000: r"""
        transaction_timeout | pg_stat_checkpointer
    """,
    180000: r"""
        conenforced | conperiod | uuidv7
    """,
}
# What a later version took away, by that version.
GONE = {
    90600: r"""
        pg_stat_activity\.waiting
    """,
    100000: r"""
        pg_\w*xlog\w* | \b(?:sent|write|flush|replay)_location\b
    """,
    110000: r"""
        proisagg | proiswindow
    """,
    120000: r"""
        \bconsrc\b | \badsrc\b | relhasoids
    """,
    150000: r"""
        datlastsysoid | pg_start_backup | pg_stop_backup
    """,
    170000: r"""
        checkpoints_(?:timed|req)\b
    """,
}

# Where such words stand, and the capability that decides whether they are sent.
BEHIND: dict[str, dict[str, str]] = {
    "engine/insert_sql.py": {"ON CONFLICT": "on_conflict", "row_security": "row_security"},
    "engine/older_target.py": {
        "attcompression": "compression",
        "conperiod": "temporal_keys",
        "pg_partitioned_table": "hash_partitions",
        "conenforced": "unenforced_constraints",
        "nullsnotdistinct": "nulls_not_distinct",
        "attgenerated": "virtual_columns",
    },
    "engine/recipes.py": {"row_security": "row_security"},
    "engine/collations.py": {"collprovider": "declarative_partitions"},
    "engine/perform.py": {"max_parallel_maintenance_workers": "parallel_index"},
    "engine/worker.py": {"max_parallel_maintenance_workers": "parallel_index"},
    "engine/scene.py": {"max_parallel_maintenance_workers": "parallel_index"},
    "postgres/_probe_sql.py": {"pg_stat_ssl": "ssl_view", "rolbypassrls": "row_security"},
    "engine/verify_sides.py": {"parallel_workers_per_gather": "parallel_query"},
    "postgres/catalog_sql.py": {
        "attgenerated": "generated_columns",
        "attidentity": "identity",
        "nullsnotdistinct": "nulls_not_distinct",
        "relispartition": "declarative_partitions",
        "relrowsecurity": "row_security",
        "row_security": "row_security",
    },
    "postgres/liveness.py": {"wait_event": "wait_events"},
    "postgres/pressure.py": {
        "backend_type": "backend_type",
        "pg_last_wal": "replay_lag",
        "replay_lag": "replay_lag",
        "pg_stat_checkpointer": "checkpointer_view",
    },
    "postgres/rowhash.py": {"hash": "hash_extended"},
    "postgres/server.py": {"pg_control_system": "system_identifier"},
    "postgres/settings.py": {
        "row_security": "row_security",
        "idle_in_transaction_session_timeout": "idle_timeout",
        "parallel_workers_per_gather": "parallel_query",
        "jit": "hash_extended",
        "idle_session_timeout": "idle_session_timeout",
        "transaction_timeout": "transaction_timeout",
    },
    "postgres/trees_sql.py": {"": "declarative_partitions"},
    "sources/_layout_sql.py": {"pg_policy": "row_security", "pg_statistic_ext": "extended_statistics"},
    "sources/_postgresql_sql.py": {
        "pg_policy": "row_security",
        "row_security_active": "row_security",
        "pg_statistic_ext": "extended_statistics",
        "pg_publication": "publications",
        "relreplident": "replica_identity",
    },
    "sources/partitions.py": {"": "declarative_partitions"},
    "target/_design_ddl.py": {"PARTITION": "declarative_partitions"},
    "target/_design_sql.py": {"attgenerated": "generated_columns", "attidentity": "identity"},
    "target/_closure_sql.py": {
        "pg_policy": "row_security",
        "relrowsecurity": "row_security",
        "pg_statistic_ext": "extended_statistics",
        "pg_publication": "publications",
    },
    "target/_scope_sql.py": {
        "pg_policy": "row_security",
        "relrowsecurity": "row_security",
        "pg_statistic_ext": "extended_statistics",
    },
    "sources/increments_sql.py": {"pg_sequence": "sequence_types", "backend_type": "backend_type"},
    "target/_advice_sql.py": {"pg_sequence": "sequence_types"},
    "target/advising.py": {"AS IDENTITY": "identity"},
    "target/advising_settings.py": {"ALTER SYSTEM": "alter_system"},
    "target/answering.py": {"backend_type": "backend_type"},
    "target/merge.py": {"parallel_workers_per_gather": "parallel_query"},
    "target/merge_sql.py": {"ON CONFLICT": "on_conflict"},
    "target/replay.py": {"ON CONFLICT": "on_conflict", "idle_in_transaction_session_timeout": "idle_timeout"},
    "target/merge_target.py": {
        "attgenerated": "generated_columns",
        "collisdeterministic": "generated_columns",
        "attidentity": "identity",
        "row_security": "row_security",
    },
    "target/withdraw.py": {"relrowsecurity": "row_security"},
    "target/layout.py": {"to_regclass": "declarative_partitions"},  # of indexes of partitioned tables alone
}
# The same of words that later versions have lost.
BEFORE: dict[str, dict[str, str]] = {
    "postgres/pressure.py": {"pg_last_xlog": "replay_lag", "checkpoints_req": "checkpointer_view"}
}
# Texts that no server reads that is not known to be new: names of features, types and the demo's own servers.
NOT_SENT = {
    "engine/duplicates.py": "PARTITION BY",  # of a window
    "target/merge_staged.py": "PARTITION BY",  # the same
    "engine/quiet.py": "pg_current_",  # looked up in pg_proc, whichever is there
    "postgres/versions.py": "",
    "postgres/widening.py": "jsonb",
    "sources/_files_types.py": "jsonb",  # proposed; what a target lacks is found when its tables are tried there
    "sources/_mysql_session.py": "transaction_timeout",  # MariaDB's
    "sources/_mysql_types.py": "jsonb",  # proposed, as above
    "sources/_oracle_types.py": "jsonb",  # the same
    "sources/_sqlite_types.py": "jsonb",  # the same
    "target/arrow/binary_form.py": "jsonb",  # of columns that are there
    "target/arrow/checks.py": "multirange",  # the same
    "target/arrow/kinds.py": "jsonb",  # the same
    "target/arrow/way.py": "jsonb",  # the same
    "target/foreign/defaults.py": "gen_random_uuid",  # defaults are tried on the target beforehand
    "target/foreign/keys.py": "jsonb",  # of columns that are there
    "target/foreign/outcome.py": "jsonb",  # becomes json where it is unknown
    "service/demo.py": "",
    "target/_closure_sql.py": "jit",  # looked up in pg_settings
    "target/older.py": "",
    "target/restore.py": "default_table_access_method",
    "target/scope.py": "row_security",  # the name of the capability
}


@cache
def sources() -> dict[str, str]:
    """The text of each module."""
    return {p.relative_to(SOURCE).as_posix(): p.read_text(encoding="utf-8") for p in sorted(SOURCE.rglob("*.py"))}


@cache
def statements() -> tuple[tuple[str, str], ...]:
    """(module, text) of everything that may be SQL."""
    return tuple((m, text) for m, source in sources().items() for text in texts(source) if looks_like_sql(text))


def texts(source: str) -> Iterator[str]:
    """String constants that are no docstrings."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    spoken = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in spoken:
            yield node.value


def words(table: dict[int, str]) -> Iterator[tuple[str, str, int]]:
    """(module, word, version) of every such word in the sources."""
    patterns = {version: re.compile(pattern, re.VERBOSE) for version, pattern in table.items()}
    for module, text in statements():
        yield from ((module, m.group(), v) for v, p in patterns.items() for m in p.finditer(text))


def looks_like_sql(text: str) -> bool:
    return bool(re.search(r"\b(?:SELECT|FROM|WHERE|JOIN|INSERT|UPDATE|CREATE|ALTER|SET|[a-z]\w*\.\w+)\b|^\w+$", text))


def capability_of(module: str, word: str, table: dict[str, dict[str, str]] = BEHIND) -> str | None:
    found = [c for beginning, c in table.get(module, {}).items() if word.startswith(beginning)]
    return found[0] if found else None


@cache
def asked(module: str, capability: str) -> bool:
    """By the module, by one that imports it, or for all of them by the checks before a run."""
    asking = re.compile(rf"\b{capability}\b")
    naming = re.compile(rf"\b{Path(module).stem}\b")
    near = {module, "engine/preflight.py"}
    asking_ones = (m for m, text in sources().items() if Path(m).stem != "versions" and asking.search(text))
    return any(m in near or naming.search(sources()[m]) for m in asking_ones)


@pytest.mark.parametrize(("module", "word", "version"), sorted(set(words(YOUNG))))
def test_a_young_word_stands_behind_a_capability_that_is_as_young(module: str, word: str, version: int) -> None:
    if word.startswith(NOT_SENT.get(module, "\0")):
        return
    capability = capability_of(module, word)
    assert capability is not None, f"{module}: {word} is unknown before {version}, and nothing asks for it"
    assert SINCE[capability] >= version or module == "sources/partitions.py"
    assert asked(module, capability)


def test_nothing_is_used_that_later_versions_have_lost_without_asking() -> None:
    for module, word, version in words(GONE):
        if word.startswith(NOT_SENT.get(module, "\0")):
            continue
        capability = capability_of(module, word, BEFORE)
        assert capability is not None, f"{module}: {word} is gone since {version}, and nothing asks for it"
        assert SINCE[capability] <= version
        assert asked(module, capability)


@pytest.mark.parametrize("text", ["SELECT pg_catalog.to_regclass('x')", "SELECT 1 FROM pg_catalog.pg_policy", "jit"])
def test_the_net_catches(text: str) -> None:
    assert looks_like_sql(text)
    assert any(re.search(p, text, re.VERBOSE) for p in YOUNG.values())
