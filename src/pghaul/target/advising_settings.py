"""Settings of a server out of proportion to its machine and its data. How much memory it has, only people know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pghaul.model.figures import amount
from pghaul.model.finding import Severity
from pghaul.model.text import Text, say
from pghaul.model.upkeep import Advice
from pghaul.postgres.pressure import requested_checkpoints
from pghaul.postgres.session import Session
from pghaul.target import _advice_sql as sql

MB, GB = 1 << 20, 1 << 30
UNITS = {"8kB": 8192, "kB": 1024, "MB": MB, "16MB": 16 * MB, "s": 1, "": 1}
MANY_CHECKPOINTS = 10  # forced since the counters began


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    values: Mapping[str, str]
    sizes: Mapping[str, float]
    data: float
    spilled: float
    forced: int
    memory: int | None


def advice(session: Session, memory: int | None) -> Iterator[Advice]:
    """Why, and what to set instead."""
    rows = session.rows(sql.SETTINGS)
    data, spilled = session.rows(sql.SIZES)[0]
    seen = _Seen(
        values={name: value for name, value, _ in rows},
        sizes={n: float(v) * UNITS[unit] for n, v, unit in rows if unit in UNITS and v.lstrip("-").isdigit()},
        data=data,
        spilled=spilled or 0,
        forced=requested_checkpoints(session),
        memory=memory,
    )
    for severity, name, value, why in (*_unsafe(seen), *_memory(seen), *_writing(seen)):
        known = session.server.capabilities.alter_system
        words = f"ALTER SYSTEM SET {name} = '{value}'; SELECT pg_catalog.pg_reload_conf();"
        if name == "shared_buffers":
            words = f"ALTER SYSTEM SET {name} = '{value}'; -- then restart the server"
        yield Advice(
            severity=severity,
            kind="setting",
            object=name,
            what=why,
            sql=words if known else f"-- in postgresql.conf: {name} = '{value}'",
            figures={"now": seen.values[name], "better": value},
        )


Found = tuple[Severity, str, str, Text]


def _unsafe(seen: _Seen) -> Iterator[Found]:
    for name in ("fsync", "full_page_writes"):
        if seen.values.get(name) == "off":
            yield Severity.ERROR, name, "on", say("a crash of the machine may destroy the database")
    for name in ("autovacuum", "track_counts"):
        if seen.values.get(name) == "off":
            yield Severity.ERROR, name, "on", say("nothing is vacuumed or analyzed by itself, up to the wraparound")


def _memory(seen: _Seen) -> Iterator[Found]:
    shared, cache = seen.sizes["shared_buffers"], seen.sizes["effective_cache_size"]
    memory = seen.memory
    if memory:
        if shared < 0.15 * memory and seen.data > shared:
            why = say("{now} of {memory} cache {data} of data: a quarter of the memory is usual",
                      now=amount(int(shared)), memory=amount(memory), data=amount(int(seen.data)))  # fmt: skip
            yield Severity.WARNING, "shared_buffers", _mb(memory / 4), why
        elif shared > 0.45 * memory:
            why = say("{now} of {memory} leave too little to sessions and to the system's cache",
                      now=amount(int(shared)), memory=amount(memory))  # fmt: skip
            yield Severity.WARNING, "shared_buffers", _mb(memory / 4), why
        if not 0.4 * memory <= cache <= memory:
            why = say("the planner thinks that {now} are cached, of {memory} in the machine", now=amount(int(cache)),
                      memory=amount(memory))  # fmt: skip
            yield Severity.NOTE, "effective_cache_size", _mb(0.75 * memory), why
        if seen.sizes["work_mem"] * seen.sizes["max_connections"] > memory:
            why = say("all connections together may take more than the {memory} of the machine", memory=amount(memory))
            yield Severity.WARNING, "work_mem", _mb(max(4 * MB, memory / 4 / seen.sizes["max_connections"])), why
    elif shared <= 128 * MB and seen.data > GB:
        why = say("the default caches {data} of data: a quarter of the memory is usual (say it with --memory)",
                  data=amount(int(seen.data)))  # fmt: skip
        yield Severity.WARNING, "shared_buffers", _mb(min(seen.data / 4, 8 * GB)), why
    if seen.spilled > GB and seen.sizes["work_mem"] <= 4 * MB:
        why = say("sorts and hashes have written {size} to temporary files", size=amount(int(seen.spilled)))
        yield Severity.NOTE, "work_mem", "32MB", why
    if seen.sizes["maintenance_work_mem"] <= 64 * MB and seen.data > 4 * GB:
        why = say("indexes and VACUUM over {data} go faster with more", data=amount(int(seen.data)))
        yield Severity.NOTE, "maintenance_work_mem", "512MB", why


def _writing(seen: _Seen) -> Iterator[Found]:
    if "max_wal_size" in seen.sizes and seen.forced > MANY_CHECKPOINTS and seen.sizes["max_wal_size"] < 16 * GB:
        why = say("{n} checkpoints were forced, by the amount of WAL or by commands", n=seen.forced)
        yield Severity.NOTE, "max_wal_size", _mb(4 * seen.sizes["max_wal_size"]), why
    if seen.sizes["checkpoint_timeout"] < 300:
        why = say("checkpoints every {n:.0f} s write whole pages again and again", n=seen.sizes["checkpoint_timeout"])
        yield Severity.NOTE, "checkpoint_timeout", "15min", why
    if float(seen.values["random_page_cost"]) >= 4:
        why = say("the default is that of spinning disks: on SSDs it keeps the planner from indexes")
        yield Severity.NOTE, "random_page_cost", "1.1", why


def _mb(size: float) -> str:
    return f"{int(size) // MB}MB"
