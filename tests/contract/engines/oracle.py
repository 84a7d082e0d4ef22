"""Oracle for the contract: recorded answers behind the driver's own surface (tests/oracle). It was never a real server.

What a server and its driver answer is written as Oracle's and python-oracledb's documentation have it; the texts that
they are asked by stand beside it, so that a source which asks in other words has to be recorded anew.
"""

# ruff: noqa: E501 -- a table is easier to read in lines

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.contract import case
from tests.contract.case import Place, Probe
from tests.oracle import shadow
from tests.oracle.stand_in import HANGS, StandIn
from tests.oracle.tables import Column, Table, number, varchar2

from pghaul.model.foreign import ReadColumn, Reading

PASSWORD = "Tiger-77-x"
FAT = "TO_CLOB(RPAD('x', 4000, 'x')) || RPAD('x', 4000, 'x') || RPAD('x', 2500, 'x')"
Values = tuple[str | None, ...]
STRINGS, CLOB, BLOB, RAW = pa.string(), pa.large_string(), pa.large_binary(), pa.binary()
TM9 = "TO_CHAR({c}, 'TM9', 'NLS_NUMERIC_CHARACTERS=''.,''')"
DAY = "LTRIM(TO_CHAR({c}, 'SYYYY-MM-DD HH24:MI:SS'))"
FINE = "LTRIM(TO_CHAR({c}, 'SYYYY-MM-DD HH24:MI:SS.FF9'))"
UTC = "LTRIM(TO_CHAR(SYS_EXTRACT_UTC(CAST({c} AS TIMESTAMP(9) WITH TIME ZONE)), 'SYYYY-MM-DD HH24:MI:SS.FF9'))"
ZONED = "LTRIM(TO_CHAR({c}, 'SYYYY-MM-DD HH24:MI:SS.FF9 TZR'))"
SPAN = "CASE WHEN {c} IS NOT NULL THEN EXTRACT(DAY FROM {c}) || ' days ' || EXTRACT(HOUR FROM {c}) || ' hours ' || EXTRACT(MINUTE FROM {c}) || ' mins ' || TO_CHAR(EXTRACT(SECOND FROM {c}), 'TM9', 'NLS_NUMERIC_CHARACTERS=''.,''') || ' secs' END"
YEARS = "CASE WHEN {c} IS NOT NULL THEN EXTRACT(YEAR FROM {c}) || ' years ' || EXTRACT(MONTH FROM {c}) || ' mons' END"
PLACE = "CAST({c} AS VARCHAR2(4000))"
UUID = "LOWER(REGEXP_REPLACE(RAWTOHEX({c}), '^(.{8})(.{4})(.{4})(.{4})(.{12})$', '\\1-\\2-\\3-\\4-\\5'))"
EWKT = "CASE WHEN {c} IS NULL THEN NULL WHEN {c}.SDO_SRID IS NULL THEN SDO_UTIL.TO_WKTGEOMETRY({c}) ELSE TO_CLOB('SRID=' || {c}.SDO_SRID || ';') || SDO_UTIL.TO_WKTGEOMETRY({c}) END"
LARGE = "9" * 38 + "E+88"  # the largest of all that a NUMBER holds is 9.99…E125
DIGITS = "1234567890123456789012345678901234567.8"

# Column: the catalogue's facts, {expression: what the driver hands over of three rows}, type that is proposed, how they
# arrive (None: refused by name). A column of its own name stands for {c}.
Facts = dict[str, Any]
MATRIX: dict[str, tuple[Facts, dict[str, pa.Array], str, Values | None]] = {
    "n": ({"base": "NUMBER"}, {TM9: pa.array([LARGE, "-1E-130", None])}, "numeric", (LARGE, "-1E-130", None)),
    "n_parts": ({"base": "NUMBER"}, {TM9: pa.array([DIGITS, "-.5", "0"])}, "numeric", (DIGITS, "-0.5", "0")),
    "n4": ({"base": "NUMBER", "precision": 4, "scale": 0}, {"{c}": pa.array([Decimal(9999), Decimal(-9999), None], pa.decimal128(4, 0))}, "smallint", ("9999", "-9999", None)),
    "n9": ({"base": "NUMBER", "precision": 9, "scale": 0}, {"{c}": pa.array([Decimal(10**9 - 1), Decimal(1 - 10**9), None], pa.decimal128(9, 0))}, "integer", (str(10**9 - 1), str(1 - 10**9), None)),
    "n18": ({"base": "NUMBER", "precision": 18, "scale": 0}, {"{c}": pa.array([10**18 - 1, 1 - 10**18, None], pa.int64())}, "bigint", (str(10**18 - 1), str(1 - 10**18), None)),
    "n38": ({"base": "NUMBER", "precision": 38, "scale": 0}, {"{c}": pa.array([Decimal(10**38 - 1), Decimal(1 - 10**38), None], pa.decimal128(38, 0))}, "numeric(38,0)", (str(10**38 - 1), str(1 - 10**38), None)),
    "whole": ({"base": "NUMBER", "scale": 0}, {"{c}": pa.array([Decimal(10**38 - 1), Decimal(0), None], pa.decimal128(38, 0))}, "numeric(38,0)", (str(10**38 - 1), "0", None)),
    "price": ({"base": "NUMBER", "precision": 38, "scale": 10}, {"{c}": pa.array([Decimal("9" * 28 + "." + "9" * 10), Decimal("-0.0000000001"), None], pa.decimal128(38, 10))}, "numeric(38,10)", ("9" * 28 + "." + "9" * 10, "-0.0000000001", None)),
    "part": ({"base": "NUMBER", "precision": 38, "scale": 38}, {"{c}": pa.array([Decimal("0." + "9" * 38), Decimal("1E-38"), None], pa.decimal128(38, 38))}, "numeric(38,38)", ("0." + "9" * 38, "1E-38", None)),
    "rounded": ({"base": "NUMBER", "precision": 25, "scale": -2}, {TM9: pa.array(["9" * 25 + "00", "-100", None])}, "numeric(27,0)", ("9" * 25 + "00", "-100", None)),
    "tiny": ({"base": "NUMBER", "precision": 2, "scale": 5}, {TM9: pa.array([".00099", "-.00001", None])}, "numeric(5,5)", ("0.00099", "-0.00001", None)),
    "far": ({"base": "NUMBER", "precision": 38, "scale": 127}, {TM9: pa.array(["9.9E-90", "-1E-127", None])}, "numeric(127,127)", ("9.9E-90", "-1E-127", None)),
    "fl": ({"base": "FLOAT", "precision": 126}, {TM9: pa.array([LARGE, "-1E-130", ".1"])}, "numeric", (LARGE, "-1E-130", "0.1")),
    "f4": ({"base": "BINARY_FLOAT"}, {"{c}": pa.array([float("inf"), float("nan"), -3.4028234663852886e38], pa.float32())}, "real", ("inf", "nan", "-3.4028234663852886e38")),
    "f4s": ({"base": "BINARY_FLOAT"}, {"{c}": pa.array([1.401298464324817e-45, float("-inf"), None], pa.float32())}, "real", ("1.401298464324817e-45", "-inf", None)),
    "f8": ({"base": "BINARY_DOUBLE"}, {"{c}": pa.array([float("-inf"), float("nan"), 1.7976931348623157e308])}, "double precision", ("-inf", "nan", "1.7976931348623157e308")),
    "f8s": ({"base": "BINARY_DOUBLE"}, {"{c}": pa.array([5e-324, 0.1, None])}, "double precision", ("5e-324", "0.1", None)),
    "day": ({"base": "DATE"}, {DAY: pa.array(["0001-01-01 00:00:00", "9999-12-31 23:59:59", None])}, "timestamp(0) without time zone", ("0001-01-01 00:00:00", "9999-12-31 23:59:59", None)),
    "midnight": ({"base": "DATE"}, {DAY: pa.array(["0001-01-01 00:00:00", "9999-12-31 00:00:00", None])}, "timestamp(0) without time zone", ("0001-01-01 00:00:00", "9999-12-31 00:00:00", None)),
    "bc": ({"base": "DATE"}, {DAY: pa.array(["-4712-01-01 00:00:00", "2024-01-01 00:00:00", None])}, "timestamp(0) without time zone", None),
    "ts0": ({"base": "TIMESTAMP(0)"}, {FINE: pa.array(["0001-01-01 00:00:00.000000000", "9999-12-31 23:59:59.000000000", None])}, "timestamp(0) without time zone", ("0001-01-01 00:00:00", "9999-12-31 23:59:59", None)),
    "ts6": ({"base": "TIMESTAMP(6)"}, {FINE: pa.array(["0001-01-01 00:00:00.000001000", "9999-12-31 23:59:59.999999000", None])}, "timestamp without time zone", ("0001-01-01 00:00:00.000001", "9999-12-31 23:59:59.999999", None)),
    "ts9": ({"base": "TIMESTAMP(9)"}, {FINE: pa.array(["2024-02-29 00:00:00.123456789", "9999-12-31 23:59:59.999999999", None])}, "timestamp without time zone", None),
    "tz": ({"base": "TIMESTAMP(6) WITH TIME ZONE"}, {UTC: pa.array(["9999-12-31 23:59:59.999999000", "2024-07-01 03:00:00.500000000", None]), ZONED: pa.array(["9999-12-31 09:59:59.999999000 -14:00", "2024-07-01 12:00:00.500000000 ASIA/SEOUL", None])}, "timestamp with time zone", ("9999-12-31 23:59:59.999999+00", "2024-07-01 03:00:00.500000+00", None)),
    "ltz": ({"base": "TIMESTAMP(3) WITH LOCAL TIME ZONE"}, {UTC: pa.array(["9999-12-31 23:59:59.999000000", "0001-01-01 00:00:00.000000000", None])}, "timestamp(3) with time zone", ("9999-12-31 23:59:59.999000+00", "0001-01-01 00:00:00+00", None)),
    "tz9": ({"base": "TIMESTAMP(9) WITH TIME ZONE"}, {UTC: pa.array(["2024-02-29 00:00:00.123456789", None, None])}, "timestamp with time zone", None),
    "span": ({"base": "INTERVAL DAY(9) TO SECOND(6)"}, {SPAN: pa.array(["999999999 days 23 hours 59 mins 59.999999 secs", "-999999999 days -23 hours -59 mins -59.999999 secs", None])}, "interval", ("999999999 days 23 hours 59 mins 59.999999 secs", "-999999999 days -23 hours -59 mins -59.999999 secs", None)),
    "span9": ({"base": "INTERVAL DAY(2) TO SECOND(9)"}, {SPAN: pa.array(["0 days 0 hours 0 mins .000000001 secs", None, None])}, "interval", None),
    "years": ({"base": "INTERVAL YEAR(8) TO MONTH"}, {YEARS: pa.array(["99999999 years 11 mons", "-99999999 years -11 mons", None])}, "interval", ("99999999 years 11 mons", "-99999999 years -11 mons", None)),
    "c4": ({"base": "CHAR", "length": 16, "chars": 4, "used": "C"}, {"{c}": pa.array(["ab  ", "한글😀 ", None], STRINGS)}, "character(4)", ("ab  ", "한글😀 ", None)),
    "nc4": ({"base": "NCHAR", "length": 8, "chars": 4, "used": "C"}, {"{c}": pa.array(["é   ", "    ", None], STRINGS)}, "character(4)", ("é   ", "    ", None)),
    "vc": ({"base": "VARCHAR2", "length": 4000, "chars": 1000, "used": "C"}, {"{c}": pa.array(["😀" * 1000, "a\0b ", None], STRINGS)}, "character varying(1000)", ("😀" * 1000, "a\0b ", None)),
    "nothing": ({"base": "VARCHAR2", "length": 9, "chars": 9, "used": "B"}, {"{c}": pa.array([None, " ", None], STRINGS)}, "character varying(9)", (None, " ", None)),
    "nvc": ({"base": "NVARCHAR2", "length": 20, "chars": 10, "used": "C"}, {"{c}": pa.array(["한글😀", "é", None], STRINGS)}, "character varying(10)", ("한글😀", "é", None)),
    "clob": ({"base": "CLOB"}, {"{c}": pa.array(["한😀" * 40_000, "", None], CLOB)}, "text", ("한😀" * 40_000, "", None)),
    "nclob": ({"base": "NCLOB"}, {"{c}": pa.array(["n" * 70_000, "é", None], CLOB)}, "text", ("n" * 70_000, "é", None)),
    "long": ({"base": "LONG", "length": 0}, {"{c}": pa.array(["L" * 70_000, "é", None], CLOB)}, "text", ("L" * 70_000, "é", None)),
    "raw": ({"base": "RAW", "length": 2000}, {"{c}": pa.array([bytes(range(250)) * 8, b"\0", None], RAW)}, "bytea", ("\\x" + (bytes(range(250)) * 8).hex(), "\\x00", None)),
    "guid": ({"base": "RAW", "length": 16}, {"{c}": pa.array([bytes(16), b"\xff" * 16, None], RAW), UUID: pa.array(["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", None])}, "bytea", ("\\x" + "00" * 16, "\\x" + "ff" * 16, None)),
    "blob": ({"base": "BLOB"}, {"{c}": pa.array([b"\xfe" * 70_000, b"", None], BLOB)}, "bytea", ("\\x" + "fe" * 70_000, "\\x", None)),
    "long_raw": ({"base": "LONG RAW", "length": 0}, {"{c}": pa.array([b"\0\xff" * 40_000, b"\0", None], BLOB)}, "bytea", ("\\x" + "00ff" * 40_000, "\\x00", None)),
    "place": ({"base": "ROWID", "length": 10}, {PLACE: pa.array(["AAAR3sAAEAAAACXAAA", "AAAR3sAAEAAAACXAAB", None], STRINGS)}, "text", ("AAAR3sAAEAAAACXAAA", "AAAR3sAAEAAAACXAAB", None)),
    "uplace": ({"base": "UROWID", "length": 4000}, {PLACE: pa.array(["*BAEADkgCwQL+", "AAAR3sAAEAAAACXAAB", None], STRINGS)}, "text", ("*BAEADkgCwQL+", "AAAR3sAAEAAAACXAAB", None)),
    "doc": ({"base": "XMLTYPE", "owner": "SYS", "length": 2000}, {"XMLSERIALIZE(CONTENT {c} AS CLOB)": pa.array(["<a b='é'>한</a>", "<x/>", None], CLOB)}, "xml", ("<a b='é'>한</a>", "<x/>", None)),
    "js": ({"base": "JSON", "length": 8200}, {"JSON_SERIALIZE({c} RETURNING CLOB)": pa.array(['{"a":12345678901234567890.5}', "[]", None], CLOB)}, "jsonb", ('{"a":12345678901234567890.5}', "[]", None)),
    "yes": ({"base": "BOOLEAN", "length": 1}, {"{c}": pa.array([True, False, None])}, "boolean", ("t", "f", None)),
    "vec": ({"base": "VECTOR", "length": 8200}, {"FROM_VECTOR({c} RETURNING CLOB)": pa.array(["[3.40282347E+038,-1.0E+000]", "[0,0]", None], CLOB)}, "text", ("[3.40282347E+038,-1.0E+000]", "[0,0]", None)),
    "geo": ({"base": "SDO_GEOMETRY", "owner": "MDSYS", "length": 1}, {EWKT: pa.array(["SRID=4326;POINT (127.0 37.5)", "LINESTRING (0.0 0.0, 1.0 3.0)", None], CLOB)}, "text", ("SRID=4326;POINT (127.0 37.5)", "LINESTRING (0.0 0.0, 1.0 3.0)", None)),
    "bfile": ({"base": "BFILE", "length": 530}, {}, "text", None),
    "object": ({"base": "SHAPE", "owner": "HR", "length": 1}, {}, "text", None),
    "nested": ({"base": "PHONES", "owner": "HR", "length": 16}, {}, "text", None),
    "pointer": ({"base": "REF", "owner": "HR", "length": 50}, {}, "text", None),
    "any": ({"base": "ANYDATA", "owner": "SYS", "length": 1}, {}, "text", None),
    "text_uri": ({"base": "URITYPE", "owner": "SYS", "length": 1}, {}, "text", None),
    "interim": ({"base": "A_TYPE_OF_A_LATER_SERVER"}, {}, "text", None),
}  # fmt: skip
# Overrides of a plan: what arrives, or None where it has to be refused.
OVERRIDES: tuple[tuple[str, str, Values | None], ...] = (
    ("n", "bigint", None),
    ("n", "text", (LARGE, "-1E-130", None)),
    ("n_parts", "numeric(38,1)", (DIGITS, "-0.5", "0")),
    ("n_parts", "numeric(38,0)", None),
    ("n4", "numeric(10,2)", ("9999", "-9999", None)),
    ("n4", "numeric(3,0)", None),
    ("n4", "integer", ("9999", "-9999", None)),
    ("n9", "smallint", None),
    ("n18", "numeric(20,2)", (str(10**18 - 1), str(1 - 10**18), None)),
    ("n38", "bigint", None),
    ("f8", "real", None),
    ("f4", "double precision", ("inf", "nan", "-3.4028234663852886e38")),
    ("f4", "text", ("inf", "nan", "-3.4028235e+38")),
    ("bc", "text", ("-4712-01-01 00:00:00", "2024-01-01 00:00:00", None)),
    ("day", "date", None),
    ("midnight", "date", ("0001-01-01", "9999-12-31", None)),
    ("ts9", "text", ("2024-02-29 00:00:00.123456789", "9999-12-31 23:59:59.999999999", None)),
    ("ts6", "timestamp(3) without time zone", None),
    ("ts6", "date", None),
    ("tz", "text", ("9999-12-31 09:59:59.999999000 -14:00", "2024-07-01 12:00:00.500000000 ASIA/SEOUL", None)),
    ("span9", "text", ("0 days 0 hours 0 mins .000000001 secs", None, None)),
    ("guid", "uuid", ("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", None)),
    ("blob", "text", ("fe" * 70_000, "", None)),
    ("yes", "smallint", ("1", "0", None)),
    ("yes", "text", ("true", "false", None)),
)


class OraclePlace(Place):
    """One stand-in."""

    engine = "oracle"
    password = PASSWORD
    schema = "SHOP"
    widest = 1_000  # of a table; 4,096 from 23ai on, where it is set so
    odd = tuple(n for n in case.ODD if '"' not in n)  # no name has one

    def __init__(self, stand: StandIn, options: str = "") -> None:
        self.stand = stand
        self.url = f"oracle://shop@127.0.0.1:1521/shop{options}"
        said = "the catalogue calls it by another name of the list"
        self.unasked = {
            **dict.fromkeys(("integer", "real", "double precision"), said),
            **dict.fromkeys(("anydata", "ref", "types of your own"), "each by its name"),
        }
        self.probes = (
            *(Probe(table="matrix", column=n, expected=e, proposed=p) for n, (_, _, p, e) in MATRIX.items()),
            *(Probe(table="matrix", column=c, pg_type=p, expected=e) for c, p, e in OVERRIDES),
        )

    def above(self, column: str, value: int) -> str:
        return f't."{column}" > {value}'

    def fat(self) -> Reading:
        column = ReadColumn(name="x", native="CLOB", pg_type="text", expression=FAT)
        return Reading(table=self.name("fat"), columns=(column,))

    def slow(self) -> Reading:
        column = ReadColumn(name="id", native="NUMBER(9,0)", pg_type="integer")
        return Reading(table=self.name(case.CHANGING), columns=(column,), where=HANGS)

    def change(self) -> bool:
        self.stand.add(case.CHANGING, (1000, None, "more"))
        return True

    def vanish(self) -> None:
        self.stand.drop(case.VANISHING)


def matrix(*names: str) -> Table:
    """The type matrix, or some columns of it."""
    chosen = {n: MATRIX[n] for n in names or MATRIX}
    recorded = {
        expression.replace("{c}", f't."{name}"'): array
        for name, (_, answers, _, _) in chosen.items()
        for expression, array in answers.items()
    }
    return Table(
        name="matrix",
        columns=(number("id", 9, not_null=True), *(Column(name=n, **facts) for n, (facts, *_) in chosen.items())),
        rows=[(i, *(None for _ in chosen)) for i in range(3)],
        recorded=recorded,
        key="id",
    )


def tables(widest: int) -> list[Table]:
    """Those of the contract."""
    id_ = number("id", 9)
    three = (id_, number("half", 9), varchar2("word", 50))
    rows = {
        case.NUMBERS: case.number_rows(),
        case.EMPTY: [],
        case.CHANGING: case.number_rows(10),
        case.VANISHING: [],
    }
    made = [Table(name=name, columns=three, rows=[*values], key="id") for name, values in rows.items()]
    made += [
        Table(name=case.LOOSE, columns=(number("nr", 9), varchar2("word", 20)), rows=[*case.loose_rows()]),
        Table(name=case.PARENT, columns=(id_, varchar2("code", 10, not_null=True)), key="id", unique="code"),
        Table(name=case.CHILD, columns=(id_, number("parent_id", 9)), key="id", indexed="parent_id", points_to=case.PARENT),
        Table(name=case.WIDE, columns=tuple(number(f"c{i}", 4) for i in range(widest)), rows=[tuple(i % 100 for i in range(widest))]),
        Table(name="fat", columns=(id_,), repeated=20_000),
        matrix(),
    ]  # fmt: skip
    return made + [Table(name=n, columns=(number(n, 9),), rows=[(1,)]) for n in OraclePlace.odd]


def database() -> StandIn:
    """As the contract has it; also for a process that a test starts (tests/oracle/shadow)."""
    made = {FAT: ("DB_TYPE_CLOB", pa.scalar("x" * 10_500, CLOB))}
    return StandIn(tables=tables(OraclePlace.widest), password=PASSWORD, made=made)


@contextmanager
def looking_back(_folder: Path) -> Iterator[Place]:
    """With the privilege to read as of a moment."""
    pytest.importorskip("oracledb")
    stand = database()
    with shadow.driving(stand, f"{__name__}:{database.__name__}"):
        yield OraclePlace(stand)


@contextmanager
def statements(_folder: Path) -> Iterator[Place]:
    """Without."""
    pytest.importorskip("oracledb")
    stand = StandIn(tables=tables(3), password=PASSWORD, made=database().made, flashback=False)
    with shadow.driving(stand, f"{__name__}:{database.__name__}"):
        place = OraclePlace(stand)
        place.sizes, place.widest = False, 3
        yield place


PLACES: tuple[Callable[[Path], AbstractContextManager[Place]], ...] = (looking_back, statements)
