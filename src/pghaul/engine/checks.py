"""All looks before the first row, in one place: `run` refuses at their errors, `plan` shows everything they found."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from pghaul.engine import (
    care,
    cares,
    characters,
    collations,
    duplicates,
    older_target,
    onto_itself,
    parameters,
    permits,
    preflight,
    recipes,
    remake,
    requirements,
    schema,
    space,
)
from pghaul.engine.mapping import Mapped
from pghaul.engine.parameters import Load
from pghaul.model.chunk import Chunk
from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.placement import Placement
from pghaul.model.plan import Plan
from pghaul.model.preview import Space
from pghaul.model.table import Name, Table
from pghaul.model.text import say
from pghaul.postgres.catalog import describe
from pghaul.postgres.session import Session
from pghaul.postgres.versions import Capabilities
from pghaul.sources.postgresql import plan_chunks
from pghaul.target import large_objects
from pghaul.target.scope import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What is looked at: both servers, and the selected tables as the source describes them."""

    run: str
    plan: Plan
    source: Session
    target: Session
    tables: Mapping[Name, Table]
    mapped: Mapped


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`there` are the target's relations that are there already, by name."""

    fate: preflight.Fate
    there: Mapping[Name, Table]
    chunks: tuple[Chunk, ...]
    scope: Scope
    creates: Mapping[str, list[str]]
    space: Space
    findings: tuple[Finding, ...]


def examine(stage: Stage, ask: preflight.Ask | None, *, exact: bool = False) -> Verdict:
    """Reads only. In the order in which a person would want to know.

    `exact`: sizes are measured even where a glance says that there is room enough.
    """
    plan, source, target, mapped = stage.plan, stage.source, stage.target, stage.mapped
    there = describe(target, list(mapped.shapes))
    found = [*onto_itself.findings(source, target, mapped.placements)]
    strange = characters.findings(source, target, mapped.placements, dict(stage.tables), plan.options.source_encoding)
    found += cares.softened(strange, plan.options.max_rejects)
    chosen = recipes.chosen_for(plan, stage.tables, mapped)
    choices = recipes.choices(plan, stage.tables, mapped, chosen)
    fate, against = preflight.examine(plan, mapped.shapes, there, target, ask, choices.__getitem__, chosen)
    found += against
    loaded = [t for n, t in there.items() if fate.dispositions[n] != "skip"]
    set_off, loud = recipes.set_off(target, [t.name for t in loaded], chosen)
    found += [*loud, *permits.loud_triggers(target, sorted(permits.noisy(loaded) | set_off))]
    found += recipes.encoding_findings(source.server, plan, chosen.values())
    found += requirements.ledger_findings(target, stage.run, list(mapped.shapes))
    found += permits.may_create(target, fate.missing)
    found += remake.findings(mapped, there, target)
    found += _emptied_for_a_part(mapped, fate)
    scope = schema.survey(source, target, plan, mapped, stage.tables, {t.name for t in fate.missing})
    found += older_target.findings(source, target, [t for t in fate.missing if t.name in scope.created])
    if plan.whole:
        found += large_objects.findings(source, target, plan.options.on_existing)
    against, unasked = schema.roles_of(source, target, plan, scope)
    found += against
    scope = replace(scope, left=(*scope.left, *unasked))
    needed = requirements.examine(source, target, scope, fate.missing, indexes=plan.options.indexes)
    chunks = chunks_of(mapped.placements, stage.tables, fate, plan.options.split_bytes, source.server.capabilities)
    room = space.measure(
        source, target, mapped.placements, stage.tables, fate.dispositions, said=plan.options.target_free, exact=exact
    )
    load = Load(plan=plan, read=len(stage.tables), created=len(fate.missing), chunks=chunks)
    found += [
        *needed.findings,
        *(duplicates.findings(plan.options, fate.missing) if plan.options.indexes else ()),
        *collations.findings(source, target, fate.missing),
        *space.findings(room),
        *parameters.findings(source, target, load),
        *care.findings(plan, source),
    ]
    return Verdict(
        fate=fate,
        there=there,
        chunks=tuple(chunks),
        scope=scope,
        creates=remake.told(needed.creates, fate.missing, mapped.designs),
        space=room,
        findings=tuple(found),
    )


def _emptied_for_a_part(mapped: Mapped, fate: preflight.Fate) -> Iterator[Finding]:
    """A table is emptied as a whole, also where a condition or a period takes a part of its source only."""
    laid_out = {d.name for d in mapped.designs}  # a slice each: what others hold stays in others
    for placement in mapped.placements:
        emptied = fate.dispositions.get(placement.target) in {"truncate", "refresh"}
        if emptied and placement.partial and placement.target not in laid_out:
            yield Finding(
                severity=Severity.WARNING,
                kind=Kind.ROWS_PRESENT,
                object=str(placement.target),
                what=say(
                    "{target} will hold what the selection takes of {source}, and nothing else: its other rows on the "
                    "target go",
                    target=str(placement.target),
                    source=str(placement.source),
                ),
                advice=say("where they are to stay, take whole tables, or --on-existing append"),
                code=5431,
            )


def chunks_of(
    placements: Iterable[Placement],
    tables: Mapping[Name, Table],
    fate: preflight.Fate,
    split_bytes: int,
    can: Capabilities,
) -> list[Chunk]:
    """Ranges are one snapshot's own; what is appended to cannot be emptied to begin again, so it stays whole."""
    kept = [p for p in placements if fate.dispositions[p.target] != "skip"]
    whole = [p for p in kept if fate.dispositions[p.target] == "append"]
    cut = [p for p in kept if fate.dispositions[p.target] != "append"]
    return [
        *plan_chunks(cut, tables, split_bytes=split_bytes, capabilities=can),
        *plan_chunks(whole, tables, split_bytes=sys.maxsize, capabilities=can),
    ]
