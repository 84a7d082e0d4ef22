"""What a MySQL or MariaDB server holds, from information_schema: tables, keys, views, and what nobody can carry."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pghaul.model.foreign import (
    ForeignCheck,
    ForeignColumn,
    ForeignDatabase,
    ForeignIndex,
    ForeignReference,
    ForeignTable,
    ForeignView,
)
from pghaul.model.table import Name, Unsupported
from pghaul.model.text import say
from pghaul.sources import _mysql_catalog_sql as sql
from pghaul.sources._mysql_types import DATES, parse, proposed

if TYPE_CHECKING:
    import pymysql

Row = Mapping[str, Any]
Key = tuple[str, str]  # database and table
NO_SUCH_TABLE = 1109  # of information_schema, on servers before it had this one
_JSON_CHECK = re.compile(r"json_valid\(`((?:[^`]|``)+)`\)", re.IGNORECASE)
REWRITE = say("it is a program in MySQL's language: write it anew for PostgreSQL")
EXACT = frozenset({"MyISAM", "Aria", "MEMORY", "ARCHIVE"})  # these count their rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What is asked of it once."""

    version: str
    comment: str
    zone: str
    charset: str

    @property
    def is_mariadb(self) -> bool:
        """Else MySQL, Percona or what follows MySQL."""
        return "mariadb" in self.version.lower()

    @property
    def product(self) -> str:
        """As a person knows it."""
        return f"{'MariaDB' if self.is_mariadb else 'MySQL'} {self.version.split('-')[0]}"


class Catalog:
    """One look at a server. `databases`: those that are described; a single one has no schema in its names."""

    def __init__(self, session: pymysql.Connection[Any], databases: Sequence[str], *, single: bool) -> None:
        self._session = session
        self._databases = tuple(databases)
        self._single = single
        self.server = server(session)

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Rows by the names of their columns, in capitals; none where the server has no such table."""
        import pymysql  # noqa: PLC0415

        if not self._databases:
            return []
        try:
            return asked(self._session, query, (self._databases,))
        except pymysql.err.MySQLError as exc:
            if exc.args[0] == NO_SUCH_TABLE:
                return []
            raise

    def name(self, row: Row, schema: str = "TABLE_SCHEMA", table: str = "TABLE_NAME") -> Name:
        """Ours."""
        return Name("" if self._single else str(row[schema]), str(row[table]))

    def database(self, identity: str) -> ForeignDatabase:
        """All of it, but for what only the rows can tell."""
        relations = self.rows(sql.TABLES)
        kinds = {_key(r): str(r["TABLE_TYPE"]) for r in relations}
        views, hidden = self._views()
        return ForeignDatabase(
            engine="mysql",
            product=self.server.product,
            identity=identity,
            dialect="mysql",
            tables=self._tables([r for r in relations if kinds[_key(r)] in {"BASE TABLE", "SYSTEM VERSIONED"}]),
            views=views,
            others=(*hidden, *self._others(relations)),
            encoding=self.server.charset,
            timezone=self.server.zone,
        )

    # --- tables -------------------------------------------------------------------------------------------------------

    def _tables(self, relations: Iterable[Row]) -> tuple[ForeignTable, ...]:
        columns, indexes = _grouped(self.rows(sql.COLUMNS)), _grouped(self.rows(sql.INDEXES))
        references, checks = self._references(), self._checks()
        tables = []
        for row in relations:
            found = checks.get(_key(row), [])
            json = {c for _, clause in found for c in _json_columns(clause)}
            table = ForeignTable(
                name=self.name(row),
                columns=tuple(self._column(c, row, json) for c in columns.get(_key(row), [])),
                indexes=tuple(_indexes(indexes.get(_key(row), []))),
                references=tuple(references.get(_key(row), [])),
                checks=tuple(ForeignCheck(name=n, expression=e) for n, e in found if not _json_columns(e)),
                comment=str(row["TABLE_COMMENT"] or ""),
                rows=None if row["TABLE_ROWS"] is None else int(row["TABLE_ROWS"]),
                bytes=int(row["DATA_LENGTH"] or 0),
                exact_rows=row["ENGINE"] in EXACT,
            )
            tables.append(table)
        return tuple(tables)

    def _column(self, row: Row, table: Row, json: set[str]) -> ForeignColumn:
        extra = str(row["EXTRA"] or "").lower()
        name = str(row["COLUMN_NAME"])
        spelled = "json" if name in json else str(row["COLUMN_TYPE"])
        native = parse(spelled)
        counts = "auto_increment" in extra
        generated = row.get("GENERATION_EXPRESSION") or None
        return ForeignColumn(
            name=name,
            native=spelled,
            not_null=row["IS_NULLABLE"] == "NO",
            default=None if counts or generated else default_of(row, mariadb=self.server.is_mariadb),
            identity=counts,
            identity_next=int(table["AUTO_INCREMENT"]) if counts and table["AUTO_INCREMENT"] else None,
            generated=str(generated) if generated else None,
            collation=row["COLLATION_NAME"],
            charset=row["CHARACTER_SET_NAME"],
            comment=str(row["COLUMN_COMMENT"] or ""),
            values=native.labels,
            pg_type=proposed(native),
            note=_note(extra),
        )

    def _references(self) -> dict[Key, list[ForeignReference]]:
        rules = {(r["CONSTRAINT_SCHEMA"], r["TABLE_NAME"], r["CONSTRAINT_NAME"]): r for r in self.rows(sql.RULES)}
        columns: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
        for row in self.rows(sql.KEYS):
            columns[row["CONSTRAINT_SCHEMA"], row["TABLE_NAME"], row["CONSTRAINT_NAME"]].append(row)
        found: dict[Key, list[ForeignReference]] = defaultdict(list)
        for (schema, table, name), parts in columns.items():
            rule = rules.get((schema, table, name), {})
            reference = ForeignReference(
                name=name,
                columns=tuple(str(p["COLUMN_NAME"]) for p in parts),
                table=self.name(parts[0], "REFERENCED_TABLE_SCHEMA", "REFERENCED_TABLE_NAME"),
                referenced=tuple(str(p["REFERENCED_COLUMN_NAME"]) for p in parts),
                on_delete=str(rule.get("DELETE_RULE", "NO ACTION")),
                on_update=str(rule.get("UPDATE_RULE", "NO ACTION")),
            )
            found[schema, table].append(reference)
        return found

    def _checks(self) -> dict[Key, list[tuple[str, str]]]:
        """MariaDB says whose a check is; of MySQL's that stands elsewhere."""
        owners = {
            (r["CONSTRAINT_SCHEMA"], r["CONSTRAINT_NAME"]): r["TABLE_NAME"]
            for r in self.rows(sql.CONSTRAINTS)
            if r["CONSTRAINT_TYPE"] == "CHECK"
        }
        found: dict[Key, list[tuple[str, str]]] = defaultdict(list)
        for row in self.rows(sql.CHECKS):
            schema, name = row["CONSTRAINT_SCHEMA"], row["CONSTRAINT_NAME"]
            table = row.get("TABLE_NAME") or owners.get((schema, name))
            if table is not None:
                found[schema, table].append((name, str(row["CHECK_CLAUSE"])))
        return found

    # --- everything else ----------------------------------------------------------------------------------------------

    def _views(self) -> tuple[tuple[ForeignView, ...], list[Unsupported]]:
        views, hidden = [], []
        for row in self.rows(sql.VIEWS):
            definition = str(row["VIEW_DEFINITION"] or "")
            if definition:
                views.append(ForeignView(name=self.name(row), definition=self._unqualified(definition)))
            else:
                why = say("its definition may not be read: that takes SHOW VIEW")
                hidden.append(self._other("VIEW", row, "TABLE", why))
        return tuple(views), hidden

    def _unqualified(self, definition: str) -> str:
        """The server writes the database before every table, which for a single one means nothing to anybody else."""
        if not self._single:
            return definition
        return definition.replace(f"`{self._databases[0].replace('`', '``')}`.", "")

    def _others(self, relations: Iterable[Row]) -> Iterable[Unsupported]:
        for row in relations:
            if row["TABLE_TYPE"] == "SEQUENCE":
                yield self._other("SEQUENCE", row, "TABLE", say("sequences that stand alone are not carried"))
            if row["TABLE_TYPE"] == "SYSTEM VERSIONED":
                yield self._other("HISTORY", row, "TABLE", say("the rows of now are read, not those of former times"))
        for row in self.rows(sql.PARTITIONS):
            why = say("its {n} partitions become one table", n=int(row["PARTS"]))
            yield self._other("PARTITIONING", row, "TABLE", why)
        for row in self.rows(sql.COLUMNS):
            if "on update" in str(row["EXTRA"]).lower():
                name = f"{self._shown(row['TABLE_SCHEMA'], row['TABLE_NAME'])}.{row['COLUMN_NAME']}"
                yield Unsupported(
                    kind="ON UPDATE", name=name, why=say("PostgreSQL has no ON UPDATE: a trigger can do it")
                )
        for row in self.rows(sql.TRIGGERS):
            when = f"{row['ACTION_TIMING']} {row['EVENT_MANIPULATION']} ON {row['EVENT_OBJECT_TABLE']}"
            yield self._other("TRIGGER", row, "TRIGGER", REWRITE, f"{when} {row['ACTION_STATEMENT']}")
        for row in self.rows(sql.EVENTS):
            yield self._other("EVENT", row, "EVENT", REWRITE, row["EVENT_DEFINITION"])
        for row in self.rows(sql.ROUTINES):
            yield self._other(str(row["ROUTINE_TYPE"]), row, "ROUTINE", REWRITE, row["ROUTINE_DEFINITION"])

    def _other(self, kind: str, row: Row, word: str, why: str, text: str | None = None) -> Unsupported:
        return Unsupported.with_text(kind, self._shown(row[f"{word}_SCHEMA"], row[f"{word}_NAME"]), why, text)

    def _shown(self, schema: str, name: str) -> str:
        return name if self._single else f"{schema}.{name}"


def server(session: pymysql.Connection[Any]) -> Server:
    """Which one it is."""
    row = asked(session, sql.SERVER)[0]
    return Server(
        version=str(row["VERSION"]), comment=str(row["COMMENT"]), zone=str(row["ZONE"]), charset=str(row["CHARSET"])
    )


def asked(session: pymysql.Connection[Any], query: str, values: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
    """Rows by the names of their columns, in capitals."""
    with session.cursor() as cursor:
        cursor.execute(query, values or None)
        names = [d[0].upper() for d in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def default_of(row: Row, *, mariadb: bool) -> str | None:
    """As SQL. MariaDB says it so (from 10.2.7 on); MySQL says the bare value, and marks what is an expression."""
    said = row["COLUMN_DEFAULT"]
    if said is None or (mariadb and said == "NULL"):
        return None
    text = said.decode() if isinstance(said, bytes) else str(said)
    extra, kind = str(row["EXTRA"] or "").upper(), str(row["DATA_TYPE"]).lower()
    if mariadb or "DEFAULT_GENERATED" in extra or kind == "bit":
        return text
    if kind in {"timestamp", "datetime"} and text.upper().startswith("CURRENT_TIMESTAMP"):
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _indexes(rows: Iterable[Row]) -> Iterable[ForeignIndex]:
    parts: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        parts[str(row["INDEX_NAME"])].append(row)
    for name, columns in parts.items():
        expressions = [str(c["EXPRESSION"]) for c in columns if c.get("EXPRESSION")]
        kind = str(columns[0]["INDEX_TYPE"]).lower()
        unique = not int(columns[0]["NON_UNIQUE"])
        yield ForeignIndex(
            name=name,
            columns=tuple(str(c["COLUMN_NAME"]) for c in columns if c["COLUMN_NAME"]),
            unique=unique,
            primary=name == "PRIMARY",
            descending=tuple(c["COLLATION"] == "D" for c in columns if c["COLUMN_NAME"]),
            expression=", ".join(expressions) or None,
            constraint=unique,
            kind="" if kind in {"btree", "hash"} else kind,
            prefix=tuple(None if c["SUB_PART"] is None or kind != "btree" else int(c["SUB_PART"]) for c in columns),
        )


def _note(extra: str) -> str:
    if "on update" in extra:
        return say("its ON UPDATE is not carried")
    return say("invisible on the source") if "invisible" in extra else ""


def _json_columns(clause: str) -> list[str]:
    """Of a check that only says that a column is JSON: what MariaDB makes of the type."""
    found = _JSON_CHECK.fullmatch(clause.strip())
    return [found[1].replace("``", "`")] if found else []


def _key(row: Row) -> Key:
    return row["TABLE_SCHEMA"], row["TABLE_NAME"]


def _grouped(rows: Iterable[Row]) -> dict[Key, list[Row]]:
    found: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        found[_key(row)].append(row)
    return found


def without_nulls(database: ForeignDatabase) -> ForeignDatabase:
    """The same, where dates that are none are read as NULL: no date can be NOT NULL then."""
    tables = []
    for table in database.tables:
        columns = [replace(c, not_null=False) if parse(c.native).base in DATES else c for c in table.columns]
        tables.append(replace(table, columns=tuple(columns)))
    return replace(database, tables=tuple(tables))
