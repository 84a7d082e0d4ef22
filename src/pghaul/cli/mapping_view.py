"""What the columns of another kind of database become, for `plan`: each kind of change once, or each column."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from rich.console import Console

from pghaul.cli import render
from pghaul.model.preview import Becomes, Outlook
from pghaul.model.text import joined, saying

MOST = 3  # columns that are named of each kind of change

TITLE = saying("Types ({n} columns)")
BECOMES = saying("{native} → {type}: {columns}")
AND_MORE = saying("{columns} and {n} more")
ONE = saying("{column} {native} → {name} {type}")
WHY = saying("{words}  ({note})")
RENAMED = saying("{source} → {name}")
NAMES = saying("Names that change ({n})")


def show(console: Console, outlooks: Iterable[Outlook], *, verbose: bool) -> None:
    """Nothing, where the source is PostgreSQL."""
    told = [(o, c) for o in outlooks for c in o.columns]
    if not told:
        return
    if verbose:
        render.listing(console, TITLE.format(n=len(told)), [_one(o, c) for o, c in told], verbose=True)
        return
    kinds: dict[tuple[str, str], list[str]] = defaultdict(list)
    for outlook, column in told:
        kinds[column.native, column.type].append(f"{outlook.source}.{column.source}")
    lines = [BECOMES.format(native=n or "?", type=t, columns=_some(c)) for (n, t), c in sorted(kinds.items())]
    render.listing(console, TITLE.format(n=len(told)), lines, verbose=True)
    changed = [
        RENAMED.format(source=str(o.source), name=str(o.table)) for o, _ in told if o.source.name != o.table.name
    ]
    changed += [RENAMED.format(source=f"{o.source}.{c.source}", name=c.name) for o, c in told if c.source != c.name]
    if changed := list(dict.fromkeys(changed)):
        render.listing(console, NAMES.format(n=len(changed)), changed, verbose=False)


def _some(columns: list[str]) -> str:
    named = joined(", ", columns[:MOST])
    return AND_MORE.format(columns=named, n=len(columns) - MOST) if len(columns) > MOST else named


def _one(outlook: Outlook, column: Becomes) -> str:
    words = ONE.format(
        column=f"{outlook.source}.{column.source}", native=column.native or "?", name=column.name, type=column.type
    )
    return WHY.format(words=words, note=column.note) if column.note else words
