"""What happens to a batch between source and target: the columns get their names, the transforms, and their bytes.

Used by one thread at a time. No object is made per row or per value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pghaul.model.text import Text
from pghaul.target.arrow.encoding import TargetColumn, choose

if TYPE_CHECKING:
    from pghaul.engine.job import ArrowPlan


class Stage:
    """Of one chunk. `rows` are those that were read; `hash` is of those that go on, as the target gives them back."""

    def __init__(self, schema: pa.Schema, plan: ArrowPlan, *, relation: str, proves: bool) -> None:
        self._names = [f.name for f in plan.fields]
        self.schema = self._named(schema)
        self._encoding = choose(self.schema, [TargetColumn(name=f.name, type=f.type, oid=f.oid) for f in plan.fields])
        self._relation = relation
        self._proves = proves
        self.rows = 0
        self.rejected = 0
        self.reasons: list[Text] = []
        self.hash = ""

    @property
    def words(self) -> Mapping[str, Any]:
        """What COPY is told of the stream."""
        return self._encoding.copy_sql_options()

    def encode(self, batch: pa.RecordBatch) -> list[bytes | memoryview]:
        """COPY's bytes of a batch."""
        named = pa.RecordBatch.from_arrays(batch.columns, schema=self.schema)
        canonical = self._encoding.cast(named, where=self._relation, first=self.rows + 1)
        self.rows += batch.num_rows
        return list(self._encoding.encode(canonical))

    def finish(self) -> bytes:
        """What ends the stream."""
        return self._encoding.finish()

    def _named(self, schema: pa.Schema) -> pa.Schema:
        """With the target's names: the source gives its columns in the order in which it was asked for them."""
        return pa.schema([f.with_name(n) for f, n in zip(schema, self._names, strict=True)])
