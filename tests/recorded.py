"""A run as the store has it, built by hand: whatever a test wants to see reported."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pghaul.model.chunk import Chunk, ChunkKind, ChunkState
from pghaul.model.event import Event, EventKind
from pghaul.model.manifest import Manifest
from pghaul.model.placement import Placement
from pghaul.model.plan import Plan, Selection
from pghaul.model.receipt import Proof, Receipt
from pghaul.model.run import Run, RunState
from pghaul.model.sample import Sample
from pghaul.model.table import Column, Name, RelationKind, Table, Unsupported
from pghaul.model.text import say
from pghaul.model.verification import Difference, Method, RowDifference, TableVerdict, Verification
from pghaul.store.repository import Store
from tests.memory import folder_for

RUN = "0123456789ab"
VERIFICATION = "ba9876543210"
BEGIN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SOURCE, TARGET = "postgresql://reader@old.example/plant", "postgresql://loader@new.example/plant"
ORDERS = Name("public", "orders")
HOSTILE = Name("pub<b>lic", '<script>alert("1")</script>\u202e\x1b[31m')
EVENT_WORDS = say("{table} is <i>odd</i>", table="t & u")
SERVER = {
    "version": "16.2",
    "encoding": "UTF8",
    "timezone": "Asia/Seoul",
    "superuser": False,
    "settings": {"wal_level": "replica"},
}
ATTEMPT = {
    "epoch": 1,
    "at": BEGIN.isoformat(),
    "who": "reader@desk.example",
    "pghaul": "0.1.0",
    "python": "3.12.4",
    "platform": "Linux 6.1 x86_64",
}


@functools.cache
def made_store() -> bytes:
    """A state store as its first command makes it, once for a process: the making costs the import of Alembic."""
    folder = folder_for("store")
    try:
        Store(f"sqlite:///{(folder / 'state.db').as_posix()}").close()
        return (folder / "state.db").read_bytes()
    finally:
        shutil.rmtree(folder)


def new_store(folder: Path) -> str:
    """An empty one in this folder; its URL. test_store has the making."""
    (folder / "state.db").write_bytes(made_store())
    return f"sqlite:///{(folder / 'state.db').as_posix()}"


def after(seconds: float) -> datetime:
    """A moment of the run."""
    return BEGIN + timedelta(seconds=seconds)


def table(name: Name, parent: Name | None = None) -> Table:
    """With one column."""
    column = Column(name="id", type="bigint", type_oid=20)
    return Table(name=name, oid=1, kind=RelationKind.TABLE, columns=(column,), parent=parent)


def receipt(name: Name, chunk: str = "leaf", **facts: Any) -> Receipt:
    """Equal hashes of the stream, unless the facts say otherwise."""
    said: dict[str, Any] = {"rows": 1000, "bytes": 50_000, "seconds": 0.5, "epoch": 1, "proof": Proof.STREAM}
    said |= {"source_hash": "ab" * 16, "target_hash": "ab" * 16}
    return Receipt(table=name, chunk=chunk, **(said | facts))


def event(kind_: EventKind, second: float, message: str = "", table: str | None = None, **data: Any) -> Event:
    """Of this run."""
    return Event(kind=kind_, run=RUN, at=after(second), message=message, table=table, data=data)


def samples(*moved: tuple[float, int]) -> list[Sample]:
    """(second, bytes)."""
    return [Sample(at=after(s), rows=b // 50, bytes=b, in_flight=0, chunks_done=0) for s, b in moved]


def record(
    folder: Path,
    state: RunState = RunState.DONE,
    *,
    names: Sequence[Name] = (ORDERS,),
    receipts: Iterable[Receipt] | None = None,
    parents: dict[Name, Name] | None = None,
    events: Iterable[Event] = (),
    taken: Iterable[Sample] = (),
    not_carried: tuple[Unsupported, ...] = (),
    chunks: Sequence[Chunk] | None = None,
    **facts: Any,
) -> Store:
    """A store with one run; each table is one chunk, done, unless `chunks` and `receipts` say otherwise."""
    store = Store(new_store(folder))
    chunks = chunks if chunks is not None else [Chunk(table=n, kind=ChunkKind.LEAF, bytes=50_000) for n in names]
    given = [receipt(n) for n in names] if receipts is None else list(receipts)
    finished = None if state in {RunState.RUNNING, RunState.PAUSED} else after(100)
    said: dict[str, Any] = {"epoch": 1, "chunks": len(chunks), "chunks_done": len(given), "finished": finished}
    said |= {"rows": sum(r.rows for r in given), "bytes": sum(r.bytes for r in given)}
    run = Run(id=RUN, state=state, source=SOURCE, target=TARGET, started=BEGIN, **(said | facts))
    plan = Plan(source=SOURCE, target=TARGET, tables=[Selection(name="public.*")])
    manifest = Manifest(
        tables=tuple(table(n, (parents or {}).get(n)) for n in names),
        placements=tuple(Placement.same(n) for n in names),
        chunks=tuple(chunks),
        identities=("1/1/plant", "2/2/plant"),
        not_carried=not_carried,
    )
    store.create_run(run, plan, manifest)
    store.save_done(RUN, given)
    for number, sample in enumerate(taken):
        store.save_progress(run, {"n": number}, sample)
    for happened in (event(EventKind.ATTEMPT, 0, epoch=1, snapshot="1-1"), *events):
        store.save_event(happened)
    store.save_facts(RUN, ATTEMPT, {"source": SERVER, "target": SERVER | {"version": "18.0"}})
    return store


def failed(store: Store, name: Name, error: str) -> None:
    """A chunk that ended so."""
    store.save_chunk(RUN, name, "leaf", ChunkState.FAILED, error=error, attempts=3)


def verification(
    *tables: TableVerdict, run: str | None = RUN, identifier: str = VERIFICATION, method: Method = Method.CHECKSUM
) -> Verification:
    """Of this run, an hour later."""
    return Verification(
        id=identifier,
        run=run,
        source=SOURCE,
        target=TARGET,
        method=method,
        started=after(3600),
        finished=after(3660),
        tables=tables,
        who="auditor@desk.example",
    )


def compared(name: Name = ORDERS, agrees: bool | None = True, **facts: Any) -> TableVerdict:
    """A table of both sides."""
    hashes = {"source_hash": "11" * 8, "target_hash": "11" * 8 if agrees else "22" * 8}
    return TableVerdict(source=name, target=name, agrees=agrees, **(hashes | facts))


DIFFERING = (
    RowDifference(
        kind=Difference.DIFFERENT,
        key=(("id", "17"),),
        columns=(("name", "<img src=x onerror=alert(1)>", None), ("note", "a" * 1000, "b")),
    ),
    RowDifference(kind=Difference.MISSING, key=(("id", "18"),), times=(1, 0)),
    RowDifference(kind=Difference.TIMES, key=(("id", None),), times=(2, 3)),
)
