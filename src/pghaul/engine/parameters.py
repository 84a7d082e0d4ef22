"""Parameters of both servers that hurt a load, or forbid it; and what their versions cannot do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pghaul.model.chunk import Chunk
from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.plan import Locks, Plan
from pghaul.model.text import say
from pghaul.postgres.session import Session
from pghaul.sources.postgresql import lock_findings, snapshot_findings

# `pg_settings` gives numbers in its own unit; current_setting() would give "1GB".
SETTINGS = """
SELECT s.name::text, s.setting::text,
       CASE s.unit WHEN 'kB' THEN 1024 WHEN '8kB' THEN 8192 WHEN 'MB' THEN 1048576 WHEN '16MB' THEN 16777216
                   WHEN 'B' THEN 1 END
  FROM pg_catalog.pg_settings AS s WHERE s.name = ANY (%s)
"""
NAMES = [
    "fsync",
    "full_page_writes",
    "wal_level",
    "archive_mode",
    "max_wal_size",
    "max_connections",
    "superuser_reserved_connections",
    "maintenance_work_mem",
    "hot_standby_feedback",
]
CONNECTIONS = """
SELECT (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity WHERE pid <> pg_catalog.pg_backend_pid()
          AND datname IS NOT NULL)::int4,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity WHERE pid <> pg_catalog.pg_backend_pid()
          AND datname = d.datname)::int4,
       d.datconnlimit,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity WHERE pid <> pg_catalog.pg_backend_pid()
          AND usename = r.rolname)::int4,
       r.rolconnlimit, r.rolsuper
  FROM pg_catalog.pg_database AS d, pg_catalog.pg_roles AS r
 WHERE d.datname = pg_catalog.current_database() AND r.rolname = current_user
"""
LEADERS = 2  # the run's own session, and pg_dump or pg_restore
LOCKS_PER_TABLE = 4  # of one that is created: itself, its TOAST table and index, its sequence or key
MUCH_WAL = 2  # times max_wal_size: then checkpoints follow each other
SMALL_MEMORY = 64 << 20  # of maintenance_work_mem, where much is indexed
MUCH = 1 << 30

SIDES = {"source": say("source"), "target": say("target")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much the run asks of the servers."""

    plan: Plan
    read: int  # relations to be locked on the source
    created: int  # relations to be created on the target
    chunks: Sequence[Chunk]

    @property
    def bytes(self) -> int:
        """Estimated, of the heaps."""
        return sum(c.bytes for c in self.chunks)


def findings(source: Session, target: Session, load: Load) -> Iterator[Finding]:
    """Everything about the two servers themselves."""
    yield from snapshot_findings(source)
    yield from _source(source, load)
    yield from _target(target, load)
    yield from _versions(source, target, load)
    for side, session in (("source", source), ("target", target)):
        yield from _connections(side, session, load)


def read(session: Session) -> dict[str, str | int]:
    """Named settings; sizes in bytes."""
    rows = session.rows(SETTINGS, (NAMES,))
    return {name: int(value) * unit if unit else value for name, value, unit in rows}


def _source(session: Session, load: Load) -> Iterator[Finding]:
    if load.plan.options.locks is Locks.RUN:
        yield from lock_findings(session, load.read)
    if session.server.in_recovery and read(session).get("hot_standby_feedback") == "off":
        yield Finding(
            severity=Severity.WARNING,
            kind=Kind.SETTING,
            object=say("source"),
            what=say("the source is a standby without hot_standby_feedback: its recovery may cancel our reading"),
            where=say("source"),
            advice=say("hot_standby_feedback = on, or max_standby_streaming_delay = -1, for the time of the run"),
            code=5350,
        )


def _target(session: Session, load: Load) -> Iterator[Finding]:
    server, known = session.server, read(session)
    if server.in_recovery:
        yield Finding(
            kind=Kind.SERVER,
            object=say("target"),
            what=say("the target is a standby: nothing can be written to it"),
            where=server.database,
            advice=say("name the primary server"),
            code=5351,
        )
    yield from _unsafe(known)
    locks = load.created * LOCKS_PER_TABLE
    if locks > server.max_locks // 2:
        yield Finding(
            severity=Severity.WARNING,
            kind=Kind.SETTING,
            object=say("target"),
            what=say(
                "{n} tables are created in one transaction, with about {locks} locks, and this server has room for "
                "{room}",
                n=load.created,
                locks=locks,
                room=server.max_locks,
            ),
            where=say("target"),
            advice=say("raise max_locks_per_transaction on the target"),
            code=5354,
        )
    yield from _write_ahead(known, load)
    yield from _building(known, load)


def _unsafe(known: Mapping[str, str | int]) -> Iterator[Finding]:
    if known.get("fsync") == "off":
        yield Finding(
            severity=Severity.WARNING,
            kind=Kind.SETTING,
            object=say("target"),
            what=say("fsync is off: a crash of this machine may damage the database, and lose what was reported safe"),
            where=say("target"),
            advice=say("{name} = on, before anybody relies on what is loaded", name="fsync"),
            code=5352,
        )
    if known.get("full_page_writes") == "off":
        yield Finding(
            severity=Severity.WARNING,
            kind=Kind.SETTING,
            object=say("target"),
            what=say("full_page_writes is off: a crash of the machine may damage pages"),
            where=say("target"),
            advice=say("{name} = on, before anybody relies on what is loaded", name="full_page_writes"),
            code=5353,
        )


def _write_ahead(known: Mapping[str, str | int], load: Load) -> Iterator[Finding]:
    size = known.get("max_wal_size")
    if isinstance(size, int) and load.bytes > MUCH_WAL * size:
        yield Finding(
            severity=Severity.NOTE,
            kind=Kind.SETTING,
            object=say("target"),
            what=say(
                "max_wal_size is {size} MB, and some {loaded} MB are loaded: checkpoints will follow each other",
                size=size >> 20,
                loaded=load.bytes >> 20,
            ),
            where=say("target"),
            advice=say("raise max_wal_size (and checkpoint_timeout) for the time of the run"),
            code=5355,
        )
    if known.get("archive_mode") in {"on", "always"} and load.bytes > MUCH:
        yield Finding(
            severity=Severity.NOTE,
            kind=Kind.SETTING,
            object=say("target"),
            what=say("WAL is archived: the archive takes what is loaded, too"),
            where=say("target"),
            advice=say("watch the archive's disk"),
            code=5357,
        )


def _building(known: Mapping[str, str | int], load: Load) -> Iterator[Finding]:
    memory = known.get("maintenance_work_mem")
    if isinstance(memory, int) and memory < SMALL_MEMORY and load.bytes > MUCH and load.plan.options.indexes:
        yield Finding(
            severity=Severity.NOTE,
            kind=Kind.SETTING,
            object=say("target"),
            what=say("maintenance_work_mem is {size} MB: indexes of big tables are built slowly", size=memory >> 20),
            where=say("target"),
            advice=say("raise maintenance_work_mem for the time of the run"),
            code=5356,
        )


def _versions(source: Session, target: Session, load: Load) -> Iterator[Finding]:
    here, there = source.server, target.server
    old, new = here.capabilities, there.capabilities
    if here.version_num // 10000 > there.version_num // 10000:
        yield Finding(
            severity=Severity.WARNING,
            kind=Kind.VERSION,
            object=say("versions"),
            what=say(
                "the target (PostgreSQL {target}) is older than the source ({source}): what it does not know cannot be "
                "created there",
                target=there.version,
                source=here.version,
            ),
            advice=say("move to a server that is not older, where that is possible"),
            code=5358,
        )
    large = [c for c in load.chunks if c.bytes > load.plan.options.split_bytes]
    if large and not old.tid_range_scan:
        yield Finding(
            severity=Severity.NOTE,
            kind=Kind.VERSION,
            object=say("versions"),
            what=say(
                "PostgreSQL {version} has no scans of page ranges: each of {n} big tables is read by one worker alone",
                version=here.version,
                n=len(large),
            ),
            code=5359,
        )
    if old.exact_float_text != new.exact_float_text:
        yield Finding(
            severity=Severity.NOTE,
            kind=Kind.VERSION,
            object=say("versions"),
            what=say("the two write floats differently: such columns are hashed from their binary form"),
            code=5397,
        )
    if old.infinite_intervals != new.infinite_intervals:
        yield Finding(
            severity=Severity.NOTE,
            kind=Kind.VERSION,
            object=say("versions"),
            what=say("only one of the two knows infinite intervals: tables with intervals travel as text"),
            code=5398,
        )


def _connections(side: str, session: Session, load: Load) -> Iterator[Finding]:
    """Ours on each server: the workers, the leader, and one of PostgreSQL's programs."""
    needed = load.plan.options.workers + LEADERS
    known = read(session)
    everybody, here, here_limit, ours, our_limit, superuser = session.rows(CONNECTIONS)[0]
    reserved = 0 if superuser else int(known.get("superuser_reserved_connections", 0))
    room: dict[str, int] = {"max_connections": int(known.get("max_connections", needed)) - reserved - everybody}
    if here_limit >= 0 and not superuser:
        room[say("the database's CONNECTION LIMIT")] = here_limit - here
    if our_limit >= 0 and not superuser:
        room[say("the role's CONNECTION LIMIT")] = our_limit - ours
    limit, free = min(room.items(), key=lambda item: item[1])
    if free < needed:
        yield Finding(
            severity=Severity.WARNING,
            kind=Kind.SETTING,
            object=SIDES[side],
            what=say(
                "{needed} more connections are needed on the {side}, and {limit} leaves {free}",
                needed=needed,
                side=SIDES[side],
                limit=limit,
                free=max(0, free),
            ),
            where=SIDES[side],
            advice=say("raise {limit}, end sessions that nobody uses, or take fewer workers", limit=limit),
            code=5399,
        )
