"""Chunks cover every page of a heap exactly once, whatever its size."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pghaul.model.chunk import Chunk, ChunkKind
from pghaul.model.placement import Origin, Placement
from pghaul.model.table import Name, RelationKind, Table
from pghaul.postgres.versions import Capabilities, capabilities
from pghaul.sources.postgresql import plan_chunks

BLOCK = 8192
NEW, OLD = (capabilities(v, environ={}) for v in (140000, 130000))


def table(name: str, pages: int, kind: RelationKind = RelationKind.TABLE) -> Table:
    return Table(
        name=Name("public", name), oid=1, kind=kind, columns=(), pages=pages, bytes=pages * BLOCK, rows=pages * 10
    )


def chunks_of(tables: list[Table], *, split_bytes: int, capabilities: Capabilities) -> list[Chunk]:
    return plan_chunks(
        [Placement.same(t.name) for t in tables],
        {t.name: t for t in tables},
        split_bytes=split_bytes,
        capabilities=capabilities,
    )


@given(pages=st.integers(2, 10_000), split_pages=st.integers(1, 12_000))
def test_ranges_meet_without_gap_or_overlap_and_the_last_is_open(pages: int, split_pages: int) -> None:
    chunks = chunks_of([table("t", pages)], split_bytes=split_pages * BLOCK, capabilities=NEW)
    ordered = sorted(chunks, key=lambda c: c.first_page)
    assert ordered[0].first_page == 0
    assert ordered[-1].end_page is None
    assert all(a.end_page == b.first_page for a, b in pairwise(ordered))
    assert sum(c.bytes for c in chunks) <= pages * BLOCK
    assert all(c.bytes <= split_pages * BLOCK for c in chunks)


def test_a_table_at_the_limit_is_one_leaf() -> None:
    (chunk,) = chunks_of([table("t", 10)], split_bytes=10 * BLOCK, capabilities=NEW)
    assert (chunk.kind, chunk.key) == (ChunkKind.LEAF, "leaf")


def test_servers_without_tid_range_scans_get_whole_leaves() -> None:
    """Each range would read the whole heap there."""
    chunks = chunks_of([table("t", 1000)], split_bytes=BLOCK, capabilities=OLD)
    assert [c.kind for c in chunks] == [ChunkKind.LEAF]


def test_the_largest_come_first() -> None:
    chunks = chunks_of([table("s", 1), table("l", 9), table("m", 5)], split_bytes=1 << 30, capabilities=NEW)
    assert [c.table.name for c in chunks] == ["l", "m", "s"]


def test_several_origins_are_one_leaf_of_all_their_bytes() -> None:
    tables = {t.name: t for t in (table("a", 50), table("b", 7))}
    merged = Placement(target=Name("public", "m"), origins=tuple(Origin(table=n) for n in tables))
    (chunk,) = plan_chunks([merged], tables, split_bytes=BLOCK, capabilities=NEW)
    assert (chunk.table, chunk.kind, chunk.bytes, chunk.rows) == (merged.target, ChunkKind.LEAF, 57 * BLOCK, 570)


def test_an_empty_table_and_one_of_unknown_rows_are_chunks_too() -> None:
    unknown = replace(table("u", 4), rows=None)
    chunks = chunks_of([table("e", 0), unknown], split_bytes=2 * BLOCK, capabilities=NEW)
    assert sorted((c.table.name, c.rows) for c in chunks if c.table.name == "e") == [("e", 0)]
    assert [c.rows for c in chunks if c.table.name == "u"] == [None, None]
