"""SQL Server for the contract: the stand-in of tests/tds, which speaks its protocol. It was never a real server."""

# ruff: noqa: E501 -- a table is easier to read in lines

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.contract import case
from tests.contract.case import Place, Probe
from tests.tds.endpoint import Endpoint
from tests.tds.stand_in import HANGS, Column, Index, Reference, Stand, Table

from pghaul.model.foreign import ReadColumn, Reading

FAT = 10_500  # bytes of a row
EXPRESSION = "CONVERT(varbinary(max), REPLICATE(CONVERT(varchar(max), 'x'), 10500))"
DAY = 864_000_000_000  # ticks of 100 ns
LAST = 3_652_058  # 9999-12-31
# Column: type, values as they travel, type that is proposed, and how they arrive.
MATRIX: dict[str, tuple[str, tuple[Any, ...], str, tuple[str | None, ...] | None]] = {
    "bits": ("bit", (1, 0, None), "boolean", ("t", "f", None)),
    "tiny": ("tinyint", (255, 0, None), "smallint", ("255", "0", None)),
    "small": ("smallint", (-32768, 32767, None), "smallint", ("-32768", "32767", None)),
    "ints": ("int", (-(2**31), 2**31 - 1, None), "integer", (str(-(2**31)), str(2**31 - 1), None)),
    "bigs": ("bigint", (-(2**63), 2**63 - 1, None), "bigint", (str(-(2**63)), str(2**63 - 1), None)),
    "decimals": ("decimal(38,10)", (Decimal("1234567890123456789012345678.0123456789"), Decimal("-0.0000000001"), None), "numeric(38,10)", ("1234567890123456789012345678.0123456789", "-0.0000000001", None)),
    "whole": ("decimal(38,0)", (Decimal(10**38 - 1), Decimal(-(10**38) + 1), None), "numeric(38,0)", (str(10**38 - 1), str(-(10**38) + 1), None)),
    "moneys": ("money", (Decimal("922337203685477.5807"), Decimal("-922337203685477.5808"), None), "numeric(19,4)", ("922337203685477.5807", "-922337203685477.5808", None)),
    "small_moneys": ("smallmoney", (Decimal("214748.3647"), Decimal("-214748.3648"), None), "numeric(10,4)", ("214748.3647", "-214748.3648", None)),
    "reals": ("real", (1.5, -3.4028234663852886e38, None), "real", ("1.5", "-3.4028234663852886e38", None)),
    "floats": ("float", (1.7976931348623157e308, 5e-324, 0.1), "double precision", ("1.7976931348623157e308", "5e-324", "0.1")),
    "days": ("date", (0, LAST, None), "date", ("0001-01-01", "9999-12-31", None)),
    "times": ("time(6)", (0, 86_399_999_999, None), "time without time zone", ("00:00:00", "23:59:59.999999", None)),
    "times7": ("time(7)", (DAY - 10, 10, None), "time without time zone", ("23:59:59.999999", "00:00:00.000001", None)),
    "times0": ("time(0)", (86_399, 0, None), "time(0) without time zone", ("23:59:59", "00:00:00", None)),
    "datetimes": ("datetime", ((-53_690, 0), (2_958_463, 25_919_999), None), "timestamp(3) without time zone", ("1753-01-01 00:00:00", "9999-12-31 23:59:59.997000", None)),
    "smalldatetimes": ("smalldatetime", ((0, 0), (65_535, 1_439), None), "timestamp(0) without time zone", ("1900-01-01 00:00:00", "2079-06-06 23:59:00", None)),
    "moments": ("datetime2(7)", ((0, 0), (DAY - 10, LAST), None), "timestamp without time zone", ("0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", None)),
    "moments3": ("datetime2(3)", ((0, 0), (86_399_999, LAST), None), "timestamp(3) without time zone", ("0001-01-01 00:00:00", "9999-12-31 23:59:59.999000", None)),
    "moments0": ("datetime2(0)", ((0, 0), (86_399, LAST), None), "timestamp(0) without time zone", ("0001-01-01 00:00:00", "9999-12-31 23:59:59", None)),
    "fine": ("datetime2(7)", ((1, 738_000), (DAY - 1, LAST), None), "timestamp without time zone", None),
    "fine_times": ("time(7)", (1, DAY - 1, None), "time without time zone", None),
    "instants": ("datetimeoffset(7)", ((0, 0, 840), (DAY - 10, LAST, -840), None), "timestamp with time zone", ("0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00", None)),
    "instants2": ("datetimeoffset(2)", ((0, 738_000, 330), (8_639_999, 738_000, -90), None), "timestamp(2) with time zone", ("2021-07-30 00:00:00+00", "2021-07-30 23:59:59.990000+00", None)),
    "texts": ("nvarchar(50)", ("", "é 한 😀 \x00", None), "character varying(50)", ("", "é 한 😀 \x00", None)),
    "long_texts": ("nvarchar(max)", ("x😀" * 30_000, "", None), "text", ("x😀" * 30_000, "", None)),
    "latin": ("varchar(20)", ("é€", "", None), "character varying(20)", ("é€", "", None)),
    "latin_max": ("varchar(max)", ("y" * 70_000, "", None), "text", ("y" * 70_000, "", None)),
    "korean": ("varchar(20)", ("한글", "가", None), "character varying(20)", ("한글", "가", None)),
    "chars": ("char(4)", ("ab  ", "    ", None), "character(4)", ("ab  ", "    ", None)),
    "nchars": ("nchar(4)", ("한  ", "    ", None), "character(4)", ("한  ", "    ", None)),
    "old_texts": ("text", ("téxt", "", None), "text", ("téxt", "", None)),
    "old_ntexts": ("ntext", ("n😀", "", None), "text", ("n😀", "", None)),
    "halves": ("nvarchar(10)", ("a\ud800b", None, None), "character varying(10)", None),
    "binaries": ("binary(4)", (b"\x00\x01\xfe\xff", bytes(4), None), "bytea", ("\\x0001feff", "\\x00000000", None)),
    "bytes": ("varbinary(max)", (bytes(range(256)) * 100, b"", None), "bytea", ("\\x" + (bytes(range(256)) * 100).hex(), "\\x", None)),
    "images": ("image", (b"\x00\xff", b"", None), "bytea", ("\\x00ff", "\\x", None)),
    "versions": ("timestamp", (b"\x00\x00\x00\x00\x00\x00\x07\xd1", bytes(8), None), "bytea", ("\\x00000000000007d1", "\\x0000000000000000", None)),
    "guids": ("uniqueidentifier", ("6f9619ff-8b86-d011-b42d-00c04fc964ff", "00000000-0000-0000-0000-000000000000", None), "uuid", ("6F9619FF-8B86-D011-B42D-00C04FC964FF", "00000000-0000-0000-0000-000000000000", None)),
    "documents": ("xml", ("<a b='é'>한</a>", "", None), "xml", ("<a b='é'>한</a>", "", None)),
    "paths": ("hierarchyid", ("/1/2.5/", "/", None), "text", ("/1/2.5/", "/", None)),
    "shapes": ("geography", ((4326, "POINT (1 2 3 4)"), (0, "POINT EMPTY"), None), "text", ("SRID=4326;POINT (1 2 3 4)", "SRID=0;POINT EMPTY", None)),
    "variants": ("sql_variant", (("money", Decimal("1.2345")), ("datetime2(7)", (DAY - 1, LAST)), None), "text", ("1.2345", "9999-12-31 23:59:59.9999999", None)),
    "variants2": ("sql_variant", (("nvarchar(5)", "é한"), ("varbinary(2)", b"\x01\xff"), ("float", 0.1)), "text", ("é한", "0x01FF", "1.0000000000000001e-01")),
    "parts": ("decimal(38,38)", (Decimal("0." + "9" * 38), Decimal("-1E-38"), None), "numeric(38,38)", ("0." + "9" * 38, "-0." + "0" * 37 + "1", None)),
    "numbers": ("numeric(1,0)", (Decimal(9), Decimal(-9), None), "numeric(1,0)", ("9", "-9", None)),
    "small_reals": ("real", (1.401298464324817e-45, -0.0, None), "real", ("1.401298464324817e-45", "-0.0", None)),
    "fine_instants": ("datetimeoffset(7)", ((1, 738_000, 0), (DAY - 1, LAST, 0), None), "timestamp with time zone", None),
    "korean_chars": ("char(6)", ("한글  ", "가가가", None), "character(6)", ("한글  ", "가가가", None)),
    "korean_max": ("varchar(max)", ("한글" * 20_000, "", None), "text", ("한글" * 20_000, "", None)),
    "korean_texts": ("text", ("똠방각하", "", None), "text", ("똠방각하", "", None)),
    "pairs": ("nchar(4)", ("😀😀", "a😀 ", None), "character(4)", ("😀😀", "a😀 ", None)),
    "planes": ("geometry", ((0, "POINT (-1.7976931348623157E+308 5E-324)"), (4326, "GEOMETRYCOLLECTION EMPTY"), None), "text", ("SRID=0;POINT (-1.7976931348623157E+308 5E-324)", "SRID=4326;GEOMETRYCOLLECTION EMPTY", None)),
    "vectors": ("vector(2)", ("[3.4028235e+38,-1.0000000e+00]", "[0.0000000e+00,1.0000000e-45]", None), "text", ("[3.4028235e+38,-1.0000000e+00]", "[0.0000000e+00,1.0000000e-45]", None)),
    "own": ("dbo_point", (b"\x00\xff" * 5_000, b"", None), "bytea", ("\\x" + "00ff" * 5_000, "\\x", None)),
    "variants3": ("sql_variant", (("uniqueidentifier", "6f9619ff-8b86-d011-b42d-00c04fc964ff"), ("bigint", -(2**63)), ("decimal(38,10)", Decimal("-0.0000000001"))), "text", ("6F9619FF-8B86-D011-B42D-00C04FC964FF", str(-(2**63)), "-0.0000000001")),
    "variants4": ("sql_variant", (("datetimeoffset(7)", (DAY - 1, LAST, -840)), ("date", LAST), ("time(7)", DAY - 1)), "text", ("9999-12-31 09:59:59.9999999 -14:00", "9999-12-31", "23:59:59.9999999")),
    "objects": ("json", ('{"a": 1}', "[]", None), "json", ('{"a": 1}', "[]", None)),
}  # fmt: skip
OVERRIDES: tuple[tuple[str, str, tuple[str | None, ...] | None], ...] = (
    ("fine", "text", ("2021-07-30 00:00:00.0000001", "9999-12-31 23:59:59.9999999", None)),
    ("fine_times", "text", ("00:00:00.0000001", "23:59:59.9999999", None)),
    ("instants", "text", ("0001-01-01 14:00:00.0000000 +14:00", "9999-12-31 09:59:59.9999990 -14:00", None)),
    ("moments", "timestamp(3) without time zone", None),
    ("moments0", "date", None),
    ("datetimes", "text", ("1753-01-01 00:00:00.000", "9999-12-31 23:59:59.997", None)),
    ("datetimes", "date", None),
    ("smalldatetimes", "text", ("1900-01-01 00:00:00", "2079-06-06 23:59:00", None)),
    ("days", "text", ("0001-01-01", "9999-12-31", None)),
    ("days", "timestamp without time zone", ("0001-01-01 00:00:00", "9999-12-31 00:00:00", None)),
    ("bigs", "integer", None),
    ("bigs", "double precision", None),
    ("bigs", "numeric(20,0)", (str(-(2**63)), str(2**63 - 1), None)),
    ("bigs", "text", (str(-(2**63)), str(2**63 - 1), None)),
    ("bits", "smallint", ("1", "0", None)),
    ("bits", "text", ("1", "0", None)),
    ("tiny", "boolean", ("255", "0", None)),
    ("decimals", "numeric", ("1234567890123456789012345678.0123456789", "-0.0000000001", None)),
    ("decimals", "numeric(20,2)", None),
    ("decimals", "text", ("1234567890123456789012345678.0123456789", "-0.0000000001", None)),
    ("decimals", "numeric(50,20)", ("1234567890123456789012345678.0123456789", "-0.0000000001", None)),
    ("whole", "bigint", None),
    ("moneys", "text", ("922337203685477.5807", "-922337203685477.5808", None)),
    ("floats", "real", None),
    ("reals", "double precision", ("1.5", "-3.4028234663852886e38", None)),
    ("floats", "text", ("1.7976931348623157e+308", "5e-324", "0.1")),
    ("versions", "bigint", ("2001", "0", None)),
    ("versions", "text", ("0x00000000000007D1", "0x0000000000000000", None)),
    ("guids", "text", ("6F9619FF-8B86-D011-B42D-00C04FC964FF", "00000000-0000-0000-0000-000000000000", None)),
    ("fine_instants", "text", ("2021-07-30 00:00:00.0000001 +00:00", "9999-12-31 23:59:59.9999999 +00:00", None)),
    ("parts", "numeric(38,37)", None),
    ("moneys", "numeric(19,2)", None),
    ("guids", "bytea", ("\\x6f9619ff8b86d011b42d00c04fc964ff", "\\x" + "00" * 16, None)),
    ("texts", "bytea", ("\\x", "\\x" + "é 한 😀 \x00".encode("utf-16-le").hex(), None)),
)


class SQLServerPlace(Place):
    """One endpoint."""

    engine = "sqlserver"
    password = "Secret-7"
    schema = "dbo"
    widest = 1_024  # of a table without sparse columns

    def __init__(self, endpoint: Endpoint, stand: Stand, words: str) -> None:
        self._stand = stand
        self.url = f"sqlserver://sa@127.0.0.1:{endpoint.port}/shop?encrypt=no{words}"
        self.probes = (
            *(Probe(table="matrix", column=n, expected=e, proposed=p) for n, (_, _, p, e) in MATRIX.items()),
            *(Probe(table="matrix", column=c, pg_type=p, expected=e) for c, p, e in OVERRIDES),
            Probe(table="matrix", column="korean", pg_type="text", encoding="cp949", expected=("한글", "가", None)),
        )
        self.unasked = {"rowversion": "the catalogue calls it timestamp", "a clr type of its own": "dbo_point is one"}

    def above(self, column: str, value: int) -> str:
        return f"[{column}] > {value}"

    def fat(self) -> Reading:
        column = ReadColumn(name="x", native="varbinary(max)", pg_type="bytea", expression=EXPRESSION)
        return Reading(table=self.name("fat"), columns=(column,))

    def slow(self) -> Reading:
        column = ReadColumn(name="id", native="int", pg_type="integer")
        return Reading(table=self.name(case.CHANGING), columns=(column,), where=HANGS)

    def change(self) -> bool:
        if self._stand.read_only:
            return False
        self._stand.add(case.CHANGING, (1000, None, "more"))
        return True

    def vanish(self) -> None:
        self._stand.drop(case.VANISHING)


def page(column: str) -> str:
    """The code page of its collation."""
    return "cp949" if column.startswith("korean") else "cp1252"


def tables() -> list[Table]:
    """Those of the contract."""
    key = Index(name="pk", columns=("id",), type=1, unique=True, primary=True)
    id_ = Column(name="id", native="int", not_null=True)
    three = (id_, Column(name="half", native="int"), Column(name="word", native="nvarchar(50)"))
    made = [
        Table(name=name, columns=three, rows=list(rows), indexes=(key,))
        for name, rows in (
            (case.NUMBERS, case.number_rows()),
            (case.EMPTY, []),
            (case.CHANGING, case.number_rows(10)),
            (case.VANISHING, []),
        )
    ]
    made += [
        Table(name=case.LOOSE, columns=(Column(name="nr", native="int"), Column(name="word", native="nvarchar(20)")), rows=list(case.loose_rows())),
        Table(
            name=case.PARENT,
            columns=(id_, Column(name="code", native="varchar(10)", not_null=True)),
            indexes=(key, Index(name="uq", columns=("code",), unique=True, constraint=True)),
        ),
        Table(
            name=case.CHILD,
            columns=(id_, Column(name="parent_id", native="int")),
            indexes=(key, Index(name="ix", columns=("parent_id",))),
            references=(Reference(name="fk", columns=("parent_id",), table=case.PARENT, referenced=("id",), on_delete="CASCADE"),),
        ),
        Table(name=case.WIDE, columns=tuple(Column(name=f"c{i}", native="smallint") for i in range(1_024)), rows=[tuple(i % 100 for i in range(1_024))]),
        Table(name="fat", columns=(id_,), repeated=20_000),
        Table(
            name="matrix",
            columns=(id_, *(Column(name=n, native=k, page=page(n)) for n, (k, *_) in MATRIX.items())),
            rows=[(i, *(values[i] for _, values, *_ in MATRIX.values())) for i in range(3)],
            indexes=(key,),
        ),
    ]  # fmt: skip
    return made + [Table(name=n, columns=(Column(name=n, native="int"),), rows=[(1,)]) for n in case.ODD]


@contextmanager
def _place(words: str, **options: Any) -> Iterator[Place]:
    pytest.importorskip("pymssql")
    stand = Stand(tables(), expressions={EXPRESSION: ("varbinary(max)", b"x" * FAT)}, **options)
    with Endpoint(stand.answers) as endpoint:
        yield SQLServerPlace(endpoint, stand, words)


@contextmanager
def statements(_folder: Path) -> Iterator[Place]:
    """As it is by default: each statement sees one moment."""
    with _place("") as place:
        yield place


PLACES: tuple[Callable[[Path], AbstractContextManager[Place]], ...] = (statements,)
