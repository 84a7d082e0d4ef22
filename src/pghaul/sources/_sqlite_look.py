"""What is really in the columns of a SQLite table: types are per value, a declaration is a wish.

One pass over a table (all of it where the database is small, its first rows elsewhere) counts the storage classes of
each column, and looks at what decides about its type: the extremes of integers, lengths, shapes of dates.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields

from pghaul.model.text import listed, say
from pghaul.sources import _sqlite_sql as sql
from pghaul.sources._sqlite_connection import Connection, quoted

SMALL = 64 << 20  # bytes: a database up to this size is looked at whole, in some seconds
FIRST = 50_000  # rows of each table of a larger one
TOGETHER = 50  # columns of one query: a function takes 1,000 arguments, a row of results 2,000 columns

# What texts have to be, to be read as dates: nothing that Arrow or PostgreSQL would refuse or round.
_DIGITS = "[0-9][0-9]"
_DAY = f"'{_DIGITS * 2}-[01][0-9]-[0-3][0-9]'"
_CLOCK = "[0-2][0-9]:[0-5][0-9]{end}"
# Only texts are compared with texts: a column of numeric affinity would make numbers of them.
# date() moves the 31st of February into March, so it does not give such a day back; older ones only with a modifier.
IS_DAY = f"({{v}} GLOB {_DAY} AND substr({{v}}, 1, 4) > '0000' AND date({{v}}, '+0 days') = {{v}})"
IS_CLOCK = (
    f"(substr({{v}}, 1, 2) < '24' AND ({{v}} GLOB '{_CLOCK.format(end='')}'"
    f" OR {{v}} GLOB '{_CLOCK.format(end=':[0-5][0-9]')}'"
    f" OR ({{v}} GLOB '{_CLOCK.format(end=':[0-5][0-9].[0-9]*')}' AND length({{v}}) <= 15"
    " AND substr({v}, 10) NOT GLOB '*[^0-9]*')))"
)
# Nearly all moments have a clock to the second, which one pattern tells: that takes a third of the time.
_SECONDS = f"{_DAY[:-1]}[ T][0-2][0-9]:[0-5][0-9]:[0-5][0-9]'"
IS_MOMENT = (
    f"CASE length({{v}}) WHEN 19 THEN {{v}} GLOB {_SECONDS} AND substr({{v}}, 1, 4) > '0000'"
    " AND substr({v}, 12, 2) < '24' AND date(substr({v}, 1, 10), '+0 days') = substr({v}, 1, 10)"
    " ELSE (substr({v}, 11, 1) IN (' ', 'T') AND "
    + " AND ".join((IS_DAY.replace("{v}", "substr({v}, 1, 10)"), IS_CLOCK.replace("{v}", "substr({v}, 12)")))
    + ") END"
)
IS_ZONED = (
    "CASE WHEN {c} GLOB '*Z' THEN " + IS_MOMENT.replace("{v}", "substr({c}, 1, length({c}) - 1)") + " WHEN {c} GLOB "
    f"'*[+-]{_DIGITS}:{_DIGITS}' THEN " + IS_MOMENT.replace("{v}", "substr({c}, 1, length({c}) - 6)") + " ELSE 0 END"
)

# {c} is the column. Aggregates, each NULL where there is nothing to be said of. Floats as text: JSON rounds them.
_MEASURES = (
    ("null", "sum({c} IS NULL)"),
    ("integer", "sum(typeof({c}) = 'integer')"),
    ("real", "sum(typeof({c}) = 'real')"),
    ("text", "sum(typeof({c}) = 'text')"),
    ("blob", "sum(typeof({c}) = 'blob')"),
    ("low", "min(CASE WHEN typeof({c}) = 'integer' THEN {c} END)"),
    ("high", "max(CASE WHEN typeof({c}) = 'integer' THEN {c} END)"),
    ("longest", "max(CASE WHEN typeof({c}) IN ('text', 'blob') THEN length({c}) END)"),
    ("bytes", "sum(CASE WHEN typeof({c}) IN ('text', 'blob') THEN octet_length({c}) ELSE 8 END)"),
)
_DATES = (
    ("day", "sum(typeof({c}) = 'text' AND " + IS_DAY.replace("{v}", "{c}") + ")"),
    ("midnight", "sum(typeof({c}) = 'text' AND substr({c}, 12) GLOB '00:00*' AND substr({c}, 12) NOT GLOB '*[^0:.]*')"),
    ("zoned", "sum(typeof({c}) = 'text' AND " + IS_ZONED + ")"),
    ("moment", "sum(typeof({c}) = 'text' AND " + IS_MOMENT.replace("{v}", "{c}") + ")"),
    ("clock", "sum(typeof({c}) = 'text' AND " + IS_CLOCK.replace("{v}", "{c}") + ")"),
    ("early", "min(CASE WHEN typeof({c}) = 'real' THEN CAST({c} AS INTEGER) END)"),
    ("late", "max(CASE WHEN typeof({c}) = 'real' THEN CAST({c} AS INTEGER) END)"),
)
_NUMBERS = (
    ("whole", "sum(typeof({c}) = 'real' AND {c} = CAST({c} AS INTEGER))"),
    ("inexact", "sum(typeof({c}) = 'real' AND {c} <> round({c}, {scale}))"),
    ("numbers", "sum(typeof({c}) = 'text' AND {c} GLOB '*[0-9]*' AND {c} NOT GLOB '*[^-+.0-9eE]*')"),
    ("largest", "CAST(max(CASE WHEN typeof({c}) IN ('integer', 'real') THEN abs({c} + 0.0) END) AS TEXT)"),
)
_WORDS = (("words", "sum(typeof({c}) = 'text' AND lower({c}) IN ('true', 'false', 't', 'f'))"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """At one column. Counts of values by class; None where nothing was to be measured."""

    rows: int = 0
    all: bool = True  # of the whole table
    null: int = 0
    integer: int = 0
    real: int = 0
    text: int = 0
    blob: int = 0
    low: int | None = None
    high: int | None = None
    longest: int | None = None
    bytes: int = 0
    day: int = 0
    midnight: int = 0
    moment: int = 0
    zoned: int = 0
    clock: int = 0
    early: int | None = None
    late: int | None = None
    whole: int = 0
    inexact: int = 0
    numbers: int = 0
    largest: float | None = None
    words: int = 0

    @property
    def classes(self) -> frozenset[str]:
        """Storage classes other than null."""
        return frozenset(k for k in ("integer", "real", "text", "blob") if getattr(self, k))

    @property
    def described(self) -> str:
        """ "integer, text (12 of 40)" """
        known = {k: getattr(self, k) for k in ("integer", "real", "text", "blob", "null") if getattr(self, k)}
        if not known:
            return say("no rows") if self.all else ""
        values = [k for k in known if k != "null"]
        if len(known) == 1:
            words = next(iter(known))
        elif len(values) == 1:
            words = values[0]
        else:
            words = listed([values[0], *(f"{k} ({known[k]:,} of {self.rows:,})" for k in values[1:])])
        return words if self.all else say("{classes} in the first {n} rows", classes=words, n=f"{self.rows:,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to look at: an expression in SQL, and what is to be known of it beside its classes."""

    sql: str
    dates: bool = False
    numbers: bool = False
    scale: int = 0
    words: bool = False

    @property
    def measures(self) -> tuple[tuple[str, str], ...]:
        """(field of Look, aggregate)."""
        return (
            _MEASURES
            + (_DATES if self.dates else ())
            + (_NUMBERS if self.numbers else ())
            + (_WORDS if self.words else ())
        )


def kept(seen: Look, asked: Asked) -> str:
    """For who reads the column later, in another process: what differs from a column without rows."""
    plain = Look()
    found = {f.name: getattr(seen, f.name) for f in fields(Look) if getattr(seen, f.name) != getattr(plain, f.name)}
    return json.dumps([asked.dates, found])


def recalled(words: str, *, dates: bool) -> Look | None:
    """What `kept` has kept; None where that does not tell what is asked."""
    if not words:
        return None
    had_dates, found = json.loads(words)
    return Look(**found) if had_dates or not dates else None


def limit_for(connection: Connection) -> int | None:
    """How many rows of each table are looked at; None: all."""
    pages, page_size = connection.one(sql.PAGES)
    return None if pages * page_size <= SMALL else FIRST


def look(connection: Connection, table: str, asked: Sequence[Asked], limit: int | None) -> list[Look]:
    """At each of these; at the first `limit` rows only, where there are more."""
    found: list[Look] = []
    for start in range(0, len(asked), TOGETHER):
        found += _look(connection, table, asked[start : start + TOGETHER], limit)
    return found


def _look(connection: Connection, table: str, asked: Sequence[Asked], limit: int | None) -> list[Look]:
    names = [f"c{i}" for i in range(len(asked))]
    columns = ", ".join(f"({a.sql}) COLLATE BINARY AS {n}" for a, n in zip(asked, names, strict=True))
    measures = ", ".join(
        "json_array({})".format(", ".join(m.format(c=n, scale=a.scale) for _, m in a.measures))
        for a, n in zip(asked, names, strict=True)
    )
    part = f" LIMIT {limit}" if limit is not None else ""
    rows, *measured = connection.one(
        sql.LOOK.format(measures=measures, columns=columns, table=quoted(table), limit=part)
    )
    whole = limit is None or rows < limit
    return [_read(a, rows, whole, values) for a, values in zip(asked, measured, strict=True)]


def _read(asked: Asked, rows: int, whole: bool, values: list[object]) -> Look:
    known = {k: v for (k, _), v in zip(asked.measures, values, strict=True) if v is not None}
    if "largest" in known:
        known["largest"] = float(str(known["largest"]))
    return Look(rows=rows, all=whole, **known)  # type: ignore[arg-type]
