"""What happens to a batch between source and target: the columns get their names, the transforms, and their bytes.

Used by one thread at a time. No object is made per row or per value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pghaul.model.text import Text
from pghaul.target.arrow.digest import Digest
from pghaul.target.arrow.encoding import TargetColumn, choose
from pghaul.target.arrow.reading_back import compared_schema, ours

if TYPE_CHECKING:
    from pghaul.engine.job import ArrowPlan


class Stage:
    """Of one chunk. `rows` are those that were read; `digest` is of those that go on, as the target gives them back."""

    def __init__(self, schema: pa.Schema, plan: ArrowPlan, *, relation: str, proves: bool, facts: bool = False) -> None:
        self._names = [f.name for f in plan.fields]
        self.schema = self._named(schema)
        self.encoding = choose(self.schema, [TargetColumn(name=f.name, type=f.type, oid=f.oid) for f in plan.fields])
        self._relation = relation
        self.digest = Digest(compared_schema(self.encoding), facts=facts) if proves else None
        self.rows = 0
        self.rejected = 0
        self.reasons: list[Text] = []

    @property
    def words(self) -> Mapping[str, Any]:
        """What COPY is told of the stream."""
        return self.encoding.copy_sql_options()

    def encode(self, batch: pa.RecordBatch) -> list[bytes | memoryview]:
        """COPY's bytes of a batch."""
        return list(self.encoding.encode(self.take(batch)))

    def take(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The canonical batch, counted."""
        named = pa.RecordBatch.from_arrays(batch.columns, schema=self.schema)
        canonical = self.encoding.cast(named, where=self._relation, first=self.rows + 1)
        self.rows += batch.num_rows
        if self.digest is not None:
            self.digest.update(ours(self.encoding, canonical))
        return canonical

    def finish(self) -> bytes:
        """What ends the stream."""
        return self.encoding.finish()

    def _named(self, schema: pa.Schema) -> pa.Schema:
        """With the target's names: the source gives its columns in the order in which it was asked for them."""
        return pa.schema([f.with_name(n) for f, n in zip(schema, self._names, strict=True)])
