"""Whether the target's disk holds what comes: sizes of the source against what is free there.

Only a server on this machine can be asked for its disk, by the operating system; of others the plan may say it.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from psycopg.sql import SQL

from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.placement import Placement, shares
from pghaul.model.preview import Space
from pghaul.model.table import Name, Table
from pghaul.model.text import say
from pghaul.postgres.catalog_sql import NAMED
from pghaul.postgres.session import Session

# Heap with its TOAST table, and indexes. A name that is not there gives no row.
SIZES = SQL(
    """
SELECT n.nspname::text, c.relname::text, coalesce(pg_catalog.pg_table_size(c.oid), 0)::int8,
       coalesce(pg_catalog.pg_indexes_size(c.oid), 0)::int8
FROM {named} w
JOIN pg_catalog.pg_namespace n ON n.nspname = w.nspname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.relname
"""
).format(named=NAMED)

# Where a table without a tablespace of its own lies. data_directory is NULL for a role that may not see it.
PLACE = """
SELECT pg_catalog.pg_tablespace_location(d.dattablespace),
       (SELECT s.setting FROM pg_catalog.pg_settings AS s WHERE s.name = 'data_directory'),
       coalesce(pg_catalog.host(pg_catalog.inet_server_addr()), ''), pg_catalog.pg_backend_pid()
  FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()
"""
PLENTY = 10  # times the heaps: TOAST and indexes are seldom more
TIGHT = 0.8  # of the free space: WAL and the sorting of indexes want some, too
MAKE_ROOM = say("free some, or another tablespace; if that is wrong, say what is free: --target-free")


def measure(
    source: Session,
    target: Session,
    placements: Sequence[Placement],
    tables: Mapping[Name, Table],
    dispositions: Mapping[Name, str],
    *,
    said: int | None,
    exact: bool,
) -> Space:
    """`said` is what the plan says to be free. Unless `exact`, a glance at the heaps may do: many sizes take time."""
    filled = [p for p in placements if dispositions.get(p.target) not in {"skip", None}]
    free, at = free_on(target, said)
    glance = sum(tables[o.table].bytes for p in filled for o in p.origins)
    if not exact and (free is None or glance * PLENTY < free):
        return Space(heap=glance, needed=glance, free=free, at=at)
    sizes = sizes_of(source, {o.table for p in filled for o in p.origins})
    there = sizes_of(target, {p.target for p in filled if dispositions[p.target] in {"truncate", "refresh"}})
    heap = indexes = needed = 0
    share = shares(filled)
    for placement in filled:
        parts = [sizes.get(o.table, (0, 0)) for o in placement.origins]
        parts = [(h // share[o.table], i // share[o.table]) for o, (h, i) in zip(placement.origins, parts, strict=True)]
        table, index = sum(p[0] for p in parts), sum(p[1] for p in parts)
        heap, indexes = heap + table, indexes + index
        needed += max(0, table + index - sum(there.get(placement.target, (0, 0))))
    emptied = [sum(pair) for pair in there.values()]
    return Space(
        heap=heap,
        indexes=indexes,
        returned=sum(emptied),
        needed=needed + max(emptied, default=0),
        free=free,
        at=at,
        exact=all(p.plain for p in filled),
    )


def sizes_of(session: Session, names: Iterable[Name]) -> dict[Name, tuple[int, int]]:
    """(heap, indexes) in bytes."""
    wanted = sorted(names)
    if not wanted:
        return {}
    rows = session.rows(SIZES, ([n.schema for n in wanted], [n.name for n in wanted]))
    return {Name(s, n): (heap, indexes) for s, n, heap, indexes in rows}


def findings(space: Space) -> Iterator[Finding]:
    """Too small is an error, where whole tables are copied."""
    if space.free is None or space.needed <= TIGHT * space.free:
        return
    needed, free = megabytes(space.needed), megabytes(space.free)
    if space.needed > space.free:
        yield Finding(
            severity=Severity.ERROR if space.exact and not space.estimated else Severity.WARNING,
            kind=Kind.SPACE,
            object=say("target"),
            what=say("about {needed} are needed on the target's disk, and {free} are free", needed=needed, free=free),
            where=space.at,
            advice=MAKE_ROOM,
            code=6030,
        )
        return
    yield Finding(
        severity=Severity.WARNING,
        kind=Kind.SPACE,
        object=say("target"),
        what=say("about {needed} of the {free} that are free on the target are needed", needed=needed, free=free),
        where=space.at,
        advice=MAKE_ROOM,
        code=6031,
    )


def megabytes(size: int) -> str:
    """1.5 GB, 12.0 MB."""
    return f"{size / (1 << 30):.1f} GB" if size >= 1 << 30 else f"{size / (1 << 20):.1f} MB"


def free_on(target: Session, said: int | None) -> tuple[int | None, str]:
    """What is free, and where that was found; what the plan says goes before what is found. None: nobody knows."""
    return (said, say("the target, as the plan says")) if said is not None else _free(target)


def _free(target: Session) -> tuple[int | None, str]:
    tablespace, data, address, pid = target.rows(PLACE)[0]
    place = tablespace or data
    if not place or not _is_here(address, pid):
        return None, ""
    try:
        return shutil.disk_usage(Path(place)).free, str(place)
    except OSError:
        return None, ""


def _is_here(address: str, pid: int) -> bool:
    """By a socket or the loopback, and its backend is a process of this machine: a container's is none."""
    if address not in {"", "127.0.0.1", "::1"}:
        return False
    if sys.platform == "win32":  # there os.kill(pid, 0) would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
