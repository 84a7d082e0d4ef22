"""What happens to a batch between source and target: the columns get their names, the transforms, and their bytes.

Used by one thread at a time. No object is made per row or per value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pghaul.model.text import Text
from pghaul.sources import misfits
from pghaul.target.arrow import row_text
from pghaul.target.arrow.digest import Digest
from pghaul.target.arrow.encoding import TargetColumn, choose
from pghaul.target.arrow.reading_back import compared_schema, ours
from pghaul.transforms.chain import Applied, chain

if TYPE_CHECKING:
    from pghaul.engine.job import ArrowPlan
    from pghaul.model.foreign import Misfit


class Stage:
    """Of one chunk. `rows` are those that were read; `digest` is of those that go on, as the target gives them back."""

    def __init__(
        self,
        schema: pa.Schema,
        plan: ArrowPlan,
        *,
        relation: str,
        proves: bool,
        facts: bool = False,
        strict: bool = True,
        named: int = 0,
    ) -> None:
        self._names = [f.name for f in plan.fields]
        self._chain = chain(plan.reading.columns, plan.carried, plan.transforms, plan.mapping, strict=strict)
        self.schema = self._named(self._chain.bind(schema))
        taken = [TargetColumn(name=f.name, type=f.type, oid=f.oid, enum=f.enum) for f in plan.fields]
        self.encoding = choose(self.schema, taken)
        self._relation = relation
        self.digest = Digest(compared_schema(self.encoding), facts=facts) if proves else None
        self.rows = 0
        self.rejected = 0
        self.apart: list[tuple[str | None, ...]] = []  # values of the first `named` rows that sift() has left out
        self._most = named
        self.reasons: list[Text] = []
        self.replaced: dict[str, int] = {}  # values that were changed to be held at all, by column

    @property
    def words(self) -> Mapping[str, Any]:
        """What COPY is told of the stream."""
        return self.encoding.copy_sql_options()

    def encode(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        """COPY's bytes of a batch, made as they are asked for. Raises what take() does at the first."""
        yield from self.encoding.encode(self.take(batch))

    def take(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The canonical batch, counted. Raises RowError where a row cannot go on, or is to be set aside."""
        applied = self.transformed(batch)
        canonical = self.encoding.cast(applied.batch, where=self._relation, first=self.rows + 1)
        return self._counted(batch, canonical)

    def sift(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """As take(), without the rows that cannot go on: those are counted, and the first of them kept in words."""
        applied = self.transformed(batch, misfits.told(batch))
        sifted = self.encoding.sift(applied.batch)
        out = [(applied.aside, place) for place in range(len(applied.rejected))]
        out += [(applied.batch, refused.row) for refused in sifted.refused]
        self.rejected += len(out)
        self.apart += [row_text.values_of(rows, at) for rows, at in out[: max(0, self._most - len(self.apart))]]
        return self._counted(batch, sifted.batch)

    def _counted(self, read: pa.RecordBatch, canonical: pa.RecordBatch) -> pa.RecordBatch:
        self.rows += read.num_rows
        if self.digest is not None:
            self.digest.update(ours(self.encoding, canonical))
        return canonical

    def transformed(self, batch: pa.RecordBatch, unread: Sequence[Misfit] = ()) -> Applied:
        """After the chain, under the target's names. Rows that it tells apart are for who sets them aside."""
        applied = self._chain.apply(batch, first=self.rows + 1, misfits=unread)
        for name, count in applied.replaced.items():
            self.replaced[name] = self.replaced.get(name, 0) + count
        named = pa.RecordBatch.from_arrays(applied.batch.columns, schema=self.schema)
        return replace(applied, batch=named)

    def finish(self) -> bytes:
        """What ends the stream."""
        return self.encoding.finish()

    def _named(self, schema: pa.Schema) -> pa.Schema:
        """With the target's names: the chain gives the columns in their order."""
        return pa.schema([f.with_name(n) for f, n in zip(schema, self._names, strict=True)])
