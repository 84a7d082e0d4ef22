"""Text or binary, by what the catalogues and both servers say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pghaul.model.errors import NotSupportedError, ShapeChangedError
from pghaul.model.plan import Format
from pghaul.model.table import Column, Name, RelationKind, Table
from pghaul.postgres.formats import TypeRow, choose_format, copy_encoding, type_facts
from pghaul.postgres.rowhash import agree, row_hash_sql, unhashable
from pghaul.postgres.server import Server
from pghaul.postgres.versions import capabilities


def server(version: int = 160000, **facts: object) -> Server:
    base = Server(
        version_num=version,
        version="",
        capabilities=capabilities(version, environ={}),
        encoding="UTF8",
        database="d",
        user="u",
        superuser=True,
        identity="i",
        max_locks=6400,
        in_recovery=False,
        integer_datetimes=True,
        can_replica_role=True,
    )
    return replace(base, **facts)  # type: ignore[arg-type]


def table(*columns: Column) -> Table:
    return Table(name=Name("public", "t"), oid=1, kind=RelationKind.TABLE, columns=columns)


NUMBER = Column(name="n", type="bigint", type_oid=20, portable_binary=True)
PRICE = Column(name="price", type="money", type_oid=790)


def row(oid: int, name: str, kind: str = "b", schema: str = "pg_catalog", refs: tuple[int, ...] = ()) -> TypeRow:
    return TypeRow(
        oid=oid, schema=schema, name=name, kind=kind, array=name.startswith("_"), refs=refs, send_function=""
    )


def facts(*rows: TypeRow) -> dict[str, tuple[bool, bool]]:
    found = type_facts({r.oid: r for r in rows})
    return {r.name: (found[r.oid].portable_binary, found[r.oid].holds_float) for r in rows}


def test_auto_takes_binary_where_every_column_is_safe() -> None:
    assert choose_format(Format.AUTO, table(NUMBER), table(NUMBER), server(), server(), None) == "binary"


def test_text_asked_for_is_text() -> None:
    assert choose_format(Format.TEXT, table(NUMBER), table(NUMBER), server(), server(), None) == "text"


def test_auto_takes_text_and_binary_is_refused_by_name_for_an_unportable_column() -> None:
    both = table(NUMBER, PRICE)
    assert choose_format(Format.AUTO, both, both, server(), server(), None) == "text"
    with pytest.raises(NotSupportedError, match=r"column price \(money\)") as refused:
        choose_format(Format.BINARY, both, both, server(), server(), None)
    assert "column n" not in refused.value.message


def test_a_type_that_differs_between_the_sides_forbids_binary() -> None:
    there = table(replace(NUMBER, type="integer"))
    assert choose_format(Format.AUTO, table(NUMBER), there, server(), server(), None) == "text"


def test_a_generated_column_is_not_copied_and_forbids_nothing() -> None:
    here = table(NUMBER, replace(PRICE, generated=True))
    assert choose_format(Format.BINARY, here, table(NUMBER), server(), server(), None) == "binary"


def test_a_column_missing_on_the_target_is_named() -> None:
    with pytest.raises(ShapeChangedError, match="no column price"):
        choose_format(Format.AUTO, table(NUMBER, PRICE), table(NUMBER), server(), server(), None)


@pytest.mark.parametrize("odd", [{"encoding": "EUC_KR"}, {"encoding": "SQL_ASCII"}, {"integer_datetimes": False}])
def test_servers_that_differ_in_encoding_or_times_use_text(odd: dict[str, object]) -> None:
    both = table(NUMBER)
    assert choose_format(Format.AUTO, both, both, server(**odd), server(), None) == "text"  # type: ignore[arg-type]
    assert choose_format(Format.AUTO, both, both, server(), server(**odd), None) == "text"  # type: ignore[arg-type]


def test_domains_and_enums_and_ranges_go_in_binary_and_arrays_of_users_types_do_not() -> None:
    """array_send and record_send write type oids, which two servers number differently."""
    mood = row(100, "mood", "e", "public")
    int4 = row(23, "int4")
    found = facts(
        int4,
        mood,
        row(101, "_mood", "b", "public", (100,)),
        row(102, "small", "d", "public", (23,)),
        row(103, "_int4", "b", "pg_catalog", (23,)),
        row(104, "span", "r", "public", (102,)),
        row(105, "_span", "b", "public", (104,)),
        row(106, "pair", "c", "public", (23, 100)),
        row(107, "int4", "b", "public"),
    )
    assert {name for name, (portable, _) in found.items() if portable} >= {"mood", "small", "_int4", "span"}
    assert not any(found[name][0] for name in ("_mood", "_span", "pair"))


def test_a_users_type_of_a_built_in_name_is_not_taken_for_the_built_in_one() -> None:
    assert facts(row(107, "float8", "b", "public")) == {"float8": (False, False)}


def test_floats_are_found_through_domains_arrays_and_composites_that_hold_themselves() -> None:
    found = facts(
        row(701, "float8"),
        row(201, "_float8", refs=(701,)),
        row(202, "grades", "d", "public", (201,)),
        row(203, "tree", "c", "public", (202, 204)),
        row(204, "_tree", "b", "public", (203,)),
        row(25, "text"),
    )
    assert {name for name, (_, floats) in found.items() if floats} == {"float8", "_float8", "grades", "tree", "_tree"}


def test_the_source_hands_out_its_own_bytes_and_the_target_is_told_what_they_are() -> None:
    assert copy_encoding(server(encoding="EUC_KR"), server(), None) == ("EUC_KR", "EUC_KR")
    assert copy_encoding(server(encoding="SQL_ASCII"), server(), "UHC") == ("SQL_ASCII", "UHC")
    assert copy_encoding(server(encoding="SQL_ASCII"), server(), None) == ("SQL_ASCII", "UTF8")
    assert copy_encoding(server(), server(), "UHC") == ("UTF8", "UTF8")


def test_servers_agree_on_the_way_of_hashing_that_both_have() -> None:
    assert agree(server(), server(180000)).extended
    assert not agree(server(90300), server()).extended
    assert agree(server(110000), server()).float_binary
    assert not agree(server(120000), server()).float_binary


def test_servers_of_different_encodings_hash_converted_bytes() -> None:
    agreed = agree(server(encoding="SQL_ASCII"), server(), "UHC")
    assert (agreed.extended, agreed.source_recode, agreed.target_recode) == (False, "UHC", "UTF8")
    assert agree(server(encoding="EUC_KR"), server(encoding="EUC_KR")).source_recode is None


def test_composites_with_floats_cannot_be_hashed_across_the_change_of_float_text() -> None:
    pair = Column(name="pair", type="public.pair", type_oid=9, holds_float=True)
    plain = Column(name="f", type="real", type_oid=700, holds_float=True, portable_binary=True)
    assert unhashable([pair, plain], float_binary=True) == ["pair"]
    assert unhashable([pair, plain], float_binary=False) == []


def test_names_are_quoted_in_the_hash_statement() -> None:
    odd = replace(NUMBER, name='a"; DROP TABLE t; --')
    text = row_hash_sql([odd], Name("s", 'x"y'), extended=False, float_binary=False)
    assert '"a""; DROP TABLE t; --"' in text
    assert 'FROM ONLY "s"."x""y" AS r' in text
