"""How each column is read: an expression that yields one storage class, and what Arrow makes of it.

The driver types a column by its first batch and then converts what does not fit, partly in silence (bytes of a blob
into text, large integers into doubles). So the class of every value is settled here: by the expression, by the driver
where it refuses by itself, and by casts in Arrow that are checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pghaul.model.foreign import ReadColumn, is_vector
from pghaul.sources._sqlite_connection import quoted
from pghaul.sources._sqlite_look import Look
from pghaul.sources._sqlite_types import EXACT, epoch, julian

if TYPE_CHECKING:
    import pyarrow as pa

Turn = Callable[["pa.Array"], "pa.Array"]
_TYPE = re.compile(r"^(?P<base>[^(]+?)\s*(?:\((?P<args>[\d, -]+)\))?\s*(?P<after>with(?:out)? time zone)?$")

# Refuses the row, whatever it holds: there is no RAISE outside of triggers.
REFUSED = "abs(-9223372036854775807 - 1 + 0 * (typeof({c}) = ''))"
# Any value as a string that PostgreSQL reads; the fewest digits that give the same double again.
REAL_AS_TEXT = (
    "CASE WHEN CAST(printf('%!.15g', {c}) AS REAL) = {c} COLLATE BINARY THEN printf('%!.15g', {c})"
    " WHEN CAST(printf('%!.16g', {c}) AS REAL) = {c} COLLATE BINARY THEN printf('%!.16g', {c})"
    " ELSE printf('%!.17g', {c}) END"
)
AS_TEXT = (
    "CASE typeof({c}) WHEN 'text' THEN {c} WHEN 'integer' THEN CAST({c} AS TEXT)"
    f" WHEN 'real' THEN {REAL_AS_TEXT} WHEN 'blob' THEN {REFUSED} END"
)
TEXT_ONLY = f"CASE WHEN typeof({{c}}) IN ('text', 'null') THEN {{c}} ELSE {REFUSED} END"
AS_BLOB = (
    "CASE typeof({c}) WHEN 'blob' THEN {c} WHEN 'text' THEN CAST({c} AS BLOB)"
    f" WHEN 'integer' THEN {REFUSED} WHEN 'real' THEN {REFUSED} END"
)
BYTES = f"CAST(({AS_TEXT.replace(REFUSED, '{c}')}) AS BLOB)"
BLOB_OR_TEXT = (
    "CASE typeof({c}) WHEN 'text' THEN {c} WHEN 'blob' THEN '\\x' || hex({c})"
    f" WHEN 'integer' THEN {REFUSED} WHEN 'real' THEN {REFUSED} END"
)
INEXACT = f"(typeof({{c}}) = 'integer' AND {{c}} COLLATE BINARY NOT BETWEEN -{EXACT} AND {EXACT})"
AS_REAL = f"CASE WHEN {INEXACT} THEN {REFUSED} ELSE {{c}} END"
JULIAN = f"CASE WHEN typeof({{c}}) IN ('text', 'blob') THEN {REFUSED} ELSE strftime('%Y-%m-%d %H:%M:%f', {{c}}) END"

SENTINELS = {"integer": "0", "real": "0.5", "text": "''", "blob": "x''"}  # the first row, which types the columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Of one column. `carried` is the class that comes; `takes` are the classes that are not refused."""

    name: str
    expression: str
    carried: str
    takes: tuple[str, ...]
    type: Any  # pa.DataType of the batches
    turn: Turn | None = None
    also: str = ""  # what else is refused
    source: str = ""  # the column in SQL

    @property
    def offends(self) -> str:
        """True for what is certainly refused: {c} is the column."""
        known = ", ".join(f"'{k}'" for k in (*self.takes, "null"))
        refused = [f"typeof({{c}}) NOT IN ({known})"]
        refused += [INEXACT] if self.carried == "real" else []
        refused += [self.also] if self.also else []
        return f"({' OR '.join(refused)})"


def loosely(forms: Sequence[Form]) -> list[Form]:
    """The same with NULL for what is certainly refused, and behind them one that tells of it: place, class, value.

    SQLite's own quote() is the shortest way to spell a value of any class.
    """
    cases = " ".join(
        f"WHEN {f.offends.replace('{c}', f.source)} THEN '{n} ' || typeof({f.source}) || ' ' || quote({f.source})"
        for n, f in enumerate(forms)
    )
    read = [
        replace(f, expression=f"CASE WHEN {f.offends.replace('{c}', f.source)} THEN NULL ELSE {f.expression} END")
        for f in forms
    ]
    telling = f"CASE {cases} END"
    return [*read, Form(name="", expression=telling, carried="text", takes=("text",), type=_arrow().string())]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A PostgreSQL type, taken apart."""

    base: str
    arguments: tuple[int, ...]


def wanted(pg_type: str) -> Wanted:
    """ "numeric(10,2)", "timestamp(3) with time zone", "text[]" """
    match = _TYPE.match(pg_type.strip())
    if match is None:
        return Wanted(pg_type, ())
    base = f"{match['base']} {match['after']}" if match["after"] else match["base"]
    return Wanted(base, tuple(int(a) for a in (match["args"] or "").split(",") if a.strip()))


CHARACTERS = frozenset({"character varying", "varchar", "character", "char"})
INTEGERS = {"smallint": "int16", "integer": "int32", "bigint": "int64"}


def form(column: ReadColumn, seen: Look) -> Form:
    """What comes for a column in which `seen` was found. What was not seen is read if it fits, else refused by name."""
    source = f"({column.expression})" if column.expression else quoted(column.name)
    it = wanted(column.pg_type)
    if column.encoding:
        return _made(column, source, BYTES, "blob", ("integer", "real", "text", "blob"), _arrow().binary())
    if is_vector(column.pg_type) and (vector := _vector(column, source, seen)) is not None:
        return vector
    for known, make in _MAKERS.items():
        if it.base in known and (made := make(column, source, it, seen)) is not None:
            return made
    return _text(column, source, it, seen)


def _made(
    column: ReadColumn,
    source: str,
    expression: str,
    carried: str,
    takes: tuple[str, ...],
    kind: Any,
    turn: Turn | None = None,
    also: str = "",
) -> Form:
    return Form(
        name=column.name,
        expression=expression.replace("{c}", source),
        carried=carried,
        takes=takes,
        type=kind,
        turn=turn,
        also=also,
        source=source,
    )


def _text(column: ReadColumn, source: str, it: Wanted, seen: Look) -> Form:
    """A string: the target reads it, or refuses it. What it would cut or round in silence is refused here."""
    string = _arrow().string()
    known = seen.classes == {"text"}
    expression, takes = (TEXT_ONLY, ("text",)) if known else (AS_TEXT, ("text", "integer", "real"))
    if it.base in CHARACTERS and it.arguments:
        return _made(column, source, expression, "text", takes, string, _no_longer(it.arguments[0]))
    if (too_much := _too_much(it)) is None:
        return _made(column, source, expression, "text", takes, string)
    guarded = f"CASE WHEN {too_much} THEN {REFUSED} ELSE {expression} END"
    return _made(column, source, guarded, "text", takes, string, also=too_much)


def _too_much(it: Wanted) -> str | None:
    """True for texts of which the target would take only a part: digits of a second."""
    if it.base.startswith("time"):
        first = it.arguments[0] if it.arguments else 6
        digits = [f"{{c}} GLOB '*.{'[0-9]' * n}[1-9]*'" for n in range(first, 10)]
        return f"(typeof({{c}}) = 'text' AND ({' OR '.join(digits)}))"
    return None


def _integer(column: ReadColumn, source: str, it: Wanted, seen: Look) -> Form | None:
    if not seen.classes <= {"integer"}:
        return None
    kind = getattr(_arrow(), INTEGERS[it.base])()
    return _made(column, source, "{c}", "integer", ("integer",), kind, None if it.base == "bigint" else _to(kind))


def _double(column: ReadColumn, source: str, _it: Wanted, seen: Look) -> Form | None:
    if not seen.classes <= {"integer", "real"}:
        return None
    return _made(column, source, AS_REAL, "real", ("integer", "real"), _arrow().float64())


def _float(column: ReadColumn, source: str, _it: Wanted, seen: Look) -> Form | None:
    if not seen.classes <= {"integer", "real"}:
        return None
    return _made(column, source, AS_REAL, "real", ("integer", "real"), _arrow().float32(), _to_float)


def _numeric(column: ReadColumn, source: str, it: Wanted, seen: Look) -> Form | None:
    """With a scale: cast here, where a digit too many is refused; the target would round it."""
    arrow = _arrow()
    precision, scale = (*it.arguments, 0, 0)[:2]
    if not it.arguments or not 0 <= scale <= precision <= 76:
        return None
    narrow = precision <= 38
    kind = arrow.decimal128(precision, scale) if narrow else arrow.decimal256(precision, scale)
    come = kind if narrow else arrow.string()  # of the larger ones the target takes digits
    if seen.classes == {"integer"} and scale <= 19 and narrow:
        wide = arrow.decimal128(38, scale)
        return _made(column, source, "{c}", "integer", ("integer",), come, lambda a: a.cast(wide).cast(kind))
    if seen.classes <= {"integer", "real"} and max(abs(seen.low or 0), abs(seen.high or 0)) <= EXACT:
        # The shortest digits of a double are its value as anybody would write it.
        takes = ("integer", "real")
        return _made(
            column, source, AS_REAL, "real", takes, come, lambda a: a.cast(arrow.string()).cast(kind).cast(come)
        )
    return _made(column, source, AS_TEXT, "text", ("text", "integer", "real"), come, lambda a: a.cast(kind).cast(come))


def _boolean(column: ReadColumn, source: str, _it: Wanted, seen: Look) -> Form | None:
    if not seen.classes <= {"integer"}:
        return None
    return _made(column, source, "{c}", "integer", ("integer",), _arrow().bool_(), _to_bool)


def _bytes(column: ReadColumn, source: str, _it: Wanted, _seen: Look) -> Form:
    return _made(column, source, AS_BLOB, "blob", ("text", "blob"), _arrow().binary())


def _vector(column: ReadColumn, source: str, seen: Look) -> Form | None:
    r"""Blobs as they are; where there are texts among them, \x and digits tell them from those."""
    if seen.classes == {"blob"}:
        only = f"CASE WHEN typeof({{c}}) IN ('blob', 'null') THEN {{c}} ELSE {REFUSED} END"
        return _made(column, source, only, "blob", ("blob",), _arrow().binary())
    if "blob" not in seen.classes:
        return None
    return _made(column, source, BLOB_OR_TEXT, "text", ("text", "blob"), _arrow().string())


def _date(column: ReadColumn, source: str, _it: Wanted, seen: Look) -> Form | None:
    day = _arrow().date32()
    if seen.classes == {"text"} and seen.text == seen.day + seen.moment == seen.day + seen.midnight:
        return _made(column, source, TEXT_ONLY, "text", ("text",), day, _to_date)
    return None


def _timestamp(column: ReadColumn, source: str, it: Wanted, seen: Look) -> Form | None:
    zoned = it.base.endswith("with time zone") or it.base == "timestamptz"
    kind = _arrow().timestamp("us", "UTC" if zoned else None)
    if seen.classes == {"integer"} and (unit := epoch(seen)):
        turn = _to_fraction(_from_epoch(1_000_000 // unit, kind), it)
        return _made(column, source, "{c}", "integer", ("integer",), kind, turn)
    if julian(seen):
        expression = JULIAN.replace("%f'", "%fZ'") if zoned else JULIAN
        return _made(column, source, expression, "text", ("integer", "real"), kind, _to_fraction(_to(kind), it))
    plain = seen.day + seen.moment == seen.text
    if seen.classes == {"text"} and (seen.zoned == seen.text if zoned else plain):
        return _made(column, source, TEXT_ONLY, "text", ("text",), kind, _to_fraction(_to(kind), it))
    return None


def _time(column: ReadColumn, source: str, it: Wanted, seen: Look) -> Form | None:
    if seen.classes != {"text"} or seen.clock != seen.text:
        return None
    kind = _arrow().time64("us")
    return _made(column, source, TEXT_ONLY, "text", ("text",), kind, _to_fraction(_to_time, it))


_MAKERS: dict[Any, Callable[[ReadColumn, str, Wanted, Look], Form | None]] = {
    frozenset(INTEGERS): _integer,
    frozenset({"double precision"}): _double,
    frozenset({"real"}): _float,
    frozenset({"numeric"}): _numeric,
    frozenset({"boolean"}): _boolean,
    frozenset({"bytea"}): _bytes,
    frozenset({"date"}): _date,
    frozenset({"timestamp", "timestamp without time zone", "timestamp with time zone", "timestamptz"}): _timestamp,
    frozenset({"time", "time without time zone"}): _time,
}


def _arrow() -> Any:
    import pyarrow  # noqa: PLC0415

    return pyarrow


def _to(kind: Any) -> Turn:
    return lambda array: array.cast(kind)


def _no_longer(most: int) -> Turn:
    """The target would cut spaces at the end. Counted here, for a whole batch: in SQL it costs a tenth of a reading."""

    def checked(array: pa.Array) -> pa.Array:
        import pyarrow.compute as pc  # noqa: PLC0415

        lengths = (pc.binary_length, pc.utf8_length)  # characters are at most as many as bytes, which are known at once
        if all((pc.max(length(array)).as_py() or 0) > most for length in lengths):
            raise ValueError("longer than the type holds")
        return array

    return checked


def _to_time(array: pa.Array) -> pa.Array:
    """There is no cast of strings to times: they are those of a day."""
    import pyarrow.compute as pc  # noqa: PLC0415

    moments = pc.binary_join_element_wise("1970-01-01", array, " ").cast(_arrow().timestamp("us"))
    return moments.cast(_arrow().time64("us"))


def _to_fraction(turn: Turn, it: Wanted) -> Turn:
    """Refuse what a timestamp(3) would round."""
    if not it.arguments or it.arguments[0] >= 6:
        return turn
    unit = 10 ** (6 - it.arguments[0])

    def checked(array: pa.Array) -> pa.Array:
        import pyarrow.compute as pc  # noqa: PLC0415

        found = turn(array)
        micros = found.cast(_arrow().int64())
        if not micros.equals(pc.multiply(pc.divide(micros, unit), unit)):
            raise ValueError("more digits than the type holds")
        return found

    return checked


def _to_float(array: pa.Array) -> pa.Array:
    """Only what a float4 holds exactly."""
    narrow = array.cast(_arrow().float32())
    if not narrow.cast(_arrow().float64()).equals(array):
        raise ValueError("more digits than real holds")
    return narrow


def _to_bool(array: pa.Array) -> pa.Array:
    import pyarrow.compute as pc  # noqa: PLC0415

    known = pc.min_max(array)
    low, high = known["min"].as_py(), known["max"].as_py()
    if low is not None and (low < 0 or high > 1):
        raise ValueError("neither 0 nor 1")
    return array.cast(_arrow().bool_())


def _to_date(array: pa.Array) -> pa.Array:
    """Days, and moments at midnight: the cast of any other moment is refused."""
    try:
        return array.cast(_arrow().date32())
    except ValueError:
        return array.cast(_arrow().timestamp("us")).cast(_arrow().date32())


def _from_epoch(factor: int, kind: Any) -> Turn:
    def turn(array: pa.Array) -> pa.Array:
        import pyarrow.compute as pc  # noqa: PLC0415

        return pc.multiply_checked(array, factor).cast(kind)

    return turn
