"""What becomes of a decided table: the jobs of a leaf, of ranges, of rows appended, and of doing it again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pghaul.engine.compose import (
    READY,
    Epoch,
    Loading,
    chunks_by_table,
    final_check,
    keep_task,
    load_tasks,
    recheck_task,
)
from pghaul.engine.dispatch import Task
from pghaul.engine.job import JobKind, Readiness
from pghaul.model.chunk import Chunk, ChunkKind
from pghaul.model.placement import Placement
from pghaul.model.receipt import Proof, Receipt
from pghaul.model.table import Column, Index, Name, RelationKind, Table
from pghaul.postgres.rowhash import Agreement
from pghaul.target.ledger_sql import MARKER, MARKER_UNLOGGED

T = Name("s", 'Odd "t"')
COLUMNS = (
    Column(name="id", type="bigint", type_oid=20, portable_binary=True, send_function="pg_catalog.int8send"),
    Column(name="twice", type="bigint", type_oid=20, generated=True),
)
INDEXES = (
    Index(name="by_twice", definition="CREATE INDEX by_twice ON …", unique=False),
    Index(
        name="t_pkey",
        definition="CREATE UNIQUE INDEX t_pkey ON …",
        unique=True,
        constraint="t_pkey",
        constraint_definition="PRIMARY KEY (id)",
        constraint_kind="p",
    ),
)
TABLE = Table(name=T, oid=1, kind=RelationKind.TABLE, columns=COLUMNS, pages=30, bytes=240, indexes=INDEXES)
LEAF = Chunk(table=T, kind=ChunkKind.LEAF, bytes=240)
RANGES = (
    Chunk(table=T, kind=ChunkKind.CTID, first_page=0, end_page=10, bytes=80),
    Chunk(table=T, kind=ChunkKind.CTID, first_page=10, end_page=20, bytes=80),
    Chunk(table=T, kind=ChunkKind.CTID, first_page=20, bytes=80),
)
EPOCH = Epoch(run="0123456789ab", number=4, snapshot="00000003-1")
PARALLEL = [READY, *(r.key for r in RANGES), "index:t_pkey", "index:by_twice", "constraint:t_pkey", "analyze"]


def loading(*chunks: Chunk, disposition: str = "created", **changes: object) -> Loading:
    words: dict[str, object] = {
        "placement": Placement.same(T),
        "source": TABLE,
        "target": replace(TABLE, indexes=()),
        "chunks": chunks or (LEAF,),
        "disposition": disposition,
        "format": "text",
        "encodings": ("UTF8", "UTF8"),
        "verify": True,
        "build_indexes": disposition == "created",
        "analyze": True,
        "agreement": Agreement(extended=True, float_binary=False),
        "replica_role": False,
        "lock_per_chunk": False,
    }
    words |= changes
    return Loading(**({"origins": (words["source"],)} | words))  # type: ignore[arg-type]


def receipt(chunk: str, source_hash: str = "") -> Receipt:
    return Receipt(table=T, chunk=chunk, rows=1, bytes=1, seconds=1, epoch=1, proof=Proof.ROWS, source_hash=source_hash)


def done(*keys: str) -> dict[str, Receipt]:
    return {k: receipt(k) for k in keys}


def tasks_of(ld: Loading, finished: dict[str, Receipt] | None = None, *, again: bool = False) -> list[Task]:
    return load_tasks(ld, EPOCH, finished or {}, redo=again, restart=again)


def keys(tasks: list[Task]) -> list[str]:
    return [t.job.chunk for t in tasks]


# --- a leaf --------------------------------------------------------------------------------------------------


def test_a_leaf_is_one_job_with_its_indexes_in_the_same_transaction() -> None:
    (task,) = tasks_of(loading())
    job = task.job
    assert (job.kind, job.chunk, job.epoch, job.run, job.snapshot) == (
        JobKind.COPY, "leaf", 4, EPOCH.run, EPOCH.snapshot
    )  # fmt: skip
    assert [s.name for s in job.statements] == ["constraint:t_pkey", "index:by_twice", "analyze"]
    assert (job.readiness, job.freeze, job.redo, job.marker) == (Readiness.MUST_BE_EMPTY, True, False, MARKER)
    assert job.source is not None
    assert (job.source.columns, job.source.query) == (("id",), None)
    assert job.truncate_sql == 'TRUNCATE TABLE ONLY "s"."Odd ""t"""'
    assert "CASCADE" not in job.truncate_sql
    assert (task.size, task.after) == (240, [])


@pytest.mark.parametrize(
    ("disposition", "readiness", "freeze"),
    [
        ("created", Readiness.MUST_BE_EMPTY, True),
        ("empty", Readiness.MUST_BE_EMPTY, True),
        ("truncate", Readiness.TRUNCATE, True),
        ("append", Readiness.KEEP, False),
    ],
)
def test_rows_that_are_there_are_emptied_kept_or_an_error_as_decided(
    disposition: str, readiness: Readiness, freeze: bool
) -> None:
    (task,) = tasks_of(loading(disposition=disposition))
    assert (task.job.readiness, task.job.freeze) == (readiness, freeze)
    assert (task.job.hash is None) == (disposition == "append")


def test_a_finished_leaf_is_left_alone_unless_it_differs() -> None:
    assert tasks_of(loading(), done("leaf")) == []
    (again,) = tasks_of(loading(), done("leaf"), again=True)
    assert (again.job.redo, again.job.readiness) == (True, Readiness.TRUNCATE)


def test_without_verification_nothing_is_hashed_and_without_indexes_none_is_built() -> None:
    (task,) = tasks_of(loading(verify=False, build_indexes=False, analyze=False))
    assert (task.job.hash, task.job.statements) == (None, ())


def test_markers_of_an_unlogged_target_are_unlogged() -> None:
    for chunks in ((LEAF,), RANGES):
        found = tasks_of(loading(*chunks, target=replace(TABLE, unlogged=True)))
        assert {t.job.marker for t in found} == {MARKER_UNLOGGED}


def test_floats_that_two_versions_write_differently_are_not_compared_as_a_stream() -> None:
    floats = replace(TABLE, columns=(replace(COLUMNS[0], holds_float=True, send_function="pg_catalog.float8send"),))
    old = Agreement(extended=False, float_binary=True)
    for form, stream in (("text", False), ("binary", True)):
        (task,) = tasks_of(loading(source=floats, agreement=old, format=form))
        assert task.job.hash is not None
        assert task.job.hash.stream is stream
        assert "float8send" in task.job.hash.target_rows


def test_a_lock_per_chunk_carries_the_file_to_compare_with() -> None:
    for chunks in ((LEAF,), RANGES):
        found = tasks_of(loading(*chunks, source=replace(TABLE, filenode=16_999), lock_per_chunk=True))
        copies = [t.job for t in found if t.job.kind is JobKind.COPY]
        assert {number for j in copies for _, number in j.filenodes} == {16_999}
        assert all("ACCESS SHARE" in j.lock_source and "pg_relation_filenode" in j.filenodes[0][0] for j in copies)


# --- ranges --------------------------------------------------------------------------------------------------


def test_a_split_table_is_made_ready_filled_and_then_indexed() -> None:
    tasks = tasks_of(loading(*RANGES))
    by = {t.job.chunk: t for t in tasks}
    assert keys(tasks) == PARALLEL
    assert (by[READY].job.kind, by[READY].job.readiness) == (JobKind.READY, Readiness.MUST_BE_EMPTY)
    assert all(by[r.key].after == [by[READY]] for r in RANGES)
    filled = [by[READY], *(by[r.key] for r in RANGES)]
    assert by["index:t_pkey"].after == by["index:by_twice"].after == filled
    assert {by["index:t_pkey"], by["index:by_twice"]} <= set(by["constraint:t_pkey"].after)
    assert set(by["analyze"].after) == set(tasks) - {by["analyze"]}


def test_ranges_neither_empty_the_table_nor_freeze_and_read_their_own_pages() -> None:
    copies = [t.job for t in tasks_of(loading(*RANGES, disposition="truncate")) if t.job.kind is JobKind.COPY]
    assert {(j.readiness, j.freeze, j.redo) for j in copies} == {(Readiness.KEEP, False, False)}
    queries = [j.source.query or "" for j in copies if j.source]
    assert ["ctid >= '(0,0)'" in queries[0], "ctid < '(10,0)'" in queries[0]] == [True, True]
    assert "ctid <" not in queries[2]
    assert all("FROM ONLY" in q for q in queries)
    assert all(j.target is not None and j.target.query is None for j in copies)


def test_what_is_done_of_a_split_table_is_not_done_again() -> None:
    finished = done(READY, RANGES[0].key, "index:by_twice")
    assert keys(tasks_of(loading(*RANGES), finished)) == [k for k in PARALLEL if k not in finished]
    assert tasks_of(loading(*RANGES), done(*PARALLEL)) == []


def test_a_split_table_that_differs_starts_again_from_its_emptying() -> None:
    tasks = tasks_of(loading(*RANGES), done(*PARALLEL), again=True)
    assert keys(tasks) == PARALLEL
    assert tasks[0].job.readiness is Readiness.TRUNCATE


def test_a_single_range_is_a_split_table_too() -> None:
    assert loading(RANGES[2]).split
    assert not loading(LEAF).split


# --- comparing -----------------------------------------------------------------------------------------------


def test_a_resume_compares_a_finished_leaf_by_stream_and_by_rows() -> None:
    assert recheck_task(loading(), EPOCH, {}) is None
    task = recheck_task(loading(), EPOCH, done("leaf"))
    assert task is not None
    plan = task.job.hash
    assert plan is not None
    assert (task.job.kind, task.job.chunk, plan.stream, len(plan.source_rows)) == (JobKind.CHECK, "leaf", True, 1)
    assert plan.target_rows


def test_a_resume_compares_all_finished_ranges_together_with_the_whole_target() -> None:
    """A row may have moved from a finished range to another: range by range says nothing."""
    task = recheck_task(loading(*RANGES), EPOCH, done(READY, RANGES[0].key, RANGES[2].key))
    assert task is not None
    plan = task.job.hash
    assert plan is not None
    assert (task.job.chunk, plan.stream, plan.known_source) == ("all", False, None)
    assert ["(10,0)" in s for s in plan.source_rows] == [True, False]
    assert ["(20,0)" in s for s in plan.source_rows] == [False, True]
    assert "ctid" not in plan.target_rows


def test_the_proof_of_a_split_table_adds_its_ranges_up() -> None:
    hashes = {r.key: receipt(r.key, f"{n + 1}:{10**30 + n}") for n, r in enumerate(RANGES)}
    task = final_check(loading(*RANGES), EPOCH, hashes)
    assert task is not None
    plan = task.job.hash
    assert plan is not None
    assert plan.known_source == (6, 3 * 10**30 + 3)
    assert plan.source_rows == ()


def test_a_range_without_a_hash_has_the_whole_source_read_again() -> None:
    """It was copied by a run that did not verify, or not yet."""
    hashes = {r.key: receipt(r.key, "1:5") for r in RANGES[:2]} | done(RANGES[2].key)
    task = final_check(loading(*RANGES), EPOCH, hashes)
    assert task is not None
    plan = task.job.hash
    assert plan is not None
    assert plan.known_source is None
    assert len(plan.source_rows) == 1
    assert "ctid" not in plan.source_rows[0]


@pytest.mark.parametrize(
    "ld",
    [
        loading(),  # a leaf is proven in its own transaction
        loading(*RANGES, verify=False),
        loading(*RANGES, disposition="append"),
    ],
    ids=["leaf", "not asked", "appended"],
)
def test_there_is_no_final_check_where_none_is_due(ld: Loading) -> None:
    assert final_check(ld, EPOCH, done(*PARALLEL, "leaf")) is None


def test_appended_rows_cannot_be_compared_with_the_whole_table() -> None:
    for chunks in ((LEAF,), RANGES):
        assert recheck_task(loading(*chunks, disposition="append"), EPOCH, done("leaf", *PARALLEL)) is None


def test_chunks_keep_the_order_of_the_plan() -> None:
    other = Chunk(table=Name("s", "other"), kind=ChunkKind.LEAF)
    assert chunks_by_table([RANGES[1], other, RANGES[0]]) == {T: (RANGES[1], RANGES[0]), other.table: (other,)}


def test_a_table_to_be_refreshed_is_compared_first_and_then_emptied() -> None:
    task = keep_task(loading(disposition="refresh"), EPOCH)
    assert task is not None
    assert (task.job.kind, task.job.covers) == (JobKind.KEEP, ())
    assert task.job.hash is not None
    assert not task.job.hash.stream, "rows are hashed where they lie"
    load = load_tasks(loading(disposition="refresh"), EPOCH, {}, redo=False, restart=False)
    assert [t.job.readiness for t in load] == [Readiness.TRUNCATE]


def test_of_a_table_in_ranges_all_is_done_at_once_where_it_is_equal() -> None:
    task = keep_task(loading(*RANGES, disposition="refresh"), EPOCH)
    assert task is not None
    assert {task.job.chunk, *task.job.covers} == {*(r.key for r in RANGES), READY, "analyze"}
