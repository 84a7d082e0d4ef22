"""What a column is as a watermark, what goes with it, and what can be promised: decided before anything is read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from psycopg.sql import Composable

from pghaul.model.errors import WatermarkError
from pghaul.model.merging import Guarantee, WatermarkKind
from pghaul.model.plan import Merge
from pghaul.model.table import Column, RelationKind, Table
from pghaul.model.text import Text, listed, say
from pghaul.postgres.moments import find_zone
from pghaul.sources.increments_advance import Horizon, number
from pghaul.sources.increments_moments import FORMATS, LOCAL, TIMES, span
from pghaul.sources.increments_sql import EXPLAIN, INDEXED, UNORDERED

if TYPE_CHECKING:
    from pghaul.postgres.session import Session

XMIN: Final = "xmin"
BY_TYPE: Final = {
    "timestamp with time zone": WatermarkKind.TIMESTAMPTZ,
    "timestamp without time zone": WatermarkKind.TIMESTAMP,
    "date": WatermarkKind.DATE,
    "smallint": WatermarkKind.INTEGER,
    "integer": WatermarkKind.INTEGER,
    "bigint": WatermarkKind.INTEGER,
    "numeric": WatermarkKind.NUMERIC,
    "text": WatermarkKind.TEXT,
    "character varying": WatermarkKind.TEXT,
    "character": WatermarkKind.TEXT,
    "bpchar": WatermarkKind.TEXT,
    "uuid": WatermarkKind.UUID,
}
ELSEWHERE = say("rows of another server are among them, and its open transactions are not seen from here")
_MODIFIER = re.compile(r"\([\d,-]+\)")


def kind_of(table: Table, merge: Merge, *, query: bool = False) -> WatermarkKind:
    """WatermarkError for a column that is missing or cannot be one, and for words that do not go with it."""
    if merge.watermark is None:
        return WatermarkKind.NONE
    if merge.watermark == XMIN:
        return _xmin(table, merge, query=query)
    column = _column(table, merge.watermark)
    kind = BY_TYPE.get(column.base or _MODIFIER.sub("", column.type))
    if kind is None:
        raise WatermarkError(
            say(
                "{table}.{column} is {type}: that is no watermark",
                table=str(table.name),
                column=column.name,
                type=column.type,
            ),
            advice=say("choose a timestamp, a date, an integer, a numeric, a text date, a uuid of version 7, or xmin"),
            code=6703,
        )
    _check_words(column, kind, merge)
    return kind


def _column(table: Table, name: str) -> Column:
    for column in table.columns:
        if column.name == name:
            return column
    raise WatermarkError(
        say("{table} has no column {column} for a watermark", table=str(table.name), column=name),
        advice=say("it has {columns}", columns=listed(c.name for c in table.columns)),
        code=6704,
    )


def _xmin(table: Table, merge: Merge, *, query: bool) -> WatermarkKind:
    if query or table.kind is RelationKind.FOREIGN:
        raise _no_xmin(table)
    if merge.lookback is not None:
        raise WatermarkError(
            say("xmin takes no lookback: it tells exactly what has changed"),
            advice=say("leave --lookback out"),
            code=6714,
        )
    return WatermarkKind.XMIN


def _no_xmin(table: Table) -> WatermarkError:
    return WatermarkError(
        say("{table} has no xmin: only rows of this server's own tables have", table=str(table.name)),
        advice=say("name a column as its watermark, or read all rows"),
        code=6705,
    )


def _check_words(column: Column, kind: WatermarkKind, merge: Merge) -> None:
    """The format, the zone and the lookback are those of this kind."""
    form, advice = merge.watermark_format, say("watermark_format is one of {formats}", formats=", ".join(FORMATS))
    if form is not None and form not in FORMATS:
        raise WatermarkError(say("there is no watermark_format {form!r}", form=form), advice=advice, code=6706)
    if (kind is WatermarkKind.TEXT) is not (form is not None):
        raise WatermarkError(
            say(
                "a watermark that is a text needs a format, and no other has one: {column} is {type}",
                column=column.name,
                type=column.type,
            ),
            advice=advice,
            code=6713,
        )
    if merge.watermark_zone is not None:
        find_zone(merge.watermark_zone)
    if merge.lookback is not None:
        (span if kind in TIMES else number)(merge.lookback)


def promise(
    session: Session, table: Table, kind: WatermarkKind, merge: Merge, horizon: Horizon, rows: Composable
) -> tuple[Guarantee, Text | str]:
    """What increments by this watermark are worth, and why not more. WatermarkError where it takes a lookback."""
    if kind is WatermarkKind.NONE:
        return Guarantee.WHOLE, ""
    elsewhere = any("Foreign Scan" in line for (line,) in session.rows(EXPLAIN.format(rows=rows)))
    if kind is WatermarkKind.XMIN:
        _check_xmin(table, horizon, elsewhere=elsewhere)
        return Guarantee.EXACT, say("xmin scans the whole table, and sees no deletions")
    why = ELSEWHERE if elsewhere else _doubt(session, table, kind, merge, horizon)
    if why is not None and merge.lookback is None:
        raise WatermarkError(
            say("rows that commit late could be missed: {why}", why=why),
            where=session.server.database,
            advice=say(
                "say how far back each reading begins: --lookback; or GRANT pg_monitor to {user} (PostgreSQL 10 "
                "or later), and read from the primary",
                user=session.server.user,
            ),
            code=6707,
        )
    if why is not None:
        return Guarantee.LOOKBACK, why
    return Guarantee.EXACT, _remark(kind, merge)


def _check_xmin(table: Table, horizon: Horizon, *, elsewhere: bool) -> None:
    if elsewhere:
        raise _no_xmin(table)
    if horizon.in_recovery:
        raise WatermarkError(
            say("a replica cannot tell which transactions are still open: xmin is of no use there"),
            advice=say("read from the primary, or name a column as the watermark, with a lookback"),
            code=6708,
        )


def _doubt(session: Session, table: Table, kind: WatermarkKind, merge: Merge, horizon: Horizon) -> Text | None:
    """Why open transactions do not tell up to where all rows are there; None where they do."""
    if horizon.in_recovery:
        return say("a replica does not show the open transactions of its primary")
    if not horizon.sees_all:
        return say("{user} is not shown when other transactions began", user=session.server.user)
    if horizon.hidden:
        return say("{n} sessions do not show when their transactions began", n=horizon.hidden)
    if kind in LOCAL and merge.watermark_zone is None and merge.lookback is not None:
        return say("nobody has said in which time zone these times are")
    if kind is WatermarkKind.INTEGER and (sequence := _unordered(session, table, merge)):
        return say("the sequence {sequence} does not count up one by one (CACHE, INCREMENT)", sequence=sequence)
    return None


def _unordered(session: Session, table: Table, merge: Merge) -> str | None:
    if not table.oid or not session.server.capabilities.sequence_types:
        return None
    found: str | None = session.value(UNORDERED, (table.oid, merge.watermark))
    return found


def _remark(kind: WatermarkKind, merge: Merge) -> Text | str:
    """What exactness rests on, where that is not the server's own doing."""
    if kind in LOCAL and merge.watermark_zone is None:
        return say(
            "without watermark_zone a day more is read every time: it is the least local time on earth that counts"
        )
    if kind in TIMES:
        return say("as far as the server's clock makes the values: now() and its kin")
    return say("as far as numbers are taken in ascending order, in the transaction that writes them")


def indexed(session: Session, table: Table, merge: Merge) -> bool:
    """Whether an index begins with the watermark."""
    return bool(table.oid and session.value(INDEXED, (table.oid, merge.watermark)))
