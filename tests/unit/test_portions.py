"""A mapping in parts: nothing is left out, each part fits, and what stands on several tables comes behind them."""

from __future__ import annotations

from pghaul.model.foreign import ForeignDatabase, ForeignTable
from pghaul.model.mapped import Made, MadeKind, MappedDatabase, MappedTable
from pghaul.model.table import Name
from pghaul.target.foreign.portions import PLAIN, in_parts, portions

NAMES = [Name("s", f"t{i}") for i in range(9)]


def made(kind: MadeKind, name: str, table: Name | None, *needs: Name, makes: Name | None = None) -> Made:
    return Made(name=name, sql=name, table=table, kind=kind, needs=needs, makes=makes)


def mapped(*after: Made) -> MappedDatabase:
    tables = tuple(MappedTable(source=ForeignTable(name=n, columns=()), name=n, columns=()) for n in NAMES)
    before = (made("schema", "schema", None), *(made("table", f"table {n}", n) for n in NAMES))
    database = ForeignDatabase(engine="x", product="x", identity="x", dialect="x", tables=(), views=(), others=())
    primary = tuple(made("primary", f"key {n}", n) for n in NAMES)
    return MappedDatabase(database=database, tables=tables, before=before, after=(*primary, *after))


def said(parts: MappedDatabase, locks: int) -> list[list[str]]:
    return [[m.name for m in (*p.before, *p.after)] for p in portions(parts, locks)]


def test_what_fits_is_one_part_in_the_order_of_the_mapping() -> None:
    whole = mapped(made("reference", "r", NAMES[8], NAMES[0]), made("comment", "c", NAMES[0]))
    assert said(whole, 1000) == [[m.name for m in (*whole.before, *whole.after) if m.kind != "comment"]]


def test_what_stands_on_tables_of_two_parts_is_tried_where_both_are_made_again() -> None:
    view = Name("s", "v")
    over = Name("s", "w")
    near = made("reference", "near", NAMES[1], NAMES[0])
    far = made("reference", "far", NAMES[8], NAMES[0])
    whole = mapped(
        near, far, made("view", "v", None, NAMES[0], NAMES[5], makes=view), made("view", "w", None, view, makes=over)
    )
    each = PLAIN + 2  # a table and its key
    *first, last = said(whole, 2 * 3 * (each + 1))
    assert len(first) == 3
    assert all(part[0] == "schema" for part in (*first, last))
    assert sorted(n for part in first for n in part if n.startswith("table")) == [f"table {n}" for n in NAMES]
    assert [part for part in first if "near" in part] == [first[0]]
    assert last == [
        "schema",
        *(f"table {NAMES[i]}" for i in (0, 5, 8)),
        *(f"key {NAMES[i]}" for i in (0, 5, 8)),
        "far",
        "v",
        "w",
    ]


def test_a_server_with_little_room_takes_one_table_at_a_time() -> None:
    whole = mapped()
    assert in_parts(NAMES, whole.before, 1) == [[n] for n in NAMES]
    assert len(said(whole, 1)) == len(NAMES)
    assert in_parts([], whole.before, 1) == []
