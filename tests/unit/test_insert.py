"""The recipe insert without a server: what a plan may say, how batches grow, how rows are counted."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from rich.console import Console

from pghaul.cli import options, render
from pghaul.engine import insert_sql
from pghaul.engine.control import Control
from pghaul.engine.hands import Hands
from pghaul.engine.insert import BATCH_BYTES, BATCH_ROWS, Batch, Step, insert
from pghaul.engine.insert_sql import Reading, Writing
from pghaul.engine.job import ByKey, ByPages, Counts, InsertPlan, Job, JobKind, Write
from pghaul.engine.recipes import Chosen, chosen, disposition, privileges
from pghaul.model.errors import CountMismatchError, PlanError, UsageError
from pghaul.model.plan import OnConflict, OnExisting, Options, Plan, Recipe, Selection
from pghaul.model.receipt import Receipt
from pghaul.model.table import Column, Name, RelationKind, Table
from pghaul.postgres.versions import capabilities

T = Name("s", 't "x"')
NEW, OLD = capabilities(180000, environ={}), capabilities(90300, environ={})


# --- what a plan may say -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("conflict", ["ignore", "update"])
def test_meeting_conflicts_implies_the_recipe_and_that_rows_stay(conflict: str) -> None:
    said = Options.model_validate({"on_conflict": conflict})
    assert (said.recipe, said.on_existing) == (Recipe.INSERT, OnExisting.APPEND)
    assert Options.model_validate(said.model_dump()) == said
    assert Options().on_existing is OnExisting.FAIL


@pytest.mark.parametrize("other", [{"recipe": "copy"}, {"on_existing": "truncate"}, {"on_existing": "fail"}])
@pytest.mark.parametrize("model", [Options, Selection])
def test_words_that_contradict_each_other_are_refused(model: type[Options | Selection], other: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="on_conflict = update goes with"):
        model.model_validate({"name": "t", "on_conflict": "update"} | other if model is Selection else
                             {"on_conflict": "update"} | other)  # fmt: skip


def test_the_command_line_says_what_contradicts_and_may_add_to_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="goes with on_existing = append only"):
        options.plan_words(source="a", target="b", table=["t"], on_conflict=OnConflict.UPDATE,
                           on_existing=OnExisting.TRUNCATE)  # fmt: skip
    file = tmp_path / "plan.toml"
    file.write_text('source = "a"\ntarget = "b"\n[[tables]]\nname = "t"\n[options]\nworkers = 3\n')
    plan = options.plan_words(plan_file=str(file), on_conflict=OnConflict.UPDATE)
    assert (plan.options.workers, plan.options.recipe) == (3, Recipe.INSERT)


def plan_with(*tables: Selection, **words: Any) -> Plan:
    return Plan(source="a", target="b", tables=list(tables), options=Options.model_validate(words))


def test_a_selection_has_the_last_word_and_must_not_contradict_the_options() -> None:
    plan = plan_with(
        Selection(name="a", on_conflict=OnConflict.UPDATE),
        Selection(name="b", recipe=Recipe.COPY),
        Selection(name="c", on_existing=OnExisting.TRUNCATE),
        on_conflict="ignore",
    )
    update, ignore = OnConflict.UPDATE, OnConflict.IGNORE
    assert chosen(plan, {}, Name("public", "a")) == Chosen(recipe=Recipe.INSERT, on_conflict=update)
    assert chosen(plan, {}, Name("public", "b")) == Chosen(recipe=Recipe.COPY, on_conflict=OnConflict.ERROR)
    assert chosen(plan, {}, Name("public", "d")) == Chosen(recipe=Recipe.INSERT, on_conflict=ignore)
    with pytest.raises(PlanError, match=r"public\.c"):
        chosen(plan, {}, Name("public", "c"))


def test_no_privilege_is_asked_for_that_is_not_used() -> None:
    copy = Chosen(recipe=Recipe.COPY, on_conflict=OnConflict.ERROR)
    plain = Chosen(recipe=Recipe.INSERT, on_conflict=OnConflict.ERROR)
    ignore = Chosen(recipe=Recipe.INSERT, on_conflict=OnConflict.IGNORE)
    update = Chosen(recipe=Recipe.INSERT, on_conflict=OnConflict.UPDATE)
    base = {"INSERT", "SELECT", "USAGE on its schema"}
    assert privileges(copy, "empty", NEW) == privileges(plain, "truncate", NEW) == base | {"TRUNCATE"}
    assert privileges(plain, "append", NEW) == privileges(ignore, "append", NEW) == base
    assert privileges(update, "append", NEW) == privileges(ignore, "append", OLD) == base | {"UPDATE"}
    assert disposition("empty", copy, may_truncate=False, guarded=False) == "empty"
    assert disposition("empty", plain, may_truncate=False, guarded=False) == "append"
    assert disposition("empty", plain, may_truncate=True, guarded=True) == "append"
    assert disposition("empty", plain, may_truncate=True, guarded=False) == "empty"
    assert disposition("empty", update, may_truncate=True, guarded=False) == "append"


# --- statements --------------------------------------------------------------------------------------------------

ID = Column(name="id", type="integer", type_oid=23, not_null=True, output_function="pg_catalog.int4out", base="integer",
            unnests=True)  # fmt: skip
V = Column(name='v "%s"', type="character varying(3)[]", type_oid=1015, output_function="pg_catalog.array_out",
           base="character varying[]")  # fmt: skip
TABLE = Table(name=T, oid=1, kind=RelationKind.TABLE, columns=(ID, V))


def test_names_are_quoted_and_a_condition_stands_on_lines_of_its_own() -> None:
    reading = Reading(table=T, columns=(V,), encoding="UTF8", where="id > 1 -- all")
    made = insert_sql.by_key(reading, [ID])
    assert 'FROM ONLY "s"."t ""x"""' in made.first
    assert "(\nid > 1 -- all\n)" in made.first
    assert '"id" > $2::pg_catalog.text::integer ORDER BY "id" LIMIT $1' in made.following
    assert 'r."v ""%s"""' in made.first
    assert "OFFSET" not in made.first + made.following


def test_before_14_places_are_looked_up_one_by_one() -> None:
    reading = Reading(table=T, columns=(ID,), encoding="UTF8")
    assert "ctid >= " in insert_sql.by_pages(reading, NEW).batch
    assert "ctid = ANY (ARRAY(" in insert_sql.by_pages(reading, OLD).batch


@pytest.mark.parametrize(
    ("can", "conflict", "counts"),
    [
        (NEW, OnConflict.ERROR, [Counts.INSERTED]),
        (NEW, OnConflict.IGNORE, [Counts.INSERTED]),
        (NEW, OnConflict.UPDATE, [Counts.BOTH]),
        (OLD, OnConflict.IGNORE, [Counts.INSERTED]),
        (OLD, OnConflict.UPDATE, [Counts.UPDATED, Counts.INSERTED]),
    ],
)
def test_an_old_server_is_sent_no_word_that_it_does_not_know(
    can: Any, conflict: OnConflict, counts: list[Counts]
) -> None:
    writing = Writing(table=TABLE, columns=(ID, V), encoding="UTF8", can=can, on_conflict=conflict, keys=(("id",),))
    made = insert_sql.writes(writing)
    assert [w.counts for w in made] == counts
    words = " ".join(w.sql for w in made)
    assert ("ON CONFLICT" in words) == (can is NEW and conflict is not OnConflict.ERROR)
    assert "varying(3)" not in words.replace("::character varying(3)[])::pg_catalog.text", "")  # compared as it is held
    locks = insert_sql.before(writing, row_security=False)
    assert any("SHARE ROW EXCLUSIVE" in s for s in locks) == (can is OLD and conflict is not OnConflict.ERROR)


# --- the lane ----------------------------------------------------------------------------------------------------


def batch(rows: int, size: int) -> Batch:
    return Batch(rows=rows, literals=(b"x" * size,), sum=0)


def test_a_batch_grows_by_steps_and_shrinks_at_once() -> None:
    step = Step(64, 100_000)
    step.learn(batch(64, 640))
    assert step.size == 512
    step.learn(batch(512, BATCH_BYTES * 4))
    assert step.size == 128
    step.learn(batch(128, BATCH_BYTES * 1000))
    assert step.size == 1
    step.learn(batch(0, 0))
    assert step.size == 8
    for _ in range(9):
        step.learn(batch(0, 0))
    assert step.size == 100_000
    step.learn(batch(BATCH_ROWS * 2, 1))
    assert step.size == 50_000


class Statement:
    """A prepared statement that answers from a function."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self._tag = ""

    async def fetchrow(self, *arguments: Any) -> Any:
        return self._answer(*arguments)

    async def fetch(self, *arguments: Any) -> list[Any]:
        self._tag = self._answer(*arguments)
        return []

    def get_statusmsg(self) -> str:
        return self._tag


class Connection:
    """Prepares what it has been given."""

    def __init__(self, **answers: Any) -> None:
        self._answers = answers
        self.executed: list[str] = []

    async def prepare(self, sql: str) -> Statement:
        return Statement(self._answers[sql])

    async def execute(self, sql: str) -> None:
        self.executed.append(sql)

    async def fetchrow(self, sql: str) -> Any:
        return self._answers[sql]


def hands(source: Connection, target: Connection) -> Hands:
    async def probe() -> bool:
        return True

    return Hands(
        source=source, target=target, control=Control(1), stall_timeout=5, source_probe=probe, target_probe=probe
    )


def job(*readers: ByKey | ByPages, **words: Any) -> Job:
    writes = (Write(sql="write", parameters=(0,), counts=Counts.INSERTED),)
    plan = InsertPlan(columns=1, readers=readers, before=("lock",), writes=writes, **words)
    return Job(
        run="r", epoch=1, kind=JobKind.INSERT, relation="s.t", chunk="leaf", snapshot="1-1", marker="m", insert=plan
    )


def test_the_next_batch_begins_behind_the_last_key() -> None:
    asked: list[Sequence[Any]] = []

    def first(limit: int) -> Any:
        asked.append((limit,))
        return (limit, "7", b"{}", "k64")

    def following(*arguments: Any) -> Any:
        asked.append(arguments)
        return (3, "1", b"{..}", "k67")

    source = Connection(first=first, following=following)
    target = Connection(write=lambda literal: "INSERT 0 64" if literal == b"{}" else "INSERT 0 3")
    moved = run(insert(job(ByKey(first="first", following="following")), hands(source, target)))
    assert asked == [(64,), (512, "k64")]
    assert (moved.rows, moved.inserted, moved.bytes, moved.sum) == (67, 67, 6, 8)
    assert target.executed == ["lock"]


def test_all_places_are_read_and_none_twice() -> None:
    asked: list[tuple[int, int]] = []

    def read(first: int, end: int, _places: int) -> Any:
        asked.append((first, end))
        return (0, None, None)

    pages = ByPages(batch="read", extent="extent", first_page=2)
    moved = run(insert(job(pages), hands(Connection(read=read, extent=(30, 292)), Connection(write=None))))
    assert moved.rows == 0
    assert (asked[0][0], asked[-1][1]) == (2 * 292, 30 * 292)
    assert all(a[1] == b[0] for a, b in pairwise(asked))


@pytest.mark.parametrize(
    ("conflict", "tag"), [("error", "INSERT 0 4"), ("error", "INSERT 0 6"), ("ignore", "INSERT 0 6")]
)
def test_rows_that_went_astray_are_an_error(conflict: str, tag: str) -> None:
    source = Connection(first=lambda _: (5, None, b"{}", "k"), following=None)
    reader = ByKey(first="first", following="following")
    with pytest.raises(CountMismatchError, match=r"read 5 rows, wrote [46]"):
        run(insert(job(reader, on_conflict=conflict), hands(source, Connection(write=lambda _: tag))))


def run(work: Any) -> Any:
    with asyncio.Runner() as runner:
        return runner.run(work)


def test_the_receipts_tell_what_became_of_rows_where_there_was_something_to_meet() -> None:
    plain = Receipt(table=T, chunk="leaf", rows=10, bytes=1, seconds=1, epoch=1)
    met = Receipt(table=T, chunk="leaf", rows=1000, bytes=1, seconds=1, epoch=1, updated=3, unchanged=990)
    out = io.StringIO()
    render.receipts(Console(file=out, width=200), [plain])
    assert "of these" not in out.getvalue()
    render.receipts(Console(file=out, width=200), [met])
    assert "7 new, 3 updated, 990 the same" in out.getvalue()
