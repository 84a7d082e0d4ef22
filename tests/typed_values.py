"""One table per group of types, holding the values at which tools of this kind stumble; arrays, domains and
composites of every type are made from the same values.

A table's row i holds each column's i-th value; columns with fewer values are NULL there, and the last row is
NULL throughout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import TypeAlias

# group: column: (type, values)
Values: TypeAlias = Mapping[str, Mapping[str, tuple[str, Sequence[str]]]]

ALL_BYTES = "\\x" + bytes(range(256)).hex()
LONG = "0123456789abcdef" * 8192  # 128 KiB: in TOAST, and larger than one buffer when not compressed
EXTREMES = ["NaN", "Infinity", "-Infinity", "0", "-0"]
AGES = ["4713-01-01 BC", "0001-12-31 BC", "infinity", "-infinity", "1970-01-01"]
TEXTS = ["", " ", "\\", "\\N", "\\.", "\t", "a\r\nb\n", '"', "'", "NULL", "{}", "한글", "🐘", "\x7f", "\x01"]

VALUES: Values = {
    "numbers": {
        "i2": ("int2", ["-32768", "0", "32767"]),
        "i4": ("int4", ["-2147483648", "0", "2147483647"]),
        "i8": ("int8", ["-9223372036854775808", "0", "9223372036854775807", "4294967296"]),
        "f4": ("float4", [*EXTREMES, "0.1", "1e-45", "3.4028235e38", "16777216"]),
        "f8": ("float8", [*EXTREMES, "0.1", "5e-324", "1.7976931348623157e308", "0.30000000000000004"]),
        "n": (
            "numeric",
            ["NaN", "Infinity", "-Infinity", "0", "-0.00", "1.50", "9" * 1000, "0." + "0" * 999 + "1"],
        ),
        "n_10_2": ("numeric(10,2)", ["NaN", "-99999999.99", "0.005"]),
        "n_5__2": ("numeric(5,-2)", ["1250", "-9999900"]),
        "b": ("bool", ["t", "f"]),
        "m": ("money", ["-92233720368547758.08", "92233720368547758.07", "0", "-0.01"]),
    },
    "texts": {
        "t": ("text", [*TEXTS, LONG]),
        "v": ("varchar(9)", TEXTS),
        "v_any": ("varchar", TEXTS),
        "c": ("char(12)", [*TEXTS, "  blanks   "]),
        "c_any": ("bpchar", [*TEXTS, "  blanks   "]),
        "n": ("name", [*TEXTS, "x" * 63]),
        "byte": ('"char"', ["", "a", " ", "\\"]),
        "by": ("bytea", [ALL_BYTES, "", "\\x00", "\\x" + LONG]),
    },
    "times": {
        "d": ("date", [*AGES, "5874897-12-31", "4714-11-24 BC", "2024-02-29"]),
        "t": ("time", ["00:00", "24:00", "23:59:59.999999"]),
        "t_0": ("time(0)", ["24:00", "12:34:56"]),
        "tz": ("timetz", ["24:00:00+15:59", "00:00:00-15:59:59", "12:00+09"]),
        "ts": ("timestamp", [*AGES, "294276-12-31 23:59:59.999999", "2024-06-30 12:00:00.000001"]),
        "ts_3": ("timestamp(3)", ["2024-06-30 12:00:00.123"]),
        "tstz": ("timestamptz", [*AGES, "294276-12-31 23:59:59.999999+00", "2024-03-31 02:30 Europe/Berlin"]),
        "iv": (
            "interval",
            [
                "0",
                "178000000 years",
                "-178000000 years",
                "1 mon -1 day 00:00:01.5",
                "-0.000001 s",
                "24:00",
                "2562047788:00:54.775807",
            ],
        ),
        "iv_ym": ("interval year to month", ["-3 years -1 mon"]),
        "iv_3": ("interval(3)", ["1.234 s"]),
    },
    "bits": {
        "b": ("bit(1)", ["0", "1"]),
        "b10": ("bit(10)", ["0000000000", "1010101010"]),
        "vb": ("varbit", ["", "1" * 1001, "0"]),
        "vb3": ("varbit(3)", ["", "101"]),
    },
    "nets": {
        "i": ("inet", ["0.0.0.0/0", "192.168.1.5/24", "::ffff:1.2.3.4", "::/0", "fe80::1/64"]),
        "c": ("cidr", ["0.0.0.0/0", "10.0.0.0/8", "::/0", "2001:db8::/32"]),
        "m": ("macaddr", ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"]),
        "m8": ("macaddr8", ["08:00:2b:01:02:03:04:05"]),
        "u": ("uuid", ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"]),
    },
    "documents": {
        "j": ("json", ['{"a":1, "a" : 2 }', "null", '""', '"\\u00e9\\n"', "[1e400, -0]", "[ ]"]),
        "jb": ("jsonb", ['{"b":1, "a": {"": []}}', "null", '""', "[1e400, -0, 1.50]", "{}"]),
        "jp": ("jsonpath", ["$", '$.a[*] ? (@ > 1)."x y"']),
        "v": ("tsvector", ["", "a:1A,2 'b c':3 '''':4", "x"]),
        "q": ("tsquery", ["", "a & !b | (c <-> d:*A)", "''' '"]),
    },
    "shapes": {
        "pt": ("point", ["(0,-0)", "(NaN,Infinity)", "(0.1,1e-300)"]),
        "ln": ("line", ["{1,-1,0.1}"]),
        "ls": ("lseg", ["[(0.1,2),(-3,4)]"]),
        "bx": ("box", ["(3,4),(0.1,2)"]),
        "pa": ("path", ["[(0,0),(0.1,1)]", "((0,0),(0.1,1),(2,2))"]),
        "pg": ("polygon", ["((0,0),(0.1,1),(2,2))"]),
        "ci": ("circle", ["<(0.1,2),3>"]),
    },
    "ranges": {
        "i4": ("int4range", ["empty", "(,)", "[1,5)", "[-2147483648,0)"]),
        "i8": ("int8range", ["empty", "(,5]"]),
        "n": ("numrange", ["empty", "[0.10,NaN]", "(-Infinity,1.5]"]),
        "d": ("daterange", ["[4713-01-01 BC,infinity)", "[-infinity,infinity]"]),
        "ts": ("tsrange", ["[4713-01-01 BC,294276-12-31 23:59:59]"]),
        "tz": ("tstzrange", ["(,infinity)"]),
        "mi4": ("int4multirange", ["{}", "{[1,3),[7,)}"]),
        "mi8": ("int8multirange", ["{(,)}"]),
        "mn": ("nummultirange", ["{[0.1,0.2],(5,NaN)}"]),
        "md": ("datemultirange", ["{[4713-01-01 BC,infinity)}"]),
        "mts": ("tsmultirange", ["{[2024-01-01,2024-02-01)}"]),
        "mtz": ("tstzmultirange", ["{(,2024-01-01)}", "{}"]),
    },
    "dimensions": {
        "i": ("int4[]", ["{}", "{1,NULL,3}", "[-2:0]={1,2,3}", "{{1,2},{3,4}}", "[0:1][2:3]={{1,2},{NULL,4}}"]),
        "t": ("text[]", ["{}", '{"",NULL,"NULL","a,b","{","\\\\","\\""}', '[5:6]={x,"y z"}']),
        "f": ("float8[]", ["{NaN,-0,0.1,NULL}", "{{Infinity},{-Infinity}}"]),
        "b": ("box[]", ["{(1,1),(0,0.1);NULL}"]),
        "c": ("varchar(3)[]", ["{abc,NULL}"]),
        "i3": ("int2[][][]", ["{{{1},{2}},{{3},{4}}}"]),
    },
    "system": {
        "o": ("oid", ["0", "4294967295"]),
        "rc": ("regclass", ["pg_catalog.pg_class", "public.numbers", "-"]),
        "rt": ("regtype", ["int4[]", "public.mood"]),
        "rp": ("regproc", ["pg_catalog.now"]),
        "rpe": ("regprocedure", ["pg_catalog.abs(int8)"]),
        "ro": ("regoper", ["pg_catalog.||/"]),
        "roe": ("regoperator", ["pg_catalog.+(int4,int4)"]),
        "rr": ("regrole", ["postgres"]),
        "rn": ("regnamespace", ["pg_catalog"]),
        "rcf": ("regconfig", ["pg_catalog.simple"]),
        "rd": ("regdictionary", ["pg_catalog.simple"]),
        "rco": ("regcollation", ['pg_catalog."C"']),
        "x": ("xid", ["0", "4294967295"]),
        "x8": ("xid8", ["18446744073709551615"]),
        "ci": ("cid", ["4294967295"]),
        "ti": ("tid", ["(4294967295,65535)"]),
        "l": ("pg_lsn", ["FFFFFFFF/FFFFFFFF", "0/0"]),
        "ps": ("pg_snapshot", ["10:20:10,14,15"]),
        "ts": ("txid_snapshot", ["10:20:10,14,15"]),
        "cu": ("refcursor", ["a cursor"]),
        "ac": ("aclitem", ["postgres=r*w/postgres"]),
        "iv": ("int2vector", ["1 2 3", ""]),
        "ov": ("oidvector", ["1 2 4294967295", ""]),
    },
    "own": {
        "e": ("public.mood", ["sad", "so so", "기쁨"]),
        "ds": ("public.score", ["-1", "5"]),
        "p": ("public.pair", ['(1,"a b")', "(,)", '(,"")']),
        "nest": ("public.nest", ['("(1,x)",0.1,"{""(2,y)"",NULL}")', '("(,)",-0,{})', "(,NaN,)"]),
        "fr": ("public.floats", ["[0.1,Infinity]", "empty"]),
        "fm": ("public.floatm", ["{[0.1,0.2],[1,)}"]),
        "tr": ("public.words", ['[a,"b c")', '("",)']),
        "pd": ("public.strict", ["(3,x)"]),
    },
}  # fmt: skip

OWN_TYPES = """
CREATE TYPE public.mood AS ENUM ('sad', 'so so', '기쁨');
CREATE DOMAIN public.score AS int4 CHECK (VALUE < 10);
CREATE TYPE public.pair AS (n int4, t text);
CREATE TYPE public.nest AS (p public.pair, f float8, a public.pair[]);
CREATE TYPE public.words AS RANGE (subtype = text, collation = "C");
"""
# The same, from the version on that knows them.
OWN_TYPES_SINCE = {
    11: "CREATE DOMAIN public.strict AS public.pair CHECK ((VALUE).n > 0);",
    14: "CREATE TYPE public.floats AS RANGE (subtype = float8, multirange_type_name = public.floatm);",
}
OWN_TYPES_UNTIL = {14: "CREATE TYPE public.floats AS RANGE (subtype = float8);"}

# The first version with a type, and with a value of one.
TYPES_SINCE = {
    "public.strict": 11, "jsonpath": 12, "regcollation": 13, "xid8": 13, "pg_snapshot": 13, "public.floatm": 14,
    "int4multirange": 14, "int8multirange": 14, "nummultirange": 14, "datemultirange": 14, "tsmultirange": 14,
    "tstzmultirange": 14, "numeric(5,-2)": 15,
}  # fmt: skip
ARRAYS_SINCE = {"public.score": 11}  # of a domain
VALUES_SINCE = {
    ("numeric", "Infinity"): 14, ("numeric", "-Infinity"): 14, ("numrange", "(-Infinity,1.5]"): 14,
    ("interval", "2562047788:00:54.775807"): 15,
}  # fmt: skip
NEWEST = 18

# Types of which nobody can write a value: their input functions refuse, so no tool can carry them.
UNWRITABLE = {
    "pg_node_tree", "pg_ndistinct", "pg_dependencies", "pg_mcv_list", "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary", "gtsvector",
}  # fmt: skip


def literal(value: str | None) -> str:
    """An SQL literal."""
    return "NULL" if value is None else "'" + value.replace("'", "''") + "'"


def _typed(value: str | None, type_name: str) -> str:
    return f"{literal(value)}::{type_name}"


def _insert(table: str, columns: Mapping[str, tuple[str, Sequence[str]]]) -> str:
    rows = [*zip_longest(*(values for _, values in columns.values())), (None,) * len(columns)]
    types = [type_name for type_name, _ in columns.values()]
    lines = [
        "(" + ", ".join([str(i), *(_typed(v, t) for v, t in zip(row, types, strict=True))]) + ")"
        for i, row in enumerate(rows)
    ]
    return f"INSERT INTO public.{table} VALUES {', '.join(lines)};"


def _table(table: str, columns: Iterable[tuple[str, str]]) -> str:
    described = ", ".join(f"{c} {t}" for c, t in columns)
    return f"CREATE TABLE public.{table} (id int4 PRIMARY KEY, {described});"


def known(version: int) -> Values:
    """The values that a server of this version can hold."""
    return {
        group: {
            column: (kind, [v for v in values if VALUES_SINCE.get((kind, v), 0) <= version])
            for column, (kind, values) in columns.items()
            if TYPES_SINCE.get(kind, 0) <= version
        }
        for group, columns in VALUES.items()
    }


def _group(table: str, columns: Mapping[str, tuple[str, Sequence[str]]], version: int) -> Iterator[str]:
    yield _table(table, ((c, t) for c, (t, _) in columns.items()))
    yield _insert(table, columns)


def _arrays_of(table: str, columns: Mapping[str, tuple[str, Sequence[str]]], version: int) -> Iterator[str]:
    """All values of a type in one array, with a NULL; there are no arrays of arrays."""
    able = {c: (t, v) for c, (t, v) in columns.items() if ARRAYS_SINCE.get(t, 0) <= version}
    yield _table(f"{table}_arrays", ((c, f"{t}[]") for c, (t, _) in able.items()))
    full = [f"ARRAY[{', '.join([*map(literal, v), 'NULL'])}]::{t}[]" for t, v in able.values()]
    none = ["NULL"] * len(able)
    empty = [f"'{{}}'::{t}[]" for t, _ in able.values()]
    for i, row in enumerate((full, empty, none)):
        yield f"INSERT INTO public.{table}_arrays VALUES ({i}, {', '.join(row)});"


def _domains_over(table: str, columns: Mapping[str, tuple[str, Sequence[str]]], version: int) -> Iterator[str]:
    """Not over composites before there could be any."""
    able = {c: (t, v) for c, (t, v) in columns.items() if version >= 11 or t not in {"public.pair", "public.nest"}}
    for column, (type_name, _) in able.items():
        yield f"CREATE DOMAIN public.{table}_{column} AS {type_name};"
    named = {c: (f"public.{table}_{c}", v) for c, (_, v) in able.items()}
    yield _table(f"{table}_domains", ((c, t) for c, (t, _) in named.items()))
    yield _insert(f"{table}_domains", named)


def _composite_of(table: str, columns: Mapping[str, tuple[str, Sequence[str]]], version: int) -> Iterator[str]:
    """Whole rows of the group's table as single values."""
    described = ", ".join(f"{c} {t}" for c, (t, _) in columns.items())
    names = ", ".join(columns)
    yield f"CREATE TYPE public.{table}_row AS ({described});"
    yield f"CREATE TABLE public.{table}_composite (id int4, r public.{table}_row, rs public.{table}_row[]);"
    row = f"ROW({names})::public.{table}_row"
    yield f"INSERT INTO public.{table}_composite SELECT id, {row}, ARRAY[{row}, NULL] FROM public.{table};"
    yield f"INSERT INTO public.{table}_composite VALUES (-1, NULL, NULL);"


def script(version: int) -> str:
    """SQL that makes and fills them all on a server of this version or a later one."""
    own = [OWN_TYPES, *(line for since, line in OWN_TYPES_SINCE.items() if version >= since)]
    own += [line for until, line in OWN_TYPES_UNTIL.items() if version < until]
    values = known(version)
    lines = [line for table, end in MADE for line in MAKERS[end](table, values[table], version)]
    return "\n".join([*own, *lines])


MAKERS = {"": _group, "_arrays": _arrays_of, "_domains": _domains_over, "_composite": _composite_of}
MADE = [(table, end) for end in MAKERS for table in VALUES if (table, end) != ("dimensions", "_arrays")]
SCRIPT = script(NEWEST)
TABLES = [f"public.{table}{end}" for table, end in MADE]
