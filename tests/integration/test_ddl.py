"""Tables with everything they need, made on the target from pg_dump's sections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.databases import DatabasePair

from pghaul.model.errors import NotFoundError, ProgramError
from pghaul.model.table import Name, RelationKind, Table
from pghaul.postgres.dsn import resolve
from pghaul.postgres.session import Session, connect
from pghaul.target import ddl, sequences
from pghaul.target.programs import find_programs
from pghaul.target.restore import Transfer
from pghaul.target.scope import Scope, survey

PAIRS = [("pg16", "pg18"), ("pg15", "pg16"), ("pg18", "pg15"), ("pg18", "pg16")]

TYPES = """
CREATE SCHEMA "Typen";
CREATE TYPE "Typen".mood AS ENUM ('sad', 'ok');
CREATE DOMAIN "Typen".score AS int CHECK (VALUE >= 0);
CREATE TYPE "Typen".pair AS (m "Typen".mood, s "Typen".score);
CREATE TYPE "Typen".span AS RANGE (subtype = int4);
CREATE COLLATION "Typen".plain (locale = 'C');
CREATE FUNCTION "Typen".start(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT i + 1';
CREATE FUNCTION "Typen".key(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper(t)';
CREATE SCHEMA "한글 ""x"" y";
CREATE TABLE "한글 ""x"" y"."측정 값" (
  id serial PRIMARY KEY, n bigint GENERATED ALWAYS AS IDENTITY, m "Typen".mood[], p "Typen".pair,
  r "Typen".span, t text COLLATE "Typen".plain, k int DEFAULT "Typen".start(1),
  CONSTRAINT "c k" CHECK ("Typen".start(k) > 0));
CREATE INDEX "i x" ON "한글 ""x"" y"."측정 값" ("Typen".key(t));
CREATE TABLE "한글 ""x"" y".other (id int);
CREATE TABLE public.unrelated (id int);
CREATE FUNCTION public.unrelated() RETURNS int LANGUAGE sql AS 'SELECT 1';
"""

PARTITIONS = """
CREATE TABLE city (id int PRIMARY KEY);
CREATE TABLE h (id int NOT NULL, city int REFERENCES city, day int NOT NULL, CONSTRAINT "H pk" PRIMARY KEY (id, day))
  PARTITION BY RANGE (day);
CREATE INDEX by_day ON h (day);
CREATE TABLE h_1 PARTITION OF h FOR VALUES FROM (0) TO (10);
CREATE TABLE h_2 PARTITION OF h FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (day);
CREATE TABLE h_2_a PARTITION OF h_2 FOR VALUES FROM (10) TO (15);
CREATE INDEX own ON h_1 (city);
CREATE TABLE base (id serial, v text);
CREATE TABLE child (CHECK (id > 5)) INHERITS (base);
CREATE TABLE late (id int REFERENCES city);
ALTER TABLE late ADD CONSTRAINT later CHECK (id > 0) NOT VALID;
"""

COLUMNS_SQL = """
SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
       pg_get_expr(d.adbin, d.adrelid), c.relispartition, pg_get_expr(c.relpartbound, c.oid)
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
 WHERE a.attnum > 0 AND c.relkind IN ('r', 'p') AND c.oid >= 16384 AND n.nspname !~ '^(pg_|information)'
 ORDER BY n.nspname, c.relname, a.attnum
"""
CONSTRAINTS_SQL = """
SELECT conrelid::regclass::text, conname::text, pg_get_constraintdef(oid) FROM pg_constraint
 WHERE conrelid >= 16384 AND contype <> 'n' ORDER BY 1, 2
"""
INDEXES_SQL = """
SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid),
       (SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = i.indexrelid)
  FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid
 WHERE t.relkind IN ('r', 'p') AND t.oid >= 16384 ORDER BY 1
"""
TABLES_SQL = """
SELECT n.nspname::text, c.relname::text, c.oid::int8, c.relkind::text
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^(pg_|information)' ORDER BY 1, 2
"""


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """Both sides of one test."""

    transfer: Transfer

    @property
    def source(self) -> Session:
        return self.transfer.source

    @property
    def target(self) -> Session:
        return self.transfer.target

    def tables(self, *names: str) -> list[Table]:
        rows = self.source.rows(TABLES_SQL)
        found = [Table(name=Name(s, n), oid=o, kind=RelationKind(k), columns=()) for s, n, o, k in rows]
        return [t for t in found if not names or t.name.name in names]

    def scope(self, tables: Sequence[Table]) -> Scope:
        there = {Name(s, n) for s, n, *_ in self.target.rows(TABLES_SQL)}
        return survey(self.source, self.target, tables, created={t.name for t in tables} - there)

    def dump(self, scope: Scope) -> None:
        self.transfer.file.unlink(missing_ok=True)
        with ddl.dumping(self.transfer, scope, snapshot=None) as finished:
            finished()

    def create(self, scope: Scope) -> list[str]:
        return ddl.create(self.transfer, scope)

    def finish(self, scope: Scope) -> list[str]:
        return ddl.finish(self.transfer, scope, ours=())

    def same(self, query: str) -> bool:
        return bool(self.source.rows(query) == self.target.rows(query))


@pytest.fixture
def carrier(db_pair: DatabasePair, tmp_path: Path) -> Iterator[Carrier]:
    source_at, target_at = resolve(db_pair.source), resolve(db_pair.target)
    with (
        connect(source_at, application_name="pghaul/test/1/leader", role="source") as source,
        connect(target_at, application_name="pghaul/test/1/leader", role="target") as target,
    ):
        yield Carrier(
            transfer=Transfer(
                programs=find_programs(source.server.version_num, target_version_num=target.server.version_num),
                file=tmp_path / "schema.dump",
                source=source,
                target=target,
                source_at=source_at,
                target_at=target_at,
                application_name="pghaul/test/1",
            )
        )


@pytest.mark.template(source=TYPES)
@pytest.mark.parametrize("db_pair", PAIRS, indirect=True)
def test_a_table_comes_with_all_it_needs_and_nothing_else(carrier: Carrier) -> None:
    tables = carrier.tables("측정 값")
    scope = carrier.scope(tables)
    carrier.dump(scope)
    said = carrier.create(scope)
    assert f"table {tables[0].name}" in said
    assert sorted(x for x in said if x.startswith("type")) == [
        "type Typen.mood",
        "type Typen.pair",
        "type Typen.score",
        "type Typen.span",
    ]
    created = [n for _, n, *_ in carrier.target.rows(TABLES_SQL)]
    assert created == ["측정 값"]
    where = "WHERE c.relname = '측정 값' AND a.attnum > 0"
    one = COLUMNS_SQL.replace("WHERE a.attnum > 0", where)
    assert carrier.same(one)
    assert carrier.target.value("SELECT count(*) FROM pg_proc WHERE proname = 'unrelated'") == 0
    assert carrier.target.value("SELECT count(*) FROM pg_proc WHERE proname = 'key'") == 1
    assert carrier.target.value("SELECT count(*) FROM pg_collation WHERE collname = 'plain'") == 1
    carrier.finish(scope)
    assert carrier.same(INDEXES_SQL)


@pytest.mark.template(source=TYPES)
def test_a_serial_column_owns_its_sequence_again(carrier: Carrier) -> None:
    scope = carrier.scope(carrier.tables("측정 값"))
    carrier.dump(scope)
    carrier.create(scope)
    carrier.target.execute('INSERT INTO "한글 ""x"" y"."측정 값" (t) VALUES (\'a\')')
    assert carrier.target.rows('SELECT id, n, k FROM "한글 ""x"" y"."측정 값"') == [(1, 1, 2)]
    carrier.target.execute('DROP TABLE "한글 ""x"" y"."측정 값"')
    assert carrier.target.value("SELECT count(*) FROM pg_class WHERE relkind = 'S'") == 0


@pytest.mark.template(source=PARTITIONS)
@pytest.mark.parametrize("db_pair", PAIRS, indirect=True)
def test_partitions_parents_indexes_and_keys_are_as_on_the_source(carrier: Carrier) -> None:
    tables = carrier.tables()
    scope = carrier.scope(tables)
    carrier.dump(scope)
    carrier.create(scope)
    assert carrier.same(COLUMNS_SQL)
    carrier.finish(scope)
    assert carrier.same(CONSTRAINTS_SQL)
    assert carrier.same(INDEXES_SQL)


@pytest.mark.template(source=PARTITIONS)
@pytest.mark.parametrize("db_pair", [("pg16", "pg18"), ("pg18", "pg15")], indirect=True)
def test_both_steps_done_again_do_nothing(carrier: Carrier) -> None:
    tables = carrier.tables()
    scope = carrier.scope(tables)
    carrier.dump(scope)
    carrier.create(scope)
    carrier.finish(scope)
    assert (carrier.create(scope), carrier.finish(scope)) == ([], [])


@pytest.mark.template(source=PARTITIONS)
def test_what_the_load_has_built_is_kept_and_attached(carrier: Carrier) -> None:
    tables = carrier.tables("h", "h_1", "h_2", "h_2_a")
    scope = carrier.scope(tables)
    carrier.dump(scope)
    carrier.create(scope)
    carrier.target.execute("ALTER TABLE public.h_1 ADD CONSTRAINT h_1_pkey PRIMARY KEY (id, day)")
    carrier.target.execute("CREATE INDEX h_1_day_idx ON public.h_1 (day)")
    kept = carrier.target.value("SELECT 'public.h_1_pkey'::regclass::oid::int8")
    said = carrier.finish(scope)
    assert "index public.h_1_day_idx attached to public.by_day" in said
    assert carrier.target.value("SELECT 'public.h_1_pkey'::regclass::oid::int8") == kept
    assert carrier.same(INDEXES_SQL.replace("t.oid >= 16384", "t.relname LIKE 'h%%'"))
    assert carrier.target.value("SELECT count(*) FROM pg_constraint WHERE contype = 'f'") == 0  # city stayed behind


@pytest.mark.template(source=PARTITIONS)
def test_a_new_partition_joins_a_parent_that_is_there(carrier: Carrier) -> None:
    for names in (("h", "h_1"), ("h", "h_1", "h_2", "h_2_a")):
        scope = carrier.scope(carrier.tables(*names))
        carrier.dump(scope)
        carrier.create(scope)
    assert carrier.same(COLUMNS_SQL.replace("WHERE", "WHERE c.relname LIKE 'h%%' AND"))


@pytest.mark.template(source="CREATE TABLE t (id int DEFAULT 1)", target="CREATE TABLE t (id int)")
def test_a_table_that_is_there_is_left_as_it_is(carrier: Carrier) -> None:
    assert carrier.scope(carrier.tables()).things == ()
    assert not carrier.same(COLUMNS_SQL)


@pytest.mark.template(source=TYPES)
def test_a_failed_restore_leaves_nothing(carrier: Carrier) -> None:
    scope = carrier.scope(carrier.tables("측정 값"))
    carrier.dump(scope)
    carrier.target.execute('CREATE SCHEMA "한글 ""x"" y"')
    carrier.target.execute('CREATE SEQUENCE "한글 ""x"" y"."측정 값_id_seq"')
    with pytest.raises(ProgramError, match="측정 값_id_seq"):
        carrier.create(scope)
    assert carrier.target.rows(TABLES_SQL) == []
    assert carrier.target.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'Typen'") == 0


@pytest.mark.template(source="CREATE EXTENSION vector; CREATE TABLE v (id int, e vector(3))")
def test_an_extension_that_the_target_offers_is_created(carrier: Carrier) -> None:
    scope = carrier.scope(carrier.tables())
    carrier.dump(scope)
    said = carrier.create(scope)
    assert said == ["extension vector", "table public.v"]


@pytest.mark.template(source="CREATE EXTENSION vector; CREATE TABLE v (id int, e vector(3))")
@pytest.mark.parametrize("db_pair", [("pg16", "pg15")], indirect=True)
def test_a_type_of_an_extension_that_the_target_lacks_is_an_error_that_names_it(carrier: Carrier) -> None:
    scope = carrier.scope(carrier.tables())
    carrier.dump(scope)
    with pytest.raises(NotFoundError, match="vector"):
        carrier.create(scope)
    assert carrier.target.rows(TABLES_SQL) == []


SEQUENCES = """
CREATE TABLE a (id serial, n int GENERATED ALWAYS AS IDENTITY);
CREATE SEQUENCE "Loose" INCREMENT -1;
CREATE TABLE b (id int DEFAULT nextval('"Loose"'));
"""
USED = "SELECT setval('a_id_seq', 7), setval('a_n_seq', 5, false), setval('\"Loose\"', -9)"


@pytest.mark.template(source=f"{SEQUENCES} {USED}", target=SEQUENCES)
@pytest.mark.parametrize("db_pair", [("pg15", "pg18"), ("pg18", "pg15")], indirect=True)
def test_sequences_go_on_where_the_source_is_and_never_back(carrier: Carrier) -> None:
    names = [t.name for t in carrier.tables()]
    carrier.target.value("SELECT setval('public.a_id_seq', 100)")
    said = sequences.carry(carrier.source, carrier.target, names)
    assert said == ["sequence public.Loose at -9", "sequence public.a_n_seq at 5"]
    numbers = "SELECT nextval('public.a_id_seq'), nextval('public.a_n_seq'), nextval('public.\"Loose\"')"
    assert carrier.target.rows(numbers) == [(101, 5, -10)]
