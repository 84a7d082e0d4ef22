"""Series in the state store, and which of their rounds it keeps. Every method is one short transaction."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from pghaul.model.errors import NotFoundError
from pghaul.model.plan import Plan
from pghaul.model.run import LIVING, RunState, Wish
from pghaul.model.series import Series
from pghaul.model.text import say
from pghaul.store import process
from pghaul.store.models import RunRow, SeriesRow

# Of each series so many rounds stay in the history that went well, and as many that did not: a round every thirty
# seconds is 2,880 a day, and ten kilobytes each.
KEPT_ROUNDS = 1000
AT_ONCE = 100  # that are forgotten in one transaction: nobody shall wait for it
LISTED = say("`pghaul runs` lists the runs and series of this store")
DIED = say("its process died")


class SeriesTable:
    """The table of series."""

    def __init__(self, scope: Callable[..., AbstractContextManager[Session]]) -> None:
        self._scope = scope

    def create(self, series: Series, plan: Plan) -> None:
        """A new one; of one that is there, all of it is replaced."""
        values = _values(series) | {"plan": plan.model_dump_json(), "wish": Wish.NONE.value}
        with self._scope(writes=True) as session:
            if session.get(SeriesRow, series.id) is None:
                session.execute(insert(SeriesRow).values(values))
            else:
                session.execute(update(SeriesRow).where(SeriesRow.id == series.id).values(values))

    def save(self, series: Series) -> None:
        """NotFoundError when it was never created."""
        with self._scope() as session:
            done: Any = session.execute(update(SeriesRow).where(SeriesRow.id == series.id).values(_values(series)))
            _changed(done, series.id)

    def find(self, series_id: str) -> Series | None:
        """None where there is no such series."""
        with self._scope() as session:
            row = session.get(SeriesRow, series_id)
            return None if row is None else _series(row)

    def load(self, series_id: str) -> tuple[Series, Plan]:
        """NotFoundError when there is none."""
        with self._scope() as session:
            row = session.get(SeriesRow, series_id)
            if row is None:
                raise _unknown(series_id)
            return _series(row), Plan.model_validate_json(row.plan)

    def all(self, limit: int = 20) -> list[Series]:
        """The latest first."""
        with self._scope() as session:
            rows = session.scalars(select(SeriesRow).order_by(SeriesRow.started.desc(), SeriesRow.id).limit(limit))
            return [_series(row) for row in rows]

    def lives_here(self, series_id: str, *, elsewhere: bool = False) -> bool:
        """Whether a process of this machine works on it: any, or another one than this."""
        with self._scope() as session:
            row = session.get(SeriesRow, series_id)
            alive = process.is_here if elsewhere else process.is_alive
            return row is not None and RunState(row.state) in LIVING and alive(row.pid, row.process)

    def wish(self, series_id: str) -> Wish:
        """NONE where the series is unknown."""
        with self._scope() as session:
            found = session.scalar(select(SeriesRow.wish).where(SeriesRow.id == series_id))
        return Wish(found) if found else Wish.NONE

    def set_wish(self, series_id: str, wish: Wish) -> None:
        """NotFoundError when there is no such series."""
        with self._scope() as session:
            done: Any = session.execute(update(SeriesRow).where(SeriesRow.id == series_id).values(wish=wish.value))
            _changed(done, series_id)

    def forget_old_rounds(self, series_id: str, keep: int = KEPT_ROUNDS) -> list[str]:
        """Ids of the runs that are in the history no more: of those that went well, and of the others, the oldest."""
        ours = select(RunRow.id).where(RunRow.series == series_id).order_by(RunRow.started.desc(), RunRow.id)
        well = RunRow.state == RunState.DONE.value
        with self._scope(writes=True) as session:
            old = [i for s in (ours.where(well), ours.where(~well)) for i in session.scalars(s.offset(keep)).all()]
            forget(session, old[:AT_ONCE])
        return old[:AT_ONCE]

    def forget_round(self, run_id: str) -> None:
        """A round that turned out to have moved nothing."""
        with self._scope() as session:
            forget(session, [run_id])


def forget(session: Session, runs: list[str]) -> None:
    """Runs; what belongs to them goes with them."""
    if runs:
        session.execute(delete(RunRow).where(RunRow.id.in_(runs)))


def _values(series: Series) -> dict[str, Any]:
    """Whoever records a living series lives: its process is noted, so that its death can be seen."""
    pid = series.pid or os.getpid()
    plain = asdict(series) | {"state": series.state.value, "marks": dict(series.marks), "pid": pid}
    return plain | {"error": series.error, "note": series.note, "process": process.token(pid)}


def _series(row: SeriesRow) -> Series:
    """As recorded, except that a series whose process is gone does not run."""
    state, error = RunState(row.state), row.error
    if state in LIVING and process.is_gone(row.pid, row.process):
        state, error = RunState.STOPPED, DIED
    return Series(
        id=row.id,
        state=state,
        source=row.source,
        target=row.target,
        every=row.every,
        started=row.started,
        finished=row.finished,
        rounds=row.rounds,
        empty_rounds=row.empty_rounds,
        failed_rounds=row.failed_rounds,
        different_rounds=row.different_rounds,
        rows=row.rows,
        last_round=row.last_round,
        read_at=row.read_at,
        last_run=row.last_run,
        error=error,
        error_at=row.error_at,
        failures=row.failures,
        marks=row.marks,
        pid=row.pid,
        note=row.note if state is RunState.PAUSED else None,
    )


def _unknown(series_id: str) -> NotFoundError:
    return NotFoundError(say("there is no series {series}", series=series_id), advice=LISTED, code=5296)


def _changed(done: Any, series_id: str) -> None:
    if done.rowcount != 1:
        raise _unknown(series_id)
