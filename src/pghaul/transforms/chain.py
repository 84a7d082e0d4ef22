"""All that happens to the rows of one table between source and writer, in order: characters, transforms, NUL.

    made = chain(columns_read, names, transforms, mapping)
    schema = made.bind(batches.schema)         # TransformError, by name, before the first row
    applied = made.apply(batch, first=1)       # RowError, or rows that are to be set aside

Bound and applied by one thread at a time. Batches may be sliced at will: no step but `shuffle` looks beyond a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pghaul.model.errors import RowError
from pghaul.model.foreign import Misfit, ReadColumn
from pghaul.model.plan import Mapping as PlanMapping
from pghaul.model.text import Text, joined, say
from pghaul.model.transforming import MASKING, Transform, new_name
from pghaul.transforms.characters import decoding, without_nul
from pghaul.transforms.registry import bind_of
from pghaul.transforms.steps import TYPE, ColumnStep, Problem, Step, Work, is_bytes, is_text, unwrapped, worked

FIRST = 10  # rows that an error names


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A row of a batch, from 0, that is to be set aside."""

    row: int
    column: str
    message: Text
    sqlstate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The rows that go on. `kept`: their numbers in the batch that came; None: all. `replaced`: values, by column."""

    batch: pa.RecordBatch
    rejected: tuple[Rejected, ...] = ()
    aside: Any = None  # of the rejected, in their order: a batch of the same columns, for the quarantine
    kept: Any = None
    replaced: Mapping[str, int] = field(default_factory=dict)


def chain(
    columns: Sequence[ReadColumn],
    names: Sequence[str],
    transforms: Sequence[Transform] = (),
    mapping: PlanMapping | None = None,
    *,
    strict: bool = True,
) -> Chain:
    """`columns` are read; `names` of the source, or new ones, are what the result is made of, in this order.

    `strict`: a row that is refused ends it; else it is one of Applied.rejected, unless its rule is to fail.
    """
    return Chain(tuple(columns), tuple(names), tuple(transforms), mapping or PlanMapping(), strict=strict)


class Chain:
    """Of one table, or of one chunk of it."""

    def __init__(
        self,
        columns: tuple[ReadColumn, ...],
        names: tuple[str, ...],
        transforms: tuple[Transform, ...],
        mapping: PlanMapping,
        *,
        strict: bool,
    ) -> None:
        self._columns = columns
        self._names = names
        self._transforms = transforms
        self._mapping = mapping
        self._strict = strict
        self._masked = {n for t in transforms if t.kind in MASKING for n in t.names}
        self._steps: tuple[Step, ...] = ()
        self.schema = pa.schema([])

    def bind(self, schema: pa.Schema) -> pa.Schema:
        """The schema of what apply() makes of batches of this one. Raises TransformError for what cannot be done."""
        schema = pa.schema([_known(f, c) for f, c in zip(schema, self._columns, strict=True)])
        steps: list[Step] = []
        self._given = schema
        works = {c.name: decoding(c.encoding, self._mapping.undecodable) for c in self._columns if c.encoding}
        if works:
            steps.append(_worked(schema, works))
            schema = steps[-1].schema
        for transform in self._transforms:
            steps.append(bind_of(transform.kind)(transform, schema))
            schema = steps[-1].schema
        texts = {f.name: without_nul(self._mapping.nul) for f in schema if f.name in self._names and is_text(f.type)}
        if texts:
            steps.append(ColumnStep(schema=schema, works=texts))
        self._steps = tuple(steps)
        self._places = [schema.get_field_index(n) for n in self._names]
        self.schema = pa.schema([pa.field(self._called(schema.names[p]), schema.types[p]) for p in self._places])
        return self.schema

    def apply(self, batch: pa.RecordBatch, *, first: int = 1, misfits: Sequence[Misfit] = ()) -> Applied:
        """A batch of the schema that was bound. `first` is the number of its first row, for errors.

        Rows at fault go through all steps, too: what is kept of them for the quarantine is masked as any other row.
        `misfits` are values that the source could not read as they were asked for.
        """
        given = batch = pa.RecordBatch.from_arrays(batch.columns, schema=self._given)
        problems = [(m.column, _unread(m, batch.num_rows)) for m in misfits]
        replaced: dict[str, int] = {}
        for step in self._steps:
            done = step.apply(batch)
            batch = done.batch
            problems += done.problems
            for name, n in done.replaced.items():
                replaced[name] = replaced.get(name, 0) + n
        made = pa.RecordBatch.from_arrays([batch.column(p) for p in self._places], schema=self.schema)
        if not problems:
            return Applied(batch=made, replaced=replaced)
        self._refuse(problems, first)
        bad = np.logical_or.reduce([p.mask for _, p in problems])
        rejected = self._told(problems)
        return Applied(
            batch=made.take(pa.array(np.flatnonzero(~bad))),
            rejected=rejected,
            aside=self._aside(given, made, rejected, {(m.row, m.column): m.text for m in misfits}),
            kept=np.flatnonzero(~bad),
            replaced=replaced,
        )

    def _aside(
        self,
        given: pa.RecordBatch,
        made: pa.RecordBatch,
        rejected: Sequence[Rejected],
        unread: Mapping[tuple[int, str], str],
    ) -> pa.RecordBatch:
        """The rows that are set aside, as they would arrive; what was refused as it was read, or NULL if masked."""
        rows = pa.array([r.row for r in rejected], pa.int64())
        arrays = []
        for name, array in zip(self._names, made.columns, strict=True):
            refused = [r.column == name for r in rejected]
            kept = array.take(rows)
            if any(refused):
                hidden = name in self._masked or name not in given.schema.names
                raw = None if hidden else texts(unwrapped(given.column(name).take(rows)))
                if raw is not None and unread:
                    known = pa.array([unread.get((r.row, name)) for r in rejected], pa.string())
                    raw = pc.coalesce(known, raw)
                kept = pc.if_else(pa.array(refused), pa.scalar(None, pa.string()) if raw is None else raw, texts(kept))
            arrays.append(kept)
        return pa.RecordBatch.from_arrays(arrays, names=self.schema.names)

    def _told(self, problems: Sequence[tuple[str, Problem]]) -> tuple[Rejected, ...]:
        """Each row once, with the first of its problems."""
        found: dict[int, Rejected] = {}
        for name, problem in problems:
            for row in np.flatnonzero(problem.mask):
                words = self._shown(name, problem, int(row))
                new = Rejected(row=int(row), column=name, message=words, sqlstate=problem.sqlstate)
                found.setdefault(int(row), new)
        return tuple(found[row] for row in sorted(found))

    def _shown(self, column: str, problem: Problem, row: int) -> Text:
        """Nothing is quoted of a column that is masked."""
        if problem.values is None or column in self._masked:
            return problem.message
        return say("{message}: {bytes}", message=problem.message, bytes=problem.values(row))

    def _called(self, name: str) -> str:
        return new_name(self._transforms, name) or name

    def _refuse(self, problems: Sequence[tuple[str, Problem]], first: int) -> None:
        """Raise RowError for rows that are not to be set aside."""
        fatal = [
            (int(row), name, problem)
            for name, problem in problems
            if self._strict or problem.quarantine is False
            for row in np.flatnonzero(problem.mask)
        ]
        if not fatal:
            return
        fatal.sort(key=lambda f: f[0])
        words = [
            say("row {n}, column {column}: {message}", n=row + first, column=name, message=self._shown(name, p, row))
            for row, name, p in fatal[:FIRST]
        ]
        raise RowError(
            say("{n} values cannot go on; the first: {rows}", n=len(fatal), rows=joined(" | ", words)),
            advice=say(
                "mend them on the source, or say what becomes of them: undecodable and nul in [mapping], otherwise of"
                " a map, --max-rejects"
            ),
            sqlstate=fatal[0][2].sqlstate,
            code=3071,
        )


def _unread(misfit: Misfit, rows: int) -> Problem:
    mask = np.zeros(rows, np.bool_)
    mask[misfit.row] = True
    return Problem(mask=mask, message=Text("{why}", {"why": misfit.message}), sqlstate="22018")


def _known(field_: pa.Field, column: ReadColumn) -> pa.Field:
    return field_.with_name(column.name).with_metadata({TYPE: column.pg_type})


def _worked(schema: pa.Schema, works: Mapping[str, Work]) -> ColumnStep:
    """With the types that come out of them."""
    for name, work in works.items():
        at = schema.get_field_index(name)
        made = worked(work(pa.array([], schema.field(at).type))).array.type
        schema = schema.set(at, schema.field(at).with_type(made))
    return ColumnStep(schema=schema, works=works)


def texts(array: pa.Array) -> pa.Array:
    """As words of a line that somebody may mend: bytes that are no UTF-8 as PostgreSQL writes bytes."""
    if not is_bytes(array.type):
        return pc.cast(array, pa.string())
    shown = [None if v is None else "\\x" + v.hex() for v in array.to_pylist()]
    return pa.array(shown, pa.string())
