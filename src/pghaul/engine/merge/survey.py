"""A look at what a merge would do: each table's mode, key and watermark, what is promised, and what changes first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pghaul.engine.merge import looks, scene
from pghaul.engine.merge.looks import Look
from pghaul.engine.merge.scene import Ground
from pghaul.engine.merge.units import Unit
from pghaul.model.errors import MergeError
from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.merging import Guarantee, Mark, Reading
from pghaul.model.plan import MergeMode, Plan
from pghaul.model.preview import Merging, Outlook, Preview, Space
from pghaul.model.text import Text, say
from pghaul.postgres.session import Session
from pghaul.sources.postgresql import reading_findings
from pghaul.target import merge


def looked(run: str, plan: Plan, here: Session, there: Session, blank: Preview) -> Preview:
    """`blank` with all that is to be known. Nothing is changed anywhere."""
    with scene.glimpsed(plan, here, there) as ground:
        unreadable = list(reading_findings(here, [t.name for a in ground.asked for t in a.origins]))
        found = looks.look(run, plan, ground)
        outlooks = tuple(_outlooks(ground, found))
    return replace(
        blank,
        tables=outlooks,
        creates=_creates(found),
        space=Space(),
        findings=(*unreadable, *found.findings, *_promises(outlooks)),
    )


def _outlooks(ground: Ground, found: Look) -> Iterator[Outlook]:
    for unit in found.units:
        reading, mark = found.readings.get(unit.name), found.marks.get(unit.name)
        chunk = bool(reading)
        yield Outlook(
            table=unit.name,
            source=unit.asked.source.name,
            disposition="created" if unit.there is None else "merge",
            chunks=int(chunk),
            bytes=unit.asked.bytes,
            rows=unit.asked.rows,
            there_bytes=unit.there.bytes if unit.there else 0,
            there_rows=unit.there.rows if unit.there else None,
            merge=_merging(ground, unit, reading, mark),
        )


def _merging(ground: Ground, unit: Unit, reading: Reading | None, mark: Mark | None) -> Merging:
    asked = unit.asked
    try:
        locked = unit.there is not None and merge.plan(ground.target, unit.design(looks.NOWHERE), 0).locked
    except MergeError:  # which is among the findings
        locked = False
    return Merging(
        mode=asked.merge.mode.value,
        key=unit.key,
        query=asked.query or "",
        watermark=asked.merge.watermark or "",
        kind=reading.kind.value if reading else "",
        since=mark.low if mark and reading and not reading.full else None,
        guarantee=reading.guarantee.value if reading else "",
        promise=_promise(reading) if reading else "",
        locked=locked,
        changes=tuple(c.what for c in unit.drift.changes),
    )


def _promise(reading: Reading) -> Text:
    """What can slip through, in words."""
    if reading.guarantee is Guarantee.WHOLE:
        return say("all rows are read every time")
    if reading.guarantee is Guarantee.EXACT:
        return say("exact: no row that commits late is missed; {why}", why=reading.why)
    return say("within lookback only: {why}", why=reading.why or say("the source's transactions cannot be seen"))


def _creates(found: Look) -> dict[str, list[str]]:
    made = [str(u.name) for u in found.units if u.there is None]
    return {"TABLE": made} if made else {}


def _promises(outlooks: tuple[Outlook, ...]) -> Iterator[Finding]:
    """What a person should know of each before it runs."""
    for outlook in outlooks:
        merging = outlook.merge
        if merging is None:
            continue
        for change in merging.changes:
            yield Finding(
                severity=Severity.NOTE,
                kind=Kind.MERGE,
                object=str(outlook.table),
                what=say("before the merge: {change}", change=change),
                where=say("target"),
                code=6648,
            )
        if outlook.disposition == "created":
            yield Finding(
                severity=Severity.NOTE,
                kind=Kind.MERGE,
                object=str(outlook.table),
                what=say(
                    "{table} is created with its columns, NOT NULL and the key; defaults, other indexes, checks and "
                    "foreign keys come with --recipe copy",
                    table=str(outlook.table),
                ),
                where=say("target"),
                code=6649,
            )
        if merging.mode == MergeMode.FULL_SYNC.value:
            yield Finding(
                severity=Severity.NOTE,
                kind=Kind.MERGE,
                object=str(outlook.table),
                what=say("rows of {table} that the source does not have are deleted", table=str(outlook.table)),
                where=say("target"),
                code=6650,
            )
