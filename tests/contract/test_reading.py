"""Sources: what is read is what is there, whole or in parts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from tests.contract.case import (
    CHANGING,
    COUNT,
    EMPTY,
    LOOSE,
    NUMBERS,
    ODD,
    VANISHING,
    Place,
    loose_rows,
    number_rows,
    pieces,
    rows_of,
    whole,
)

from pghaul.model.errors import PghaulError, TransientError
from pghaul.model.foreign import KeyRange, ReadColumn
from pghaul.sources.protocol import Source


def _some(rows: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return sorted(rows, key=repr)


def test_all_rows_arrive(place: Place, source: Source) -> None:
    table = place.table(NUMBERS)
    assert sorted(rows_of(source, whole(table)), key=lambda r: int(str(r[0]))) == sorted(number_rows())
    assert source.count(table.name) == COUNT


def test_the_schema_is_known_before_the_rows(place: Place, source: Source) -> None:
    batches = source.read(whole(place.table(NUMBERS), batch_rows=700))
    schema = batches.schema
    read = list(batches)
    assert schema.names == ["id", "half", "word"]
    assert [b.schema for b in read] == [schema] * len(read)


def test_batches_are_no_larger_than_asked(place: Place, source: Source) -> None:
    table = place.table(NUMBERS)
    read = list(source.read(whole(table, batch_rows=700)))
    assert max(b.num_rows for b in read) <= 700
    assert sum(b.num_rows for b in read) == COUNT
    small = list(source.read(whole(table, batch_bytes=20_000)))
    assert max(b.nbytes for b in small) <= 40_000


def test_columns_come_as_they_are_asked_for(place: Place, source: Source) -> None:
    reading = whole(place.table(NUMBERS))
    turned = replace(reading, columns=(reading.columns[2], reading.columns[0]))
    assert _some(rows_of(source, turned)) == _some([(r[2], r[0]) for r in number_rows()])


def test_an_empty_table_has_a_schema_and_no_rows(place: Place, source: Source) -> None:
    assert rows_of(source, whole(place.table(EMPTY))) == []
    full = whole(place.table(NUMBERS))
    assert source.read(replace(full, table=place.name(EMPTY))).schema.names == ["id", "half", "word"]
    assert source.count(place.name(EMPTY)) == 0


def test_parts_are_the_whole(place: Place, source: Source) -> None:
    if not source.guarantees.ranges:
        pytest.skip("this source reads whole tables only")
    reading = whole(place.table(NUMBERS))
    bounds = source.bounds(place.name(NUMBERS), "id")
    assert bounds == (1, COUNT)
    parts = [rows_of(source, replace(reading, range=r)) for r in pieces(*bounds, "id", 7)]
    assert all(parts)
    assert _some([row for part in parts for row in part]) == _some(number_rows())  # type: ignore[arg-type]
    counted = [source.count(place.name(NUMBERS), None, r) for r in pieces(*bounds, "id", 7)]
    assert counted == [len(p) for p in parts]


def test_a_row_without_a_key_belongs_to_the_first_part(place: Place, source: Source) -> None:
    if not source.guarantees.ranges:
        pytest.skip("this source reads whole tables only")
    reading = whole(place.table(LOOSE))
    ranges = pieces(-50, 50, "nr", 4)
    parts = [rows_of(source, replace(reading, range=r)) for r in ranges]
    assert [any(row[0] is None for row in part) for part in parts] == [True, False, False, False]
    assert _some([row for part in parts for row in part]) == _some(loose_rows())  # type: ignore[arg-type]
    assert source.count(place.name(LOOSE), None, ranges[0]) == len(parts[0])


def test_an_empty_table_has_no_bounds(place: Place, source: Source) -> None:
    if not source.guarantees.ranges:
        pytest.skip("this source reads whole tables only")
    assert source.bounds(place.name(EMPTY), "id") is None


def test_reading_goes_on_behind_the_last_key(place: Place, source: Source) -> None:
    if not source.guarantees.ranges:
        pytest.skip("this source reads whole tables only")
    reading = whole(place.table(NUMBERS), ordered=("id",), limit=1_300)
    read: list[tuple[object, ...]] = []
    while True:
        last = int(str(read[-1][0])) if read else 0
        part = rows_of(source, replace(reading, range=KeyRange(column="id", low=last + 1, high=None)))
        if not part:
            break
        read += part
    assert read == sorted(number_rows())


def test_an_order_and_a_limit_are_kept(place: Place, source: Source) -> None:
    reading = whole(place.table(NUMBERS), limit=10)
    assert len(rows_of(source, reading)) == 10
    ordered = rows_of(source, replace(reading, ordered=("id",)))
    assert [row[0] for row in ordered] == list(range(1, 11))
    assert rows_of(source, replace(reading, limit=0)) == []


@pytest.mark.parametrize("comment", ["", " -- mine"])
def test_a_condition_is_the_sources_own(place: Place, source: Source, comment: str) -> None:
    if not source.guarantees.where:
        pytest.skip("this source takes no condition")
    where = place.above("id", COUNT - 20) + comment
    reading = whole(place.table(NUMBERS), where=where)
    assert sorted(int(str(r[0])) for r in rows_of(source, reading)) == list(range(COUNT - 19, COUNT + 1))
    assert source.count(place.name(NUMBERS), where) == 20
    assert not source.guarantees.ranges or source.bounds(place.name(NUMBERS), "id", where) == (COUNT - 19, COUNT)
    either = f"{place.above('id', COUNT - 5)} OR {place.above('id', COUNT - 20)}"
    part = KeyRange(column="id", low=COUNT - 9, high=COUNT - 8)
    assert not source.guarantees.ranges or source.count(place.name(NUMBERS), either, part) == 1


def test_a_condition_that_makes_no_sense_is_an_error(place: Place, source: Source) -> None:
    if not source.guarantees.where:
        pytest.skip("this source takes no condition")
    with pytest.raises(PghaulError) as refused:
        rows_of(source, whole(place.table(NUMBERS), where="there is no such thing ("))
    assert not isinstance(refused.value, TransientError)


def test_a_table_or_column_that_is_not_there_is_an_error_at_once(place: Place, source: Source) -> None:
    reading = whole(place.table(NUMBERS))
    with pytest.raises(PghaulError, match="no_such_table"):
        source.read(replace(reading, table=place.name("no_such_table")))
    with pytest.raises(PghaulError, match="no_such_column"):
        source.read(replace(reading, columns=(ReadColumn(name="no_such_column", native="x", pg_type="text"),)))
    assert len(rows_of(source, reading)) == COUNT


def test_a_table_that_vanishes_harms_no_other(place: Place, source: Source) -> None:
    reading = whole(place.table(VANISHING))
    place.vanish()
    with pytest.raises(PghaulError, match=VANISHING) as refused:
        rows_of(source, reading)
    assert not isinstance(refused.value, TransientError)
    assert source.count(place.name(NUMBERS)) == COUNT


def test_reading_may_end_early_and_begin_again(place: Place, source: Source) -> None:
    reading = whole(place.table(NUMBERS), batch_rows=100)
    batches = source.read(reading)
    assert next(iter(batches)).num_rows <= 100
    batches.close()
    batches.close()
    assert len(rows_of(source, reading)) == COUNT


def test_closing_twice_does_no_harm(place: Place) -> None:
    with place.open() as source:
        assert source.count(place.name(CHANGING)) >= 10
        source.close()


def test_several_may_read_at_once(place: Place, source: Source) -> None:
    if not (source.guarantees.parallel and source.guarantees.ranges):
        pytest.skip("this source is read by one")
    reading = whole(place.table(NUMBERS))

    def one(part: KeyRange) -> list[tuple[object, ...]]:
        with place.open() as own:
            return rows_of(own, replace(reading, range=part))

    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(one, pieces(1, COUNT, "id", 4)))
    assert _some([row for part in parts for row in part]) == _some(number_rows())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ODD)
def test_any_name_can_be_read(place: Place, source: Source, name: str) -> None:
    if name not in place.odd:
        pytest.skip(f"{place.engine} has no such names")
    table = place.table(name)
    assert [c.name for c in table.columns] == [name]
    assert rows_of(source, whole(table, ordered=(name,))) == [(1,)]
    assert not source.guarantees.ranges or source.bounds(table.name, name) == (1, 1)
