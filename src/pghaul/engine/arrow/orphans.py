"""Foreign keys that look at their rows once all are there; and rows that refer to nothing, treated as the plan says.

The keys have been made NOT VALID. Only where one does not hold, its rows are looked for, all of them with one query.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from pghaul.engine.arrow import making
from pghaul.engine.batching import SMALL
from pghaul.engine.compose import Epoch
from pghaul.engine.orphans import Orphans
from pghaul.engine.report import Reporter
from pghaul.model.errors import MappingError, RowError
from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.foreign import ForeignDatabase, ForeignReference
from pghaul.model.mapped import Made, MappedDatabase, MappedTable
from pghaul.model.plan import OrphanRule, Plan
from pghaul.model.table import Name
from pghaul.model.text import say
from pghaul.postgres.catalog import describe
from pghaul.postgres.session import Session
from pghaul.sources.protocol import Source
from pghaul.target import references
from pghaul.target.foreign import nulling
from pghaul.target.foreign.orphans import Search, search, searches
from pghaul.target.foreign.selection import said
from pghaul.target.ledger import Ledger
from pghaul.target.references import Reference

KEPT = frozenset({"append", "skip"})  # whose rows stay on the target


def validate(
    target: Session,
    ledger: Ledger,
    epoch: Epoch,
    plan: Plan,
    mapped: MappedDatabase,
    made: Sequence[Made],
    report: Reporter,
) -> list[str]:
    """Let every key look at its rows; the tables that differ for it. Raises what says which rows are in the way."""
    failed = _checked(target, mapped, made, report)
    if not failed:
        return []
    touched = Settling(target, ledger, epoch, plan, mapped, report).settle()
    for one in failed:
        target.execute(one.sql)
    return [str(n) for n in touched]


def _checked(target: Session, mapped: MappedDatabase, made: Sequence[Made], report: Reporter) -> list[Made]:
    """Those that do not hold. Of small tables many are checked at once, as long as all of them hold."""
    small = {t.name for t in mapped.tables if t.source.bytes <= SMALL}
    done: list[str] = []
    failed: list[Made] = []
    for several, same in groupby(made, key=lambda m: m.table in small):
        for some in making.together(target, list(same)):
            left = making.not_there(target, some)
            if several and _hold(target, left, report):
                done += [m.name for m in left]
                continue
            for one in left:
                if _hold(target, [one], report):
                    done.append(one.name)
                else:
                    failed.append(one)
    if done:
        report.schema("references", done)
    return failed


def _hold(target: Session, made: Sequence[Made], report: Reporter) -> bool:
    report.check_wish()
    try:
        if made:
            target.execute(making.as_one(made))
    except RowError:
        return False
    return True


class Settling:
    """Of one attempt. A row that goes may be what another refers to: all keys are looked at until nothing is found."""

    def __init__(
        self, target: Session, ledger: Ledger, epoch: Epoch, plan: Plan, mapped: MappedDatabase, report: Reporter
    ) -> None:
        self._target = target
        self._ledger = ledger
        self._epoch = epoch
        self._report = report
        self._rules = {t.name: said(plan, t.source.name, "orphans") or plan.mapping.orphans for t in mapped.tables}
        self._limit = plan.options.max_rejects

    def settle(self, keys: Sequence[Reference] = ()) -> list[Name]:
        """The tables whose rows were changed or set aside. Without keys: those that all tables have now."""
        keys = keys or [k for table in self._rules for k in references.of_table(self._target, table)]
        touched: dict[Name, None] = {}
        while True:
            found = [n for k in self._of(keys, OrphanRule.SET_NULL) for n in self._null(k)]
            for rule, limit in ((OrphanRule.QUARANTINE, "100%"), (OrphanRule.FAIL, self._limit)):
                chosen = self._of(keys, rule)
                if chosen:
                    found += self._orphans(limit).settle(chosen)
            touched |= dict.fromkeys(found)
            if not found:
                return list(touched)

    def _of(self, keys: Iterable[Reference], rule: OrphanRule) -> list[Reference]:
        return [k for k in keys if self._rules.get(k.table, OrphanRule.FAIL) is rule]

    def _orphans(self, limit: int | str) -> Orphans:
        return Orphans(self._target, self._ledger, self._epoch, limit, list(self._rules), self._report)

    def _null(self, key: Reference) -> list[Name]:
        if not references.broken(self._target, key):
            return []
        (table,) = describe(self._target, [key.table]).values()
        columns = [c.name for c in table.columns if c.name in key.columns and not c.not_null and not c.generated]
        if not columns:
            raise MappingError(
                say(
                    "rows of {table} refer to rows of {other} that are not there ({key}), and none of its columns"
                    " can be NULL",
                    table=str(key.table),
                    other=str(key.references),
                    key=key.constraint,
                ),
                where=str(key.table),
                advice=say('say `orphans = "quarantine"` for this table, or mend the rows on the source'),
                sqlstate="23503",
                code=7040,
            )
        with self._ledger.owned(self._epoch.number):
            rows = self._target.execute(nulling.update(key, columns))
        self._report.notice("SET NULL", str(key.table), say("{n} rows ({chunk})", n=rows, chunk=key.constraint))
        return [key.table]


def findings(
    source: Source, target: Session, mapped: MappedDatabase, plan: Plan, dispositions: Mapping[Name, str]
) -> Iterator[Finding]:
    """What the source itself says beforehand of the keys that there will be; NOT EXISTS, once for each.

    Where a table's rows are kept on the target, nobody can say which of the others' refer to them.
    """
    if not source.guarantees.where:
        return
    replaced = [t for t in mapped.tables if dispositions[t.name] not in KEPT]
    filled = [t for t in mapped.tables if dispositions[t.name] != "skip"]
    found = [*_there(target, mapped.database, filled, replaced, source.guarantees.moment)]
    if plan.options.indexes and any(m.kind == "reference" for m in mapped.after):
        names, parents = ({t.source.name for t in part} for part in ([t for t in filled if not t.exists], replaced))
        made = searches(mapped.database, source.guarantees.moment)
        found += [s for s in made if s.table in names and s.reference.table in parents]
    for one in found:
        key = one.reference
        asked = said(plan, one.table, "where")
        rows = source.count(one.table, f"({asked}\n) AND {one.where}" if asked else one.where)
        if rows:
            yield _orphaned(one.table, key, rows, plan)


def _there(
    target: Session,
    database: ForeignDatabase,
    filled: Sequence[MappedTable],
    replaced: Sequence[MappedTable],
    moment: str,
) -> Iterator[Search]:
    """By the keys of tables that are on the target: they are checked again after the load."""
    parents = {t.name: t for t in replaced}
    for table in filled:
        for key in references.checked_of_table(target, table.name) if table.exists else ():
            if (other := parents.get(key.references)) is None:
                continue
            columns, referenced = _sources(table, key.columns), _sources(other, key.referenced)
            meant = ForeignReference(
                name=key.constraint, columns=columns, table=other.source.name, referenced=referenced
            )
            if (found := search(database, table.source, meant, moment)) is not None:
                yield found


def _sources(table: MappedTable, columns: Sequence[str]) -> tuple[str, ...]:
    """What these columns of the target are on the source; nothing where one of them comes from elsewhere."""
    known = {c.name: c.source.name for c in table.carried}
    return tuple(known[c] for c in columns) if set(columns) <= set(known) else ()


def _orphaned(table: Name, key: ForeignReference, rows: int, plan: Plan) -> Finding:
    rule = said(plan, table, "orphans") or plan.mapping.orphans
    refused = rule is OrphanRule.FAIL and not plan.options.max_rejects
    return Finding(
        severity=Severity.ERROR if refused else Severity.WARNING,
        kind=Kind.ORPHANS,
        object=str(table),
        what=say(
            "{n} rows of {table} refer to rows of {other} that are not there: {columns}",
            n=rows,
            table=str(table),
            other=str(key.table),
            columns=", ".join(key.columns),
        ),
        where=say("source"),
        advice=say('mend them on the source, or say `orphans = "quarantine"` (or "set-null") under [mapping]'),
        code=7041,
    )
