"""What is done for tables when all of their rows, keys and references are there: VACUUM, by all workers at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from pghaul.engine import statements
from pghaul.engine.arrow import compose
from pghaul.engine.arrow.compose import Loading
from pghaul.engine.batching import SMALL
from pghaul.engine.compose import Epoch
from pghaul.engine.dispatch import Task
from pghaul.engine.job import JobKind, Statement
from pghaul.engine.vacuum import CHUNK
from pghaul.model.plan import Plan
from pghaul.model.receipt import Receipt
from pghaul.model.table import Name

TOGETHER = 32  # small tables in one job


def tasks(
    plan: Plan, loadings: Iterable[Loading], epoch: Epoch, done: Mapping[Name, Mapping[str, Receipt]]
) -> list[Task]:
    """Of tables that no earlier attempt has cared for."""
    if not plan.mapping.vacuum:
        return []
    left = [ld for ld in loadings if CHUNK not in done.get(ld.name, {})]
    return [_task(some, epoch, analyze=plan.options.analyze) for some in _groups(left)]


def _groups(loadings: list[Loading]) -> Iterator[list[Loading]]:
    """A large table by itself; small ones together where their markers lie in one table of the ledger."""
    small: dict[bool, list[Loading]] = {False: [], True: []}
    for loading in loadings:
        if loading.table.source.bytes > SMALL:
            yield [loading]
        else:
            small[loading.there.unlogged].append(loading)
    for some in small.values():
        yield from (some[at : at + TOGETHER] for at in range(0, len(some), TOGETHER))


def _task(loadings: list[Loading], epoch: Epoch, *, analyze: bool) -> Task:
    first = loadings[0]
    job = compose.job_of(first, epoch, JobKind.VACUUM, CHUNK)
    words = [Statement(name=str(ld.name), sql=statements.vacuum(ld.name, analyze=analyze)) for ld in loadings]
    return Task(
        job=replace(job, statements=tuple(words)),
        table=first.name,
        size=sum(ld.table.source.bytes for ld in loadings),
    )
