"""What must be there before tables are created: extensions, PostgreSQL's programs, our ledger, and no other run."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from pghaul.model.errors import PghaulError
from pghaul.model.finding import Finding, Kind, Severity, of_error
from pghaul.model.table import Name, Table
from pghaul.model.text import say
from pghaul.postgres.session import Session
from pghaul.target import closure
from pghaul.target.closure import PG_TYPE, Thing
from pghaul.target.ledger import being_loaded, check_may_install
from pghaul.target.programs import find_programs
from pghaul.target.scope import Scope

EXTENSIONS = """
SELECT e.name::text, e.default_version::text, e.installed_version::text FROM pg_catalog.pg_available_extensions AS e
UNION ALL
SELECT x.extname::text, NULL, x.extversion::text FROM pg_catalog.pg_extension AS x
"""
SOURCE_EXTENSIONS = "SELECT extname::text, extversion::text FROM pg_catalog.pg_extension"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """`creates` names what is made on the target, by kind."""

    creates: dict[str, list[str]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def examine(source: Session, target: Session, scope: Scope, missing: Sequence[Table], *, indexes: bool) -> Requirements:
    """Of what the target lacks; `missing` are its tables."""
    things = scope.things
    if not things:
        return Requirements()
    there = closure.present(target, things)
    creates: dict[str, list[str]] = {}
    for thing in things:
        told = thing.extension is None and thing.told
        if told and thing.key not in there:
            kind, name = _kind_and_name(thing)
            creates.setdefault(kind, []).append(name)
    if indexes and (found := [f"{t.name.schema}.{i.name}" for t in missing for i in t.indexes]):
        creates["index"] = found
    said, made = _extensions(source, target, things, indexes=indexes)
    if made:
        creates["extension"] = made
    return Requirements(
        creates={k: sorted(set(v)) for k, v in sorted(creates.items())}, findings=[*said, *_programs(source, target)]
    )


def _kind_and_name(thing: Thing) -> tuple[str, str]:
    if thing.name is None:
        return thing.type, thing.identity
    return thing.description.removesuffix(f" {thing.name}"), str(thing.name)


def _programs(source: Session, target: Session) -> Iterator[Finding]:
    try:
        find_programs(source.server.version_num, target_version_num=target.server.version_num, environ=os.environ)
    except PghaulError as exc:
        yield replace(of_error(exc, "pg_dump"), kind=Kind.PROGRAM)


def ledger_findings(target: Session, run: str, tables: Collection[Name]) -> Iterator[Finding]:
    """May we keep a ledger there, and does no other run work on these tables?"""
    try:
        check_may_install(target)
    except PghaulError as exc:
        yield replace(of_error(exc, "pghaul"), kind=Kind.PRIVILEGE)
    for relation, other in being_loaded(target, run, [str(n) for n in tables]):
        yield Finding(
            kind=Kind.TAKEN,
            object=relation,
            what=say("run {run} is loading {table} now", run=other, table=relation),
            where=say("target"),
            advice=say("wait for it, or stop it: pghaul stop {run}", run=other),
            code=5530,
        )


def _extensions(
    source: Session, target: Session, things: Sequence[Thing], *, indexes: bool
) -> tuple[list[Finding], list[str]]:
    """What stands against them, and which are created."""
    wanted = sorted({t.extension for t in things if t.extension})
    if not wanted:
        return [], []
    ours = dict(source.rows(SOURCE_EXTENSIONS))
    known: dict[str, tuple[str | None, str | None]] = {}
    for name, default, installed in target.rows(EXTENSIONS):
        before = known.get(name, (None, None))
        known[name] = (default or before[0], installed or before[1])
    findings, created = [], []
    for name in wanted:
        default, installed = known.get(name, (None, None))
        if default is None and installed is None:
            findings.append(_absent(name, things, indexes=indexes))
            continue
        if installed is None:
            created.append(name)
        version = installed or default
        if version != ours.get(name):
            findings.append(
                Finding(
                    severity=Severity.NOTE,
                    kind=Kind.EXTENSION,
                    object=name,
                    what=say(
                        "extension {name} is {ours} on the source and {theirs} on the target",
                        name=name,
                        ours=str(ours.get(name)),
                        theirs=str(version),
                    ),
                    code=5344,
                )
            )
    return findings, created


def _absent(name: str, things: Sequence[Thing], *, indexes: bool) -> Finding:
    """Without indexes it may be that nothing of it is needed."""
    types = [str(t.name) for t in things if t.extension == name and t.tableoid == PG_TYPE and t.name]
    extension = say("{name} (for {types})", name=name, types=", ".join(types[:3])) if types else name
    return Finding(
        severity=Severity.ERROR if indexes or types else Severity.WARNING,
        kind=Kind.EXTENSION,
        object=name,
        what=say("the selected tables need the extension {name}, which the target does not offer", name=extension),
        where=say("target"),
        advice=say("install {name} on the target's machine, or leave out the tables that use it", name=name),
        code=5345,
    )
