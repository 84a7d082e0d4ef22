"""A streaming standby as the source: read under one snapshot, and what happens when its recovery takes rows away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.compare import assert_same_content
from tests.conftest import running_server
from tests.databases import DatabasePair, database_pair
from tests.looking import execute, value
from tests.moving import assert_done, move
from tests.standby import caught_up, standby_of

from pghaul.model.event import Event, EventKind
from pghaul.service.embedded import Cluster

SCHEMA = """
CREATE TABLE big (id int4 PRIMARY KEY, v text);
INSERT INTO big SELECT i, repeat('v', 100) FROM generate_series(1, 60000) i;
CREATE TABLE small (id serial PRIMARY KEY, v text);
INSERT INTO small (v) SELECT 'v' || i FROM generate_series(1, 1000) i;
CREATE TABLE parts (d int4) PARTITION BY RANGE (d);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
INSERT INTO parts SELECT i FROM generate_series(0, 99) i;
"""
TABLES = ["public.big", "public.small", "public.parts_1"]


@dataclass(frozen=True, kw_only=True)
class Replicated:
    """The pair's source is a database of the primary; `source` is the same on the standby."""

    pair: DatabasePair
    primary: Cluster
    standby: Cluster
    source: str


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Cluster, Cluster]]:
    """Recovery waits for nobody: what stands in its way is ended at once."""
    with running_server(16) as primary, standby_of(primary, max_standby_streaming_delay="0") as standby:
        yield primary, standby


@pytest.fixture
def replicated(servers: tuple[Cluster, Cluster], pg18: Cluster) -> Iterator[Replicated]:
    primary, standby = servers
    with database_pair(primary, pg18, source_sql=SCHEMA) as pair:
        assert caught_up(primary, standby)
        source = standby.url(pair.source.rpartition("/")[2])
        yield Replicated(pair=pair, primary=primary, standby=standby, source=source)


def test_a_standby_is_read_like_any_source(replicated: Replicated, state: str) -> None:
    moved = move(replicated.pair, "public.*", source=replicated.source, split_bytes=1 << 20, workers=2)
    assert_done(moved)
    assert len([e for e in moved.of(EventKind.CHUNK_DONE) if e.table == "public.big"]) > 3
    assert_same_content(replicated.pair.source, replicated.pair.target, TABLES)


# Dead rows that the snapshot still sees, and a lock that excludes ours.
CONFLICTS = ["DELETE FROM big WHERE id % 7 = 0; VACUUM big", "TRUNCATE parts_1"]


@pytest.mark.parametrize("conflict", CONFLICTS)
def test_a_conflict_with_recovery_begins_a_new_epoch(replicated: Replicated, state: str, conflict: str) -> None:
    done: list[Event] = []

    def hear(event: Event) -> None:
        if event.kind is EventKind.CHUNK_DONE and not done:
            done.append(event)
            execute(replicated.pair.source, *conflict.split("; "))
            assert caught_up(replicated.primary, replicated.standby)

    moved = move(replicated.pair, "public.*", source=replicated.source, split_bytes=1 << 20, listener=hear)
    assert_done(moved)
    assert done
    assert moved.run.epoch > 1
    said = " ".join(e.message for e in moved.events)
    assert "the source is a standby" in said or "conflict with recovery" in said
    assert_same_content(replicated.pair.source, replicated.pair.target, TABLES)
    assert value(replicated.source, "SELECT pg_is_in_recovery()")
