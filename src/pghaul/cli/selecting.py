"""The command line's words for what is selected: patterns, sizes, conditions, and a period."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import typer

from pghaul.cli.merging import merge_of
from pghaul.model.figures import parse_size
from pghaul.model.plan import Layout, Unit
from pghaul.model.text import say

SIZE_WRONG = say("a size is written 64MB or 1GB")

WHAT = "What and where"
OF_SELECTIONS = ("where", "key", "layout", "into", "larger_than", "smaller_than")
OF_PERIOD = ("since", "until", "timezone", "unit", "registry")
WORDS = frozenset({"schemas", "exclude", "whole", "query", *OF_SELECTIONS, *OF_PERIOD})


def parse_bytes(text: str) -> int:
    """Bytes, as figures.parse_size reads them."""
    size = parse_size(text)
    if size is None:
        raise typer.BadParameter(SIZE_WRONG)
    return size


Schemas: TypeAlias = Annotated[
    list[str] | None, typer.Option("--schema", metavar="NAME", help="All tables of a schema.", rich_help_panel=WHAT)
]
Excluded: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="PATTERN", help="Not these, nor what is below them.", rich_help_panel=WHAT),
]
Everything: TypeAlias = Annotated[
    bool, typer.Option("--all", help="The whole database, with everything in it.", rich_help_panel=WHAT)
]
Larger: TypeAlias = Annotated[
    int | None,
    typer.Option("--larger-than", parser=parse_bytes, metavar="SIZE", help="Only such.", rich_help_panel=WHAT),
]
Smaller: TypeAlias = Annotated[
    int | None,
    typer.Option("--smaller-than", parser=parse_bytes, metavar="SIZE", help="Only such.", rich_help_panel=WHAT),
]
Condition: TypeAlias = Annotated[
    str | None, typer.Option("--where", metavar="SQL", help="Only rows that satisfy this.", rich_help_panel=WHAT)
]
Since: TypeAlias = Annotated[
    str | None, typer.Option("--since", metavar="DATE", help="Rows from this day or time on.", rich_help_panel=WHAT)
]
Until: TypeAlias = Annotated[
    str | None, typer.Option("--until", metavar="DATE", help="Rows before this day or time.", rich_help_panel=WHAT)
]
Timezone: TypeAlias = Annotated[
    str | None,
    typer.Option("--timezone", metavar="ZONE", help="Whose midnights, e.g. Asia/Seoul.", rich_help_panel=WHAT),
]
EpochUnit: TypeAlias = Annotated[
    Unit | None, typer.Option("--unit", help="What integer keys count since 1970.", rich_help_panel=WHAT)
]
Registry: TypeAlias = Annotated[
    str | None,
    typer.Option("--registry", metavar="TABLE", help="The application's list of partitions.", rich_help_panel=WHAT),
]
Key: TypeAlias = Annotated[
    str | None, typer.Option("--key", metavar="COLUMN", help="The column that tells the date.", rich_help_panel=WHAT)
]
TargetLayout: TypeAlias = Annotated[
    Layout | None, typer.Option("--layout", help="How the tables lie on the target.", rich_help_panel=WHAT)
]
Into: TypeAlias = Annotated[
    str | None, typer.Option("--into", metavar="NAME", help="schema.table, or schema.* there.", rich_help_panel=WHAT)
]


def selections(
    tables: Sequence[str] | None, schemas: Sequence[str] | None, words: Mapping[str, Any], planned: Sequence[Any]
) -> list[dict[str, Any]]:
    """The command line's patterns, or else the plan's; what it says of selections holds for all of them."""
    named: list[dict[str, Any]] = [{"name": name} for name in [*(tables or []), *map(_all_of, schemas or [])]]
    if words.get("query"):
        named.append({"query": words["query"]})
    said = {k: words[k] for k in OF_SELECTIONS if words.get(k) is not None}
    return [_merged(selection | said, words.get("merge")) for selection in named or list(planned)]


def _merged(selection: dict[str, Any], words: Mapping[str, Any] | None) -> dict[str, Any]:
    found = merge_of(words or {}, selection.get("merge"))
    return selection | {"merge": found} if found else selection


def period(words: Mapping[str, Any], planned: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The plan's period with the command line's words over it; None where neither says any."""
    said = {k: words[k] for k in OF_PERIOD if words.get(k) is not None}
    return (dict(planned or {}) | said) or None


def _all_of(schema: str) -> str:
    """As a pattern; a name that would read as one is escaped."""
    return f"/{re.escape(schema)}\\..*/" if re.search(r"[.*?\[/]", schema) else f"{schema}.*"
