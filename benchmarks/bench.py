"""What every case is given, and the one way to measure a run: from a fresh target, and checked afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from psycopg import sql

from benchmarks.measure import Command, Usage, measure
from benchmarks.result import Result
from benchmarks.servers import Pair


class WrongContentError(Exception):
    """A run that did not carry every row is no measurement."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    pair: Pair
    runs: int
    quick: bool  # a hundredth of the rows: does it work at all
    scale: float = 1.0  # of all sides alike, where a machine is too small for the case's size
    say: Callable[[str], None]

    def rows(self, full: int) -> int:
        """As many as the case wants, or few when quick."""
        return max(1440, full // 100) if self.quick else int(full * self.scale)

    def once(
        self,
        build: Callable[[], Command],
        table: str,
        rows: int,
        *,
        prepare: Callable[[Bench], None] = lambda _: None,
        checked: Callable[[Bench], None] = lambda _: None,
        keep: bool = False,
    ) -> Usage:
        """One measured run. Building a command clears its scratch folder: outside the timing too."""
        self.pair.fresh_target(keep=keep)
        prepare(self)
        usage = self.measure(build())
        self.check(table, rows)
        checked(self)
        return usage

    def measure(self, command: Command) -> Usage:
        """With what both servers have used in the meantime."""
        before = self.pair.cpu()
        usage = measure(command)
        return replace(usage, servers_cpu_s=self.pair.cpu() - before)

    def check(self, table: str, rows: int) -> None:
        """The target holds as many rows as were sent."""
        self.expect(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)), rows)

    def expect(self, query: str | sql.Composed, number: int) -> None:
        """The target answers so."""
        with self.pair.on_target() as session:
            row = session.execute(query.encode() if isinstance(query, str) else query).fetchone()
        if row is None or row[0] != number:
            text = query if isinstance(query, str) else query.as_string(None)
            raise WrongContentError(f"{row and row[0]} instead of {number}: {text[:200]}")


Case: TypeAlias = Callable[[Bench], Iterator[Result]]
