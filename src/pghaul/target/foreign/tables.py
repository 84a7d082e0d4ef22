"""One table of the source as a table of the target: its columns, their names, types, defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.foreign import ForeignColumn, ForeignTable
from pghaul.model.mapped import MappedColumn, MappedTable
from pghaul.model.plan import Plan
from pghaul.model.table import Name, shortened
from pghaul.model.text import joined, listed, say
from pghaul.model.transforming import Transform
from pghaul.target.foreign import defaults, enums, transformed, translate, types
from pghaul.target.foreign.grammar import NotTranslatedError, Purpose
from pghaul.target.foreign.naming import Naming
from pghaul.target.foreign.outcome import Outcome, refusal
from pghaul.target.foreign.selection import said
from pghaul.target.foreign.translate import Dialect

TOO_OLD = say("the target is older than generated columns, which came with PostgreSQL 12")


def map_table(table: ForeignTable, naming: Naming, plan: Plan, dialect: str, outcome: Outcome) -> MappedTable:
    """Its columns under their new names."""
    wanted = said(plan, table.name, "columns")
    own: Mapping[str, str] = said(plan, table.name, "types") or {}
    encodings: Mapping[str, str] = said(plan, table.name, "encodings") or {}
    steps: Sequence[Transform] = said(plan, table.name, "transform") or ()
    outcome.findings += _unknown(table, {*(wanted or ()), *own, *encodings})
    name = naming.table(table.name)
    columns = []
    for column in table.columns:
        if wanted is None or column.name in wanted:
            typed = _typed(column, name, naming, types.decide(column, own, plan.mapping.types), outcome)
            typed = transformed.named(typed, steps)
            encoding = encodings.get(column.name, plan.mapping.encoding)
            columns.append(replace(typed, encoding=encoding if types.base(typed.type) in types.TEXTS else None))
    known = Dialect(name=dialect, columns={c.source.name: c for c in columns})
    columns = [transformed.typed(_computed(c, name, known, outcome), steps, str(name), outcome) for c in columns]
    new = transformed.added(columns, str(name), steps, [c.name for c in table.columns], naming, outcome)
    return MappedTable(source=table, name=name, columns=(*columns, *new))


def _typed(column: ForeignColumn, table: Name, naming: Naming, typed: types.Typed, outcome: Outcome) -> MappedColumn:
    name, type_, enum = naming.column(column.name), outcome.placed(typed.type), None
    type_ = outcome.known(type_) if typed.by == "source" else type_
    label = f"{table}.{name}"
    if enums.becomes_type(column, typed):
        enum = naming.type(table, name)
        type_ = enums.spelled(enum)
    elif typed.by == "nobody":
        outcome.findings.append(_nothing_known(label, column.native))
    elif not types.is_safe(type_):
        outcome.findings.append(_no_type(label, type_))
        type_ = "text"
    elif why := outcome.why(f"type:{type_}"):
        outcome.findings.append(_refused_type(label, type_, why))
        type_ = "text"
    if name != naming.ruled(column.name):
        outcome.findings.append(_cut(label, column.name, name))
    counted = column.identity and type_ in types.INTEGERS
    return MappedColumn(
        source=column,
        name=name,
        type=type_,
        not_null=column.not_null or counted,
        identity=counted and outcome.counts,
        identity_next=column.identity_next if column.identity else None,
        enum=enum,
        note=column.note,
    )


def _nothing_known(label: str, native: str) -> Finding:
    return Finding(
        severity=Severity.WARNING,
        kind=Kind.TYPE,
        object=label,
        what=say("nothing is known of the type {native}: it becomes text", native=native),
        advice=say("say another under types, in [mapping] or in the table's selection"),
        code=7035,
    )


def _cut(label: str, name: str, new: str) -> Finding:
    return Finding(
        severity=Severity.NOTE,
        kind=Kind.NAME,
        object=label,
        what=say("{name} is longer than the 63 bytes of a name: it becomes {new}", name=name, new=new),
        code=7036,
    )


def _no_type(label: str, type_: str) -> Finding:
    return Finding(
        kind=Kind.TYPE,
        object=label,
        what=say("'{type}' is no name of a type", type=type_),
        advice=say("write it as PostgreSQL does: numeric(10,2), varchar(20), public.vector(3)"),
        code=7032,
    )


def _refused_type(label: str, type_: str, why: str) -> Finding:
    return Finding(
        kind=Kind.TYPE,
        object=label,
        what=say("the target has no type {type} for {column}: {why}", type=type_, column=label, why=why),
        advice=say(
            "a type of an extension needs its schema: public.vector(3); `pghaul target prepare` makes extensions"
        ),
        code=7033,
    )


def _computed(column: MappedColumn, table: Name, dialect: Dialect, outcome: Outcome) -> MappedColumn:
    """With what the source computes or fills in, as far as PostgreSQL can."""
    if column.source.generated:
        return _generated(column, table, dialect, outcome)
    if column.identity or not column.source.default or column.source.identity:
        return column
    label, text = f"{table}.{column.name}", column.source.default
    try:
        default = defaults.translated(text, column, dialect.name)
        why = outcome.why(f"default:{label}") if default is not None else None
    except NotTranslatedError as exc:
        default, why = None, exc.args[0]
    else:
        why = refusal(why) if why else None
    if why is not None:
        outcome.leave("DEFAULT", label, why, text)
        return column
    return replace(column, default=default)


def _generated(column: MappedColumn, table: Name, dialect: Dialect, outcome: Outcome) -> MappedColumn:
    label, text = f"{table}.{column.name}", column.source.generated or ""
    others = {n: c for n, c in dialect.columns.items() if not c.source.generated}
    if not outcome.computes:
        outcome.findings.append(_now_plain(label, TOO_OLD, text))
        return column
    try:
        made = translate.expression(text, replace(dialect, columns=others), Purpose.GENERATED)
        why = outcome.why(f"generated:{label}")
    except NotTranslatedError as exc:
        made, why = "", exc.args[0]
    else:
        why = refusal(why) if why else None
    if why is None:
        return replace(column, generated=made)
    outcome.findings.append(_now_plain(label, why, text))
    return column


def _now_plain(label: str, why: str, text: str) -> Finding:
    return Finding(
        severity=Severity.WARNING,
        kind=Kind.DEFINITION,
        object=label,
        what=say(
            "{column} is computed on the source, and becomes a plain column with the values it has now ({why}): {text}",
            column=label,
            why=why,
            text=shortened(text),
        ),
        advice=say("compute it on the target by a trigger or a view, or in the application"),
        code=7037,
    )


def _unknown(table: ForeignTable, named: Iterable[str]) -> list[Finding]:
    """A column that the plan names and the table does not have is a slip, never a wish."""
    known = {c.name.lower() for c in table.columns}
    return [
        Finding(
            kind=Kind.NAME,
            object=str(table.name),
            what=say("{table} has no column {column}, which the plan names", table=str(table.name), column=name),
            advice=say("its columns are {columns}", columns=joined(", ", [listed(c.name for c in table.columns)])),
            code=7031,
        )
        for name in sorted(named)
        if name.lower() not in known
    ]
