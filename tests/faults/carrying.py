"""Stories of the Arrow lane: a SQLite file or a MariaDB goes into an empty PostgreSQL while somebody is struck."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import psycopg

from tests.compare import as_name, contents
from tests.faults import foreign
from tests.faults.foreign import CHANGES, TABLES
from tests.faults.plant import SPLIT_SIZE
from tests.faults.program import RUN_OPTIONS
from tests.faults.proxy import Moment
from tests.faults.story import LEADER, RUN_ID, WORKER, Story, Strike

if TYPE_CHECKING:
    from tests.faults.faults import Scene

SOURCE_FAULTS = ("sessions_killed", "source_killed", "source_stalled", "relay_killed")
LEFT = """
SELECT 'table ' || relname FROM pg_class WHERE relname ~ '^(stage|changes|pghaul)_' AND relkind = 'r'
UNION ALL SELECT 'claim ' || relation FROM pghaul.claim WHERE run_id = %(run)s
UNION ALL SELECT 'undo ' || restore_sql FROM pghaul.undo WHERE NOT done
UNION ALL SELECT 'set aside ' || relation FROM pghaul.quarantine
UNION ALL SELECT 'state ' || state FROM pghaul.run WHERE state <> 'done' AND run_id = %(run)s
"""
BUILT = """
SELECT conrelid::regclass::text || ' ' || contype::text FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'u', 'f') AND convalidated
UNION ALL SELECT indexrelid::regclass::text FROM pg_index
WHERE indisvalid AND indexrelid::regclass::text = 'part_item'
"""
EXPECTED = {"item p", "item u", "part p", "part f", "part_item"}
STRIKES = {
    "look": Strike(pattern=".", application=LEADER, most=40),
    "copy": Strike(moment=Moment.COPIED, application=WORKER),
    "ready": Strike(pattern="^TRUNCATE", application=WORKER, most=3),
    "marker": Strike(pattern=r"(INSERT INTO|UPDATE)\s+pghaul\.chunk_marker", application=WORKER, most=9),
    "index": Strike(pattern="CREATE (UNIQUE )?INDEX|ADD CONSTRAINT", application=WORKER, most=3),
    "commit_before": Strike(pattern=r"^\s*COMMIT", application=WORKER, most=7),
    "commit_after": Strike(moment=Moment.ANSWER, pattern="^COMMIT$", application=WORKER, most=7),
    "validate": Strike(pattern="VALIDATE CONSTRAINT", application=LEADER, after=r"(INSERT INTO|UPDATE) pghaul\.run "),
    "end": Strike(pattern=r"UPDATE pghaul\.run SET state", application=LEADER),
}


def words(*more: str) -> Callable[[str, str], tuple[str, ...]]:
    """`pghaul run` of everything."""

    def of(source: str, target: str) -> tuple[str, ...]:
        return ("run", source, target, "--run-id", RUN_ID, "--json", *RUN_OPTIONS, "--split-size", SPLIT_SIZE, *more)

    return of


def judge(scene: Scene) -> Iterable[str]:
    """Every row of the source as it is now, once; keys, indexes and references; and nothing else."""
    source = scene.foreign
    assert source is not None
    columns = {as_name(f"public.{t}"): c.split(", ") for t, c in TABLES.items()}
    target = contents(scene.urls["target"], columns, columns=columns)
    dropped = {"log"} if scene.case_kind == "table_dropped" else set()
    for name in sorted(set(TABLES) - dropped):
        expected, content = source.rows(name), target.get(as_name(f"public.{name}"))
        found = content.rows if content else type(expected)()
        if found != expected:
            lost, doubled = expected - found, found - expected
            yield f"{name}: {lost.total()} lost, {doubled.total()} too many: {[*lost, *doubled][:2]}"
    with psycopg.connect(scene.urls["target"], autocommit=True) as session:
        yield from (f"left over: {what}" for (what,) in session.execute(LEFT, {"run": scene.last_run}))
        missing = EXPECTED - {what for (what,) in session.execute(BUILT)}
    if missing:
        yield f"not on the target: {sorted(missing)}"
    if source.sessions():
        yield f"{source.sessions()} sessions left on the source"


CARRYING = {
    "sqlite": Story(
        source="",
        target="",
        tables=("public.item", "public.part", "public.log"),
        strikes=STRIKES,
        words=words("--verify", "count"),
        judge=judge,
        volume=900_000,
        foreign=foreign.sqlite,
        kinds=tuple(CHANGES),
    ),
    "mariadb": Story(
        source="",
        target="",
        tables=("public.item", "public.part", "public.log"),
        strikes=STRIKES,
        words=words(),
        judge=judge,
        volume=900_000,
        foreign=foreign.maria,
        kinds=(*SOURCE_FAULTS, *SOURCE_FAULTS, *CHANGES),
    ),
    "mariadb at one moment": Story(
        source="",
        target="",
        tables=("public.item", "public.part", "public.log"),
        strikes=STRIKES,
        words=words("--consistency", "snapshot"),
        judge=judge,
        volume=900_000,
        foreign=foreign.maria,
        kinds=(*SOURCE_FAULTS, *CHANGES),
    ),
}
