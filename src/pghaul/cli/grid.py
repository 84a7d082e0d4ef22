"""A table without lines that stays readable where it is wider than the terminal.

Rich would squeeze the names, down to one letter a line. Here columns that hold nothing go first; then whole columns
leave their place for a line of their own, the first above the figures, the others below. Nothing is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from pghaul.cli.words import tell

BROKEN = {"table", "tree", "from", "to", "what becomes of it", "error", ""}  # columns that may take several lines
WIDE = 100_000  # columns: more than any table has
INDENT = 2
Line = list[Segment]


class Grid(Table):
    """As wide as it takes, or broken by whole columns."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Rich asks for it."""
        kept = list(range(len(self.columns)))
        if not self.show_header or _fits(self, kept, console, options.max_width):
            yield from super().__rich_console__(console, options)
            return
        kept = [i for i in kept if any(map(str, self.columns[i].cells))]
        moved = _to_move(self, kept, console, options.max_width)
        yield from _broken(self, [i for i in kept if i not in moved], sorted(moved), console, options)


def grid(*columns: str, right: Sequence[str] = ()) -> Grid:
    """A table without lines, its titles in the reader's language."""
    table = Grid(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        side: Literal["left", "right"] = "right" if name in right else "left"
        table.add_column(Text(tell(name)), justify=side, overflow="fold", no_wrap=name not in BROKEN)
    return table


def _part(table: Table, kept: Iterable[int]) -> Table:
    part = Table(box=None, pad_edge=False, header_style="bold")
    columns = [table.columns[i] for i in kept]
    for column in columns:
        part.add_column(column.header, justify=column.justify, overflow="fold", no_wrap=column.no_wrap)
    for cells in zip(*(c.cells for c in columns), strict=True):
        part.add_row(*cells)
    return part


def _width(table: Table, kept: Iterable[int], console: Console) -> int:
    return Measurement.get(console, console.options.update(max_width=WIDE), _part(table, kept)).maximum


def _fits(table: Table, kept: Sequence[int], console: Console, width: int) -> bool:
    return _width(table, kept, console) <= width


def _to_move(table: Table, kept: Sequence[int], console: Console, width: int) -> set[int]:
    """The widest columns of words, until the others fit beside each other."""
    moved: set[int] = set()
    words = [i for i in kept if table.columns[i].justify == "left"]
    for column in sorted(words, key=lambda i: -_width(table, [i], console)):
        rest = [i for i in kept if i not in moved]
        room = width - (INDENT if moved else 0)
        if len(rest) == 1 or _fits(table, rest, console, room):
            break
        moved.add(column)
    return moved


def _broken(
    table: Table, kept: Sequence[int], moved: Sequence[int], console: Console, options: ConsoleOptions
) -> Iterator[Segment]:
    if not moved:
        yield from console.render(_part(table, kept), options)
        return
    room = options.update(max_width=max(1, options.max_width - INDENT))
    lines = iter(console.render_lines(_part(table, kept), room, pad=False))
    columns = [(table.columns[i].header, list(table.columns[i].cells)) for i in moved]
    first = moved[0] == 0
    above, below = (columns[0], columns[1:]) if first else (None, columns)
    longest = max((cell_len(str(title)) for title, _ in below), default=0)
    if above:
        yield from _own_line(console, Text(str(above[0]), style="bold"))
    yield from _indented(next(lines), indent=first)
    for number in range(table.row_count):
        if above:
            yield from _own_line(console, above[1][number])
        line = next(lines)
        if not _is_blank(line):
            yield from _indented(line, indent=first)
        for title, cells in below:
            if str(cells[number]):
                gap = " " * (longest - cell_len(str(title)) + INDENT)
                yield from _own_line(console, " " * INDENT, Text(str(title), style="bold"), gap, cells[number])


def _own_line(console: Console, *parts: RenderableType) -> Iterator[Segment]:
    """Broken where it must be: Rich would cut what is longer than a line."""
    text = Text.assemble(*(part if isinstance(part, Text) else Text(str(part)) for part in parts))
    yield from console.render(text, console.options.update(overflow="fold"))


def _indented(line: Line, *, indent: bool) -> Iterator[Segment]:
    if indent:
        yield Segment(" " * INDENT)
    yield from line
    yield Segment.line()


def _is_blank(line: Line) -> bool:
    return not "".join(s.text for s in line).strip()
