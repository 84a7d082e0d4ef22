"""Samples of a run over time, and what its tables took in earlier runs: queries on a session, without a transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from pghaul.model.chunk import ChunkState
from pghaul.model.sample import PastRate, Sample
from pghaul.model.table import Name
from pghaul.store.models import ChunkRow, RunRow, SampleRow

MOST_SAMPLES = 400  # of one run; then every second one goes
RUNS_LOOKED_AT = 10  # of the same pair of databases, the latest


def add_sample(session: Session, run_id: str, sample: Sample) -> None:
    """Keep it; where there are too many, thin them out evenly."""
    values = {
        "run_id": run_id,
        "at": sample.at,
        "rows": sample.rows,
        "bytes": sample.bytes,
        "in_flight": sample.in_flight,
        "chunks_done": sample.chunks_done,
    }
    session.execute(insert(SampleRow).values(values))
    count = session.scalar(select(func.count()).select_from(SampleRow).where(SampleRow.run_id == run_id)) or 0
    if count > MOST_SAMPLES:
        ids = session.scalars(select(SampleRow.id).where(SampleRow.run_id == run_id).order_by(SampleRow.id)).all()
        session.execute(delete(SampleRow).where(SampleRow.id.in_(ids[1:-1:2])))


def samples(session: Session, run_id: str) -> list[Sample]:
    """In the order of time."""
    rows = session.scalars(select(SampleRow).where(SampleRow.run_id == run_id).order_by(SampleRow.id))
    return [Sample(at=r.at, rows=r.rows, bytes=r.bytes, in_flight=r.in_flight, chunks_done=r.chunks_done) for r in rows]


def past_rates(session: Session, source: str, target: str, tables: Iterable[Name]) -> dict[Name, PastRate]:
    """By table, the latest run of this pair that finished all its chunks; tables without one are absent."""
    wanted = set(tables)
    pair = (RunRow.source == source, RunRow.target == target)
    latest = select(RunRow.id).where(*pair).order_by(RunRow.started.desc(), RunRow.id).limit(RUNS_LOOKED_AT)
    found: dict[Name, PastRate] = {}
    for run_id in session.scalars(latest).all():
        for name, rate in _finished(session, run_id).items():
            if name in wanted:
                found.setdefault(name, rate)
        if len(found) == len(wanted):
            break
    return found


def _finished(session: Session, run_id: str) -> dict[Name, PastRate]:
    columns: tuple[Any, ...] = (ChunkRow.table_schema, ChunkRow.table_name, ChunkRow.state, ChunkRow.receipt)
    parts: dict[Name, list[dict[str, Any] | None]] = {}
    for schema, name, state, receipt in session.execute(select(*columns).where(ChunkRow.run_id == run_id)):
        done = receipt if ChunkState(state) is ChunkState.DONE else None
        parts.setdefault(Name(schema, name), []).append(json.loads(done) if done else None)
    whole = {name: [r for r in some if r] for name, some in parts.items() if all(some)}
    return {name: _sum(receipts) for name, receipts in whole.items()}


def _sum(receipts: list[dict[str, Any]]) -> PastRate:
    return PastRate(
        rows=sum(r["rows"] for r in receipts),
        bytes=sum(r["bytes"] for r in receipts),
        seconds=sum(r["seconds"] for r in receipts),
    )
