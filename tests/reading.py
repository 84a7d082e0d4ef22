"""Increments of one table into a dict: the loop that a merge run makes, without its target."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pghaul.model.merging import Mark, Reading, WatermarkKind
from pghaul.model.plan import Merge
from pghaul.model.table import Name, Table
from pghaul.postgres.catalog import describe
from pghaul.postgres.dsn import resolve
from pghaul.postgres.session import Session, connect
from pghaul.sources.increments import Wanted, advance, horizon, origin, reading


def session_at(url: str) -> Session:
    """As a run opens it."""
    return connect(resolve(url), application_name="pghaul/test", role="source")


@contextmanager
def snapshot(session: Session) -> Iterator[None]:
    """What a run's snapshot is: one transaction that only reads."""
    session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    session.value("SELECT 1")
    try:
        yield
    finally:
        session.execute("ROLLBACK")


@dataclass(kw_only=True)
class Follower:
    """Rows by their first column."""

    session: Session
    table: str
    merge: Merge
    where: str | None = None
    query: str | None = None
    mark: Mark | None = None
    rows: dict[Any, tuple[Any, ...]] = field(default_factory=dict)
    read: int = 0
    last: Reading | None = None

    def described(self) -> Table:
        """As the catalogue has it."""
        name = Name("public", self.table)
        return describe(self.session, [name])[name]

    def step(self) -> list[tuple[Any, ...]]:
        """One increment: what was read."""
        table = self.described()
        said = {"where": self.where, "query": self.query}
        wanted = Wanted(table=table, merge=self.merge, first=self.mark is None, **said)
        look = horizon(self.session, [wanted])
        with snapshot(self.session):
            plan = reading(self.session, table, self.merge, self.mark, look, **said)
            found = parsed(self.session.copy_out(f"COPY ({plan.query}) TO STDOUT"))
            seen = self.seen(plan)
        assert plan.origin == origin(self.session, table, self.merge, **said)
        for row in found:
            self.rows[row[0]] = row
        self.read += len(found)
        self.last, self.mark = plan, advance(plan, look, seen)
        return found

    def seen(self, plan: Reading) -> str | None:
        """What seen_sql() says of the staging table: here of the rows that the query reads, by the source itself."""
        if plan.kind in {WatermarkKind.NONE, WatermarkKind.XMIN}:
            return None
        from pghaul.sources.increments import seen_sql  # noqa: PLC0415

        staged = seen_sql(Name("public", "staged"), plan).as_string(None)
        seen: str | None = self.session.value(
            f"WITH staged AS ({plan.query}) " + staged.replace('"public"."staged"', "staged")
        )
        return seen


def parsed(text: bytes) -> list[tuple[Any, ...]]:
    """COPY's text, of values without backslashes; the first column is a number."""
    lines = [line.split("\t") for line in text.decode().splitlines()]
    return [(int(first), *rest) for first, *rest in lines]


def everything(url: str, table: str) -> dict[Any, tuple[Any, ...]]:
    """What is there, by the first column."""
    with session_at(url) as session:
        return {row[0]: row for row in parsed(session.copy_out(f"COPY (SELECT * FROM {table}) TO STDOUT"))}
