"""How rows are merged, what came of it, and up to where a source has been read: the vocabulary of the merge recipe."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pghaul.model.finding import Finding
from pghaul.model.plan import Merge, MergeMode, NullWatermarks
from pghaul.model.table import Name
from pghaul.model.text import Text


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeDesign:
    """How a staging table is merged into its target. Columns are those of the staging table, under the target's names.

    `columns` are all that are merged, `key` among them. A generated column is in neither.
    """

    target: Name
    staging: Name
    columns: tuple[str, ...]
    key: tuple[str, ...]
    mode: MergeMode = MergeMode.UPSERT
    nulls_match: bool = False  # NULL equals NULL in the key
    latest_by: str | None = None  # of several rows with one key the one with the greatest value; None refuses them
    deleted: str | None = None  # full-sync: the target's column that marks a row as deleted
    scope: str = ""  # full-sync: the condition under which the source was read, on the target's columns
    valid_from: str = ""  # scd2: the target's columns
    valid_to: str = ""
    moment: str = ""  # scd2, deleted: the moment of the source's snapshot, as an ISO timestamp with its offset
    whole: bool = False  # scd2: all rows of the source were read, so the current version of a missing key ends
    verify: bool = False  # compare staged rows with merged ones by content, in the same transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeCounts:
    """What one merge did, as its statements say; `settled` checks that they add up."""

    staged: int
    superseded: int = 0  # lost to a later row with the same key
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0  # are there alike: not rewritten
    passed_over: int = 0  # insert-only: there already and different; update-only: not there
    deleted: int = 0  # taken away; marked as deleted; or (scd2) ended without a new version
    marked: int = 0  # of the deleted ones, those that are marked and still there
    before: int = 0  # rows of the target that the merge is about: with a staged key, and those that it has deleted
    after: int = 0  # of scd2, current versions only
    compared: int = 0  # staged rows that were found alike on the target afterwards
    differing: int = 0  # … and those that were not, though the mode says that they should be

    @property
    def settled(self) -> bool:
        """Every row that was staged has become something, and the target has grown by what came minus what went."""
        known = self.superseded + self.inserted + self.updated + self.unchanged + self.passed_over
        return known == self.staged and self.before + self.inserted - self.deleted + self.marked == self.after


class WatermarkKind(StrEnum):
    """What the values of a watermark are; each has its own way to look back, and its own guarantee."""

    NONE = "none"  # all rows, every time
    TIMESTAMP = "timestamp"
    TIMESTAMPTZ = "timestamptz"
    DATE = "date"
    INTEGER = "integer"
    NUMERIC = "numeric"
    TEXT = "text"  # a date or moment in `watermark_format`
    UUID = "uuid"  # version 7
    XMIN = "xmin"


class Guarantee(StrEnum):
    """What a reading can promise about rows that commit late."""

    WHOLE = "whole"  # all rows are read
    EXACT = "exact"  # nothing slips through: open transactions are known
    LOOKBACK = "lookback"  # nothing that commits within the lookback


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Up to where a source has been read and merged: kept on the target, committed with the rows. Values are texts as
    PostgreSQL writes them, exact; `low` is where the next reading begins, itself included, and None means at all rows.
    """

    kind: WatermarkKind
    column: str = ""
    low: str | None = None
    seen: str | None = None  # the greatest value that was merged
    held: tuple[str, str] | None = None  # (moment, value): `low` may become the value once all older transactions ended
    read_at: str = ""  # the moment of the source's look, by its clock
    txid: int = 0  # the source's next transaction number then: a smaller one means an older source
    source_identity: str = ""
    filenode: int = 0  # of the target table when it was merged: another one means that it was emptied or rewritten
    witness: tuple[tuple[str, ...], ...] = ()  # keys of merged rows: all gone means an older target
    columns: tuple[str, ...] = ()  # that were merged
    members: tuple[str, ...] = ()  # of the source's tree: one that comes later brings rows of any age
    mode: str = ""  # by which the rows were merged: some modes leave rows out that others want


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the next increment is read. `query` is complete and selects the staged columns under the target's names."""

    query: str
    kind: WatermarkKind
    guarantee: Guarantee
    why: Text | str = ""  # why not exact, for the plan and the report
    nulls: NullWatermarks = NullWatermarks.FAIL
    full: bool = False  # the first time, or all rows every time
    findings: tuple[Finding, ...] = ()  # warnings and notes about this reading
    merge: Merge
    origin: str = ""  # the key of the mark, beside the target table
    moment: str = ""  # of the source's clock, after the snapshot
    low: str | None = None  # from where it reads, itself included
    staged: bool = True  # the watermark is among the columns that are read; else `top` is the greatest of it
    top: str | None = None
    next: Mark  # to be committed with the rows; `seen` and `low` are filled after the reading
