"""Which PostgreSQL type a SQLite column is proposed: what was declared, as far as what is in it agrees.

The declaration decides only where every value that was looked at can be held by its type; else what was found does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pghaul.model.text import say
from pghaul.sources._sqlite_look import Asked, Look

EXACT = 1 << 53  # above, a double does not tell one integer from the next
SECONDS = (100_000_000, 7_258_118_400)  # 1973 … 2200: what an integer in a date column has to be, to be read as one
MILLISECONDS = (100_000_000_000, 7_258_118_400_000)
JULIAN = (1_721_425, 5_373_484)  # the years 1 … 9999
_DECLARED = re.compile(r"^\s*(?P<words>[^(]*?)\s*(?:\((?P<args>[^)]*)\))?\s*(?P<after>[^()]*)$")

INTEGERS = {
    "integer": "bigint",
    "int": "integer",
    "bigint": "bigint",
    "int8": "bigint",
    "int4": "integer",
    "mediumint": "integer",
    "int2": "smallint",
    "smallint": "smallint",
    "tinyint": "smallint",
    "unsigned big int": "numeric",
    "serial": "integer",
    "bigserial": "bigint",
}
LIMITS = {"smallint": 1 << 15, "integer": 1 << 31, "bigint": 1 << 63}
DECIMALS = frozenset({"decimal", "numeric", "number", "dec", "money", "smallmoney"})
REALS = frozenset({"real", "double", "float", "double precision", "float4", "float8"})
TEXTS = frozenset({"text", "clob", "string", "nclob", "tinytext", "mediumtext", "longtext", "ntext"})
VARCHARS = frozenset({"varchar", "character varying", "nvarchar", "varying character", "varchar2", "nvarchar2"})
CHARS = frozenset({"char", "character", "nchar", "native character"})
BLOBS = frozenset({"blob", "bytea", "binary", "varbinary", "image", "tinyblob", "mediumblob", "longblob"})
BOOLEANS = frozenset({"boolean", "bool", "bit"})
DATES = frozenset({"date"})
MOMENTS = frozenset({"datetime", "timestamp", "datetime2", "smalldatetime"})
ZONED = frozenset({"timestamptz", "timestamp with time zone", "datetimeoffset"})
CLOCKS = frozenset({"time"})
SAME = frozenset({"uuid", "json", "jsonb", "xml", "inet"})  # read as text, checked by the target
OTHERS = {"guid": "uuid", "uniqueidentifier": "uuid"}


@dataclass(frozen=True, slots=True)
class Declared:
    """A declaration, taken apart."""

    words: str  # lower case: "double precision"
    numbers: tuple[int, ...] = ()  # of (10, 2)

    @property
    def affinity(self) -> str:
        """As https://www.sqlite.org/datatype3.html has it."""
        for part, affinity in (
            ("int", "integer"),
            ("char", "text"),
            ("clob", "text"),
            ("text", "text"),
            ("blob", "blob"),
            ("real", "real"),
            ("floa", "real"),
            ("doub", "real"),
        ):
            if part in self.words:
                return affinity
        return "numeric" if self.words else "blob"


def declared(native: str) -> Declared:
    """ "Decimal(10, 2)" → decimal, (10, 2)."""
    match = _DECLARED.match(native)
    if match is None:
        return Declared(" ".join(native.lower().split()))
    words = " ".join(f"{match['words']} {match['after']}".lower().split())
    numbers = [n.strip() for n in (match["args"] or "").split(",")]
    return Declared(words, tuple(int(n) for n in numbers) if all(n.isdigit() for n in numbers) else ())


def asked(sql: str, native: str) -> Asked:
    """What there is to look at in a column of this declaration."""
    it = declared(native)
    return Asked(
        sql=sql,
        dates=it.words in DATES | MOMENTS | ZONED | CLOCKS,
        numbers=it.affinity in {"integer", "numeric", "real"},
        scale=it.numbers[1] if len(it.numbers) > 1 else 0,
        words=it.words in BOOLEANS,
    )


def propose(native: str, seen: Look) -> tuple[str, str]:
    """PostgreSQL's type, and why, where the declaration alone does not say so."""
    it = declared(native)
    if not seen.classes:
        return _empty(it), ""
    for known, judge in _JUDGES:
        if it.words in known:
            found = judge(it, seen)
            return found if found is not None else _by_content(it, seen)
    return _by_content(it, seen)


def _empty(it: Declared) -> str:
    """Of a column without any value: what was declared."""
    if it.words in INTEGERS:
        return INTEGERS[it.words]
    if it.words in DECIMALS:
        return _numeric(it)
    if it.words in VARCHARS | CHARS and it.numbers:
        return f"character varying({it.numbers[0]})"
    for names, kind in (
        (BOOLEANS, "boolean"),
        (DATES, "date"),
        (MOMENTS, "timestamp without time zone"),
        (ZONED, "timestamp with time zone"),
        (CLOCKS, "time without time zone"),
        (REALS, "double precision"),
        (BLOBS, "bytea"),
    ):
        if it.words in names:
            return kind
    if it.words in SAME | OTHERS.keys():
        return OTHERS.get(it.words, it.words)
    return {"integer": "bigint", "real": "double precision", "numeric": "numeric"}.get(it.affinity, "text")


def _numeric(it: Declared) -> str:
    if len(it.numbers) == 2 and 0 < it.numbers[0] <= 1000 and it.numbers[1] <= it.numbers[0]:
        return f"numeric({it.numbers[0]},{it.numbers[1]})"
    if len(it.numbers) == 1 and 0 < it.numbers[0] <= 1000:
        return f"numeric({it.numbers[0]},0)"
    return "numeric"


def _integer(it: Declared, seen: Look) -> tuple[str, str] | None:
    if seen.classes != {"integer"}:
        return None
    wanted = INTEGERS[it.words]
    if wanted == "numeric":
        return wanted, ""
    fits = _fits(seen, LIMITS[wanted])
    return (wanted, "") if fits else ("bigint", say("integers too large for {type}", type=wanted))


def _fits(seen: Look, limit: int) -> bool:
    low, high = seen.low or 0, seen.high or 0
    return -limit <= low and high < limit


def _decimal(it: Declared, seen: Look) -> tuple[str, str] | None:
    if seen.blob or seen.text > seen.numbers:
        return None
    wanted = _numeric(it)
    if wanted == "numeric" or seen.text:
        return "numeric", say("held as text") if seen.text else ""
    precision, scale = it.numbers[0], it.numbers[1] if len(it.numbers) > 1 else 0
    if seen.inexact:
        return "numeric", say("values with more than {n} decimals", n=scale)
    if (seen.largest or 0) >= 10.0 ** (precision - scale):
        return "numeric", say("values with more than {n} digits", n=precision - scale)
    return wanted, ""


def _real(_it: Declared, seen: Look) -> tuple[str, str] | None:
    if seen.classes <= {"real", "integer"} and _fits(seen, EXACT):
        return "double precision", ""
    return None


def _varchar(it: Declared, seen: Look) -> tuple[str, str] | None:
    if seen.blob:
        return None
    if not it.numbers or not it.numbers[0]:
        return "text", ""
    if (seen.longest or 0) > it.numbers[0]:
        return "text", say("values of up to {n} characters", n=seen.longest or 0)
    # char(n) would pad: SQLite does not.
    return f"character varying({it.numbers[0]})", ""


def _text(_it: Declared, seen: Look) -> tuple[str, str] | None:
    return None if seen.blob else ("text", "")


def _blob(_it: Declared, seen: Look) -> tuple[str, str] | None:
    return ("bytea", "") if seen.classes == {"blob"} else None


def _boolean(_it: Declared, seen: Look) -> tuple[str, str] | None:
    if seen.classes == {"integer"} and (seen.low or 0) >= 0 and (seen.high or 0) <= 1:
        return "boolean", ""
    if seen.classes == {"text"} and seen.words == seen.text:
        return "boolean", say("held as text")
    return None


def _date(it: Declared, seen: Look) -> tuple[str, str] | None:
    """A day, a moment or an instant, as it is held."""
    if seen.classes == {"text"}:
        return _date_as_text(it, seen)
    if seen.classes == {"integer"} and (unit := epoch(seen)):
        return "timestamp with time zone", EPOCHS[unit]
    if julian(seen):
        return "timestamp without time zone", say("held as Julian days, read to the millisecond")
    return None


def _date_as_text(it: Declared, seen: Look) -> tuple[str, str] | None:
    if seen.day == seen.text and it.words in DATES:
        return "date", say("held as text")
    if seen.day + seen.moment == seen.text and seen.day + seen.midnight == seen.text and it.words in DATES:
        return "date", say("held as text, always at midnight")
    if seen.zoned == seen.text:
        return "timestamp with time zone", say("held as text with a time zone")
    if seen.day + seen.moment == seen.text and not seen.zoned and it.words not in ZONED:
        return "timestamp without time zone", say("held as text")
    return None


EPOCHS = {1: say("held as seconds since 1970"), 1000: say("held as milliseconds since 1970")}


def epoch(seen: Look) -> int | None:
    """1 for seconds, 1000 for milliseconds: integers that can be nothing else."""
    low, high = seen.low or 0, seen.high or 0
    for unit, (first, last) in ((1, SECONDS), (1000, MILLISECONDS)):
        if first <= low and high <= last:
            return unit
    return None


def julian(seen: Look) -> bool:
    """Whether reals (and the whole ones, which SQLite keeps as integers) can be days since 4714 BC."""
    if "real" not in seen.classes or not seen.classes <= {"real", "integer"}:
        return False
    known = [v for v in (seen.early, seen.late, seen.low, seen.high) if v is not None]
    return bool(known) and JULIAN[0] <= min(known) and max(known) <= JULIAN[1]


def _clock(_it: Declared, seen: Look) -> tuple[str, str] | None:
    if seen.classes == {"text"} and seen.clock == seen.text:
        return "time without time zone", say("held as text")
    return None


def _same(it: Declared, seen: Look) -> tuple[str, str] | None:
    return (OTHERS.get(it.words, it.words), "") if seen.classes == {"text"} else None


def _by_content(it: Declared, seen: Look) -> tuple[str, str]:
    """What every value that was found can be held by."""
    found = listed_classes(seen)
    why = say("it holds {classes}", classes=found) if it.words else say("declared without a type")
    if seen.classes == {"text"} and it.words in DATES | MOMENTS | ZONED | CLOCKS:
        why = say("not every text in it is a date or time that PostgreSQL would hold as it is")
    if seen.classes == {"integer"}:
        return "bigint", why
    if seen.classes == {"real"} or (seen.classes == {"integer", "real"} and _fits(seen, EXACT)):
        return "double precision", why
    if seen.classes == {"integer", "real"}:
        return "numeric", why
    if "blob" in seen.classes:
        return ("bytea", why) if seen.classes <= {"blob", "text"} else ("text", why)
    if seen.classes == {"text"} and it.affinity == "text":
        return "text", ""
    return "text", why


def listed_classes(seen: Look) -> str:
    """integer, text"""
    return ", ".join(k for k in ("integer", "real", "text", "blob") if k in seen.classes)


_JUDGES = (
    (INTEGERS.keys(), _integer),
    (DECIMALS, _decimal),
    (REALS, _real),
    (VARCHARS | CHARS, _varchar),
    (TEXTS, _text),
    (BLOBS, _blob),
    (BOOLEANS, _boolean),
    (DATES | MOMENTS | ZONED, _date),
    (CLOCKS, _clock),
    (SAME | OTHERS.keys(), _same),
)

TYPES: tuple[tuple[str, str, str], ...] = (
    ("INTEGER PRIMARY KEY", "bigint", say("an identity column, which goes on after the highest value")),
    ("INTEGER, BIGINT, INT8", "bigint", ""),
    ("INT, INT4, MEDIUMINT", "integer", say("bigint where values are larger")),
    ("SMALLINT, INT2, TINYINT", "smallint", say("bigint where values are larger")),
    ("UNSIGNED BIG INT", "numeric", ""),
    ("REAL, DOUBLE, FLOAT", "double precision", say("numeric where integers above 2^53 are among them")),
    ("DECIMAL(p,s), NUMERIC(p,s)", "numeric(p,s)", say("numeric where values have more digits")),
    ("VARCHAR(n), CHAR(n), NVARCHAR(n)", "character varying(n)", say("text where values are longer")),
    ("TEXT, CLOB", "text", ""),
    ("BLOB", "bytea", ""),
    ("BOOLEAN, BOOL, BIT", "boolean", say("where all values are 0 and 1, or true and false")),
    ("DATE", "date", say("where all values are days as text; else as DATETIME")),
    ("DATETIME, TIMESTAMP", "timestamp without time zone", say("text, or Julian days")),
    ("DATETIME, TIMESTAMP", "timestamp with time zone", say("text with a zone, or seconds or milliseconds since 1970")),
    ("TIME", "time without time zone", say("where all values are times as text")),
    ("UUID, GUID, JSON, JSONB, XML, INET", "uuid, json, jsonb, xml, inet", say("where all values are text")),
    (
        say("anything else, or nothing declared"),
        "bigint, double precision, numeric, text, bytea",
        say("by what it holds"),
    ),
)
