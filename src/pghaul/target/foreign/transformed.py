"""What the plan's transforms make of a table's columns: other names, other types, columns that the source lacks.

The same words say it to the workers (model/transforming.py); here it becomes names and types of the target.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.foreign import ForeignColumn
from pghaul.model.mapped import MappedColumn
from pghaul.model.masking_key import mark_of
from pghaul.model.text import Text, say
from pghaul.model.transforming import Transform, changes, new_columns, new_name, new_type
from pghaul.target.foreign import types
from pghaul.target.foreign.naming import Naming
from pghaul.target.foreign.outcome import Outcome


def named(column: MappedColumn, transforms: Sequence[Transform]) -> MappedColumn:
    """Under the name that a transform gives it."""
    return replace(column, name=new_name(transforms, column.source.name) or column.name)


def typed(column: MappedColumn, transforms: Sequence[Transform], table: str, outcome: Outcome) -> MappedColumn:
    """As its values are behind the transforms; what was made for the old ones goes."""
    name = column.source.name
    if not changes(transforms, name):
        return column
    label = f"{table}.{column.name}"
    column = replace(
        column, changed=True, mark=mark_of(transforms, name), read_as="text" if column.enum else column.type
    )
    if column.generated is not None:
        column = replace(column, generated=None)
    outcome.findings += _nothing_left(column, transforms, label)
    said = new_type(transforms, name, column.type)
    if said is None:
        return column
    if column.default is not None or column.identity:
        outcome.findings.append(_lost(label))
    return replace(column, type=_known(said, label, outcome), default=None, identity=False, enum=None)


def added(columns: Sequence[MappedColumn], table: str, transforms: Sequence[Transform], known: Sequence[str],
          naming: Naming, outcome: Outcome) -> Iterator[MappedColumn]:  # fmt: skip
    """Those that a transform makes, behind the others."""
    taken = {c.source.name for c in columns}
    for name, type_ in new_columns(transforms, known).items():
        label = f"{table}.{naming.column(name)}"
        if type_ is None:
            outcome.findings.append(_untyped(label, name))
        if name not in taken:
            made = _known(type_ or "text", label, outcome)
            yield MappedColumn(
                source=ForeignColumn(name=name, native="", pg_type=made),
                name=new_name(transforms, name) or naming.column(name),
                type=made,
                changed=True,
                made=True,
                mark=mark_of(transforms, name),
                read_as=made,
                note=say("made by a transform"),
            )


def _known(said: str, label: str, outcome: Outcome) -> str:
    type_ = outcome.placed(types.spelled(said))
    if not types.is_safe(type_):
        outcome.findings.append(_no_type(label, type_, say("that is no name of a type")))
        return "text"
    if why := outcome.why(f"type:{type_}"):
        outcome.findings.append(_no_type(label, type_, why))
        return "text"
    return type_


def _no_type(label: str, type_: str, why: str) -> Finding:
    return Finding(
        kind=Kind.TRANSFORM,
        object=label,
        what=say("a transform makes {column} a {type}: {why}", column=label, type=type_, why=why),
        advice=say("write the type as PostgreSQL does: numeric(10,2), varchar(20), public.vector(3)"),
        code=7112,
    )


def _untyped(label: str, name: str) -> Finding:
    return Finding(
        kind=Kind.TRANSFORM,
        object=label,
        what=say("the source has no column {name}, and the transform that makes it says no type", name=name),
        advice=say("say its type, or mend the name: columns are named as the source does"),
        code=7113,
    )


def _lost(label: str) -> Finding:
    return Finding(
        severity=Severity.WARNING,
        kind=Kind.TRANSFORM,
        object=label,
        what=say("{column} gets another type by a transform: its default or identity is not carried", column=label),
        advice=say("set another one on the target after the run"),
        code=7114,
    )


def _nothing_left(column: MappedColumn, transforms: Sequence[Transform], label: str) -> Iterator[Finding]:
    name = column.source.name
    gone = [t for t in transforms if name in t.names and t.kind == "redact" and t.value is None]
    if gone and column.not_null:
        yield Finding(
            kind=Kind.TRANSFORM,
            object=label,
            what=_refused(label),
            advice=say("redact it with a value, or hash it"),
            code=7115,
        )


def _refused(label: str) -> Text:
    return say("redact would make {column} NULL, which may not be NULL", column=label)
