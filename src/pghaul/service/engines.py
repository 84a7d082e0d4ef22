"""The kinds of databases that can be read: their types, and whether their drivers are there."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points

from pghaul.sources.protocol import GROUP, engine_of

# What each of our own needs, of which one is enough where several stand together.
DRIVERS: Mapping[str, Sequence[Sequence[str]]] = {
    "files": (("pyarrow",),),
    "mysql": (("pyarrow",), ("connectorx",), ("pymysql",)),
    "oracle": (("pyarrow",), ("oracledb",)),
    "sqlite": (("pyarrow",), ("adbc_driver_sqlite",)),
    "sqlserver": (("pyarrow",), ("pymssql",)),
}


def types_of(engine: str) -> tuple[tuple[str, str, str], ...]:
    """Native type, PostgreSQL's, a remark. UsageError for an engine that nobody knows."""
    return tuple(engine_of(engine).types())


def engines() -> list[str]:
    """All of them, those of other packages too."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def missing(engine: str) -> Iterator[str]:
    """The modules that an engine needs, its own among them, and that are not installed."""
    for entry in entry_points(group=GROUP, name=engine):
        if importlib.util.find_spec(entry.module) is None:
            yield entry.module
    for choice in DRIVERS.get(engine, ()):
        if not any(importlib.util.find_spec(module) for module in choice):
            yield choice[0]
