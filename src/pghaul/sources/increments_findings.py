"""What a person should know of a reading: nothing here stops a run."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.merging import WatermarkKind
from pghaul.model.plan import Merge
from pghaul.model.table import Table
from pghaul.model.text import Text, listed, say
from pghaul.sources.increments_advance import Horizon
from pghaul.sources.increments_kinds import indexed

if TYPE_CHECKING:
    from pghaul.postgres.session import Session

LONG_OPEN = timedelta(hours=1)


def again(table: Table, why: Text | None) -> list[Finding]:
    if why is None:
        return []
    return [
        Finding(
            severity=Severity.WARNING,
            kind=Kind.WATERMARK,
            object=str(table.name),
            what=say("all rows of {table} are read again: {why}", table=str(table.name), why=why),
            code=6730,
        )
    ]


def of_reading(
    session: Session, table: Table, merge: Merge, kind: WatermarkKind, horizon: Horizon, *, query: str | None
) -> list[Finding]:
    if kind is WatermarkKind.NONE:
        return []
    found = [*_held_up(table, horizon)]
    if kind is WatermarkKind.XMIN:
        return found
    if query is None and not indexed(session, table, merge):
        found.append(
            Finding(
                severity=Severity.NOTE,
                kind=Kind.WATERMARK,
                object=str(table.name),
                what=say(
                    "no index of {table} begins with {column}: each increment scans the table",
                    table=str(table.name),
                    column=str(merge.watermark),
                ),
                code=6733,
            )
        )
    return found


def _held_up(table: Table, horizon: Horizon) -> list[Finding]:
    """What keeps the low from moving: nothing is missed, and more and more is read."""
    found = []
    if horizon.prepared:
        found.append(
            Finding(
                severity=Severity.WARNING,
                kind=Kind.WATERMARK,
                object=str(table.name),
                what=say(
                    "prepared transactions keep increments from moving on: {names}", names=listed(horizon.prepared)
                ),
                advice=say("COMMIT PREPARED or ROLLBACK PREPARED them; until then the same rows are read every time"),
                code=6731,
            )
        )
    if horizon.oldest is not None and horizon.clock - horizon.oldest > LONG_OPEN:
        found.append(
            Finding(
                severity=Severity.WARNING,
                kind=Kind.WATERMARK,
                object=str(table.name),
                what=say(
                    "a transaction is open since {moment}: {session}",
                    moment=str(horizon.oldest),
                    session=horizon.oldest_session,
                ),
                advice=say("every increment reads again what came since then, until it ends"),
                code=6732,
            )
        )
    return found
