"""A table that is wider than its terminal loses nothing, and no name is squeezed into a column of letters."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.cells import cell_len
from rich.console import Console

from pghaul.cli.grid import grid
from pghaul.cli.render import row

NAME = "public.point_history_20260301"
URLS = ("postgresql://reader@old.example:5432/plant", "postgresql://loader@new.example:5432/plant")


def drawn(width: int, *cells: str, empty: bool = False) -> list[str]:
    table = grid("table", "kind", "rows", "size", "and", "from", "to", right=("rows", "size"))
    row(table, NAME, "declarative", "3,000,000", "314.9 MB", "" if empty else "views", *cells)
    row(table, "… and 2 more", *[""] * 6)
    console = Console(file=StringIO(), width=width, highlight=False)
    console.print(table)
    assert isinstance(console.file, StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_where_there_is_room_a_row_is_a_line() -> None:
    assert len(drawn(300, *URLS)) == 3


@pytest.mark.parametrize("width", range(20, 200, 12))
def test_at_every_width_all_is_there(width: int) -> None:
    lines = drawn(width, *URLS)
    text = "\n".join(lines) if width > 50 else "".join(line.strip() for line in lines)
    for cell in (NAME, *URLS, "… and 2 more", "declarative", "3,000,000", "314.9 MB"):
        assert cell in text or width < 30


def test_columns_of_words_leave_the_line_one_by_one() -> None:
    assert drawn(80, *URLS) == [
        "table                          kind              rows      size  and",
        f"{NAME}  declarative  3,000,000  314.9 MB  views",
        f"  from  {URLS[0]}",
        f"  to    {URLS[1]}",
        "… and 2 more",
    ]


def test_the_first_column_stands_above() -> None:
    assert drawn(50, "", "") == [
        "table",
        "  kind              rows      size  and",
        NAME,
        "  declarative  3,000,000  314.9 MB  views",
        "… and 2 more",
    ]


def test_what_is_empty_goes_first() -> None:
    lines = drawn(66, "", "", empty=True)
    assert lines[0] == "table                          kind              rows      size"
    assert max(map(cell_len, lines)) <= 66


def test_facts_are_folded_and_not_cut() -> None:
    table = grid("", "")
    table.show_header = False
    row(table, "granted", "CREATE, TEMPORARY, COPY TO, COPY FROM, superuser, replication")
    console = Console(file=StringIO(), width=40)
    console.print(table)
    assert isinstance(console.file, StringIO)
    assert "replication" in console.file.getvalue()
