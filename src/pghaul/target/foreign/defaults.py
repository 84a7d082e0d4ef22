"""Defaults: the source's own SQL as a default of the target's type, or the reason why there is none.

The same words are another value in another type (b'1' is true, B'00000001' or 1), so the column's type decides.
"""

from __future__ import annotations

import re

from psycopg import sql
from sqlglot import exp

from pghaul.model.mapped import MappedColumn
from pghaul.model.text import say
from pghaul.target.foreign import kinds, translate, types
from pghaul.target.foreign.grammar import NotTranslatedError, Purpose
from pghaul.target.foreign.translate import Dialect

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
ZERO_DATE = re.compile(r"\d{4}-00|\d{4}-\d\d-00|0000-")
TRUE, FALSE = frozenset({"1", "true", "t", "yes", "y", "on"}), frozenset({"0", "false", "f", "no", "n", "off"})
NOWS = (exp.CurrentTimestamp, exp.Localtimestamp, exp.Systimestamp, exp.CurrentDate, exp.CurrentTime)
UUIDS = frozenset({"UUID", "NEWID", "NEWSEQUENTIALID", "SYS_GUID", "GEN_RANDOM_UUID"})
UTC = frozenset({"GETUTCDATE", "SYSUTCDATETIME", "UTC_TIMESTAMP"})
LOCAL = frozenset({"NOW", "GETDATE", "SYSDATETIME", "SYSDATE", "LOCALTIMESTAMP", "LOCALTIME", "CURRENT_TIMESTAMP"})
ZONED = frozenset({"SYSDATETIMEOFFSET"})
USERS = {
    "USER_NAME": "CURRENT_USER",
    "USER": "CURRENT_USER",
    "SUSER_SNAME": "SESSION_USER",
    "SYSTEM_USER": "SESSION_USER",
}
SQLITE_NOWS = {
    "CURRENT_TIMESTAMP": ("YYYY-MM-DD HH24:MI:SS", ""), "DATETIME": ("YYYY-MM-DD HH24:MI:SS", ""),
    "CURRENT_DATE": ("YYYY-MM-DD", "date"), "DATE": ("YYYY-MM-DD", "date"),
    "CURRENT_TIME": ("HH24:MI:SS", "time"), "TIME": ("HH24:MI:SS", "time"),
}  # fmt: skip
UTC_NOW = "pg_catalog.timezone('UTC', CURRENT_TIMESTAMP)"
UUID = "pg_catalog.gen_random_uuid()"
UUID_BYTES = f"pg_catalog.decode(pg_catalog.replace({UUID}::text, '-', ''), 'hex')"


def translated(text: str, column: MappedColumn, dialect: str) -> str | None:
    """PostgreSQL's SQL; None where the default is NULL. NotTranslatedError says why there is none."""
    tree = translate.parse(text, dialect).unnest()
    while isinstance(tree, (exp.Cast, exp.Convert)) and dialect == "tsql":  # (CONVERT([bit],(0)))
        tree = (tree.expression if isinstance(tree, exp.Convert) else tree.this).unnest()
    if isinstance(tree, exp.Null):
        return None
    literal = _literal(tree, dialect)
    if literal == "" and dialect == "oracle":
        return None  # there, an empty text is NULL
    if literal is not None:
        return _typed(literal, column, is_bytes=isinstance(tree, exp.HexString))
    return _function(tree, column, dialect) or translate.expression(text, Dialect(name=dialect), Purpose.GENERATED)


def _literal(tree: exp.Expr, dialect: str) -> str | None:
    """What stands there, as text: of a number its digits, of bits its zeros and ones, of bytes their digits."""
    if isinstance(tree, exp.Neg) and isinstance(tree.this.unnest(), exp.Literal):
        return f"-{tree.this.unnest().this}"
    if isinstance(tree, exp.Introducer):
        tree = tree.expression
    if isinstance(tree, exp.Boolean):
        return "1" if tree.this else "0"
    if isinstance(tree, (exp.Literal, exp.National, exp.HexString, exp.BitString)):
        return str(tree.this)
    if isinstance(tree, exp.Column) and tree.this.quoted and not tree.table and dialect == "sqlite":
        return str(tree.name)  # SQLite's kindness: DEFAULT "x"
    return None


def _typed(text: str, column: MappedColumn, *, is_bytes: bool) -> str:
    base = types.base(column.type)
    if base == "bytea":
        return _quoted("\\x" + text if is_bytes else "\\x" + text.encode().hex())
    if is_bytes:
        text = _read_bytes(text, base)
    if base == "boolean":
        return _boolean(text)
    if base in kinds.NUMERIC:
        return _number(text)
    if base in {"bit", "bit varying"}:
        return _bits(text, column.type)
    if kinds.of_type(base) == "moment" and ZERO_DATE.match(text):
        raise NotTranslatedError(say("there is no such day"))
    if base.endswith("[]"):
        return f"{_quoted(_array(text))}::{column.type}"
    return _quoted(text)


def _read_bytes(digits: str, base: str) -> str:
    if base in kinds.NUMERIC:
        return str(int(digits or "0", 16))
    if base in types.TEXTS:
        return bytes.fromhex(digits).decode("ascii")
    raise NotTranslatedError(say("bytes in a column that holds none"))


def _quoted(text: str) -> str:
    if "\0" in text:
        raise NotTranslatedError(say("it holds a NUL character"))
    return sql.Literal(text).as_string(None).strip()


def _boolean(text: str) -> str:
    if text.lower() in TRUE | FALSE:
        return "true" if text.lower() in TRUE else "false"
    raise NotTranslatedError(say("neither true nor false"))


def _number(text: str) -> str:
    if NUMBER.fullmatch(text.strip()):
        return text.strip()
    raise NotTranslatedError(say("not a number"))


def _bits(text: str, type_: str) -> str:
    if not set(text) <= {"0", "1"}:
        raise NotTranslatedError(say("not made of bits"))
    length = re.search(r"\((\d+)\)", type_)
    width = int(length.group(1)) if length else 1
    return f"B'{text if 'varying' in type_ else text.rjust(width, '0')}'"


def _array(text: str) -> str:
    """A set's labels, as an array's."""
    parts = [p.replace("\\", "\\\\").replace('"', '\\"') for p in text.split(",")] if text else []
    return "{" + ",".join(f'"{p}"' for p in parts) + "}"


def _called(tree: exp.Expr) -> str:
    if isinstance(tree, exp.Anonymous):
        return str(tree.this).upper()
    if isinstance(tree, exp.Column) and not tree.table:
        return str(tree.name).upper()  # Oracle's functions without parentheses
    return tree.sql_name().upper() if isinstance(tree, exp.Func) else ""


def _function(tree: exp.Expr, column: MappedColumn, dialect: str) -> str | None:
    name, base = _called(tree), types.base(column.type)
    if name in UUIDS or isinstance(tree, exp.Uuid):
        return _uuid(base)
    if dialect == "sqlite" and name in SQLITE_NOWS:
        return _sqlite_now(name, tree, base)
    if name in UTC or isinstance(tree, exp.UtcTimestamp):
        return _moment(base, utc=True)
    if isinstance(tree, NOWS) or name in LOCAL | ZONED:
        return _moment(base, utc=False)
    if isinstance(tree, (exp.CurrentUser, exp.SessionUser)) or name in USERS:
        return USERS.get(name, "CURRENT_USER") if base in types.TEXTS | {"name"} else None
    return None


def _uuid(base: str) -> str:
    if base == "bytea":
        return UUID_BYTES
    return UUID if base == "uuid" else f"{UUID}::text"


def _sqlite_now(name: str, tree: exp.Expr, base: str) -> str | None:
    """Its times are texts, in UTC."""
    asked = [e for e in tree.find_all(exp.Literal) if e is not tree]
    if name in {"DATETIME", "DATE", "TIME"} and [e.this for e in asked] != ["now"]:
        return None
    form, type_ = SQLITE_NOWS[name]
    if base in types.TEXTS:
        return f"pg_catalog.to_char({UTC_NOW}, '{form}')"
    if base == "timestamp with time zone" and not type_:
        return "CURRENT_TIMESTAMP"
    return f"{UTC_NOW}::{type_}" if type_ else UTC_NOW


def _moment(base: str, *, utc: bool) -> str | None:
    if base == "timestamp with time zone":
        return "CURRENT_TIMESTAMP"
    if base in {"date", "time without time zone"}:
        word = base.partition(" ")[0]
        return f"{UTC_NOW}::{word}" if utc else {"date": "CURRENT_DATE", "time": "LOCALTIME"}[word]
    if base == "timestamp without time zone":
        return UTC_NOW if utc else "LOCALTIMESTAMP"
    return None
