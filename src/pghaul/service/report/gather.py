"""What the store knows of a run, put together for its report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pghaul.model.errors import NotFoundError
from pghaul.model.event import Event, EventKind
from pghaul.model.manifest import Manifest
from pghaul.model.quarantine import gone_later
from pghaul.model.receipt import Proof, Receipt, sum_of
from pghaul.model.table import Name
from pghaul.model.text import say
from pghaul.model.verification import Verification
from pghaul.service.plan_file import plan_text
from pghaul.service.report import verdict
from pghaul.service.report.contents import Attempt, Downtime, Pause, Report, Story, TableProof

if TYPE_CHECKING:
    from pghaul.store.repository import ChunkRecord, Store


def gather(store: Store, identifier: str) -> Report:
    """Of a run, or else of a verification, with this id. NotFoundError where there is neither."""
    try:
        return of_run(store, identifier)
    except NotFoundError as exc:
        advice = exc.advice
    try:
        return of_verification(store.verification(identifier))
    except NotFoundError:
        raise NotFoundError(
            say("there is neither a run nor a verification {id}", id=identifier),
            advice=advice,
            code=5280,
        ) from None


def of_run(store: Store, run_id: str) -> Report:
    """NotFoundError when there is none."""
    run, plan, manifest = store.load_run(run_id)
    chunks, events, facts = store.chunks(run_id), store.events(run_id), store.facts(run_id)
    tables = _tables(manifest, chunks, events)
    verifications = _of_run(store, run_id)
    story = Story(
        run=run,
        plan=plan,
        plan_toml=plan_text(plan),
        servers={side: facts.get(side, {}) for side in ("source", "target")},
        attempts=_attempts(events, facts.get("attempts", ())),
        tables=tables,
        sum=sum_of([*(c.receipt for c in chunks if c.receipt), *gone_later(events)]),
        samples=store.samples(run_id),
        pauses=_pauses(events),
        retries=_of(events, EventKind.CHUNK_RETRY),
        redone=_of(events, EventKind.CHUNK_REDO),
        warnings=_of(events, EventKind.WARNING, EventKind.CHUNK_FAILED),
        notes=_notes(events, manifest),
        failed=tuple(c for c in chunks if c.error),
        not_carried=manifest.not_carried,
        downtime=_downtime(events),
    )
    return Report(
        id=run_id, verdict=verdict.of_run(run, tables, verifications), story=story, verifications=verifications
    )


def of_verification(found: Verification) -> Report:
    """Of databases that pghaul need not have copied."""
    return Report(id=found.id, verdict=verdict.of_verification(found), story=None, verifications=(found,))


def _of_run(store: Store, run_id: str) -> tuple[Verification, ...]:
    return tuple(sorted(store.verifications(run_id), key=lambda v: v.started))


def _tables(manifest: Manifest, chunks: Iterable[ChunkRecord], events: Iterable[Event]) -> tuple[TableProof, ...]:
    by_table: dict[Name, list[ChunkRecord]] = defaultdict(list)
    for record in chunks:
        by_table[record.chunk.table].append(record)
    families, compared = _families(manifest), _compared(events)
    gone: dict[Name, list[Receipt]] = defaultdict(list)
    for receipt in gone_later(events):
        gone[receipt.table].append(receipt)
    found = [
        _table(name, families.get(name, name), records, gone[name], compared.get(str(name)))
        for name, records in by_table.items()
    ]
    return tuple(sorted(found, key=lambda t: (-t.sum.bytes, -t.sum.rows, t.name)))


def _table(
    name: Name, family: Name, records: Sequence[ChunkRecord], gone: Sequence[Receipt], compared: Event | None
) -> TableProof:
    receipts = [r.receipt for r in records if r.receipt]
    found = sum_of([*receipts, *gone])
    proofs, hashes = found.proofs, ("", "")
    agrees: bool | None = found.agrees
    if len(records) == len(receipts) == 1:
        hashes = (receipts[0].source_hash, receipts[0].target_hash)
    if compared:  # of the whole table, after its chunks: this is what its proof rests on
        data = compared.data
        proofs, agrees = frozenset({Proof(data["proof"])}), bool(data["agrees"])
        hashes = (data.get("source_hash", ""), data.get("target_hash", ""))
    elif found.agrees and len(receipts) < len(records):
        agrees = None
    return TableProof(
        name=str(name),
        family=str(family),
        sum=found,
        proofs=tuple(sorted(proofs, key=lambda p: p.value)),
        agrees=agrees,
        source_hash=hashes[0],
        target_hash=hashes[1],
        chunks=tuple(records),
    )


def _families(manifest: Manifest) -> dict[Name, Name]:
    """By target table, the root of the tree that its source belongs to."""
    parents = {t.name: t.parent for t in manifest.tables}

    def root(name: Name) -> Name:
        seen = {name}
        while (parent := parents.get(name)) and parent not in seen:
            name = parent
            seen.add(name)
        return name

    return {p.target: root(p.source) for p in manifest.placements}


def _compared(events: Iterable[Event]) -> dict[str, Event]:
    """By table, how it was last compared as a whole."""
    return {e.table: e for e in events if e.kind is EventKind.VERIFIED and e.data.get("step") == "verify" and e.table}


def _attempts(events: Iterable[Event], facts: Sequence[Mapping[str, Any]]) -> tuple[Attempt, ...]:
    """Those that began to move, and those that only got as far as to be known by their facts."""
    known = {f["epoch"]: f for f in facts}
    found = {e.data["epoch"]: e.at for e in events if e.kind is EventKind.ATTEMPT}
    begun = {epoch: datetime.fromisoformat(f["at"]) for epoch, f in known.items()} | found
    return tuple(Attempt(epoch=epoch, at=at, facts=known.get(epoch, {})) for epoch, at in sorted(begun.items()))


def _pauses(events: Iterable[Event]) -> tuple[Pause, ...]:
    out: list[Pause] = []
    began: Event | None = None
    for event in events:
        if event.kind is EventKind.PAUSED:
            began = began or event
        elif began and event.kind in {EventKind.RESUMED, EventKind.RUN_FINISHED}:
            out.append(Pause(since=began.at, until=event.at, why=began.message))
            began = None
    if began:
        out.append(Pause(since=began.at, until=None, why=began.message))
    return tuple(out)


def _of(events: Iterable[Event], *kinds: EventKind) -> tuple[Event, ...]:
    return tuple(e for e in events if e.kind in kinds)


def _notes(events: Iterable[Event], manifest: Manifest) -> tuple[Event, ...]:
    """Notices, without those that say again what is not carried."""
    left: Collection[tuple[str, str]] = {(u.kind, u.name) for u in manifest.not_carried}
    notices = _of(events, EventKind.NOTICE)
    return tuple(e for e in notices if (e.data.get("kind"), e.data.get("name")) not in left)


def _downtime(events: Iterable[Event]) -> Downtime | None:
    steps = _of(events, EventKind.CUTOVER)
    if not steps:
        return None
    last = next((e.data for e in reversed(steps) if e.data.get("step") == "verified"), {})
    return Downtime(steps=steps, seconds=last.get("downtime"), since=last.get("since", ""), until=last.get("until", ""))
