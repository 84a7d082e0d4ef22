"""Whatever its version, a server describes one schema alike, and its rows hash alike: 10 beside each later one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from pghaul.model.plan import Format
from pghaul.model.table import Name, Table
from pghaul.postgres.catalog import describe
from pghaul.postgres.dsn import resolve
from pghaul.postgres.formats import choose_format
from pghaul.postgres.rowhash import row_hash_sql, unhashable
from pghaul.postgres.session import Session, connect
from pghaul.service.embedded import Cluster
from pghaul.sources.postgresql import not_carried
from tests.databases import clone, drop, template
from tests.looking import select
from tests.matrix import schema
from tests.servers import RELEASES

OLDEST, NEWEST = min(RELEASES), max(RELEASES)
LATER = sorted(set(RELEASES) - {OLDEST})


@contextmanager
def oldest_schema(server: Cluster) -> Iterator[Session]:
    """A session on a database of this server that holds what the oldest version knows."""
    name = clone(server, template(server, schema.script(OLDEST)), "catalogue")
    try:
        with connect(resolve(server.url(name)), application_name="test", role="source") as session:
            yield session
    finally:
        drop(server, name)


def everything(session: Session) -> dict[Name, Table]:
    return describe(session, select(session, ["public.*", "m.*"]))


def timeless(table: Table) -> Table:
    """Without what every server numbers and measures for itself."""
    columns = tuple(replace(c, type_oid=0) for c in table.columns)
    return replace(table, oid=0, filenode=0, pages=0, bytes=0, rows=None, columns=columns)


def hashes(session: Session, tables: dict[Name, Table], extended: bool) -> dict[Name, tuple[int, str]]:
    found = {}
    for name, table in tables.items():
        left_out = unhashable(table.columns, float_binary=True)
        columns = [c for c in table.columns if c.name not in left_out]
        if table.kind.value == "r" and name.schema != "public":  # `system` holds oids
            found[name] = session.rows(row_hash_sql(columns, name, extended=extended, float_binary=True))[0]
    return found


@pytest.mark.parametrize("version", LATER)
def test_a_schema_is_described_and_hashed_as_by_the_oldest(version: int, servers: Callable[[int], Cluster]) -> None:
    with oldest_schema(servers(OLDEST)) as old, oldest_schema(servers(version)) as new:
        here, there = everything(old), everything(new)
        assert {n: timeless(t) for n, t in here.items()} == {n: timeless(t) for n, t in there.items()}
        assert not_carried(old, list(here)) == not_carried(new, list(there))
        assert hashes(old, here, extended=False) == hashes(new, there, extended=False)
        if version > 11:
            with oldest_schema(servers(11)) as first:
                assert hashes(first, here, extended=True) == hashes(new, there, extended=True)
        formats = {choose_format(Format.AUTO, here[n], there[n], old.server, new.server, None) for n in here}
        assert formats == {Format.TEXT, Format.BINARY}
