"""A report as plain data with documented keys. Its words are English, whatever language its reader has.

The same run gives the same data on every machine and day, so its hash tells whether an archived page still says what
the store knows: what changes from one making to the next (when, by whom) stands outside of what is hashed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from pghaul.engine.facts import program, who
from pghaul.model.event import Event
from pghaul.model.receipt import Receipt, Sum
from pghaul.model.verification import RowDifference, TableVerdict, Verification
from pghaul.service.report.contents import Downtime, Report, Story, TableProof

if TYPE_CHECKING:
    from pghaul.store.repository import ChunkRecord

FORMAT = 1
SEAL, MADE = "sha256", "made"  # outside of what is hashed


def as_data(report: Report) -> dict[str, Any]:
    """What docs/reference/report.md describes, with its hash and who made it when."""
    data: dict[str, Any] = _plain(_data(report))
    return data | {SEAL: seal(data), MADE: {"at": datetime.now(UTC).isoformat(), "who": who()} | program()}


def seal(data: dict[str, Any]) -> str:
    """SHA-256 of the data as compact JSON with sorted keys, without the hash itself and what tells of the making."""
    told = {k: v for k, v in data.items() if k not in {SEAL, MADE}}
    canonical = json.dumps(told, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", "backslashreplace")).hexdigest()


def _data(report: Report) -> dict[str, Any]:
    source, target = report.ends
    servers: Any = report.story.servers if report.story else {}
    return {
        "format": FORMAT,
        "kind": report.kind,
        "id": report.id,
        "verdict": {"outcome": report.verdict.outcome, "reasons": report.verdict.reasons},
        "source": {"url": source} | servers.get("source", {}),
        "target": {"url": target} | servers.get("target", {}),
        "verifications": [_verification(v) for v in report.verifications],
        **(_story(report.story) if report.story else {}),
    }


def _story(story: Story) -> dict[str, Any]:
    run = story.run
    return {
        "run": {
            "id": run.id,
            "state": run.state,
            "started": run.started,
            "finished": run.finished,
            "seconds": story.seconds,
            "attempts": len(story.attempts),
            "pauses": len(story.pauses),
            "retries": len(story.retries),
            "chunks": run.chunks,
            "chunks_done": run.chunks_done,
            "error": run.error,
            "note": run.note,
        },
        "totals": {"tables": len(story.tables)} | _sum(story.sum),
        "plan": story.plan.model_dump(mode="json"),
        "plan_toml": story.plan_toml,
        "attempts": [{"epoch": a.epoch, "at": a.at} | _who(dict(a.facts)) for a in story.attempts],
        "pauses": [{"since": p.since, "until": p.until, "seconds": p.seconds, "why": p.why} for p in story.pauses],
        "tables": [_table(t) for t in story.tables],
        "samples": [
            {"at": s.at, "rows": s.rows, "bytes": s.bytes, "in_flight": s.in_flight, "chunks_done": s.chunks_done}
            for s in story.samples
        ],
        "not_carried": [{"kind": u.kind, "name": u.name, "why": u.why} for u in story.not_carried],
        "retries": _events(story.retries),
        "redone": _events(story.redone),
        "warnings": _events(story.warnings),
        "notes": _events(story.notes),
        "failed": [
            {"table": str(c.chunk.table), "chunk": c.chunk.key, "attempts": c.attempts, "error": c.error}
            for c in story.failed
        ],
        "cutover": None if story.downtime is None else _downtime(story.downtime),
    }


def _who(facts: dict[str, Any]) -> dict[str, Any]:
    return {k: facts.get(k) for k in ("who", "pghaul", "python", "platform")}


def _sum(found: Sum) -> dict[str, Any]:
    figures = {"rows": found.rows, "bytes": found.bytes, "seconds": round(found.seconds, 3)}
    return figures | dict(found.became)


def _table(table: TableProof) -> dict[str, Any]:
    return {
        "table": table.name,
        "family": table.family,
        **_sum(table.sum),
        "agrees": table.agrees,
        "proof": [p.value for p in table.proofs],
        "source_hash": table.source_hash,
        "target_hash": table.target_hash,
        "chunks": [_chunk(c) for c in table.chunks],
    }


def _chunk(record: ChunkRecord) -> dict[str, Any]:
    receipt = _receipt(record.receipt) if record.receipt else None
    return {
        "chunk": record.chunk.key,
        "state": record.state,
        "attempts": record.attempts,
        "error": record.error,
        "receipt": receipt,
    }


def _receipt(receipt: Receipt) -> dict[str, Any]:
    return {
        "rows": receipt.rows,
        "inserted": receipt.inserted,
        "updated": receipt.updated,
        "unchanged": receipt.unchanged,
        "ignored": receipt.ignored,
        "rejected": receipt.rejected,
        "deleted": receipt.deleted,
        "bytes": receipt.bytes,
        "seconds": round(receipt.seconds, 3),
        "epoch": receipt.epoch,
        "proof": receipt.proof,
        "source_hash": receipt.source_hash,
        "target_hash": receipt.target_hash,
    }


def _events(events: Iterable[Event]) -> list[dict[str, Any]]:
    return [{"at": e.at, "table": e.table, "chunk": e.chunk, "message": e.message, "data": e.data} for e in events]


def _downtime(found: Downtime) -> dict[str, Any]:
    steps = [{"at": e.at, "step": e.data.get("step"), "message": e.message} for e in found.steps]
    return {"downtime": found.seconds, "since": found.since, "until": found.until, "steps": steps}


def _verification(found: Verification) -> dict[str, Any]:
    return {
        "id": found.id,
        "run": found.run,
        "source": found.source,
        "target": found.target,
        "method": found.method,
        "started": found.started,
        "finished": found.finished,
        "who": found.who,
        "agrees": found.agrees,
        "tables": [_compared(t) for t in found.tables],
    }


def _compared(table: TableVerdict) -> dict[str, Any]:
    plain = asdict(table) | {"source": str(table.source), "target": str(table.target)}
    return plain | {"rows": [_row(r) for r in table.rows]}


def _row(row: RowDifference) -> dict[str, Any]:
    columns = [{"column": name, "source": here, "target": there} for name, here, there in row.columns]
    return {
        "kind": row.kind,
        "key": [{"column": name, "value": value} for name, value in row.key],
        "columns": columns,
        "times": row.times,
    }


def _plain(value: Any) -> Any:
    """Plain JSON values: what is hashed must not depend on how it is written."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value if isinstance(value, int | float | None) else str(value)
