"""Everything decided about each table that is filled, before its jobs are made."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pghaul.engine.arrow import compose
from pghaul.engine.arrow.compose import Loading
from pghaul.engine.compose import chunks_by_table
from pghaul.model.chunk import Chunk
from pghaul.model.mapped import Made, MappedDatabase
from pghaul.model.plan import Plan, Verify
from pghaul.model.table import Name, Table
from pghaul.target.foreign.selection import said, selection_of


def loadings(
    plan: Plan,
    mapped: MappedDatabase,
    there: Mapping[Name, Table],
    chunks: Sequence[Chunk],
    dispositions: Mapping[Name, str],
    *,
    noisy: Collection[Name] = (),
) -> list[Loading]:
    """`there` are the target's tables as they are now; `noisy` those whose triggers have to be kept quiet."""
    parts = chunks_by_table(chunks)
    builds = _builds(plan, mapped)
    return [
        Loading(
            table=t,
            there=there[t.name],
            chunks=parts[t.name],
            disposition=dispositions[t.name],
            builds=tuple(builds.get(t.name, ())) if dispositions[t.name] == "created" else (),
            verify=plan.options.verify is Verify.CHECKSUM,
            analyze=plan.options.analyze and not plan.mapping.vacuum,
            replica_role=t.name in noisy,
            mapping=plan.mapping,
            selection=selection_of(plan, t.source.name),
            transforms=tuple(said(plan, t.source.name, "transform") or ()),
            where=said(plan, t.source.name, "where"),
            max_rejects=plan.options.max_rejects,
            memory_limit=plan.options.memory_limit,
        )
        for t in mapped.tables
        if t.name in parts and t.name in there and dispositions[t.name] != "skip"
    ]


def _builds(plan: Plan, mapped: MappedDatabase) -> Mapping[Name, Sequence[Made]]:
    """By table. One that was there keeps the indexes that it has."""
    found: dict[Name, list[Made]] = {}
    for made in mapped.after if plan.options.indexes else ():
        if made.table is not None and made.kind in compose.OF_A_TABLE:
            found.setdefault(made.table, []).append(made)
    return found
