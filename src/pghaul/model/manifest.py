"""What a run was planned to be, written once: resume compares the world with it, and never plans anew."""

from __future__ import annotations

from dataclasses import dataclass

from pghaul.model.chunk import Chunk
from pghaul.model.design import Design
from pghaul.model.placement import Placement
from pghaul.model.table import Table, Unsupported


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`tables` are the source's, `identities` are `Server.identity` of source and target when the run began."""

    tables: tuple[Table, ...]
    placements: tuple[Placement, ...]
    chunks: tuple[Chunk, ...]
    identities: tuple[str, str]
    designs: tuple[Design, ...] = ()  # tables of the target that are not simply the source's
    vacant: tuple[Placement, ...] = ()  # rows that were not there, and have no place: none may be there later either
    not_carried: tuple[Unsupported, ...] = ()
