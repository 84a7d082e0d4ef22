"""Rows that are set aside, over all chunks of a table: whether there are too many, and what the run says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from pghaul.engine.dispatch import Task
from pghaul.engine.job import JobResult
from pghaul.model.errors import QuarantineError
from pghaul.model.quarantine import SET_ASIDE
from pghaul.model.receipt import Receipt
from pghaul.model.rejects import allowance
from pghaul.model.table import Name
from pghaul.model.text import Text, joined, say


class Tells(Protocol):
    """Who is told."""

    def notice(self, kind: str, name: str, why: str, **more: object) -> None: ...


class Rejects:
    """One per attempt; counts every chunk once."""

    def __init__(self, max_rejects: int | str, tell: Tells) -> None:
        self._limit = max_rejects
        self._tell = tell
        self._chunks: dict[tuple[Name, str], tuple[int, int]] = {}  # rows read, rows set aside

    def found(self, done: Mapping[Name, Mapping[str, Receipt]]) -> None:
        """What earlier attempts have set aside."""
        for table, chunks in done.items():
            for chunk, receipt in chunks.items():
                self._chunks[table, chunk] = (receipt.rows, receipt.rejected)

    def again(self, table: Name) -> None:
        """All of the table is loaded anew."""
        self._chunks = {key: counts for key, counts in self._chunks.items() if key[0] != table}

    def finished(self, task: Task, result: JobResult) -> None:
        """A job is committed. Raises QuarantineError where the table's chunks have set aside too many together."""
        receipt = result.receipt
        if not (task.job.kind.loads or receipt.rejected):  # an index may set rows aside, too
            return
        self._chunks[task.table, task.job.chunk] = (receipt.rows, receipt.rejected)
        if receipt.rejected:
            later = {} if task.job.kind.loads else {"step": task.job.chunk, "rows": receipt.rejected}
            self._tell.notice(SET_ASIDE, str(task.table), _words(receipt, task.job.chunk, result.reasons), **later)
            if isinstance(self._limit, int):
                self._check(task.table)

    def conclude(self) -> None:
        """All is loaded. Raises QuarantineError."""
        for table in self.tables:
            self._check(table)

    @property
    def tables(self) -> list[Name]:
        """Those with rows that were set aside."""
        return list(dict.fromkeys(table for (table, _), (_, rejected) in self._chunks.items() if rejected))

    def _check(self, table: Name) -> None:
        counts = [c for (t, _), c in self._chunks.items() if t == table]
        rows, rejected = sum(r for r, _ in counts), sum(n for _, n in counts)
        if rejected <= allowance(self._limit, rows):
            return
        raise QuarantineError(
            say(
                "{n} of {rows} rows of {table} are set aside, more than there may be ({limit})",
                n=rejected,
                rows=rows,
                table=str(table),
                limit=str(self._limit),
            ),
            where=str(table),
            advice=say("look at them: pghaul quarantine list; allow more with --max-rejects, and resume the run"),
            code=6802,
        )


def _words(receipt: Receipt, chunk: str, reasons: Iterable[Text]) -> Text:
    said = list(reasons)
    if not receipt.rows:
        return say("{n} rows ({chunk})", n=receipt.rejected, chunk=chunk)
    if not said:
        return say("{n} of {rows} rows ({chunk})", n=receipt.rejected, rows=receipt.rows, chunk=chunk)
    return say(
        "{n} of {rows} rows ({chunk}); the first: {reasons}",
        n=receipt.rejected,
        rows=receipt.rows,
        chunk=chunk,
        reasons=joined(" | ", said),
    )
