"""A function of somebody's own file, named in the plan: it gets an array, or whole rows, and gives as many back.

It is run in the worker, with all rights that pghaul has. What goes wrong in it is told with file and line.
"""

from __future__ import annotations

import importlib.util
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pghaul.model.errors import TransformError
from pghaul.model.text import say
from pghaul.model.transforming import Transform
from pghaul.transforms.casting import arrow_type, cast_of
from pghaul.transforms.steps import Step, Stepped, column_step


@dataclass(frozen=True, kw_only=True)
class Function:
    """Callable with Arrow data of either kind."""

    file: Path
    name: str
    call: Callable[[Any], Any]

    def __call__(self, data: pa.Array | pa.RecordBatch) -> Any:
        try:
            made = self.call(data)
        except Exception as exc:
            raise self._failed(exc) from exc
        return made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made

    def array(self, data: pa.Array | pa.RecordBatch) -> pa.Array:
        """Of as many values as there are rows."""
        made = self(data)
        rows = data.num_rows if isinstance(data, pa.RecordBatch) else len(data)
        if not isinstance(made, pa.Array) or len(made) != rows:
            raise self._wrong(say("an array of as many values as it was given"))
        return made

    def _failed(self, exc: Exception) -> TransformError:
        frames = [f for f in traceback.extract_tb(exc.__traceback__) if f.filename == str(self.file)]
        line = f":{frames[-1].lineno}" if frames else ""
        return TransformError(
            say("{function} has failed: {kind}: {error}", function=self.name, kind=type(exc).__name__, error=str(exc)),
            where=f"{self.file}{line}",
            advice=say("mend the function; it is tried with no rows at all before the first"),
            code=7130,
        )

    def _wrong(self, wanted: str) -> TransformError:
        return TransformError(
            say("{function} has to return {wanted}", function=self.name, wanted=wanted),
            where=str(self.file),
            code=7131,
        )


def loaded(transform: Transform) -> Function:
    """From its file. TransformError where there is no such function."""
    place, _, name = (transform.function or "").rpartition(":")
    file = Path(place)
    spec = importlib.util.spec_from_file_location(f"pghaul_plan_{file.stem}", file)
    found = Function(file=file, name=name, call=lambda _data: None)
    if spec is None or spec.loader is None or not file.is_file():
        raise TransformError(
            say("there is no file {file}", file=file.name),
            where=str(file),
            advice=say("a relative path begins at the plan's folder"),
            code=7132,
        )
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as exc:
        raise found._failed(exc) from exc
    call = getattr(module, name, None)
    if not callable(call):
        raise TransformError(say("there is no function {function}", function=name), where=str(file), code=7133)
    return Function(file=file, name=name, call=call)


def python(transform: Transform, schema: pa.Schema) -> Step:
    """Of columns that are there: array by array; of a new one, or of none: with whole rows."""
    function = loaded(transform)
    if not transform.names:
        return Rows(function=function, schema=schema)
    if any(n not in schema.names for n in transform.names):
        return new_column(transform, schema, function.array)
    wanted = None if transform.type is None else arrow_type(transform.type)
    return column_step(transform, schema, lambda _field: lambda array: _as(function.array(array), wanted))


def _as(array: pa.Array, wanted: pa.DataType | None) -> pa.Array:
    return array if wanted is None else cast_of(array.type, wanted)(array)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A function of record batches, which keeps columns and types."""

    function: Function
    schema: pa.Schema

    def apply(self, batch: pa.RecordBatch) -> Stepped:
        """The whole of it."""
        made = self.function(batch)
        if not isinstance(made, pa.RecordBatch) or made.num_rows != batch.num_rows or made.schema != self.schema:
            raise self.function._wrong(say("a record batch of the same columns and rows"))
        return Stepped(batch=made)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewColumn:
    """One more column, of the whole batch."""

    schema: pa.Schema
    make: Callable[[pa.RecordBatch], pa.Array]

    def apply(self, batch: pa.RecordBatch) -> Stepped:
        """Behind the others."""
        arrays = [*batch.columns, self.make(batch)]
        return Stepped(batch=pa.RecordBatch.from_arrays(arrays, schema=self.schema))


def new_column(transform: Transform, schema: pa.Schema, make: Callable[[pa.RecordBatch], pa.Array]) -> Step:
    """Of the type that the plan says."""
    wanted = arrow_type(transform.type or "text")
    new = pa.schema([*schema, pa.field(transform.names[0], wanted)])
    return NewColumn(schema=new, make=lambda batch: _as(make(batch), wanted))
