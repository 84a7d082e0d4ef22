"""The Store: the engine's Journal, and what the faces ask. Every method is one short transaction."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import URL, Row, Select, bindparam, func, insert, select, update
from sqlalchemy.orm import Session

from pghaul.model.chunk import Chunk, ChunkKind, ChunkState
from pghaul.model.errors import NotFoundError, StateError
from pghaul.model.event import Event, EventKind
from pghaul.model.manifest import Manifest
from pghaul.model.plan import Plan
from pghaul.model.receipt import Receipt
from pghaul.model.run import LIVING, Run, RunState, Wish
from pghaul.model.sample import PastRate, Sample
from pghaul.model.table import Name, Table, Unsupported
from pghaul.model.text import say, saying
from pghaul.model.verification import Verification
from pghaul.store import _placements, faults, metrics, process, verifications
from pghaul.store.models import ChunkRow, EventRow, RunRow, SeriesRow, TableRow
from pghaul.store.profiles import Profiles
from pghaul.store.series import SeriesTable
from pghaul.store.session import Patience, begin_anew, open_store, parse, translating

TABLE: TypeAdapter[Table] = TypeAdapter(Table)
RECEIPT: TypeAdapter[Receipt] = TypeAdapter(Receipt)
NOT_CARRIED: TypeAdapter[tuple[Unsupported, ...]] = TypeAdapter(tuple[Unsupported, ...])

# Chunks tell these themselves, by state and receipt; ten thousand of them would only bury the rest.
NOT_KEPT = frozenset({EventKind.PROGRESS, EventKind.CHUNK_STARTED, EventKind.CHUNK_DONE, EventKind.INDEX_DONE})
LISTED = say("`pghaul runs` lists the runs of this store")
ROUNDS = saying("it is a series, whose rounds are runs: `pghaul status {series}` lists the latest")
DIED = say("its process died")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRecord:
    """A chunk and how far it came."""

    chunk: Chunk
    state: ChunkState
    attempts: int
    error: str | None
    receipt: Receipt | None


class Store:
    """Implements `pghaul.engine.journal.Journal`."""

    def __init__(self, url: str) -> None:
        self._url = parse(url)
        self._patience = Patience()
        self._sessions = open_store(url, self._patience)
        self._file = _file_of(self._url)

    def wait_at_most(self, seconds: float) -> None:
        """For another process that holds the store; then StateError."""
        self._patience.milliseconds = round(seconds * 1000)

    def close(self) -> None:
        """Give the connections back."""
        with self._sessions() as session:
            session.get_bind().engine.dispose()

    @contextmanager
    def _scope(self, *, writes: bool = False) -> Iterator[Session]:
        """`writes`: it reads before it writes, and may not find that somebody else has written meanwhile."""
        self._follow_file()
        try:
            with translating(self._url), self._sessions.begin() as session:
                if writes:
                    session.connection(execution_options={"immediate": True})
                yield session
        except StateError as exc:
            if exc.number != faults.DAMAGED:
                raise
            self.close()
            said = begin_anew(self._url, exc)
            self._file = _file_of(self._url)
            raise said from exc

    def _follow_file(self) -> None:
        """A file that was deleted or replaced takes what is written to it to nowhere: open the one that is there."""
        if self._file is not None and _file_of(self._url) != self._file:
            self.close()
            self._sessions = open_store(self._url.render_as_string(hide_password=False), self._patience)
            self._file = _file_of(self._url)

    # --- runs ---

    def create_run(self, run: Run, plan: Plan, manifest: Manifest) -> None:
        """The run, its tables and its chunks: all or nothing. One that was recorded without a manifest gets its own."""
        tables = [
            {"run_id": run.id, "position": i, "definition": TABLE.dump_json(table).decode()}
            for i, table in enumerate(manifest.tables)
        ]
        chunks = [_chunk_values(run.id, i, chunk) for i, chunk in enumerate(manifest.chunks)]
        with self._scope(writes=True) as session:
            values = _run_values(run) | _plan_values(plan, manifest)
            if session.get(RunRow, run.id) is None:
                session.execute(insert(RunRow).values(values))
            else:
                session.execute(update(RunRow).where(RunRow.id == run.id, RunRow.source_identity == "").values(values))
            if tables:
                session.execute(insert(TableRow), tables)
            if chunks:
                session.execute(insert(ChunkRow), chunks)

    def load_run(self, run_id: str) -> tuple[Run, Plan, Manifest]:
        """NotFoundError when there is none."""
        with self._scope() as session:
            row = _required(session, run_id)
            definitions = session.scalars(
                select(TableRow.definition).where(TableRow.run_id == run_id).order_by(TableRow.position)
            )
            tables = tuple(TABLE.validate_json(d) for d in definitions)
            chunks = tuple(_chunk(r) for r in session.execute(_chunks_of(run_id)))
        layout = _placements.load(row.placements, tables)
        manifest = Manifest(
            tables=tables,
            placements=layout.placements,
            designs=layout.designs,
            vacant=layout.vacant,
            chunks=chunks,
            identities=(row.source_identity, row.target_identity),
            not_carried=NOT_CARRIED.validate_json(row.not_carried),
        )
        return _run(row), Plan.model_validate_json(row.plan), manifest

    def save_run(self, run: Run) -> None:
        """NotFoundError when it was never created."""
        with self._scope() as session:
            done = session.execute(update(RunRow).where(RunRow.id == run.id).values(_run_values(run)))
            _changed(done, run.id)

    def run(self, run_id: str) -> Run:
        """NotFoundError when there is none."""
        with self._scope() as session:
            return _run(_required(session, run_id))

    def runs(self, limit: int = 20, *, series: str | None = None) -> list[Run]:
        """The latest first; of a series its rounds."""
        query = select(RunRow).order_by(RunRow.started.desc(), RunRow.id).limit(limit)
        with self._scope() as session:
            rows = session.scalars(query.where(RunRow.series == series) if series else query)
            return [_run(row) for row in rows]

    def series_of(self, run_id: str) -> str | None:
        """The series that a run is a round of; None of any other id."""
        with self._scope() as session:
            return session.scalar(select(RunRow.series).where(RunRow.id == run_id))

    def lives_elsewhere(self, run_id: str) -> bool:
        """Whether another process of this machine works on the run; of other machines nobody can tell."""
        with self._scope() as session:
            row = _required(session, run_id)
            return RunState(row.state) in LIVING and process.is_here(row.pid, row.process)

    def lives_here(self, run_id: str) -> bool:
        """Whether a process of this machine, this one or another, works on the run."""
        with self._scope() as session:
            row = _required(session, run_id)
            return RunState(row.state) in LIVING and process.is_alive(row.pid, row.process)

    def save_progress(self, run: Run, progress: dict[str, Any], sample: Sample | None) -> None:
        """As `save_run`, with what a PROGRESS event says now, and a sample where one is due."""
        with self._scope() as session:
            values = _run_values(run) | {"progress": progress}
            done = session.execute(update(RunRow).where(RunRow.id == run.id).values(values))
            _changed(done, run.id)
            if sample is not None:
                metrics.add_sample(session, run.id, sample)

    def save_facts(self, run_id: str, attempt: dict[str, Any], servers: dict[str, Any]) -> None:
        """The attempt beside the earlier ones, the servers as they are now."""
        with self._scope(writes=True) as session:
            known = session.scalar(select(RunRow.facts).where(RunRow.id == run_id)) or {}
            facts = known | servers | {"attempts": [*known.get("attempts", ()), attempt]}
            session.execute(update(RunRow).where(RunRow.id == run_id).values(facts=facts))

    def facts(self, run_id: str) -> dict[str, Any]:
        """What `save_facts` kept: attempts, source, target; empty of a run that never got so far."""
        with self._scope() as session:
            return session.scalar(select(RunRow.facts).where(RunRow.id == run_id)) or {}

    def progress(self, run_id: str) -> dict[str, Any]:
        """The data of the run's last PROGRESS event that was saved; empty before the first."""
        with self._scope() as session:
            return session.scalar(select(RunRow.progress).where(RunRow.id == run_id)) or {}

    def samples(self, run_id: str) -> list[Sample]:
        """How far the run was at some hundred moments."""
        with self._scope() as session:
            return metrics.samples(session, run_id)

    def past_rates(self, source: str, target: str, tables: Iterable[Name]) -> dict[Name, PastRate]:
        """What these tables took when they were last moved whole; `source`, `target` as in Run."""
        with self._scope() as session:
            return metrics.past_rates(session, source, target, tables)

    # --- chunks ---

    def save_chunk(
        self,
        run_id: str,
        table: Name,
        key: str,
        state: ChunkState,
        *,
        receipt: Receipt | None = None,
        error: str | None = None,
        attempts: int = 0,
    ) -> None:
        """A receipt stays until another replaces it or the chunk is pending again."""
        values: dict[str, Any] = {"state": state.value, "error": error, "attempts": attempts}
        if receipt is not None or state is ChunkState.PENDING:
            values["receipt"] = RECEIPT.dump_json(receipt).decode() if receipt else None
        with self._scope() as session:
            done = session.execute(
                update(ChunkRow)
                .where(
                    ChunkRow.run_id == run_id,
                    ChunkRow.table_schema == table.schema,
                    ChunkRow.table_name == table.name,
                    ChunkRow.key == key,
                )
                .values(values)
                .execution_options(synchronize_session=False)
            )
            _changed(done, run_id, f"{table} {key}")

    def save_done(self, run_id: str, receipts: Sequence[Receipt]) -> None:
        """One statement for all of them: thousands of small tables are finished within seconds."""
        done = (
            update(ChunkRow)
            .where(
                ChunkRow.run_id == run_id,
                ChunkRow.table_schema == bindparam("of_schema"),
                ChunkRow.table_name == bindparam("of_table"),
                ChunkRow.key == bindparam("of_key"),
            )
            .values(state=ChunkState.DONE.value, error=None, attempts=1, receipt=bindparam("with_receipt"))
        )
        values = [
            {
                "of_schema": r.table.schema,
                "of_table": r.table.name,
                "of_key": r.chunk,
                "with_receipt": RECEIPT.dump_json(r).decode(),
            }
            for r in receipts
        ]
        with self._scope() as session:
            session.connection().execute(done, values)

    def chunk_states(self, run_id: str) -> dict[tuple[Name, str], ChunkState]:
        """In the order of the manifest."""
        query = (
            select(ChunkRow.table_schema, ChunkRow.table_name, ChunkRow.key, ChunkRow.state)
            .where(ChunkRow.run_id == run_id)
            .order_by(ChunkRow.position)
        )
        with self._scope() as session:
            return {(Name(s, n), k): ChunkState(state) for s, n, k, state in session.execute(query)}

    def chunk_counts(self, run_id: str) -> dict[ChunkState, int]:
        """How many chunks are in each state; states without any are absent."""
        query = select(ChunkRow.state, func.count()).where(ChunkRow.run_id == run_id).group_by(ChunkRow.state)
        with self._scope() as session:
            return {ChunkState(state): count for state, count in session.execute(query)}

    def chunks(self, run_id: str) -> list[ChunkRecord]:
        """With state, error and receipt, in the order of the manifest."""
        with self._scope() as session:
            return [_record(row) for row in session.execute(_chunks_of(run_id))]

    @property
    def profiles(self) -> Profiles:
        """The table of profiles."""
        return Profiles(self._sessions, self._url)

    @property
    def series(self) -> SeriesTable:
        """The table of series."""
        return SeriesTable(self._scope)

    # --- verifications ---

    def save_verification(self, found: Verification) -> None:
        """Keep it; one of the same id is replaced."""
        with self._scope() as session:
            verifications.save(session, found)

    def verifications(self, run_id: str | None = None, limit: int = 100) -> list[Verification]:
        """Those of a run, or all; the latest first."""
        with self._scope() as session:
            return verifications.of_run(session, run_id, limit)

    def verification(self, verification_id: str) -> Verification:
        """NotFoundError when there is none."""
        with self._scope() as session:
            return verifications.one(session, verification_id)

    # --- events and wishes ---

    def save_event(self, event: Event) -> None:
        """What is worth telling later."""
        if event.kind in NOT_KEPT:
            return
        values = {
            "run_id": event.run,
            "at": event.at,
            "kind": event.kind.value,
            "relation": event.table,
            "chunk": event.chunk,
            "message": event.message,
            "data": json.loads(json.dumps(event.data, default=str)),
        }
        with self._scope() as session:
            session.execute(insert(EventRow).values(values))

    def events(self, run_id: str) -> list[Event]:
        """In the order in which they happened."""
        return self.events_after(run_id, 0)[0]

    def events_after(self, run_id: str, last: int) -> tuple[list[Event], int]:
        """Those that came after the one with this number, and the number of the last."""
        query = select(EventRow).where(EventRow.run_id == run_id, EventRow.id > last).order_by(EventRow.id)
        with self._scope() as session:
            rows = session.scalars(query).all()
            return [_event(row) for row in rows], rows[-1].id if rows else last

    def wish(self, run_id: str) -> Wish:
        """NONE where the run is unknown: planning has not recorded it yet."""
        with self._scope() as session:
            found = session.scalar(select(RunRow.wish).where(RunRow.id == run_id))
        return Wish(found) if found else Wish.NONE

    def set_wish(self, run_id: str, wish: Wish) -> None:
        """NotFoundError when there is no such run."""
        with self._scope() as session:
            done = session.execute(update(RunRow).where(RunRow.id == run_id).values(wish=wish.value))
            _changed(done, run_id)


def _file_of(url: URL) -> tuple[int, int] | None:
    """Which file it is; None of a store that is none, or that is not there."""
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    try:
        found = os.stat(url.database)  # noqa: PTH116 -- called at every transaction
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _required(session: Session, run_id: str) -> RunRow:
    row = session.get(RunRow, run_id)
    if row is None:
        advice = LISTED if session.get(SeriesRow, run_id) is None else ROUNDS.format(series=run_id)
        raise NotFoundError(say("there is no run {run}", run=run_id), advice=advice, code=5236)
    return row


def _changed(result: Any, run_id: str, chunk: str = "") -> None:
    if result.rowcount != 1 and chunk:
        raise NotFoundError(say("run {run} has no chunk {chunk}", run=run_id, chunk=chunk), advice=LISTED, code=5237)
    if result.rowcount != 1:
        raise NotFoundError(say("there is no run {run}", run=run_id), advice=LISTED, code=5236)


def _run_values(run: Run) -> dict[str, Any]:
    """Whoever records a running run lives: its process is noted, so that its death can be seen."""
    pid = run.pid or os.getpid()
    return {
        "id": run.id,
        "state": run.state.value,
        "source": run.source,
        "target": run.target,
        "started": run.started,
        "finished": run.finished,
        "epoch": run.epoch,
        "chunks": run.chunks,
        "chunks_done": run.chunks_done,
        "rows": run.rows,
        "bytes": run.bytes,
        "bytes_estimated": run.bytes_estimated,
        "error": run.error,
        "note": run.note,
        "pid": pid,
        "process": process.token(pid),
        "series": run.series,
    }


def _plan_values(plan: Plan, manifest: Manifest) -> dict[str, Any]:
    source, target = manifest.identities
    return {
        "wish": Wish.NONE.value,
        "plan": plan.model_dump_json(),
        "source_identity": source,
        "target_identity": target,
        "not_carried": NOT_CARRIED.dump_json(manifest.not_carried).decode(),
        "placements": _placements.dump(manifest.placements, manifest.designs, manifest.vacant),
    }


def _run(row: RunRow) -> Run:
    """As recorded, except that a run whose process is gone does not run."""
    state, error = RunState(row.state), row.error
    if state in LIVING and process.is_gone(row.pid, row.process):
        state, error = RunState.STOPPED, DIED
    return Run(
        id=row.id,
        state=state,
        source=row.source,
        target=row.target,
        started=row.started,
        finished=row.finished,
        epoch=row.epoch,
        chunks=row.chunks,
        chunks_done=row.chunks_done,
        rows=row.rows,
        bytes=row.bytes,
        bytes_estimated=row.bytes_estimated,
        error=error,
        pid=row.pid,
        note=row.note if state is RunState.PAUSED else None,
        series=row.series,
    )


def _chunk_values(run_id: str, position: int, chunk: Chunk) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "table_schema": chunk.table.schema,
        "table_name": chunk.table.name,
        "key": chunk.key,
        "position": position,
        "kind": chunk.kind.value,
        "first_page": chunk.first_page,
        "end_page": chunk.end_page,
        "key_column": chunk.column or None,
        "key_low": chunk.low,
        "key_high": chunk.high,
        "bytes_estimated": chunk.bytes,
        "rows_estimated": chunk.rows,
        "state": ChunkState.PENDING.value,
        "attempts": 0,
        "error": None,
        "receipt": None,
    }


def _chunks_of(run_id: str) -> Select[Any]:
    """Columns, not entities: ten thousand of them are read in a tenth of the time."""
    return select(*ChunkRow.__table__.columns).where(ChunkRow.run_id == run_id).order_by(ChunkRow.position)


def _chunk(row: Row[Any]) -> Chunk:
    return Chunk(
        table=Name(row.table_schema, row.table_name),
        kind=ChunkKind(row.kind),
        first_page=row.first_page,
        end_page=row.end_page,
        column=row.key_column or "",
        low=row.key_low,
        high=row.key_high,
        bytes=row.bytes_estimated,
        rows=row.rows_estimated,
    )


def _record(row: Row[Any]) -> ChunkRecord:
    return ChunkRecord(
        chunk=_chunk(row),
        state=ChunkState(row.state),
        attempts=row.attempts,
        error=row.error,
        receipt=RECEIPT.validate_json(row.receipt) if row.receipt else None,
    )


def _event(row: EventRow) -> Event:
    return Event(
        kind=EventKind(row.kind),
        run=row.run_id,
        table=row.relation,
        chunk=row.chunk,
        message=row.message,
        data=row.data,
        at=row.at,
    )
