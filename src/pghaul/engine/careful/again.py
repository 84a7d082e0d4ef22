"""How a job is done again after the target has refused one of its rows."""

from __future__ import annotations

from dataclasses import replace

import asyncpg

from pghaul.engine.careful.refusal import line_of
from pghaul.engine.job import Care, CopySide, Job, JobKind

# Which row is one too many hangs on those that are there.
AMONG_OTHERS = frozenset({"23505", "23P01"})


def carefully(job: Job, first: asyncpg.PostgresError) -> Job | None:
    """The same, row by row: as text, where a row is a line, and without FREEZE, which bears no savepoint.

    None for a batch of many tables: those are tried one by one then.
    """
    if job.care is None or not job.kind.loads:
        return None
    care = replace(job.care, skip=_known_to_be_taken(job, job.care, first))
    return replace(job, source=_text(job.source), target=_text(job.target), freeze=False, careful=True, care=care)


def _text(side: CopySide | None) -> CopySide | None:
    return replace(side, format="text") if side else None


def _known_to_be_taken(job: Job, care: Care, first: asyncpg.PostgresError) -> int:
    """Where nothing will be loaded, only rows at fault are of interest: lines before the first one are not tried."""
    if not care.only_looking or job.kind is not JobKind.COPY or job.target is None or first.sqlstate in AMONG_OTHERS:
        return 0
    return max(0, (line_of(first, job.target.table) or 1) - 1)
