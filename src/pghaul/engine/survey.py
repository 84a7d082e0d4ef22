"""A look at what a run would do. It reads only: the target's session is read-only, the source's transaction too.

What `run` refuses is found here by the same checks; beyond them stands what only a person can judge.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from pghaul.engine import checks, layout, mapping, remake, scene
from pghaul.engine.checks import Stage, Verdict
from pghaul.engine.merge import survey as merge_survey
from pghaul.engine.merge.choice import is_merge
from pghaul.engine.tree_notes import tree_notes
from pghaul.model.errors import PghaulError, TransientError
from pghaul.model.finding import Finding, Kind, Severity, of_error
from pghaul.model.placement import shares
from pghaul.model.plan import OnExisting, Plan
from pghaul.model.preview import Forecast, Outlook, Preview
from pghaul.model.profile import Endpoint
from pghaul.model.sample import PastRate
from pghaul.model.table import Name, RelationKind, Table, Unsupported
from pghaul.model.text import say
from pghaul.postgres.session import Session
from pghaul.postgres.settings import settings
from pghaul.sources.postgresql import not_carried, reading_findings

CHILDREN = """
SELECT n.nspname::text, c.relname::text
  FROM pg_catalog.pg_inherits AS i
  JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_class AS p ON p.oid = i.inhparent JOIN pg_catalog.pg_namespace AS pn ON pn.oid = p.relnamespace
 WHERE (pn.nspname::text, p.relname::text) IN (
       SELECT (%s::text[])[g], (%s::text[])[g] FROM pg_catalog.generate_subscripts(%s::text[], 1) AS g)
 ORDER BY 1, 2
"""


def survey(run: str, plan: Plan, source: Endpoint, target: Endpoint) -> Preview:
    """Raises what keeps us from looking (no connection, no password); everything else is a finding."""
    merges = is_merge(plan)
    with scene.glimpsed(run, plan, source, target) as (here, there):
        blank = Preview(
            source=source.display,
            target=target.display,
            versions=(here.server.version, there.server.version),
            workers=plan.options.workers,
            settings=_settings(here, there, plan),
        )
        looked = merge_survey.looked if merges else _looked
        try:
            return looked(run, plan, here, there, blank)
        except TransientError:
            raise
        except PghaulError as exc:
            return replace(blank, findings=(of_error(exc, say("selection")),))


def _looked(run: str, plan: Plan, here: Session, there: Session, blank: Preview) -> Preview:
    selected, tables, conditions = scene.selection(here, plan)
    unreadable = list(reading_findings(here, selected))
    placements = mapping.place(plan, tables, conditions)
    if not unreadable:
        mapping.check_conditions(here, plan, tables)
    mapped = layout.lay_out(here, plan, placements, tables)
    stage = Stage(run=run, plan=plan, source=here, target=there, tables=tables, mapped=mapped)
    verdict = checks.examine(stage, lambda _name, _rows: OnExisting.ASK, exact=True)
    outlooks = tuple(_outlooks(stage, verdict))
    gone = tuple(vanished(there, mapped.shapes))
    return replace(
        blank,
        tables=outlooks,
        creates=verdict.creates,
        space=verdict.space,
        not_carried=(
            *not_carried(here, selected, whole=plan.whole),
            *verdict.scope.left,
            *skipped(verdict.fate.dispositions),
            *remake.left_behind(here, there, mapped.designs, tables),
        ),
        vanished=gone,
        findings=(
            *unreadable,
            *verdict.findings,
            *tree_notes(here, plan, tables, conditions),
            *questions(outlooks),
            *_left_there(gone),
        ),
    )


def _outlooks(stage: Stage, verdict: Verdict) -> Iterator[Outlook]:
    chunks = Counter(c.table for c in verdict.chunks)
    share = shares(stage.mapped.placements)
    for placement in stage.mapped.placements:
        name = placement.target
        origins = [stage.tables[o.table] for o in placement.origins]
        found = verdict.there.get(name)
        yield Outlook(
            table=name,
            source=placement.source,
            disposition=verdict.fate.dispositions[name],
            chunks=chunks[name],
            bytes=sum(t.bytes // share[t.name] for t in origins),
            rows=_sum(None if t.rows is None else t.rows // share[t.name] for t in origins),
            there_bytes=found.bytes if found else 0,
            there_rows=found.rows if found else None,
        )


def _sum(numbers: Iterable[int | None]) -> int | None:
    found = list(numbers)
    return None if None in found else sum(n or 0 for n in found)


def questions(outlooks: Iterable[Outlook]) -> Iterator[Finding]:
    for outlook in outlooks:
        if outlook.disposition == OnExisting.ASK.value:
            rows = say("some") if outlook.there_rows is None else say("about {n:,}", n=outlook.there_rows)
            yield Finding(
                severity=Severity.WARNING,
                kind=Kind.ROWS_PRESENT,
                object=str(outlook.table),
                what=say(
                    "{table} holds {rows} rows on the target: the run will ask what shall become of them",
                    table=str(outlook.table),
                    rows=rows,
                ),
                where=say("target"),
                advice=say("say it beforehand with --on-existing, where nobody sits at the terminal"),
                code=5432,
            )


def vanished(target: Session, shapes: Mapping[Name, Table]) -> list[Name]:
    """Children of the selected parents on the target that the source does not have: left alone."""
    parents = [n for n, t in shapes.items() if t.has_children or t.kind is RelationKind.PARTITIONED]
    if not parents:
        return []
    names = [n.name for n in parents]
    rows = target.rows(CHILDREN, ([n.schema for n in parents], names, names))
    return [n for s, r in rows if (n := Name(s, r)) not in shapes]


def _left_there(gone: Iterable[Name]) -> Iterator[Finding]:
    for name in gone:
        yield Finding(
            severity=Severity.NOTE,
            kind=Kind.BOUNDS,
            object=str(name),
            what=say("{table} is on the target and not in the selection: it is left as it is", table=str(name)),
            where=say("target"),
            advice=say("drop it yourself, if it went from the source for good"),
            code=1234,
        )


def skipped(dispositions: Mapping[Name, str]) -> Iterator[Unsupported]:
    """Tables that are left alone, as what is not carried."""
    for name, disposition in dispositions.items():
        if disposition == "skip":
            yield Unsupported(kind="TABLE", name=str(name), why=say("it has rows on the target: on_existing = skip"))


def _settings(here: Session, there: Session, plan: Plan) -> dict[str, dict[str, str]]:
    """As the sessions that copy set them."""
    lock = plan.options.lock_timeout
    ours, theirs = here.server.capabilities, there.server.capabilities
    return {
        "source": dict(settings(ours, "source", lock_timeout=lock)),
        "target": dict([*settings(theirs, "target", lock_timeout=lock), *scene.for_loading(theirs)]),
    }


def forecast(preview: Preview, past: Mapping[Name, PastRate]) -> Forecast | None:
    """From what these tables took before, over all workers; of new ones by a sample, or by the bytes of the others."""
    work = [t for t in preview.tables if t.chunks]
    known = [(t, past[t.table]) for t in work if t.table in past and past[t.table].seconds > 0]
    taken = [(t, rate.seconds * _growth(t, rate)) for t, rate in known]
    seconds, size = sum(s for _, s in taken), sum(t.bytes for t, _ in taken)
    others = [t for t in work if t.table not in past]
    reckoned = [(t, t.seconds) for t in others if t.seconds is not None]
    if not taken and not reckoned:
        return None
    if size:
        seconds += sum(t.bytes for t in others if t.seconds is None) * seconds / size
    sampled = sum(s for _, s in reckoned)
    longest = max(s / max(1, t.chunks) for t, s in (*taken, *reckoned))
    together = seconds / preview.workers + sampled / min(preview.workers, max(1, os.cpu_count() or 1))
    return Forecast(
        seconds=max(longest, together),
        known=len(known),
        tables=len(work),
        basis="runs" if not reckoned else "runs and sample" if known else "sample",
    )


def _growth(outlook: Outlook, rate: PastRate) -> float:
    return outlook.rows / rate.rows if outlook.rows and rate.rows else 1.0
