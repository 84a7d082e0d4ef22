"""The rows of one job that are set aside: counted, written to the quarantine, and the first of them kept in words."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import asyncpg

from pghaul.engine.careful.refusal import Refusal, RefusedError
from pghaul.engine.careful.savepoint import BACK, FRESH
from pghaul.engine.hands import Hands
from pghaul.engine.job import Care, Job
from pghaul.model import copy_text
from pghaul.model.errors import PghaulError, QuarantineError, RowError
from pghaul.model.rejects import allowance
from pghaul.model.text import Text, joined, say
from pghaul.postgres.sqlstate import translate
from pghaul.target import load
from pghaul.target.load import SetAside

FIRST = 5  # rows that are named
LOOKING = 10.0  # seconds for naming more of them than the first, where the job fails for it anyway
TOGETHER = 200  # rows that are written at once …
PART = 16  # … or this part of the memory
MOST_KEYS = 100_000  # that are remembered for the proof
SHORT = 300  # characters of a server's words among others


ALLOW = say("or let such rows be set aside: --max-rejects")
MEND = say("mend them on the source, leave them out with --where, or let them be set aside: --max-rejects")


class LookedError(Exception):
    """Where none may be set aside: the first rows have been found, or it takes too long."""

    def __init__(self, reasons: list[Text]) -> None:
        super().__init__()
        self.reasons = reasons


class Aside:
    """Of one job, within its transaction."""

    def __init__(self, job: Job, care: Care, hands: Hands) -> None:
        self._job = job
        self._care = care
        self._hands = hands
        self._until = time.monotonic() + LOOKING
        self._encoding = (job.target.encoding if job.target else None) or "UTF8"
        self._pending: list[SetAside] = []
        self._size = 0  # bytes of them
        self.hash_by_key = care.hash_by_key
        self.count = 0
        self.keys: list[tuple[str | None, ...]] | None = [] if care.key else None  # None: not all of them are known
        self.reasons: list[Text] = []

    def check(self) -> None:
        """Raise LookedError when there is nothing more to find out."""
        if self._care.only_looking and (self.count >= FIRST or time.monotonic() > self._until):
            raise LookedError(self.reasons)

    def add(self, refusal: Refusal) -> None:
        """One more. Raises QuarantineError where it is one too many, LookedError when enough are known."""
        self.count += 1
        refusal = replace(refusal, message=self._told(refusal.message))
        key = self._key(refusal.line)
        self._remember(key)
        if len(self.reasons) < FIRST:
            self.reasons.append(self._words(refusal, key))
        self.check()
        if self._care.only_looking:
            return
        self._refuse_more_than(self._care.most)
        self._keep(refusal, key)

    def _told(self, words: str) -> str:
        """A staging table is our own affair: what a person knows is the table that its rows are for."""
        name = self._job.target.table if self._job.target else ""
        return words.replace(name, self._job.relation) if name.startswith(f"stage_{self._job.run}_") else words

    def _remember(self, key: tuple[str | None, ...] | None) -> None:
        if key is None or self.count > MOST_KEYS:
            self.keys = None
        elif self.keys is not None:
            self.keys.append(key)

    def conclude(self, rows: int) -> None:
        """All is read. Raises QuarantineError for a greater share than was asked for, LookedError."""
        if self._care.only_looking:
            raise LookedError(self.reasons)
        if self._care.whole and self._care.limit.endswith("%"):
            self._refuse_more_than(allowance(self._care.limit, rows))

    def _refuse_more_than(self, most: int | None) -> None:
        if most is not None and self.count > most:
            raise QuarantineError(
                say(
                    "the target refuses more rows of {table} than may be set aside ({limit}); the first: {rows}",
                    table=self._job.relation,
                    limit=self._care.limit,
                    rows=joined(" | ", self.reasons),
                ),
                where=f"{self._job.relation} {self._job.chunk}",
                code=6801,
            )

    async def flush_many(self) -> None:
        """When so many rows wait that it is time."""
        if len(self._pending) >= TOGETHER or self._size >= self._care.memory // PART:
            await self.flush()
            await self._hands.target.execute(FRESH)

    async def flush(self) -> None:
        """Write those that wait; nothing else has happened since the savepoint."""
        pending, self._pending, self._size = self._pending, [], 0
        if not pending:
            return
        try:
            await self._write(pending)
        except asyncpg.DataError:  # a server's words that its database cannot hold
            await self._hands.target.execute(BACK)
            await self._write([replace(r, message=_plain(r.message)) for r in pending])

    async def _write(self, rows: list[SetAside]) -> None:
        await load.set_aside(self._hands.target, self._job.run, self._job.relation, self._job.chunk, rows)

    def _keep(self, refusal: Refusal, key: tuple[str | None, ...] | None) -> None:
        names = [self._care.columns[i] for i in self._care.key]
        row = SetAside(
            key=json.dumps(dict(zip(names, key, strict=True))) if key else None,  # ASCII: any encoding has it
            columns=self._care.columns,
            line=refusal.line,
            encoding=self._encoding,
            sqlstate=refusal.sqlstate,
            message=refusal.message,
            column=refusal.column,
            constraint=refusal.constraint,
        )
        self._pending.append(row)
        self._size += len(refusal.line)

    def _key(self, line: bytes) -> tuple[str | None, ...] | None:
        places = self._care.key
        if not places:
            return None
        fields = _first_fields(line, max(places) + 1)
        if len(fields) <= max(places):
            return None
        values = tuple(copy_text.decode(fields[i], self._encoding)[0] for i in places)
        return None if any(copy_text.undecoded(v) for v in values) else values

    def _words(self, refusal: Refusal, key: tuple[str | None, ...] | None) -> Text:
        names = [self._care.columns[i] for i in self._care.key]
        where = say("row {n}", n=refusal.number)
        if key:
            where = Text("{key}", {"key": ", ".join(f"{n} = {v}" for n, v in zip(names, key, strict=True))})
        message = refusal.message[:SHORT]
        if not refusal.column:
            return say("{where}: {message}", where=where, message=message)
        return say("{where}, column {column}: {message}", where=where, column=refusal.column, message=message)


def _plain(words: str) -> str:
    return words.encode("ascii", "backslashreplace").decode()


def _first_fields(line: bytes, most: int) -> list[bytes]:
    """No letter of any encoding has a tab in it. The rest of the line, which may be large, is not copied."""
    fields: list[bytes] = []
    start = 0
    while len(fields) < most and start <= len(line):
        end = line.find(b"\t", start)
        end = len(line) if end < 0 else end
        fields.append(line[start:end])
        start = end + 1
    return fields


def row_error(first: RefusedError, reasons: list[Text], where: str) -> PghaulError:
    """None may be set aside: what the target said of the first row, and which others it refuses."""
    error = first.ours or translate(first.error, where=where)
    reasons = [r for r in reasons if str(r) not in str(error.message)]
    if not reasons:
        return error
    special = error.advice != RowError.counsel
    return RowError(
        say("{message}; refused rows: {rows}", message=error.message, rows=joined(" | ", reasons)),
        where=error.where,
        advice=joined("; ", [error.advice, ALLOW] if special else [MEND]),
        sqlstate=error.sqlstate,
        code=3001,
    )
