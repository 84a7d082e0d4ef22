"""What is decided for rows that the target may refuse: how many, and by which key a person finds them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pghaul.engine.job import MEMORY, Care
from pghaul.model.rejects import allowance

if TYPE_CHECKING:
    from pghaul.engine.arrow.compose import Loading


def care_of(loading: Loading, before: int) -> Care:
    """For the jobs of a table, of which so many rows are set aside already."""
    names = tuple(c.name for c in loading.table.carried)
    return Care(
        limit=str(loading.max_rejects),
        most=_most(loading, before),
        whole=not loading.split,
        memory=loading.memory_limit or MEMORY,
        columns=names,
        key=_key(loading, names),
    )


def _most(loading: Loading, before: int) -> int | None:
    if isinstance(loading.max_rejects, int):
        return max(0, loading.max_rejects - before)
    source = loading.table.source
    return allowance(loading.max_rejects, source.rows) if source.exact_rows and source.rows is not None else None


def _key(loading: Loading, names: tuple[str, ...]) -> tuple[int, ...]:
    """Places of the source's primary key; none where not all of it is carried."""
    primary = loading.table.source.primary
    carried = {c.source.name: c.name for c in loading.table.carried}
    if primary is None or not set(primary.columns) <= set(carried):
        return ()
    return tuple(names.index(carried[name]) for name in primary.columns)
