"""Which relations a plan takes, and which of their rows: patterns, sizes, and a period resolved against bounds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pghaul.model.errors import NotFoundError
from pghaul.model.pattern import is_matched, is_named
from pghaul.model.plan import Plan, Selection
from pghaul.model.table import Name
from pghaul.model.text import joined, say, saying
from pghaul.postgres.catalog import Directory
from pghaul.postgres.moments import Span, resolve
from pghaul.postgres.sizes import heap_sizes
from pghaul.sources.period import Part, within

if TYPE_CHECKING:
    from pghaul.postgres.session import Session

EXCLUDED = saying("all that matches '{pattern}' is excluded")
WRONG_SIZE = saying("no table that matches '{pattern}' has a heap of that size")
SIZE_ADVICE = say("a partitioned table counts with all its partitions; `pghaul inspect` shows the sizes")
NOTHING_WITHIN = saying("nothing that matches '{pattern}' lies in the period {span}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A relation that is taken: all of its own rows, or those that `where` keeps."""

    table: Name
    where: str = ""


def choose(session: Session, plan: Plan) -> tuple[Chosen, ...]:
    """Everything the plan takes, parents before children. The selections' own `where` is not part of the conditions.

    Raises NotFoundError for a pattern, a size or a period that matches nothing, with what there is; PlanError for a
    period that cannot be understood or that a table has no key for.
    """
    span = _span(plan)
    directory = Directory(session)
    excluded = directory.descend(directory.matching(plan.exclude)).keys()
    taken = [(s, _taken(session, directory, s, excluded)) for s in plan.tables]
    chosen = {oid for _, oids in taken for oid in oids} | (directory.ordinary - excluded if plan.whole else set())
    names = directory.listed(chosen, directory.descend(chosen))
    if span is None or plan.period is None:
        return tuple(Chosen(table=n) for n in names)
    parts = within(session, names, plan.period, span, _keys(plan.tables))
    for selection, oids in taken:
        _refuse_nothing(selection, [parts[directory.names[o]] for o in oids], span)
    return tuple(Chosen(table=n, where=parts[n].where or "") for n in names if parts[n].where is not None)


def _span(plan: Plan) -> Span | None:
    period = plan.period
    return None if period is None or (period.since is None and period.until is None) else resolve(period)


def _taken(session: Session, directory: Directory, selection: Selection, excluded: Collection[int]) -> set[int]:
    """The oids that a selection takes: what it matches and all below, if its size fits and nothing excludes it."""
    found = directory.match(selection.name)
    left = found - set(excluded)
    if not left:
        raise NotFoundError(EXCLUDED.format(pattern=selection.name), advice=say("see --exclude"), code=5203)
    if selection.larger_than is not None or selection.smaller_than is not None:
        left = _of_size(session, directory, left, selection)
    return (directory.descend(left).keys() & directory.names.keys()) - set(excluded)


def _of_size(session: Session, directory: Directory, found: Collection[int], selection: Selection) -> set[int]:
    """The uppermost of what was found, each measured with all that is below it."""
    heaps = heap_sizes(session, directory.descend(found).keys())
    least, most = selection.larger_than, selection.smaller_than
    fits = set()
    for top in directory.tops(found):
        size = sum(heaps.get(oid, 0) for oid in directory.descend([top]))
        if (least is None or size > least) and (most is None or size < most):
            fits.add(top)
    if not fits:
        raise NotFoundError(WRONG_SIZE.format(pattern=selection.name), advice=SIZE_ADVICE, code=5204)
    return fits


def _keys(selections: Sequence[Selection]) -> Callable[[Iterable[Name]], str | None]:
    """What tells the key that was named for a relation: its own selection first, then those of its parents."""
    saying = [s for s in selections if s.key is not None]

    def key(lineage: Iterable[Name]) -> str | None:
        for name in lineage if saying else ():
            for fits in (is_named, is_matched):
                for selection in saying:
                    if fits(selection.name, name):
                        return selection.key
        return None

    return key


def _refuse_nothing(selection: Selection, parts: Sequence[Part], span: Span) -> None:
    """A selection of which the period holds nothing is a mistake, in the one or the other."""
    if any(p.holds for p in parts):
        return
    extents = sorted({p.extent for p in parts if p.extent})
    shown = joined("; ", [*extents[:5], *(["…"] if len(extents) > 5 else [])])
    raise NotFoundError(
        NOTHING_WITHIN.format(pattern=selection.name, span=span.words),
        advice=shown or say("look at the time zone and, of integers, at the unit"),
        code=5205,
    )
