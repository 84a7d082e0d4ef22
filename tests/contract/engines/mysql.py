"""MySQL for the contract: a MariaDB server; who holds a source there keeps writers waiting."""

# ruff: noqa: E501 -- a table is easier to read in lines

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import MappingProxyType

import pymysql
from tests import mariadb
from tests.contract import case
from tests.contract.case import Place, Probe

from pghaul.model.foreign import ReadColumn, Reading

# Column: type, values as SQL, type that is proposed, and how they arrive; NULL is added to each.
Values = tuple[str, ...]
MATRIX: dict[str, tuple[str, Values, str, Values]] = {
    "tiny": ("tinyint", ("-128", "127"), "smallint", ("-128", "127")),
    "utiny": ("tinyint unsigned", ("0", "255"), "smallint", ("0", "255")),
    "yes": ("tinyint(1)", ("0", "1"), "boolean", ("f", "t")),
    "perhaps": ("tinyint(1)", ("2", "0"), "smallint", ("2", "0")),
    "small": ("smallint", ("-32768", "32767"), "smallint", ("-32768", "32767")),
    "usmall": ("smallint unsigned", ("65535",), "integer", ("65535",)),
    "medium": ("mediumint", ("-8388608", "8388607"), "integer", ("-8388608", "8388607")),
    "umedium": ("mediumint unsigned", ("16777215",), "integer", ("16777215",)),
    "n": ("int", (str(-(2**31)), str(2**31 - 1)), "integer", (str(-(2**31)), str(2**31 - 1))),
    "un": ("int unsigned", ("4294967295", "7"), "bigint", ("4294967295", "7")),
    "filled": ("int(5) unsigned zerofill", ("42",), "bigint", ("42",)),
    "big": ("bigint", (str(-(2**63)), str(2**63 - 1)), "bigint", (str(-(2**63)), str(2**63 - 1))),
    "ubig": ("bigint unsigned", ("0", str(2**64 - 1)), "numeric(20,0)", ("0", str(2**64 - 1))),
    "ubig2": ("bigint unsigned", ("0", str(2**63 - 1)), "bigint", ("0", str(2**63 - 1))),
    "price": ("decimal(10,2)", ("-99999999.99", "0.01"), "numeric(10,2)", ("-99999999.99", "0.01")),
    "fine": ("decimal(38,38)", ("0." + "9" * 38,), "numeric(38,38)", ("0." + "9" * 38,)),
    "huge": ("decimal(65,30)", ("-" + "9" * 35 + "." + "9" * 30, "1"), "numeric(65,30)", ("-" + "9" * 35 + "." + "9" * 30, "1")),
    "whole": ("decimal(65,0)", ("9" * 65,), "numeric(65,0)", ("9" * 65,)),
    "f": ("float", ("3.4028234663852886e38", "0.1"), "real", ("3.4028234663852886e38", "0.10000000149011612")),
    "d": ("double", ("1.7976931348623157e308", "5e-324"), "double precision", ("1.7976931348623157e308", "5e-324")),
    "bit1": ("bit(1)", ("0", "1"), "boolean", ("f", "t")),
    "bit10": ("bit(10)", ("513", "0"), "bit(10)", ("1000000001", "0000000000")),
    "bit64": ("bit(64)", (str(2**64 - 1), "1"), "bit(64)", ("1" * 64, "0" * 63 + "1")),
    "y": ("year", ("0", "1901", "2155"), "smallint", ("0", "1901", "2155")),
    "day": ("date", ("'1000-01-01'", "'9999-12-31'"), "date", ("1000-01-01", "9999-12-31")),
    "zero": ("date", ("'0000-00-00'", "'2024-00-10'", "'2024-02-31'"), "date", ()),
    "dt": ("datetime", ("'1000-01-01'", "'9999-12-31 23:59:59'"), "timestamp(0) without time zone", ("1000-01-01 00:00:00", "9999-12-31 23:59:59")),
    "dt6": ("datetime(6)", ("'1969-12-31 23:59:59.999999'",), "timestamp(6) without time zone", ("1969-12-31 23:59:59.999999",)),
    "ts": ("timestamp(6) NULL", ("'1970-01-01 00:00:01.000001'", "'2038-01-19 03:14:07.999999'"), "timestamp(6) with time zone", ("1970-01-01 00:00:01.000001+00", "2038-01-19 03:14:07.999999+00")),
    "zerots": ("timestamp NULL", ("0",), "timestamp(0) with time zone", ()),
    "t6": ("time(6)", ("'00:00:00'", "'23:59:59.999999'"), "time(6) without time zone", ("00:00:00", "23:59:59.999999")),
    "span": ("time", ("'-838:59:59'", "'838:59:59'"), "interval", ("-838:59:59", "838:59:59")),
    "span6": ("time(6)", ("'-838:59:59.999999'", "'838:59:59.999999'", "'-00:00:00.000001'"), "interval", ("-838:59:59.999999", "838:59:59.999999", "-00:00:00.000001")),
    "dt3": ("datetime(3)", ("'1000-01-01 00:00:00.001'", "'9999-12-31 23:59:59.999'"), "timestamp(3) without time zone", ("1000-01-01 00:00:00.001000", "9999-12-31 23:59:59.999000")),
    "ts0": ("timestamp NULL", ("'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'"), "timestamp(0) with time zone", ("1970-01-01 00:00:01+00", "2038-01-19 03:14:07+00")),
    "uprice": ("decimal(65,30) unsigned", ("9" * 35 + "." + "9" * 30, "1e-30"), "numeric(65,30)", ("9" * 35 + "." + "9" * 30, "0." + "0" * 29 + "1")),
    "uf": ("float(7,4) unsigned", ("999.9999", "0.0001"), "real", ("999.9998779296875", "0.00009999999747378752")),
    "d53": ("double(53,2)", ("-99999999999999.98", "0.01"), "double precision", ("-99999999999999.98", "0.01")),
    "small_d": ("double", ("-5e-324", "2.2250738585072014e-308"), "double precision", ("-5e-324", "2.2250738585072014e-308")),
    "f0": ("float", ("1.401298464324817e-45", "-3.4028234663852886e38"), "real", ("1.401298464324817e-45", "-3.4028234663852886e38")),
    "bit33": ("bit(33)", (str(2**33 - 1), "0"), "bit(33)", ("1" * 33, "0" * 33)),
    "c5": ("char(5)", ("'ab   '", "''"), "character varying(5)", ("ab", "")),
    "c0": ("char(0)", ("''",), "text", ("",)),
    "vc": ("varchar(20)", ("'한글😀'", "'a  '", "'a\\0b'"), "character varying(20)", ("한글😀", "a  ", "a\x00b")),
    "latin": ("varchar(20) character set latin1", ("'é€'", "x'81'"), "character varying(20)", ("é€", "\x81")),
    "korean": ("varchar(20) character set euckr", ("'한글'", "x'b0a1'"), "character varying(20)", ("한글", "가")),
    "u16": ("varchar(20) character set utf16", ("'한글😀'",), "character varying(20)", ("한글😀",)),
    "wrong": ("varchar(20) character set latin1", (f"x'{'한글'.encode().hex()}'",), "character varying(20)", ("í•œê¸€",)),
    "cp949": ("text character set latin1", (f"x'{'똠방'.encode('cp949').hex()}'", "''"), "text", ("\x8cc¹æ".replace("\x8c", "Œ"), "")),
    "tt": ("tinytext", ("REPEAT('é', 127)",), "text", ("é" * 127,)),
    "tx": ("text", ("REPEAT('x', 65535)", "''"), "text", ("x" * 65_535, "")),
    "mt": ("mediumtext", ("REPEAT('한', 70000)",), "text", ("한" * 70_000,)),
    "lt": ("longtext", ("REPEAT('é', 100000)",), "text", ("é" * 100_000,)),
    "b3": ("binary(3)", ("x'00ff'",), "bytea", ("\\x00ff00",)),
    "vb": ("varbinary(3)", ("x'00ff'", "''"), "bytea", ("\\x00ff", "\\x")),
    "tb": ("tinyblob", ("REPEAT(x'00', 255)",), "bytea", ("\\x" + "00" * 255,)),
    "bl": ("blob", ("REPEAT(x'ff', 65535)", "''"), "bytea", ("\\x" + "ff" * 65_535, "\\x")),
    "mb": ("mediumblob", ("REPEAT(x'fe', 70000)",), "bytea", ("\\x" + "fe" * 70_000,)),
    "lb": ("longblob", ("REPEAT(x'fe', 70000)",), "bytea", ("\\x" + "fe" * 70_000,)),
    "guid": ("binary(16)", ("x'123e4567e89b12d3a456426655440000'",), "bytea", ("\\x123e4567e89b12d3a456426655440000",)),
    "e": ("enum('a','it''s','')", ("'it''s'", "''"), "text", ("it's", "")),
    "st": ("set('a','b\"\\\\')", ("'a,b\"\\\\'", "''"), "text[]", ('{"a","b\\"\\\\"}', "{}")),
    "js": ("json", ('\'{"a": 12345678901234567890.5}\'',), "jsonb", ('{"a": 12345678901234567890.5}',)),
    "geo": ("geometry", ("ST_GeomFromText('POINT(0.1 2)', 4326)", "ST_GeomFromText('LINESTRING(0 0,1e-7 3)')"), "text", ("SRID=4326;POINT(0.1 2)", "LINESTRING(0 0,0.0000001 3)")),
    "set64": (f"set({','.join(repr(f'm{i}') for i in range(64))})", (str(2**64 - 1), str(2**63)), "text[]", ("{" + ",".join(f'"m{i}"' for i in range(64)) + "}", '{"m63"}')),
    "ek": ("enum('가','나 ','x,y') character set euckr", ("'나 '", "3"), "text", ("나", "x,y")),
    "pt": ("point", ("ST_GeomFromText('POINT(-1.5 1e300)')",), "text", ("POINT(-1.5 1e300)",)),
    "ls": ("linestring", ("ST_GeomFromText('LINESTRING(0 0,1 1)', 4326)",), "text", ("SRID=4326;LINESTRING(0 0,1 1)",)),
    "pl": ("polygon", ("ST_GeomFromText('POLYGON((0 0,9 0,9 9,0 0),(1 1,2 1,2 2,1 1))')",), "text", ("POLYGON((0 0,9 0,9 9,0 0),(1 1,2 1,2 2,1 1))",)),
    "mp": ("multipoint", ("ST_GeomFromText('MULTIPOINT(0 0,1 1)')",), "text", ("MULTIPOINT(0 0,1 1)",)),
    "ml": ("multilinestring", ("ST_GeomFromText('MULTILINESTRING((0 0,1 1),(2 2,3 3))')",), "text", ("MULTILINESTRING((0 0,1 1),(2 2,3 3))",)),
    "mg": ("multipolygon", ("ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))')",), "text", ("MULTIPOLYGON(((0 0,1 0,1 1,0 0)))",)),
    "gc": ("geometrycollection", ("ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))')",), "text", ("GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))",)),
    "ip6": ("inet6", ("'::ffff:1.2.3.4'",), "inet", ("::ffff:1.2.3.4",)),
    "ip4": ("inet4", ("'1.2.3.4'",), "inet", ("1.2.3.4",)),
    "u": ("uuid", ("'123e4567-e89b-12d3-a456-426655440000'",), "uuid", ("123e4567-e89b-12d3-a456-426655440000",)),
}  # fmt: skip
# A text in every character set that a server has letters for.
WORDS = {
    "ascii": "plain", "utf8mb3": "한글é", "utf8mb4": "한글😀", "ucs2": "한é", "utf16le": "한😀", "utf32": "한😀",
    "latin2": "žluť", "latin5": "ğüş", "latin7": "žąė", "cp1250": "žluť", "cp1251": "Привет", "cp1256": "سلام",
    "cp1257": "žąė", "cp850": "éßÇ", "cp852": "žluť", "cp866": "Привет", "koi8r": "Привет", "koi8u": "Ґанок",
    "greek": "Ωμέγα", "hebrew": "שלום", "tis620": "ไทย", "sjis": "日本語ｶﾅ", "cp932": "日本語①", "ujis": "日本語",
    "eucjpms": "日本語①", "gb2312": "中文", "gbk": "中文", "big5": "中文字", "euckr": "똘똘이", "macroman": "éßÇ",
    "macce": "žluť", "keybcs2": "žluť", "armscii8": "Հայ", "geostd8": "აბგ", "dec8": "éß", "hp8": "éß", "swe7": "ÅÄÖ",
}  # fmt: skip
MATRIX |= {
    f"in_{charset}": (f"varchar(20) character set {charset}", (f"'{word}'", "''"), "character varying(20)", (word, ""))
    for charset, word in WORDS.items()
}
# Overrides of a plan: what arrives, or None where it has to be refused.
OVERRIDES: tuple[tuple[str, str, Values | None], ...] = (
    ("zero", "date", None),
    ("zero", "text", ("0000-00-00", "2024-00-10", "2024-02-31")),
    ("zerots", "timestamp(0) with time zone", None),
    ("zerots", "text", ("0000-00-00 00:00:00",)),
    ("perhaps", "boolean", None),
    ("perhaps", "integer", ("2", "0")),
    ("n", "text", (str(-(2**31)), str(2**31 - 1))),
    ("n", "smallint", None),
    ("un", "numeric(12,2)", ("4294967295", "7")),
    ("un", "numeric(5,2)", None),
    ("filled", "text", ("00042",)),
    ("ubig", "bigint", None),
    ("ubig", "text", ("0", str(2**64 - 1))),
    ("price", "text", ("-99999999.99", "0.01")),
    ("price", "numeric", ("-99999999.99", "0.01")),
    ("price", "numeric(9,1)", None),
    ("f", "double precision", ("3.4028234663852886e38", "0.10000000149011612")),
    ("f", "numeric", ("340282346638528860000000000000000000000", "0.10000000149011612")),
    ("bit10", "integer", ("513", "0")),
    ("bit10", "bytea", ("\\x0201", "\\x0000")),
    ("bit64", "bigint", None),
    ("y", "text", ("0000", "1901", "2155")),
    ("day", "text", ("1000-01-01", "9999-12-31")),
    ("dt6", "timestamp(6) with time zone", ("1969-12-31 23:59:59.999999+00",)),
    ("ts", "timestamp(6) without time zone", ("1970-01-01 00:00:01.000001", "2038-01-19 03:14:07.999999")),
    ("t6", "interval", ("00:00:00.000000", "23:59:59.999999")),
    ("span", "time(0) without time zone", None),
    ("latin", "bytea", ("\\xe980", "\\x81")),
    ("guid", "uuid", ("123E4567E89B12D3A456426655440000",)),
    ("st", "text", ('a,b"\\', "")),
    ("js", "text", ('{"a": 12345678901234567890.5}',)),
    ("u", "text", ("123e4567-e89b-12d3-a456-426655440000",)),
)
DEPTH = 3  # rows that have values; one more has none
WIDEST = 1017  # columns of an InnoDB table


class MySQLPlace(Place):
    """One database."""

    engine = "mysql"
    widest = WIDEST
    odd = tuple(n for n in case.ODD if "😀" not in n)  # names are of three bytes a character at most
    password = mariadb.PASSWORD
    unasked = MappingProxyType({"vector": "the server is older than the type"})

    def __init__(self, database: mariadb.MariaDatabase) -> None:
        self.database = database
        self.url = database.asking("consistency=snapshot").replace(
            database.server.url().split("@")[0] + "@", f"mysql://{mariadb.USER}@"
        )
        self.probes = (
            *(
                Probe(table="matrix", column=name, expected=_padded(expected), proposed=proposed)
                for name, (_, _, proposed, expected) in MATRIX.items()
                if expected
            ),
            *(
                Probe(table="matrix", column=c, pg_type=t, expected=expected and _padded(expected))
                for c, t, expected in OVERRIDES
            ),
            Probe(table="matrix", column="wrong", pg_type="text", encoding="utf-8", expected=_padded(("한글",))),
            Probe(table="matrix", column="cp949", pg_type="text", encoding="cp949", expected=_padded(("똠방", ""))),
        )

    def above(self, column: str, value: int) -> str:
        return f"`{column}` > {value}"

    def fat(self) -> Reading:
        column = ReadColumn(name="word", native="text", pg_type="text", expression="LPAD(id, 10500, ' ')")
        return Reading(table=self.name("fat"), columns=(column,))

    def slow(self) -> Reading:
        column = ReadColumn(name="id", native="int(11)", pg_type="integer")
        return Reading(table=self.name(case.CHANGING), columns=(column,), where="id = 1 AND SLEEP(200) < 0")

    def change(self) -> bool:
        try:
            self.database.run("SET lock_wait_timeout = 0", f"INSERT INTO {case.CHANGING} (word) VALUES ('more')")
        except pymysql.err.OperationalError:
            return False
        return True

    def vanish(self) -> None:
        self.database.run(f"DROP TABLE {case.VANISHING}")


def _padded(values: Values) -> tuple[str | None, ...]:
    return (*values, *[None] * (DEPTH + 1 - len(values)))


def quoted(name: str) -> str:
    """An identifier."""
    return "`" + name.replace("`", "``") + "`"


def fill(database: mariadb.MariaDatabase) -> None:
    """The tables of the contract."""
    with contextlib.closing(database.server.connect(database.name)) as session, session.cursor() as cursor:
        cursor.execute("SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00', autocommit = 0")
        columns = "(id int PRIMARY KEY AUTO_INCREMENT, half int, word text)"
        for table in (case.NUMBERS, case.EMPTY, case.CHANGING, case.VANISHING):
            cursor.execute(f"CREATE TABLE {table} {columns}")
        cursor.executemany(f"INSERT INTO {case.NUMBERS} VALUES (%s, %s, %s)", case.number_rows())
        cursor.executemany(f"INSERT INTO {case.CHANGING} VALUES (%s, %s, %s)", case.number_rows(10))
        cursor.execute(f"CREATE TABLE {case.LOOSE} (nr int, word text)")
        cursor.executemany(f"INSERT INTO {case.LOOSE} VALUES (%s, %s)", case.loose_rows())
        for statement in (
            "CREATE TABLE parent (id int PRIMARY KEY, code varchar(10) NOT NULL UNIQUE)",
            "CREATE TABLE child (id int PRIMARY KEY, parent_id int REFERENCES parent (id) ON DELETE CASCADE)",
            f"CREATE TABLE wide ({', '.join(f'c{i} smallint' for i in range(WIDEST))})",
            f"INSERT INTO wide VALUES ({', '.join(str(i % 100) for i in range(WIDEST))})",
            *(f"CREATE TABLE {quoted(n)} ({quoted(n)} int)" for n in MySQLPlace.odd),
            "CREATE TABLE fat (id int PRIMARY KEY) AS SELECT seq AS id FROM seq_1_to_20500",
            f"CREATE TABLE matrix (id int PRIMARY KEY, {', '.join(f'`{n}` {m[0]}' for n, m in MATRIX.items())})",
        ):
            cursor.execute(statement)
        for name in MySQLPlace.odd:
            cursor.execute(f"INSERT INTO {quoted(name)} VALUES (1)")
        for row in range(DEPTH + 1):
            values = [stored[row] if row < len(stored) else "NULL" for _, stored, *_ in MATRIX.values()]
            cursor.execute(f"INSERT INTO matrix VALUES ({row}, {', '.join(values)})")
        session.commit()


@contextmanager
def held(folder: Path) -> Iterator[Place]:
    """Where one moment is asked for."""
    with mariadb.shared() as server, mariadb.database(server) as database:
        fill(database)
        yield MySQLPlace(database)


PLACES: tuple[Callable[[Path], AbstractContextManager[Place]], ...] = (held,)
