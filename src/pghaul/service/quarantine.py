"""Rows that were set aside on one target: looked at, exported, replayed, dropped. A session for each question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

from pghaul.model.profile import Endpoint
from pghaul.model.quarantine import Conflict, Lot, Replayed, SetAside, Which
from pghaul.postgres.session import Session, connect
from pghaul.service.quarantine_export import Format, writer
from pghaul.target import quarantine

if TYPE_CHECKING:
    from collections.abc import Callable


class Quarantine:
    """`run`: where one was named, only its rows are meant. Raises NotFoundError where nothing was ever set aside."""

    def __init__(self, target: Endpoint, run: str | None = None) -> None:
        self._target = target
        self._run = run

    def lots(self, which: Which) -> list[Lot]:
        """What there is, by run and table."""
        with self._session() as session:
            return quarantine.lots(session, self._of_run(which))

    def first(self, which: Which, limit: int) -> list[SetAside]:
        """So many of the rows."""
        with self._session() as session:
            return list(quarantine.first(session, self._of_run(which), limit))

    def export(self, which: Which, form: Format, place: Callable[[], BinaryIO]) -> int:
        """Write all of the rows in constant memory; how many there were. `place` is opened once they can be read."""
        count = 0
        with self._session() as session:
            portions = quarantine.all_rows(session, self._of_run(which))
            portion: Sequence[SetAside] = next(portions, ())
            with writer(form, place()) as write:
                while portion:
                    write(portion)
                    count += len(portion)
                    portion = next(portions, ())
        return count

    def replay(
        self, which: Which, *, run: str, conflict: Conflict = Conflict.ERROR, all_or_nothing: bool = False
    ) -> list[Replayed]:
        """Load the rows that wait once more, as run `run` of the target's ledger; what became of them, by table.

        Raises QuarantineError, and UsageError where several runs may have set the same row aside.
        """
        from pghaul.engine import replay  # noqa: PLC0415

        order = replay.Order(run=run, which=self._of_run(which), conflict=conflict, all_or_nothing=all_or_nothing)
        with self._session(f"pghaul/{run}/1/replay") as session:
            return replay.perform(session, order)

    def drop(self, which: Which) -> int:
        """Delete the rows for good; how many there were."""
        with self._session() as session:
            return quarantine.drop(session, self._of_run(which))

    def _of_run(self, which: Which) -> Which:
        return replace(which, runs=(self._run,)) if self._run and not which.runs else which

    @contextmanager
    def _session(self, name: str = "pghaul/quarantine") -> Iterator[Session]:
        with connect(self._target, application_name=name, role="target") as session:
            quarantine.check(session)
            yield session
