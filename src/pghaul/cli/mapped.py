"""The command line's words for a source that is not PostgreSQL: those of a plan's [mapping]."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import typer

from pghaul.model.plan import Mapping as PlanMapping
from pghaul.model.plan import Names, OrphanRule, ReadConsistency, Undecodable
from pghaul.model.text import say

PANEL = "From another kind of database"
WRONG_TYPE = say("a type is written NATIVE=PG, e.g. tinyint(1)=boolean")
# Words of the command line that the plan calls otherwise.
KEYS = {"pg_type": "types"}
URL = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)

NameRule: TypeAlias = Annotated[
    Names | None, typer.Option("--names", help="How its names are written there.", rich_help_panel=PANEL)
]
TargetSchema: TypeAlias = Annotated[
    str | None,
    typer.Option("--target-schema", metavar="NAME", help="Where its tables go: public.", rich_help_panel=PANEL),
]
Types: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--type", metavar="NATIVE=PG", help="tinyint(1)=boolean; repeat it.", rich_help_panel=PANEL),
]
Encoding: TypeAlias = Annotated[
    str | None,
    typer.Option("--encoding", metavar="NAME", help="What its text really is: cp949.", rich_help_panel=PANEL),
]
Undecoded: TypeAlias = Annotated[
    Undecodable | None, typer.Option("--undecodable", help="Bytes that are no characters.", rich_help_panel=PANEL)
]
Nul: TypeAlias = Annotated[
    Undecodable | None, typer.Option("--nul", help="NUL characters in texts.", rich_help_panel=PANEL)
]
Orphans: TypeAlias = Annotated[
    OrphanRule | None, typer.Option("--orphans", help="Rows whose key leads nowhere.", rich_help_panel=PANEL)
]
Views: TypeAlias = Annotated[
    bool | None, typer.Option("--views/--no-views", help="Views that translate, too.", rich_help_panel=PANEL)
]
Vacuum: TypeAlias = Annotated[
    bool | None, typer.Option("--vacuum/--no-vacuum", help="VACUUM what was loaded.", rich_help_panel=PANEL)
]
Ddl: TypeAlias = Annotated[
    str | None,
    typer.Option("--ddl", metavar="FILE", help="Your own CREATE statements instead.", rich_help_panel=PANEL),
]
BatchRows: TypeAlias = Annotated[
    int | None,
    typer.Option("--batch-rows", metavar="N", min=1, max=65_536, help="Of a batch, at most.", rich_help_panel=PANEL),
]
Consistent: TypeAlias = Annotated[
    ReadConsistency | None,
    typer.Option("--consistency", help="Whether all is read at one moment.", rich_help_panel=PANEL),
]


def mapping(words: Mapping[str, Any], planned: Mapping[str, Any] | None) -> dict[str, Any]:
    """The plan's [mapping] with the command line's words over it."""
    keyed = {KEYS.get(key, key): value for key, value in words.items()}
    said = {k: v for k, v in keyed.items() if k in PlanMapping.model_fields and v is not None}
    out = dict(planned or {}) | said
    if types := said.get("types"):
        out["types"] = dict((planned or {}).get("types", {})) | _types(types)
    return out


def _types(said: Sequence[str]) -> dict[str, str]:
    pairs = [text.rpartition("=") for text in said]
    if not all(native.strip() and wanted.strip() for native, _, wanted in pairs):
        raise typer.BadParameter(WRONG_TYPE, param_hint="--type")
    return {native.strip(): wanted.strip() for native, _, wanted in pairs}


def is_foreign(source: str | None) -> bool:
    """Does this URL lead to another kind of database?"""
    return bool(source and URL.match(source) and not re.match(r"postgres(ql)?:", source, re.IGNORECASE))
