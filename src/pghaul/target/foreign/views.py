"""Views whose query translates, in the order in which one stands on the other; the others are left with their text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.foreign import ForeignDatabase, ForeignView
from pghaul.model.mapped import Made, MappedColumn, MappedTable
from pghaul.model.table import Name
from pghaul.model.text import listed, say
from pghaul.target.foreign import ddl, translate, types
from pghaul.target.foreign.grammar import NotTranslatedError, Purpose
from pghaul.target.foreign.naming import Naming
from pghaul.target.foreign.outcome import Outcome

COMPARES = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.In, exp.Between, exp.Group)


@dataclass(frozen=True, kw_only=True)
class Relation:
    """A table or view that a query may read: its name and its columns on the target, by the source's in lower case."""

    name: Name
    columns: Mapping[str, tuple[str, MappedColumn | None]]
    blind: bool = False  # of a view: its query compares texts whose case the source does not see


def make(
    database: ForeignDatabase, tables: Sequence[MappedTable], naming: Naming, outcome: Outcome, *, whole: bool
) -> list[Made]:
    """Those that stand on what is carried. Of a part of a database only those are told that read something of it."""
    known = {_key(t.source.name): _of_table(t) for t in tables}
    waiting, made = list(database.views), []
    blind: list[str] = []
    while waiting:
        rest = []
        for view in waiting:
            try:
                found = _made(view, database, known, naming)
            except _WaitsError:
                rest.append(view)
                continue
            except NotTranslatedError as exc:
                if whole or _reads(view, database, known):
                    outcome.leave("VIEW", _label(view.name), exc.args[0], view.definition)
                continue
            accepted = outcome.accept(found[0], "VIEW")
            if accepted:
                made += [*accepted, *_comment(view, found[1])]
                blind += [str(found[1].name)] if found[1].blind else []
                known[_key(view.name)] = found[1]
        if len(rest) == len(waiting):
            _left(rest, database, known, outcome, whole=whole)
            break
        waiting = rest
    if blind:
        outcome.findings.append(_sees_case(blind))
    return made


def _sees_case(views: Sequence[str]) -> Finding:
    return Finding(
        severity=Severity.NOTE,
        kind=Kind.COLLATION,
        object=views[0],
        what=say(
            "{n} views compare texts, of which the source sees no case, and see it here: {views}",
            n=len(views),
            views=listed(views),
        ),
        advice=say("where that matters, give the columns they compare the type public.citext"),
        code=5391,
    )


class _WaitsError(Exception):
    """For another view."""


def _left(
    views: Sequence[ForeignView],
    database: ForeignDatabase,
    known: Mapping[tuple[str, str], Relation],
    outcome: Outcome,
    *,
    whole: bool,
) -> None:
    """They stand on views that are left themselves."""
    for view in views:
        others = [str(t) for t in _sources(view, database) if _key(t) not in known]
        why = say("it reads {name}, which is not carried", name=", ".join(o.removeprefix(".") for o in others))
        if whole or _reads(view, database, known):
            outcome.leave("VIEW", _label(view.name), why, view.definition)


def _label(name: Name) -> str:
    return str(name).removeprefix(".")


def _key(name: Name) -> tuple[str, str]:
    return name.schema.lower(), name.name.lower()


def _of_table(table: MappedTable) -> Relation:
    return Relation(name=table.name, columns={c.source.name.lower(): (c.name, c) for c in table.columns})


def _reads(view: ForeignView, database: ForeignDatabase, known: Mapping[tuple[str, str], Relation]) -> bool:
    return any(_key(n) in known for n in _sources(view, database))


def _sources(view: ForeignView, database: ForeignDatabase) -> list[Name]:
    """What it reads, as far as that can be seen."""
    try:
        tree = translate.parse(view.definition, database.dialect)
    except NotTranslatedError:
        return []
    inner = {c.alias.lower() for c in tree.find_all(exp.CTE)}
    tables = [t for t in tree.find_all(exp.Table) if t.db or t.name.lower() not in inner]
    return [Name(t.db or view.name.schema, t.name) for t in tables]


def _comment(view: ForeignView, relation: Relation) -> list[Made]:
    return [ddl.comment("VIEW", relation.name, None, view.comment)] if view.comment else []


def _made(
    view: ForeignView, database: ForeignDatabase, known: Mapping[tuple[str, str], Relation], naming: Naming
) -> tuple[Made, Relation]:
    others = {_key(v.name) for v in database.views}
    reads = _sources(view, database)
    for name in reads:
        if _key(name) not in known:
            if _key(name) in others:
                raise _WaitsError
            raise NotTranslatedError(say("it reads {name}, which is not carried", name=_label(name)))
    query = Query(translate.parse(view.definition, database.dialect), view.name.schema, database.dialect, known, naming)
    blind = query.is_blind()
    words = query.translated()
    relation = Relation(name=naming.relation(view.name), columns=query.columns(), blind=blind)
    return ddl.view(relation.name, words, view.definition, (known[_key(n)].name for n in reads)), relation


class Query:
    """One query: what its names mean, and what they become."""

    def __init__(
        self,
        tree: exp.Expr,
        schema: str,
        dialect: str,
        known: Mapping[tuple[str, str], Relation],
        naming: Naming,
    ) -> None:
        if not isinstance(tree, exp.Query):
            raise NotTranslatedError(say("it is no query"))
        self._tree: exp.Query = tree
        self._schema, self._dialect, self._known, self._naming = schema, dialect, known, naming
        self._inner = {c.alias.lower() for c in tree.find_all(exp.CTE)}
        self._derived = self._inner | {s.alias.lower() for s in tree.find_all(exp.Subquery) if s.alias}
        self._relations = self._read()
        self._aliases = {a.alias.lower(): naming.column(a.alias) for a in tree.find_all(exp.Alias)}

    def _read(self) -> dict[str, Relation]:
        """By the name under which the query knows each. One name for two tables in it means nothing certain."""
        found: dict[str, Relation] = {}
        for table in self._tree.find_all(exp.Table):
            if table.catalog:
                raise NotTranslatedError(say("it reads another database"))
            alias = table.alias_or_name.lower()
            if not table.db and table.name.lower() in self._inner:
                self._derived.add(alias)
                continue
            relation = self._known[(table.db or self._schema).lower(), table.name.lower()]
            if found.setdefault(alias, relation) is not relation:
                raise NotTranslatedError(say("two tables in it have the name {name}", name=alias))
        return found

    def is_blind(self) -> bool:
        """Whether it compares, or puts together, texts whose case the source does not see. To be asked first."""
        places = [p for node in self._tree.find_all(*COMPARES) for p in (node, *node.args.values())]
        columns = [c for p in places for c in (p if isinstance(p, list) else [p]) if isinstance(c, exp.Column)]
        for select in self._tree.find_all(exp.Select):
            if select.args.get("distinct"):
                columns += [c for c in select.expressions if isinstance(c, exp.Column)]
        meant = [self.find(c) for c in columns if not isinstance(c.this, exp.Star)]
        return any(types.sees_no_case(c.source, c.type) for c in meant if c is not None)

    def translated(self) -> str:
        """PostgreSQL's query."""
        self._name_outputs()
        return translate.finished(self._tree, self._dialect, Purpose.VIEW, self.find, self._rename)

    def _name_outputs(self) -> None:
        """A column without a name has the text of its expression for one, where the source allows it at all."""
        for part in self._selected():
            if not isinstance(part, (exp.Alias, exp.Column, exp.Star)):
                name = self._naming.column(part.sql(dialect=self._dialect, comments=False))
                part.replace(exp.alias_(part.copy(), exp.to_identifier(name, quoted=True)))
                self._aliases[name.lower()] = name

    def _selected(self) -> list[exp.Expr]:
        first: exp.Expr = self._tree
        while isinstance(first, (exp.SetOperation, exp.Subquery)):
            first = first.this
        return list(first.expressions)

    def columns(self) -> dict[str, tuple[str, MappedColumn | None]]:
        """What it gives, for views that stand on this one."""
        found: dict[str, tuple[str, MappedColumn | None]] = {}
        for part in self._selected():
            if part.is_star:
                named = [self._relations.get(part.table.lower())] if isinstance(part, exp.Column) else []
                for relation in [r for r in named if r] or list(self._relations.values()):
                    found |= relation.columns
            else:
                value = part.unalias()
                column = self.find(value) if isinstance(value, exp.Column) else None
                own = self._entry(value) if isinstance(value, exp.Column) else None
                name = part.alias_or_name
                renamed = self._naming.column(name) if isinstance(part, exp.Alias) else (own or (name, None))[0]
                found[name.lower()] = (renamed, column)
        return found

    def _entry(self, node: exp.Column) -> tuple[str, MappedColumn | None] | None:
        name = node.name.lower()
        if node.table:
            relation = self._relations.get(node.table.lower())
            return relation.columns.get(name) if relation else None
        found = [r.columns[name] for r in self._relations.values() if name in r.columns]
        return found[0] if found else None

    def find(self, node: exp.Column) -> MappedColumn | None:
        """The table's column that is meant, where that is one."""
        entry = self._entry(node)
        return entry[1] if entry else None

    def _rename(self, node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Column):
            return self._column(node)
        if isinstance(node, exp.Table):
            return self._table(node)
        if isinstance(node, (exp.Alias, exp.TableAlias)):
            for argument in ("alias", "this") if isinstance(node, exp.Alias) else ("this",):
                identifier = node.args.get(argument)
                if isinstance(identifier, exp.Identifier):
                    node.set(argument, self._alias(identifier.name, column=isinstance(node, exp.Alias)))
            if isinstance(node, exp.TableAlias) and node.args.get("columns"):
                node.set("columns", [self._alias(c.name, column=True) for c in node.args["columns"]])
        return node

    def _alias(self, name: str, *, column: bool) -> exp.Identifier:
        return exp.to_identifier(self._naming.column(name) if column else name.lower(), quoted=True)

    def _table(self, node: exp.Table) -> exp.Expr:
        alias = node.alias_or_name.lower()
        relation = self._relations.get(alias)
        if relation is None:  # one of the query's own
            node.set("this", exp.to_identifier(node.name.lower(), quoted=True))
        else:
            node.set("this", exp.to_identifier(relation.name.name, quoted=True))
            node.set("db", exp.to_identifier(relation.name.schema, quoted=True))
            node.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
        return node

    def _column(self, node: exp.Column) -> exp.Expr:
        table = node.table.lower()
        if table and table not in self._relations and table not in self._derived:
            raise NotTranslatedError(say("there is no table {name}", name=node.table))
        qualifier = exp.to_identifier(table, quoted=True) if table else None
        if isinstance(node.this, exp.Star):
            return exp.Column(this=exp.Star(), table=qualifier)
        name = self._named(node)
        if name is None:
            if self._dialect == "sqlite" and node.this.quoted and not table:
                return exp.Literal.string(node.name)
            raise NotTranslatedError(say("there is no column {name}", name=node.name))
        return exp.Column(this=exp.to_identifier(name, quoted=True), table=qualifier)

    def _named(self, node: exp.Column) -> str | None:
        entry = self._entry(node)
        if entry:
            return entry[0]
        if not node.table or node.table.lower() in self._derived:
            found = self._aliases.get(node.name.lower())
            return found or (self._naming.column(node.name) if self._derived else None)
        return None
