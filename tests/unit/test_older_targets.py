"""What a new pg_dump writes is put into an old target's words, and nothing in quotes is touched."""

from __future__ import annotations

import pytest

from pghaul.postgres.versions import capabilities
from pghaul.target.older import masked, rewrite


def written_for(version: int, script: str) -> str:
    return rewrite(script, capabilities(version, environ={}))


TABLE = """
CREATE TABLE m."young; er" (
    NOT NULL id,
    CONSTRAINT younger_at_check CHECK ((at < 1000)),
    v text DEFAULT 'a,
    NOT NULL id,
)' NOT NULL,
    CONSTRAINT "of, it" NOT NULL "a )b" NO INHERIT,
    w numeric(3,2) CONSTRAINT w_there NOT NULL NO INHERIT,
    NOT NULL last
)
INHERITS (m.elder);
"""
TABLE_17 = """
CREATE TABLE m."young; er" (
    CONSTRAINT younger_at_check CHECK ((at < 1000)),
    v text DEFAULT 'a,
    NOT NULL id,
)' NOT NULL,
    w numeric(3,2) CONSTRAINT w_there NOT NULL
)
INHERITS (m.elder);
ALTER TABLE ONLY m."young; er" ALTER COLUMN id SET NOT NULL;
ALTER TABLE ONLY m."young; er" ALTER COLUMN "a )b" SET NOT NULL;
ALTER TABLE ONLY m."young; er" ALTER COLUMN last SET NOT NULL;
"""


def test_not_null_becomes_the_columns_property_before_18() -> None:
    assert written_for(170000, TABLE) == TABLE_17


def test_from_18_on_nothing_is_touched() -> None:
    assert written_for(180000, TABLE) == TABLE


def test_a_table_of_inherited_columns_alone_stays_a_table() -> None:
    script = "CREATE UNLOGGED TABLE m.t (\n    NOT NULL id\n)\nINHERITS (m.e);\n"
    assert written_for(170000, script) == (
        "CREATE UNLOGGED TABLE m.t (\n)\nINHERITS (m.e);\nALTER TABLE ONLY m.t ALTER COLUMN id SET NOT NULL;\n"
    )


@pytest.mark.parametrize("script", ["CREATE TABLE m.t (\n);\n", "CREATE TABLE m.t (\n    a integer NOT NULL\n);\n"])
def test_an_ordinary_table_stays_as_it_is(script: str) -> None:
    assert written_for(90300, script) == script


def test_triggers_execute_procedures_before_11() -> None:
    trigger = "CREATE TRIGGER t BEFORE INSERT ON m.t FOR EACH ROW EXECUTE {} m.f(' EXECUTE FUNCTION x');\n"
    body = "CREATE FUNCTION m.f() RETURNS text LANGUAGE sql AS $_$ SELECT ' EXECUTE FUNCTION ' $_$;\n"
    assert written_for(100000, body + trigger.format("FUNCTION")) == body + trigger.format("PROCEDURE")
    assert written_for(110000, trigger.format("FUNCTION")) == trigger.format("FUNCTION")


def test_a_range_type_names_no_multirange_before_14() -> None:
    ours = 'CREATE TYPE m.r AS RANGE (\n    subtype = float8,\n    multirange_type_name = m."M r"\n);\n'
    assert written_for(130000, ours) == "CREATE TYPE m.r AS RANGE (\n    subtype = float8\n);\n"
    assert written_for(140000, ours) == ours


def test_a_sequence_has_no_type_before_10() -> None:
    ours = "CREATE SEQUENCE m.s\n    AS integer\n    START WITH 1\n    CACHE 1;\n"
    assert written_for(90600, ours) == "CREATE SEQUENCE m.s\n    START WITH 1\n    CACHE 1;\n"
    assert written_for(100000, ours) == ours


def test_a_column_has_no_compression_of_its_own_before_14() -> None:
    ours = 'ALTER TABLE ONLY m."p q" ALTER COLUMN t SET COMPRESSION pglz;\n'
    assert written_for(130000, f"SELECT 1;\n{ours}SELECT 2;\n") == "SELECT 1;\nSELECT 2;\n"
    assert written_for(140000, ours) == ours


def test_what_is_quoted_is_masked_at_its_own_length() -> None:
    script = """a "b""c" 'd''e' E'f\\'g' $x$ h $y$ 'i' $x$ -- j 'k\nl"""
    mask = masked(script).mask
    assert len(mask) == len(script)
    assert [word.strip("\0") for word in mask.split()] == ["a", '"\0\0\0\0"', "", "", "", "", "l"]
