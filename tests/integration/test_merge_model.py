"""Random merges of every mode along every path do what a person would do by hand, and count it."""

from __future__ import annotations

import os
from random import Random

import pytest
from tests.merging import PATHS, WAYS, Path, RefusedError, Row, Table, Way, World, sessions, some_rows, without_order

from pghaul.model.errors import MergeError
from pghaul.model.merging import MergeCounts
from pghaul.service.embedded import Cluster
from pghaul.target import merge, merge_staged

MERGES = int(os.environ.get("PGHAUL_TEST_MERGES", "3"))  # for each mode and path: a few hundred together
SEED = os.environ.get("PGHAUL_TEST_MERGES", "")


def _by_hand(world: World, staged: list[Row], moment: str) -> MergeCounts | int:
    rows = list(world.rows)
    try:
        return world.merge(staged, moment)
    except RefusedError as refused:
        world.rows = rows
        return int(refused.args[0])


def _by_server(table: Table, staged: list[Row], moment: str) -> MergeCounts | int:
    try:
        return table.merge(staged, moment)
    except MergeError as refused:
        if refused.sqlstate:  # the server's own words
            raise
        return refused.number


def _follow(random: Random, table: Table, path: Path, way: Way) -> None:
    world = World(path, way)
    table.create()
    unique = {world.key(r): r for r in some_rows(random, path, nulls=path.nullable)}
    world.rows = [
        Row(
            values=r.values,
            kept="default" if path.bare else "old",
            since="2020-01-01 00:00:00+00" if way.versions else None,
        )
        for r in unique.values()
    ]
    table.fill(world.rows)
    for number in range(1, MERGES + 1):
        moment = f"2024-01-{number:02} 00:00:00+00"
        staged = some_rows(random, path, nulls=path.nullable and random.random() < 0.5)
        if random.random() < 0.7:  # else most merges would be refused
            staged = list({world.key(r): r for r in staged}.values())
        expected, found = _by_hand(world, staged, moment), _by_server(table, staged, moment)
        if isinstance(found, MergeCounts):
            assert found.settled
            assert found.differing == 0
            found = MergeCounts(**{f: getattr(found, f) for f in found.__slots__ if f != "compared"})
        assert found == expected, (number, staged)
        assert without_order(table.rows()) == without_order(world.rows), (number, staged)


@pytest.mark.since(12)
@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.name)
def test_merges_do_what_would_be_done_by_hand(path: Path, pg18: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHAUL_ASSUME_VERSION", path.assumed)
    if path.large:
        monkeypatch.setattr(merge_staged, "LARGE", 0)
    with sessions(pg18) as (session,):
        for number, way in enumerate(WAYS):
            table = Table(session, path, way)
            locked = path.locked or way.versions
            _follow(Random(f"{SEED} {path.name} {number}"), table, path, way)
            assert merge.plan(session, table.design("2024-01-01"), 0).locked is locked
