"""Looks at what a target makes of designs, before anything is written: what is in the way, and what stays behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pghaul.engine.mapping import Mapped
from pghaul.model.design import Design
from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.table import Name, RelationKind, Table, Unsupported
from pghaul.model.text import say
from pghaul.postgres.session import Session
from pghaul.sources.postgresql import left_by_layout
from pghaul.target import blueprint
from pghaul.target._design_ddl import kept_checks
from pghaul.target.root_indexes import root_indexes

LOCKS_EACH = 4  # the partition, and some indexes of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What the target lacks: `tables` come by pg_dump's sections, `designs` are made otherwise."""

    tables: tuple[Name, ...]
    designs: tuple[Design, ...]


def missing(names: Iterable[Name], mapped: Mapped) -> Missing:
    """`names` are the target's."""
    wanted = set(names)
    designs = tuple(d for d in mapped.designs if d.name in wanted)
    own = {d.name for d in designs}
    return Missing(tables=tuple(n for n in mapped.shapes if n in wanted and n not in own), designs=designs)


def findings(mapped: Mapped, there: Mapping[Name, Table], target: Session) -> Iterator[Finding]:
    """Tables that are there have to fit; and what was found on the way."""
    yield from mapped.warnings
    yield from _locks(mapped, target)
    for design in mapped.designs:
        if design.bound == "DEFAULT" and not target.server.capabilities.default_partitions:
            yield Finding(
                kind=Kind.VERSION,
                object=str(design.parent),
                what=say(
                    "{table} needs a DEFAULT partition for rows that no other takes, which PostgreSQL {version} does "
                    "not have",
                    table=str(design.parent),
                    version=target.server.version,
                ),
                where=say("target"),
                advice=say("leave these rows out with `where`"),
                code=5347,
            )
        found = there.get(design.name)
        if found is not None:
            yield from _misfit(design, found)


def _locks(mapped: Mapped, target: Session) -> Iterator[Finding]:
    """A key of a partitioned table is one statement, which locks every partition with its indexes."""
    leaves = Counter(d.parent for d in mapped.designs if d.parent and d.bound)
    for root, count in leaves.items():
        if count * LOCKS_EACH > target.server.max_locks:
            yield Finding(
                severity=Severity.WARNING,
                kind=Kind.LOCKS,
                object=str(root),
                what=say(
                    "the keys of {table} lock its {count} partitions at once: about {locks} locks, and the target has "
                    "room for {room}",
                    table=str(root),
                    count=count,
                    locks=count * LOCKS_EACH,
                    room=target.server.max_locks,
                ),
                where=say("target"),
                advice=say("raise max_locks_per_transaction there, or make fewer partitions (layout = month)"),
                code=5348,
            )


def _misfit(design: Design, found: Table) -> Iterator[Finding]:
    name, parent = str(design.name), str(design.parent)
    wrong: dict[str, Any] = {
        "kind": Kind.SHAPE,
        "object": name,
        "where": say("target"),
        "advice": say("drop or rename it, or choose another name by `into`"),
    }
    if design.partitioned != (found.kind is RelationKind.PARTITIONED):
        if design.partitioned:
            yield Finding(what=say("the target's {table} is not partitioned", table=name), code=5836, **wrong)
        else:
            yield Finding(what=say("the target's {table} is partitioned", table=name), code=5837, **wrong)
    elif design.parent is not None and found.parent != design.parent:
        if design.bound:
            yield Finding(
                what=say("the target's {table} is no partition of {parent}", table=name, parent=parent),
                code=5838,
                **wrong,
            )
        else:
            yield Finding(
                what=say("the target's {table} does not inherit from {parent}", table=name, parent=parent),
                code=5839,
                **wrong,
            )


def told(creates: Mapping[str, list[str]], missing: Sequence[Table], designs: Sequence[Design]) -> dict[str, list[str]]:
    """What is created, under the names that designs give it."""
    old = {str(d.source) for d in designs}
    tables = {t for t in creates.get("table", ()) if t not in old} | {str(t.name) for t in missing}
    return {**creates, "table": sorted(tables)} if designs and tables else dict(creates)


def left_behind(
    source: Session, target: Session, designs: Sequence[Design], tables: Mapping[Name, Table]
) -> list[Unsupported]:
    """What belongs to the tables that are made anew, and does not come with them; views are told with all others."""
    if not designs:
        return []
    plans = blueprint.blueprints(source, (d.source for d in designs))
    left = list(root_indexes(source, designs, tables, target.server.capabilities).left)
    names = list(dict.fromkeys(d.source for d in designs))
    left += left_by_layout(source, names)
    for design in designs:
        if design.source in names:  # once for each source
            names.remove(design.source)
            left += _lost(design, plans[design.source])
    return left


def _lost(design: Design, given: blueprint.Blueprint) -> Iterator[Unsupported]:
    kept = {c.name for c in given.kept(design.columns)}
    for column in given.columns:
        if column.name not in kept:
            yield Unsupported(kind="COLUMN", name=f"{design.source}.{column.name}", why=say("it was not selected"))
        elif column.default and column.calls == column.sequence and column.calls and not column.only_calls:
            why = say("the default calls a sequence by its old name")
            yield Unsupported(kind="DEFAULT", name=f"{design.source}.{column.name}", why=why)
    there = {c.name for c in kept_checks(design, given)}
    for check in given.checks:
        if check.name in there or (check.bounds and check.columns == (design.bound_column,)):
            continue
        gone = sorted(set(check.columns) - kept)
        why = say("NO INHERIT has no meaning for a partitioned table")
        if gone:
            why = say("it needs the column {column}", column=gone[0])
        yield Unsupported(kind="CHECK CONSTRAINT", name=f"{design.source}.{check.name}", why=why)
    for index in design.without_indexes:
        why = say("it needs a column that was not selected")
        yield Unsupported(kind="INDEX", name=f"{design.source}.{index}", why=why)
