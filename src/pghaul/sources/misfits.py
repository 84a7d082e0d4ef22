"""Values that cannot be read as they are asked for, told beside the batch that they are missing from.

A source that reads loosely (model.foreign.Reading.loose) puts NULL in their place, and says here what was there: who
sets rows aside takes it from the batch. A source that cannot tell them apart ends at the first one, as ever.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pghaul.model.foreign import Misfit

if TYPE_CHECKING:
    import pyarrow as pa

KEY = b"pghaul.misfits"
SQLSTATE = "22018"  # of an error that is about one value: invalid_character_value_for_cast


def marked(batch: pa.RecordBatch, found: Sequence[Misfit]) -> pa.RecordBatch:
    """The batch, with them."""
    if not found:
        return batch
    words = json.dumps([[m.row, m.column, m.text, m.message] for m in found])
    return batch.replace_schema_metadata({KEY: words.encode()})


def told(batch: pa.RecordBatch) -> tuple[Misfit, ...]:
    """Of a batch that was read."""
    words = (batch.schema.metadata or {}).get(KEY)
    return tuple(Misfit(*m) for m in json.loads(words)) if words else ()


def failing(array: Any, fails: Callable[[Any], bool]) -> list[int]:
    """Where the values are that fail by themselves: halved as long as a part does."""
    parts, found = [(0, len(array))], []
    while parts:
        start, length = parts.pop()
        if not length or not fails(array.slice(start, length)):
            continue
        if length == 1:
            found.append(start)
            continue
        middle = length // 2
        parts += [(start, middle), (start + middle, length - middle)]
    return sorted(found)


def without(array: Any, rows: Sequence[int]) -> Any:
    """NULL in these rows."""
    import numpy as np  # noqa: PLC0415
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    mask = np.zeros(len(array), np.bool_)
    mask[list(rows)] = True
    return pc.if_else(pa.array(mask), pa.scalar(None, array.type), array)
