"""CREATE scripts of other databases, read into our vocabulary: for what no server can be had here.

Not a source: it reads what the scripts under shared/data have, and forgets what they do not.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from pghaul.model.foreign import (
    ForeignCheck,
    ForeignColumn,
    ForeignDatabase,
    ForeignIndex,
    ForeignReference,
    ForeignTable,
    ForeignView,
)
from pghaul.model.table import Name

TYPES = {
    "tsql": {
        "int": "integer", "integer": "integer", "smallint": "smallint", "tinyint": "smallint",
        "bigint": "bigint", "bit": "boolean",
        "money": "numeric(19,4)", "smallmoney": "numeric(10,4)", "datetime": "timestamp(3) without time zone",
        "image": "bytea", "ntext": "text", "text": "text", "real": "real", "float": "double precision",
    },
    "oracle": {"number": "numeric", "date": "timestamp(0) without time zone"},
}  # fmt: skip
LENGTHS = {
    "nvarchar": "character varying", "varchar": "character varying", "varchar2": "character varying",
    "char": "character", "nchar": "character", "number": "numeric", "numeric": "numeric", "decimal": "numeric",
    "id": "character varying(11)", "tid": "character varying(6)", "empid": "character(9)",  # of pubs
}  # fmt: skip


def read(path: Path, dialect: str) -> ForeignDatabase:
    """The tables and views that the script makes."""
    data = path.read_bytes()
    text = data.decode("utf-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig", "replace")
    script = Script(dialect)
    for batch in _batches(text, dialect):
        script.read(batch)
    return script.database()


STATEMENT = re.compile(r"(?is)create\s+(table|view|(unique\s+)?index)|alter\s+table")
NEXT = re.compile(r"(?im)^(?=(?:create|alter|insert|exec|execute|grant|raiserror|if|set|print|declare|update)\b)")


def _batches(text: str, dialect: str) -> Iterator[str]:
    """Statements that make something: of T-SQL between the lines that say GO, else between semicolons."""
    for batch in re.split(r"(?im)^\s*go\s*;?\s*$" if dialect == "tsql" else ";", text):
        parts = NEXT.split(batch) if dialect == "tsql" and not re.search(r"(?i)create\s+view", batch) else [batch]
        for part in parts:
            statement = re.sub(r"(?s)/\*.*?\*/", "", part).strip().rstrip(";")
            statement = re.sub(r"(?i)\b(non)?clustered\b|\bon \[primary\]", "", statement)
            if STATEMENT.match(statement):
                yield statement


class Script:
    """What has been made so far."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        self.names: dict[str, Name] = {}
        self.columns: dict[str, list[ForeignColumn]] = {}
        self.indexes: dict[str, list[ForeignIndex]] = defaultdict(list)
        self.references: dict[str, list[ForeignReference]] = defaultdict(list)
        self.checks: dict[str, list[ForeignCheck]] = defaultdict(list)
        self.views: list[ForeignView] = []
        self.strange: list[str] = []

    def read(self, statement: str) -> None:
        """One statement."""
        if view := re.match(r"(?is)create\s+view\s+(\S+|\"[^\"]+\"|\[[^]]+\])\s+as\s(.*)", statement):
            name = exp.to_table(str(view[1]), dialect=self.dialect)
            self.views.append(ForeignView(name=Name("dbo", name.name), definition=str(view[2])))
            return
        logging.getLogger("sqlglot").disabled = True
        try:
            tree = sqlglot.parse_one(statement, read=self.dialect)
        except SqlglotError:
            self.strange.append(statement)
            return
        finally:
            logging.getLogger("sqlglot").disabled = False
        if isinstance(tree, exp.Create) and tree.kind == "TABLE":
            self._table(tree)
        elif isinstance(tree, exp.Create) and tree.kind == "INDEX":
            self._index(tree)
        elif isinstance(tree, exp.Alter):
            for part in tree.find_all(exp.Constraint, exp.ForeignKey):
                if part.parent is tree or isinstance(part.parent, exp.AddConstraint):
                    self._constraint(tree.this.name, part, "")
        else:
            self.strange.append(statement)

    def _table(self, tree: exp.Create) -> None:
        table = tree.this.this.name
        self.names[table] = Name("dbo" if self.dialect == "tsql" else "CHINOOK", table)
        self.columns[table] = [self._column(table, c) for c in tree.this.expressions if isinstance(c, exp.ColumnDef)]
        for part in tree.this.expressions:
            if not isinstance(part, exp.ColumnDef):
                self._constraint(table, part, "")

    def _column(self, table: str, node: exp.ColumnDef) -> ForeignColumn:
        name: str = node.name
        more: dict[str, Any] = {}
        native = node.args["kind"].sql(self.dialect).lower() if node.args.get("kind") else ""
        for constraint in node.constraints:
            kind = constraint.kind
            if isinstance(kind, exp.NotNullColumnConstraint):
                more["not_null"] = not kind.args.get("allow_null")
            elif isinstance(kind, exp.DefaultColumnConstraint):
                more["default"] = kind.this.sql(self.dialect)
            elif isinstance(kind, exp.GeneratedAsIdentityColumnConstraint):
                more["identity"] = True
            else:
                self._constraint(table, kind, name, constraint.name)
        return ForeignColumn(name=name, native=native, pg_type=self._type(native), **more)

    def _type(self, native: str) -> str:
        base, _, rest = native.partition("(")
        if rest == "max)":
            return "text"
        if base in LENGTHS and (rest or "(" in LENGTHS[base]):
            return LENGTHS[base] + (f"({rest}" if rest else "")
        return TYPES[self.dialect].get(base) or LENGTHS.get(base, "")

    def _constraint(self, table: str, node: exp.Expr, column: str, name: str = "") -> None:
        if isinstance(node, exp.Constraint):
            for part in node.expressions:
                self._constraint(table, part, column, node.name)
        elif isinstance(node, (exp.PrimaryKey, exp.PrimaryKeyColumnConstraint)):
            self._key(table, node, column, name, primary=True)
        elif isinstance(node, exp.UniqueColumnConstraint):
            self._key(table, node, column, name, primary=False)
        elif isinstance(node, exp.CheckColumnConstraint):
            self.checks[table].append(ForeignCheck(name=name, expression=node.this.sql(self.dialect)))
        elif isinstance(node, exp.ForeignKey):
            columns = tuple(c.name for c in node.expressions)
            self._reference(table, node.args["reference"], columns, name)
        elif isinstance(node, exp.Reference):
            self._reference(table, node, (column,), name)

    def _key(self, table: str, node: exp.Expr, column: str, name: str, *, primary: bool) -> None:
        columns = tuple(i.name for i in node.find_all(exp.Identifier)) or (column,)
        self.indexes[table].append(
            ForeignIndex(name=name, columns=columns, unique=True, primary=primary, constraint=True)
        )

    def _reference(self, table: str, node: exp.Expr, columns: tuple[str, ...], name: str) -> None:
        schema = node.this
        other = schema.this.name if isinstance(schema, exp.Schema) else schema.name
        referenced = tuple(i.name for i in schema.expressions) if isinstance(schema, exp.Schema) else ()
        known = self.names.get(other, Name("dbo", other))
        self.references[table].append(ForeignReference(name=name, columns=columns, table=known, referenced=referenced))

    def _index(self, tree: exp.Create) -> None:
        index = tree.this
        columns = tuple(c.find(exp.Identifier).name for c in index.args["params"].args["columns"])
        self.indexes[index.args["table"].name].append(
            ForeignIndex(name=index.name, columns=columns, unique=bool(tree.args.get("unique")))
        )

    def database(self) -> ForeignDatabase:
        """All of it."""
        return ForeignDatabase(
            engine="script",
            product=self.dialect,
            identity=self.dialect,
            dialect=self.dialect,
            tables=tuple(
                ForeignTable(
                    name=name,
                    columns=tuple(self.columns[table]),
                    indexes=tuple(self.indexes[table]),
                    references=tuple(self.references[table]),
                    checks=tuple(self.checks[table]),
                )
                for table, name in self.names.items()
            ),
            views=tuple(self.views),
        )
