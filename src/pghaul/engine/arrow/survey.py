"""What a run from a source that is not PostgreSQL would do: every mapping and every finding, and nothing written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from pghaul.engine.arrow import ground, looks, sampling, tempo
from pghaul.engine.arrow.ground import Ground
from pghaul.engine.arrow.looks import Look
from pghaul.engine.survey import questions, skipped
from pghaul.model.finding import Severity
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.mapped import MappedTable
from pghaul.model.plan import OnExisting, Plan
from pghaul.model.preview import Becomes, Outlook, Preview
from pghaul.model.profile import Endpoint
from pghaul.model.table import Name


def survey(run: str, plan: Plan, source: ForeignEndpoint, target: Endpoint, *, sample: bool = False) -> Preview:
    """Everything that `plan` shows; with `sample`, some rows of each table have gone all the way."""
    with ground.glimpsed(run, plan, source, target) as held:
        found = looks.examine(run, plan, held, lambda _name, _rows: OnExisting.ASK)
        told = _told(held, found, plan)
        if not sample or not told.ok:
            return told
        return replace(told, findings=(*told.findings, *sampling.findings(held, found, plan)))


def _told(held: Ground, found: Look, plan: Plan) -> Preview:
    stopped = any(f.severity is Severity.ERROR for f in found.findings)
    timed = None if stopped else tempo.taken(held, found, plan)
    outlooks = tuple(_outlooks(held, found, timed.seconds if timed else {}))
    return Preview(
        source=held.endpoint.display,
        target=held.target.endpoint.display,
        versions=(held.database.product, held.target.server.version),
        product=held.database.product,
        workers=plan.options.workers,
        tables=outlooks,
        creates=_creates(found, plan),
        space=found.space,
        sampled=timed.sampled if timed else None,
        not_carried=(*found.mapped.left, *skipped(found.fate.dispositions)),
        findings=(*found.findings, *questions(outlooks)),
    )


def _outlooks(held: Ground, found: Look, seconds: Mapping[Name, float]) -> Iterator[Outlook]:
    chunks = Counter(c.table for c in found.chunks)
    for table in found.mapped.tables:
        there = held.there.get(table.name)
        yield Outlook(
            table=table.name,
            source=table.source.name,
            disposition=found.fate.dispositions[table.name],
            chunks=chunks[table.name],
            bytes=table.source.bytes,
            rows=table.source.rows,
            there_bytes=there.bytes if there else 0,
            there_rows=there.rows if there else None,
            columns=tuple(_columns(table)),
            seconds=seconds.get(table.name),
        )


def _columns(table: MappedTable) -> Iterator[Becomes]:
    for column in table.columns:
        yield Becomes(
            source=column.source.name,
            native=column.source.native,
            name=column.name,
            type=column.type,
            note=column.note,
        )


def _creates(found: Look, plan: Plan) -> dict[str, list[str]]:
    """By kind, of the tables that the run would make."""
    created = {t.name for t in found.fate.missing}
    out: dict[str, list[str]] = {}
    for made in (*found.mapped.before, *(found.mapped.after if plan.options.indexes else ())):
        if created and (made.table is None or made.table in created):
            out.setdefault(made.kind, []).append(made.name.partition(":")[2] or made.name)
    return {kind: sorted(set(names)) for kind, names in sorted(out.items())}
