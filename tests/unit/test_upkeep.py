"""What is vacuumed after a load: each table once, small ones together, and none where the plan says so."""

from __future__ import annotations

from pghaul.engine.arrow.compose import Loading
from pghaul.engine.arrow.upkeep import TOGETHER, tasks
from pghaul.engine.compose import Epoch
from pghaul.model.chunk import Chunk, ChunkKind
from pghaul.model.foreign import ForeignTable
from pghaul.model.mapped import MappedTable
from pghaul.model.plan import Mapping, Options, Plan
from pghaul.model.receipt import Receipt
from pghaul.model.table import Name, RelationKind, Table

PLAN = Plan(source="sqlite:///x.db", target="postgresql:///y", whole=True)
EPOCH = Epoch(run="r", number=2, snapshot="")


def loading(number: int, size: int) -> Loading:
    name = Name("public", f"t{number}")
    source = ForeignTable(name=Name("", name.name), columns=(), bytes=size)
    return Loading(
        table=MappedTable(source=source, name=name, columns=()),
        there=Table(name=name, oid=0, kind=RelationKind.TABLE, columns=(), bytes=0, rows=None),
        chunks=(Chunk(table=name, kind=ChunkKind.LEAF, bytes=size),),
        disposition="created",
        builds=(),
        verify=False,
        analyze=False,
        replica_role=False,
        mapping=Mapping(),
        selection=None,
        transforms=(),
        where=None,
    )


def test_large_tables_go_alone_and_small_ones_together() -> None:
    made = tasks(PLAN, [loading(0, 1 << 30), *(loading(n, 10) for n in range(1, TOGETHER + 2))], EPOCH, {})
    assert sorted(len(t.job.statements) for t in made) == [1, 1, TOGETHER]
    assert made[0].job.statements[0].sql == 'VACUUM (ANALYZE) "public"."t0"'


def test_a_resume_leaves_alone_what_is_done() -> None:
    name = Name("public", "t1")
    receipt = Receipt(table=name, chunk="vacuum", rows=0, bytes=0, seconds=0.0, epoch=1)
    (task,) = tasks(PLAN, [loading(1, 10), loading(2, 10)], EPOCH, {name: {"vacuum": receipt}})
    assert [s.name for s in task.job.statements] == ["public.t2"]


def test_the_plan_may_leave_out_either() -> None:
    bare = PLAN.model_copy(update={"options": Options(analyze=False)})
    assert tasks(bare, [loading(1, 10)], EPOCH, {})[0].job.statements[0].sql == 'VACUUM "public"."t1"'
    assert tasks(PLAN.model_copy(update={"mapping": Mapping(vacuum=False)}), [loading(1, 10)], EPOCH, {}) == []
