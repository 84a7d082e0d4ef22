"""A MySQL source in tests: opened, described, read to Python values; or moved into PostgreSQL, whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from pghaul.model.event import Event
from pghaul.model.foreign import ForeignTable, ReadColumn, Reading
from pghaul.model.plan import Mapping, Options, Plan
from pghaul.model.table import Name
from pghaul.service.migration import MigrationService
from pghaul.sources import mysql
from pghaul.sources.mysql import MysqlSource
from tests.mariadb import MariaDatabase
from tests.moving import Moved


def opened(url: str, *, snapshot: bool = False) -> MysqlSource:
    """As the engine opens it."""
    endpoint = mysql.endpoint(url, {}, None)
    if snapshot:
        params = (*endpoint.params, ("consistency", "snapshot"))
        endpoint = type(endpoint)(engine=endpoint.engine, params=params, password=endpoint.password)
    return mysql.open(endpoint)


def table_of(source: MysqlSource, name: str, schema: str = "") -> ForeignTable:
    """As it is described."""
    return next(t for t in source.database().tables if t.name == Name(schema, name))


def reading(source: MysqlSource, name: str, types: dict[str, str] | None = None, **more: Any) -> Reading:
    """Of all columns, as the description proposes them, or as `types` says."""
    table = table_of(source, name)
    columns = [
        ReadColumn(name=c.name, native=c.native, pg_type=(types or {}).get(c.name, c.pg_type)) for c in table.columns
    ]
    return Reading(table=table.name, columns=tuple(columns), **more)


def read(source: MysqlSource, wanted: Reading) -> pa.Table:
    """To its end."""
    batches = source.read(wanted)
    return pa.Table.from_batches(list(batches), schema=batches.schema)


def values(source: MysqlSource, name: str, column: str, pg_type: str | None = None, **more: Any) -> Sequence[Any]:
    """Of one column, in the order of `id`."""
    table = table_of(source, name)
    (found,) = [c for c in table.columns if c.name == column]
    wanted = Reading(
        table=table.name,
        columns=(ReadColumn(name=column, native=found.native, pg_type=pg_type or found.pg_type, **more),),
        ordered=("id",),
    )
    return list(read(source, wanted).column(0).to_pylist())


def carried(
    database: MariaDatabase,
    target: str,
    *,
    mapping: Mapping | None = None,
    query: str = "",
    stop: Callable[[], bool] = lambda: False,
    events: list[Event] | None = None,
    **options: Any,
) -> Moved:
    """Run a new plan of all tables to its end, with one worker."""
    heard: list[Event] = [] if events is None else events
    plan = Plan(
        source=database.asking(query) if query else database.url,
        target=target,
        whole=True,
        mapping=mapping or Mapping(),
        options=Options(**({"workers": 1} | options)),
    )
    return Moved(run=MigrationService().run(plan, listener=heard.append, stop=stop), events=heard)
