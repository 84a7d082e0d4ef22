"""Sources: how one is found, and what it says of its tables."""

from __future__ import annotations

import pickle

import pytest
from tests.contract.case import CHILD, EMPTY, LOOSE, NUMBERS, PARENT, Place

from pghaul.model.errors import PghaulError, UsageError
from pghaul.sources.protocol import Source, engine_of


def test_its_url_is_found_and_can_be_written_again(place: Place) -> None:
    endpoint = place.endpoint
    assert endpoint.engine == place.engine
    again = engine_of(endpoint.engine).endpoint(endpoint.display, {}, place.password)
    assert again == endpoint


def test_its_password_is_not_shown(place: Place) -> None:
    endpoint = place.endpoint
    assert not place.password or place.password not in f"{endpoint!r} {endpoint} {endpoint.display}"


def test_a_url_without_anything_is_refused(place: Place) -> None:
    with pytest.raises(UsageError) as refused:
        engine_of(place.engine).endpoint(f"{place.engine}:", {}, None)
    assert refused.value.advice


def test_the_types_are_listed(place: Place) -> None:
    types = engine_of(place.engine).types()
    assert types
    assert all(len(row) == 3 and row[0] and row[1] for row in types)


def test_every_table_is_described(place: Place) -> None:
    database = place.described
    names = {t.name for t in database.tables}
    assert {place.name(t) for t in (NUMBERS, EMPTY, LOOSE, PARENT, CHILD)} <= names
    assert database.engine == place.engine
    assert database.product
    assert not place.password or place.password not in repr(database)


def test_a_description_travels_between_processes(place: Place) -> None:
    database = place.described
    assert pickle.loads(pickle.dumps(database)) == database  # noqa: S301


def test_the_same_database_has_the_same_identity(place: Place, source: Source) -> None:
    assert source.database().identity == place.described.identity != ""


def test_columns_come_in_order_and_have_a_type(place: Place) -> None:
    for name in (NUMBERS, EMPTY):
        columns = place.table(name).columns
        assert [c.name for c in columns] == ["id", "half", "word"]
        assert all(c.pg_type and c.native for c in columns)
    assert {c.pg_type for c in place.table(NUMBERS).columns[:2]} <= {"integer", "bigint"}


def test_rows_are_estimated(place: Place, source: Source) -> None:
    table = place.table(NUMBERS)
    assert table.rows is None or table.rows > 0
    assert not table.exact_rows or table.rows == source.count(table.name)


def test_keys_are_described(place: Place) -> None:
    if not place.keys:
        pytest.skip("this kind of source has no keys")
    numbers, parent = place.table(NUMBERS), place.table(PARENT)
    assert numbers.primary is not None
    assert numbers.primary.columns == ("id",)
    assert [i.columns for i in parent.indexes if i.unique and not i.primary] == [("code",)]
    assert {c.name for c in parent.columns if c.not_null} == {"id", "code"}


def test_references_are_described(place: Place) -> None:
    if not place.keys:
        pytest.skip("this kind of source has no keys")
    child = place.table(CHILD)
    (reference,) = child.references
    assert (reference.columns, reference.referenced) == (("parent_id",), ("id",))
    assert reference.table == place.name(PARENT)
    assert reference.on_delete == "CASCADE"
    assert ("parent_id",) in [i.columns for i in child.indexes]


def test_what_is_not_there_is_an_error_when_it_is_opened_or_described(place: Place) -> None:
    endpoint = place.endpoint
    missing = type(endpoint)(
        engine=endpoint.engine,
        params=tuple((k, f"{v}_is_not_there" if k in {"path", "database"} else v) for k, v in endpoint.params),
        password=endpoint.password,
    )
    with pytest.raises(PghaulError) as refused, engine_of(place.engine).open(missing) as source:
        source.database()
    assert not place.password or place.password not in f"{refused.value} {refused.value.__cause__!r}"
