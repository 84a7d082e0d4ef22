"""How much disk rows of another database take on the target, by their types."""

from __future__ import annotations

import pytest

from pghaul.engine.arrow.sizes import ENTRY, FULL, ROW, heap_of, index_of, width
from pghaul.model.foreign import ForeignColumn, ForeignIndex, ForeignTable
from pghaul.model.mapped import MappedColumn, MappedTable
from pghaul.model.table import Name


def table(rows: int | None, size: int, *types: str) -> MappedTable:
    columns = tuple(ForeignColumn(name=f"c{n}", native="x") for n in range(len(types)))
    source = ForeignTable(
        name=Name("", "t"),
        columns=columns,
        rows=rows,
        bytes=size,
        indexes=(
            ForeignIndex(name="k", columns=("c0",), primary=True),
            ForeignIndex(name="f", columns=(), kind="spatial"),
        ),
    )
    mapped = tuple(MappedColumn(source=c, name=c.name, type=t) for c, t in zip(columns, types, strict=True))
    return MappedTable(source=source, name=Name("public", "t"), columns=mapped)


@pytest.mark.parametrize(
    ("type_", "size"),
    [
        ("integer", 4),
        ("timestamp(3) without time zone", 8),
        ("public.vector(384)", 8 + 4 * 384),
        ("halfvec(4)", 16),
        ("numeric(10,2)", 11),
        ("text", None),
        ("integer[]", None),
        ("vector", None),
    ],
)
def test_a_type_has_its_width(type_: str, size: int | None) -> None:
    assert width(type_) == size


def test_fixed_types_are_known_and_texts_are_what_the_source_has_beside_them() -> None:
    assert heap_of(table(1000, 9, "bigint", "bigint")) == 1000 * (ROW + 16)
    assert heap_of(table(1000, 56_000, "bigint", "text", "text")) == 1000 * (ROW + 56)
    assert heap_of(table(None, 777, "bigint")) == 777
    assert index_of(table(900, 0, "integer", "text")) == round(900 * (ENTRY + 8) / FULL)
