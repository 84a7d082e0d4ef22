"""Foreign keys of a mapped database: made without a look at the rows, checked when all of them are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pghaul.model.foreign import ForeignReference
from pghaul.model.mapped import Made, MappedTable
from pghaul.model.table import Name
from pghaul.model.text import say
from pghaul.target.foreign import ddl
from pghaul.target.foreign.keys import GONE, MADE_UP, Keys
from pghaul.target.foreign.outcome import Outcome

ACTIONS = frozenset({"CASCADE", "SET NULL", "SET DEFAULT", "RESTRICT"})  # NO ACTION need not be said
KIND = "FOREIGN KEY"


def make(keys: Sequence[Keys], outcome: Outcome) -> list[Made]:
    """All of them NOT VALID, and then what checks them."""
    known = {k.table.source.name: k for k in keys}
    made, checks = [], []
    for key in keys:
        for reference in key.table.source.references:
            for one, check in _made(key, reference, known, outcome):
                made.append(one)
                checks.append(check)
    return made + checks


def _made(
    key: Keys, reference: ForeignReference, known: Mapping[Name, Keys], outcome: Outcome
) -> list[tuple[Made, Made]]:
    words = _words(reference)
    other = _find(reference.table, known)
    label = f"{key.table.name}.{reference.name or '_'.join(reference.columns)}"
    if other is None:
        why = say("{table}, to which it refers, is not carried", table=str(reference.table).removeprefix("."))
        outcome.leave(KIND, label, why, words)
        return []
    columns = [key.table.named(c) for c in reference.columns]
    referenced = [_named(other.table, c) for c in reference.referenced]
    if None in columns or None in referenced:
        outcome.leave(KIND, label, GONE, words)
        return []
    if not any(sorted(u) == sorted(r for r in referenced if r) for u in other.unique):
        why = say("{table} has no unique key of these columns", table=str(other.table.name))
        outcome.leave(KIND, label, why, words)
        return []
    name = "" if MADE_UP.fullmatch(reference.name) else reference.name
    given = key.constraint(name, "_".join([*(c for c in columns if c), "fkey"]))
    one, check = ddl.reference(
        key.table.name,
        given,
        [c for c in columns if c],
        other.table.name,
        [r for r in referenced if r],
        _actions(reference),
        words,
    )
    return [(m, check) for m in outcome.accept(one, KIND)]


def _find(name: Name, known: Mapping[Name, Keys]) -> Keys | None:
    """By its very name, else by one that differs in case only, as SQLite and SQL Server take it."""
    if name in known:
        return known[name]
    same = [
        k for n, k in known.items() if (n.schema.lower(), n.name.lower()) == (name.schema.lower(), name.name.lower())
    ]
    return same[0] if len(same) == 1 else None


def _named(table: MappedTable, column: str) -> str | None:
    found = table.named(column)
    return found or next((c.name for c in table.columns if c.source.name.lower() == column.lower()), None)


def _actions(reference: ForeignReference) -> str:
    update, delete = reference.on_update.upper(), reference.on_delete.upper()
    words = f" ON UPDATE {update}" if update in ACTIONS else ""
    return words + (f" ON DELETE {delete}" if delete in ACTIONS else "")


def _words(reference: ForeignReference) -> str:
    names = (", ".join(reference.columns), str(reference.table).removeprefix("."), ", ".join(reference.referenced))
    return "FOREIGN KEY ({}) REFERENCES {} ({})".format(*names) + _actions(reference)
