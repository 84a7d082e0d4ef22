"""The command line's words for merges: for all selected tables alike; a plan file says them for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import typer

from pghaul.model.plan import MergeMode, NullKeys, NullWatermarks, OnDrift

PANEL = "Merging (each implies --recipe merge)"

Query: TypeAlias = Annotated[
    str | None,
    typer.Option("--query", metavar="SQL", help="Rows of a query, for --into.", rich_help_panel=PANEL),
]
Mode: TypeAlias = Annotated[
    MergeMode | None, typer.Option("--mode", help="What becomes of the rows.", rich_help_panel=PANEL)
]
MergeKey: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--merge-key", metavar="COLUMN", help="Instead of the primary key; repeat it.", rich_help_panel=PANEL),
]
NullKey: TypeAlias = Annotated[
    NullKeys | None, typer.Option("--null-keys", help="A NULL in the key.", rich_help_panel=PANEL)
]
LatestBy: TypeAlias = Annotated[
    str | None,
    typer.Option("--latest-by", metavar="COLUMN", help="Of rows with one key, the greatest.", rich_help_panel=PANEL),
]
Watermark: TypeAlias = Annotated[
    str | None,
    typer.Option("--watermark", metavar="COLUMN", help="What tells new rows, or xmin.", rich_help_panel=PANEL),
]
WatermarkFormat: TypeAlias = Annotated[
    str | None,
    typer.Option("--watermark-format", metavar="FORMAT", help="Of a text: YYYYMMDD or so.", rich_help_panel=PANEL),
]
WatermarkZone: TypeAlias = Annotated[
    str | None,
    typer.Option("--watermark-zone", metavar="ZONE", help="Of local times: Asia/Seoul.", rich_help_panel=PANEL),
]
Lookback: TypeAlias = Annotated[
    str | None,
    typer.Option("--lookback", metavar="SPAN", help="Read again so far behind: 10m.", rich_help_panel=PANEL),
]
NullWatermark: TypeAlias = Annotated[
    NullWatermarks | None, typer.Option("--null-watermarks", help="Rows without one.", rich_help_panel=PANEL)
]
Deleted: TypeAlias = Annotated[
    str | None,
    typer.Option("--deleted", metavar="COLUMN", help="full-sync marks there, deletes not.", rich_help_panel=PANEL),
]
AllowEmpty: TypeAlias = Annotated[
    bool | None,
    typer.Option("--allow-empty", help="full-sync from an empty source, too.", rich_help_panel=PANEL),
]
ValidFrom: TypeAlias = Annotated[
    str | None, typer.Option("--valid-from", metavar="COLUMN", help="Of scd2.", rich_help_panel=PANEL)
]
ValidTo: TypeAlias = Annotated[
    str | None, typer.Option("--valid-to", metavar="COLUMN", help="Of scd2.", rich_help_panel=PANEL)
]
Reload: TypeAlias = Annotated[
    bool | None,
    typer.Option("--reload", help="All rows, whatever the watermark says.", rich_help_panel=PANEL),
]
Drift: TypeAlias = Annotated[
    OnDrift | None, typer.Option("--on-drift", help="Columns that differ.", rich_help_panel=PANEL)
]

# The command line's words that a plan calls otherwise; the others are keys of [tables.merge] as they are.
KEYS = {"merge_key": "key"}


def merge_of(said: Mapping[str, Any], planned: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The plan's [tables.merge] with the command line's words over it; None where neither says any."""
    given = {KEYS.get(k, k): v for k, v in said.items() if v is not None and v != []}
    return (dict(planned or {}) | given) or None
