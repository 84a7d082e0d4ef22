"""What a target says of a row that it refuses: at which line, of which column, in which words.

Of the context of an error only digits and names of ours are taken: servers speak their languages. What is `COPY t,
line 3, column a: "x"` here is `COPY t, 3번째 줄, a 열: "x"` elsewhere. Hardly anything hangs on it but time: a line is
set aside only when it has been refused by itself, or when it alone can be meant.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import asyncpg

from pghaul.engine.relay import Buffer, Write
from pghaul.model.errors import PghaulError
from pghaul.model.redaction import redacted
from pghaul.postgres.sqlstate import refuses_rows

LONGEST = 4000  # characters of a server's words that are kept: some quote the whole row


BY_ITSELF = frozenset({"23502", "23514"})  # NULL, CHECK and the bounds of a partition
OF_BYTES = frozenset({"22021", "22P05"})  # servers convert bytes in portions: which line that is, is left to trying


class RefusedError(Exception):
    """The target has refused rows of a chunk. No error of ours: whoever catches it decides what becomes of them."""

    def __init__(self, error: asyncpg.PostgresError, ours: PghaulError | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.ours = ours  # where more can be said than the server does


def refused(exc: BaseException) -> bool:
    """Is it about rows, so that others may be taken?"""
    return isinstance(exc, asyncpg.PostgresError) and refuses_rows(exc.sqlstate)


def line_of(error: asyncpg.PostgresError, relation: str) -> int | None:
    """The number behind the relation's name, where COPY's own context says one."""
    found = _place(error, relation)
    return int(found["line"]) if found else None


def is_certain(error: asyncpg.PostgresError, relation: str) -> bool:
    """Does the named line alone decide, whatever rows there are, and is COPY's context the innermost?

    Then no data comes before the number, and nothing that a function of somebody says.
    """
    state = str(error.sqlstate)
    alone = state in BY_ITSELF or (state.startswith("22") and state not in OF_BYTES)
    found = _place(error, relation)
    return alone and found is not None and found.start() == 0


def column_of(error: asyncpg.PostgresError, relation: str, columns: Sequence[str]) -> str | None:
    """The column that the server names, or that its context names before it quotes a value."""
    if error.column_name:
        return str(error.column_name)
    found = _place(error, relation)
    said = found["said"] if found else ""
    for name in sorted(columns, key=len, reverse=True):
        if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", said):
            return name
    return None


def _place(error: asyncpg.PostgresError, relation: str) -> re.Match[str] | None:
    """Of a trigger's context only the last line is COPY's; it may go on over several, with a value in it."""
    pattern = rf"^\W?COPY {re.escape(relation)}\D{{1,24}}(?P<line>\d{{1,18}})(?P<said>[^:：\n]*)"
    return re.search(pattern, error.context or "", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One row, and why the target refuses it. `line` is COPY's text of it, without the newline."""

    line: bytes
    number: int  # among the rows that the job has read, from 1
    sqlstate: str
    message: str
    column: str | None
    constraint: str | None

    @classmethod
    def of(
        cls, line: bytes, number: int, error: asyncpg.PostgresError, relation: str, columns: Sequence[str]
    ) -> Refusal:
        """From what asyncpg has raised for this row alone."""
        said = "; ".join(str(part) for part in (error.message, error.detail) if part)
        return cls(
            line=line,
            number=number,
            sqlstate=str(error.sqlstate),
            message=redacted(said)[:LONGEST],
            column=column_of(error, relation, columns),
            constraint=error.constraint_name or None,
        )


def refusing(write: Write) -> Write:
    """The same; what the target refuses is told apart from what either server cannot do."""

    async def told(stream: AsyncIterator[Buffer]) -> str:
        try:
            return await write(stream)
        except asyncpg.PostgresError as exc:
            if refused(exc):
                raise RefusedError(exc) from exc
            raise

    return told
