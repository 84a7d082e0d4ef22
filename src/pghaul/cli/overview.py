"""How an inspection is shown, to people and to programs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pghaul.cli.grid import grid
from pghaul.cli.render import line, row
from pghaul.cli.words import tell
from pghaul.model.bounds import Bounds, Edge
from pghaul.model.figures import amount as size
from pghaul.model.figures import count
from pghaul.model.inspection import Amount, Inspection, SeenTree, total
from pghaul.model.profile import profile_name
from pghaul.model.table import RelationKind
from pghaul.model.text import joined, say, saying
from pghaul.model.tree import Member, Problem, Tree
from pghaul.model.wording import worded
from pghaul.service.endpoint_url import storable_url

MOST = 50  # tables and findings that are listed, unless all are asked for

HEAD = saying("{database}: PostgreSQL {version}, {encoding}, {size}. Dates are shown in {timezone}.")
FOREIGN = saying("{database}: {product}, {encoding}, {size}.")
REMEMBERED = say("Sizes are those of the last VACUUM: somebody holds a lock.")
ESTIMATES = say("Rows are estimates of the catalogues, ? where they know nothing.")
PASSWORD = re.compile(r"[a-z]+://[^/?#]*:[^/?#]*@")  # somewhere in a URL
FLAT = saying("Tables without partitions: {n}")
MORE = saying("… and {n} more: --tree shows all")
NOTHING = say("There are no tables here.")
KEYED = saying("by {key}")
TELLS = saying("{key} is {scale}")
ROUTED = saying("new rows: {routes}")
CLUSTERED = saying("CLUSTER: {n} of {all} children")
WRONG = saying("To know: {n}")
NEXT = saying("Next: pghaul plan --from {url} --to URL --table {table}{period}")
NEXT_FOREIGN = saying("Next: pghaul plan {url} postgresql://…")
PERIOD = " --since {since} --until {until} --timezone {timezone}"  # words of the command line
KINDS = {
    RelationKind.FOREIGN: say("foreign"),
    RelationKind.PARTITIONED: say("partitioned"),
    RelationKind.TABLE: "",
}
OTHERS = {
    "views": say("views"),
    "materialized views": say("materialized views"),
    "sequences": say("sequences"),
    "functions": say("functions"),
}
COUNTED = saying("{n} {what}")
TREE_KIND = saying("{kind} {strategy}")
FOUND = saying("{problem}: ")
TOLD_OF = saying("{table}: {message}")
AMOUNTS = (say("rows"), say("heap"), say("indexes"), say("total"))
RIGHT = (say("tables"), say("children"), *AMOUNTS)
GRAVE = {Problem.OVERLAP, Problem.NO_BOUNDS, Problem.NOT_VALID, Problem.NOT_PLAIN}


def show(console: Console, found: Inspection, *, whole: bool) -> None:
    """Everything on one page, or every member of every tree."""
    everything = total(s.amount for s in found.schemas)
    held: dict[str, str] = {"encoding": found.encoding, "size": size(everything.total)}
    if found.product:
        words = FOREIGN.format(database=found.database, product=found.product, **held)
    else:
        version = found.version.split(" ")[0]
        words = HEAD.format(database=found.database, version=version, timezone=found.timezone, **held)
    line(console, words, "bold")
    line(console, ESTIMATES, "dim")
    if not found.exact:
        line(console, REMEMBERED, "yellow")
    if not found.tables and not found.trees:
        line(console, NOTHING)
    _schemas(console, found)
    _trees(console, found, whole=whole)
    _tables(console, found, whole=whole)
    _findings(console, found, whole=whole)


def _schemas(console: Console, found: Inspection) -> None:
    table = _grid(say("schema"), say("tables"), *AMOUNTS, say("and"))
    for schema in found.schemas:
        others = joined(", ", [COUNTED.format(n=n, what=OTHERS.get(k, k)) for k, n in schema.others.items()])
        row(table, schema.name, count(schema.tables), *_amounts(schema.amount), others)
    console.print()
    console.print(table)


def _trees(console: Console, found: Inspection, *, whole: bool) -> None:
    if not found.trees:
        return
    table = _grid(say("tree"), say("kind"), say("children"), say("since"), say("until"), *AMOUNTS)
    for seen in found.trees:
        tree = seen.tree
        ends = (seen.since or "", seen.until or "")
        row(table, str(tree.root), _kind(tree), count(len(tree.members)), *ends, *_amounts(seen.amount))
    console.print()
    console.print(table)
    for seen in found.trees:
        if words := joined("; ", _told(seen)):
            console.print(Text.assemble((tell(f"{seen.tree.root}: "), "bold"), tell(words)), soft_wrap=True)
    for seen in found.trees if whole else ():
        _members(console, seen)


def _kind(tree: Tree) -> str:
    kind = worded(tree.kind)
    return kind if tree.strategy is None else TREE_KIND.format(kind=kind, strategy=worded(tree.strategy))


def _told(seen: SeenTree) -> list[str]:
    tree = seen.tree
    words = [tree.key_definition] if tree.key_definition else []
    if tree.key and seen.scale:
        words.append(TELLS.format(key=tree.key, scale=seen.scale))
    elif tree.key:
        words.append(KEYED.format(key=tree.key))
    if tree.routes:
        words.append(ROUTED.format(routes=", ".join(tree.routes)))
    if clustered := sum(m.clustered is not None for m in tree.members):
        words.append(CLUSTERED.format(n=clustered, all=len(tree.members)))
    return words


def _members(console: Console, seen: SeenTree) -> None:
    table = _grid(say("member"), say("bounds"), say("clustered on"), *AMOUNTS)
    own = seen.amounts.get(seen.tree.root, Amount())
    row(table, str(seen.tree.root), "", "", *_amounts(own))
    for member in seen.tree.members:
        held = _amounts(seen.amounts.get(member.name, Amount()))
        row(table, "  " * member.depth + str(member.name), seen.spans[member.name], member.clustered or "", *held)
    console.print()
    console.print(table)


def _tables(console: Console, found: Inspection, *, whole: bool) -> None:
    if not found.tables:
        return
    largest = sorted(found.tables, key=lambda t: (-t.amount.total, t.name))
    table = _grid(say("table"), say("kind"), *AMOUNTS)
    for seen in largest if whole else largest[:MOST]:
        row(table, str(seen.name), KINDS[seen.kind], *_amounts(seen.amount))
    console.print()
    line(console, FLAT.format(n=count(len(found.tables))), "bold")
    console.print(table)
    if not whole and len(largest) > MOST:
        line(console, MORE.format(n=count(len(largest) - MOST)), "dim")


def _findings(console: Console, found: Inspection, *, whole: bool) -> None:
    findings = found.findings
    if not findings:
        return
    console.print()
    line(console, WRONG.format(n=count(len(findings))), "bold")
    for finding in findings if whole else findings[:MOST]:
        style = "yellow" if finding.problem in GRAVE else "cyan"
        problem = FOUND.format(problem=worded(finding.problem))
        told = TOLD_OF.format(table=str(finding.table), message=finding.message)
        words = Text.assemble((tell(problem), style), tell(told))
        console.print(words, soft_wrap=True)
    if not whole and len(findings) > MOST:
        line(console, MORE.format(n=count(len(findings) - MOST)), "dim")


def next_step(found: Inspection, url: str) -> str:
    """What to do with it."""
    if found.product:
        return NEXT_FOREIGN.format(url=shlex.quote(found.url))
    name, period = "'*.*'", ""
    if found.trees:
        seen = max(found.trees, key=lambda t: t.amount.total)
        name = f"'{seen.tree.root}'"
        if seen.scale and seen.since and seen.until:
            period = PERIOD.format(since=_day(seen.since), until=_day(seen.until), timezone=found.timezone)
    elif found.tables:
        name = f"'{max(found.tables, key=lambda t: t.amount.total).name}'"
    return NEXT.format(url=_without_password(url), table=name, period=period)


def _without_password(url: str) -> str:
    from pghaul.postgres.dsn import resolve  # noqa: PLC0415

    if name := profile_name(url):
        return name
    hides = "password" in url or PASSWORD.match(url)
    return shlex.quote(storable_url(resolve(url)) if hides else url)


def _day(moment: str) -> str:
    return moment.replace(" ", "T")


def _grid(*columns: str) -> Table:
    return grid(*columns, right=RIGHT)


def _amounts(held: Amount) -> Sequence[str]:
    return (_rows(held), size(held.heap), size(held.indexes), size(held.total))


def _rows(held: Amount) -> str:
    if held.unknown:
        return f"{count(held.rows)} + ?" if held.rows else "?"
    return count(held.rows)


def as_data(found: Inspection) -> dict[str, Any]:
    """The same as plain data."""
    return {
        "database": found.database,
        "version": found.version,
        "encoding": found.encoding,
        "timezone": found.timezone,
        "sizes_exact": found.exact,
        "schemas": [asdict(s) for s in found.schemas],
        "trees": [_tree_data(seen) for seen in found.trees],
        "tables": [asdict(t) | {"name": str(t.name)} for t in found.tables],
        "findings": [{"problem": f.problem.value, "table": str(f.table), "message": f.message} for f in found.findings],
    }


def _tree_data(seen: SeenTree) -> dict[str, Any]:
    tree = seen.tree
    return {
        "root": str(tree.root),
        "kind": tree.kind.value,
        "strategy": None if tree.strategy is None else tree.strategy.value,
        "key": tree.key or None,
        "key_definition": tree.key_definition or None,
        "scale": seen.scale,
        "since": seen.since,
        "until": seen.until,
        "own_rows": tree.own_rows,
        "routes": tree.routes,
        "amount": asdict(seen.amount),
        "members": [_member_data(seen, member) for member in tree.members],
    }


def _member_data(seen: SeenTree, member: Member) -> dict[str, Any]:
    bounds = seen.tree.bounds(member)
    return {
        "name": str(member.name),
        "parent": str(member.parent),
        "kind": member.kind.value,
        "depth": member.depth,
        "bounds": None if bounds is None else _bounds_data(bounds),
        "shown": seen.spans[member.name],
        "expression": member.expression or None,
        "clustered": member.clustered,
        "amount": asdict(seen.amounts.get(member.name, Amount())),
    }


def _bounds_data(bounds: Bounds) -> dict[str, Any]:
    def edge(side: Edge | None) -> dict[str, Any] | None:
        return None if side is None else {"value": _value(side.value), "inclusive": side.inclusive}

    return {
        "column": bounds.column,
        "strategy": bounds.strategy.value,
        "low": edge(bounds.low),
        "high": edge(bounds.high),
        "values": [_value(v) for v in bounds.values],
        "nulls": bounds.nulls,
        "exact": bounds.exact,
        "authority": bounds.authority.value,
        "trusted": bounds.trusted,
    }


def _value(value: object) -> object:
    return value if isinstance(value, (int, str)) else str(value)
