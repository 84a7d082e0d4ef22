"""Rows that go by INSERT: in what order they are read, what is there already, what a role may do, what stays quiet."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest
from tests.compare import assert_same_content
from tests.databases import DatabasePair
from tests.moving import Moved, assert_done, move, resume, rows, run_sql
from tests.stopping import move_until_stopped
from tests.typed_values import SCRIPT, TABLES

from pghaul.model.errors import AccessError, NotSupportedError, RowError, ShapeChangedError
from pghaul.model.event import EventKind
from pghaul.model.plan import Options, Plan, Selection, Verify
from pghaul.service.migration import MigrationService

SMALL_BATCHES = """
CREATE TABLE public.keyed (a int4, b text COLLATE "C", v text, n numeric(8,2), PRIMARY KEY (a, b));
INSERT INTO public.keyed SELECT i % 50, i::text, repeat('v', i % 300), i / 7.0 FROM generate_series(1, 9000) i;
CREATE TABLE public.bare (i int4, v text);
INSERT INTO public.bare SELECT i, repeat(md5(i::text), i % 20) FROM generate_series(1, 6000) i;
DELETE FROM public.bare WHERE i % 10 < 8;
INSERT INTO public.bare SELECT * FROM public.bare WHERE i % 3 = 0;
CREATE TABLE public.wide (id int8 UNIQUE NOT NULL, v text);
INSERT INTO public.wide SELECT i, repeat(md5(i::text), 10000) FROM generate_series(1, 20) i;
CREATE TABLE public.nothing ();
INSERT INTO public.nothing DEFAULT VALUES; INSERT INTO public.nothing DEFAULT VALUES;
CREATE TABLE public.empty (id int4 PRIMARY KEY);
"""
ALL = ["public.keyed", "public.bare", "public.wide", "public.nothing", "public.empty"]


def inserted(moved: Moved, table: str) -> dict[str, int]:
    """What the receipts of a table say became of its rows."""
    done = [e.data for e in moved.of(EventKind.CHUNK_DONE) if e.table == table]
    return {k: sum(d[k] for d in done) for k in ("rows", "inserted", "updated", "unchanged", "ignored")}


@pytest.mark.since(15)
@pytest.mark.template(source=SCRIPT)
@pytest.mark.parametrize(
    ("db_pair", "assumed"), [(("pg16", "pg18"), ""), (("pg18", "pg16"), "source=13")], indirect=["db_pair"]
)
def test_every_type_arrives_by_insert(
    db_pair: DatabasePair, state: str, assumed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHAUL_ASSUME_VERSION", assumed)
    moved = move(db_pair, "public.*", recipe="insert")
    assert_done(moved)
    assert_same_content(db_pair.source, db_pair.target, TABLES)
    assert set(moved.proofs().values()) == {"rows"}


@pytest.mark.template(source=SMALL_BATCHES)
@pytest.mark.parametrize(("assumed", "split"), [("", 1 << 30), ("", 65536), ("13", 1 << 30)])
def test_rows_arrive_whether_read_by_key_or_by_place(
    db_pair: DatabasePair, state: str, assumed: str, split: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over several batches, with a key of two columns, with holes in the heap, with rows of 320 kB, with none."""
    monkeypatch.setenv("PGHAUL_ASSUME_VERSION", assumed)
    moved = move(db_pair, "public.*", recipe="insert", split_bytes=split)
    assert_done(moved)
    assert_same_content(db_pair.source, db_pair.target, ALL)
    assert set(moved.proofs().values()) == {"rows"}
    assert moved.run.rows == sum(rows(db_pair.source, f"SELECT count(*) FROM {t}")[0][0] for t in ALL)


@pytest.mark.template(source=SMALL_BATCHES)
def test_a_part_of_a_table_goes_by_insert_too(db_pair: DatabasePair, state: str) -> None:
    selection = Selection(
        name="keyed", where="a < 10 -- and no more", columns=["b", "v"], into="public.part", recipe="insert"
    )
    run_sql(db_pair.target, "CREATE TABLE public.part (b text, v text)")
    plan = Plan(source=db_pair.source, target=db_pair.target, tables=[selection], options=Options(workers=1))
    MigrationService().run(plan, listener=lambda _: None)
    expected = rows(db_pair.source, "SELECT b, v FROM public.keyed WHERE a < 10 ORDER BY b")
    assert rows(db_pair.target, "SELECT b, v FROM public.part ORDER BY b") == expected


ODD_COLUMNS = """
CREATE DOMAIN public.short AS varchar(5);
CREATE TABLE public.odd (
    "50%s ""x"" y" int4 GENERATED ALWAYS AS IDENTITY, twice int8 GENERATED ALWAYS AS (n * 2) STORED,
    n int4, d public.short, c char(4), PRIMARY KEY ("50%s ""x"" y"));
"""


@pytest.mark.since(12)
@pytest.mark.template(
    source=ODD_COLUMNS + "INSERT INTO public.odd (n, d, c) VALUES (1, '', 'a'), (NULL, NULL, NULL), (3, 'abcde', '');",
    target=ODD_COLUMNS,
)
def test_identities_keep_their_numbers_and_generated_columns_are_made_anew(db_pair: DatabasePair, state: str) -> None:
    assert_done(move(db_pair, "odd", recipe="insert"))
    everything = 'SELECT "50%s ""x"" y", twice, n, d, c, d IS NULL FROM public.odd ORDER BY 1'
    assert rows(db_pair.target, everything) == rows(db_pair.source, everything)


@pytest.mark.template(
    source="CREATE TABLE public.t (v varchar(9)); INSERT INTO public.t VALUES ('too long')",
    target="CREATE TABLE public.t (v varchar(3))",
)
def test_a_value_that_is_too_long_is_refused_and_not_cut_off(db_pair: DatabasePair, state: str) -> None:
    with pytest.raises(RowError, match=r"too long for type character varying\(3\).*public\.t"):
        move(db_pair, "t", recipe="insert")
    assert rows(db_pair.target, "SELECT * FROM public.t") == []


# --- conflicts ---------------------------------------------------------------------------------------------------

STOCK = """
CREATE TABLE public.stock (a int4, b text, n numeric, v varchar(8), j json, x int4 UNIQUE, PRIMARY KEY (a, b));
CREATE TABLE public.only_key (id int4 PRIMARY KEY);
"""
STOCK_SOURCE = f"""{STOCK}
INSERT INTO public.stock SELECT i % 7, i::text, i, 'v', '{{"a":1}}', i FROM generate_series(1, 3000) i;
INSERT INTO public.only_key SELECT generate_series(1, 100);
"""
# 1000 the same (one of them but for the scale of its number), 500 different, 5 that the source does not have.
STOCK_TARGET = f"""{STOCK}
INSERT INTO public.stock SELECT i % 7, i::text, i, 'v', '{{"a":1}}', i FROM generate_series(1, 1000) i;
INSERT INTO public.stock SELECT i % 7, i::text, i, 'old', NULL, NULL FROM generate_series(1001, 1500) i;
UPDATE public.stock SET n = 1.00 WHERE b = '1';
INSERT INTO public.stock SELECT 100, i::text FROM generate_series(1, 5) i;
INSERT INTO public.only_key SELECT generate_series(91, 95);
"""
OLD = pytest.mark.parametrize("assumed", ["", "9.4", "9.3"])


@OLD
@pytest.mark.template(source=STOCK_SOURCE, target=STOCK_TARGET)
def test_rows_that_are_there_are_brought_up_to_date(
    db_pair: DatabasePair, state: str, assumed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row is counted, those that are the same are not written, and those of others stay."""
    monkeypatch.setenv("PGHAUL_ASSUME_VERSION", assumed)
    same = "SELECT ctid::text FROM public.stock WHERE b::int BETWEEN 2 AND 1000 AND a < 100 ORDER BY b"
    before = rows(db_pair.target, same)
    moved = move(db_pair, "stock", "only_key", on_conflict="update")
    assert_done(moved)
    told = {"rows": 3000, "inserted": 1500, "updated": 501, "unchanged": 999, "ignored": 0}
    assert inserted(moved, "public.stock") == told
    told = {"rows": 100, "inserted": 95, "updated": 0, "unchanged": 5, "ignored": 0}
    assert inserted(moved, "public.only_key") == told
    assert rows(db_pair.target, same) == before
    everything = "SELECT a, b, n::text, v, j::text, x FROM public.stock WHERE a < 100 ORDER BY b"
    assert rows(db_pair.target, everything) == rows(db_pair.source, everything)
    assert rows(db_pair.target, "SELECT count(*) FROM public.stock WHERE a = 100") == [(5,)]
    assert moved.proofs()["public.stock"] == "rows"
    assert moved.notices("PROOF") == []
    marker = "SELECT rows, updated, unchanged, ignored FROM pghaul.chunk_marker WHERE relation = 'public.stock'"
    assert rows(db_pair.target, marker) == [(3000, 501, 999, 0)]
    (receipt,) = [
        c.receipt for c in MigrationService().show(moved.run.id).chunks if c.chunk.table.name == "stock" and c.receipt
    ]
    assert (receipt.inserted, receipt.updated, receipt.unchanged) == (1500, 501, 999)


@OLD
@pytest.mark.template(source=STOCK_SOURCE, target=STOCK_TARGET)
def test_rows_that_are_there_are_left_alone(
    db_pair: DatabasePair, state: str, assumed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is another unique key than the primary one that is there."""
    monkeypatch.setenv("PGHAUL_ASSUME_VERSION", assumed)
    run_sql(db_pair.target, "UPDATE public.stock SET x = 2999 WHERE a = 100 AND b = '5'")
    everything = "SELECT ctid::text, t::text FROM public.stock t WHERE a = 100 OR b::int <= 1500 ORDER BY 2"
    before = rows(db_pair.target, everything)
    moved = move(db_pair, "stock", on_conflict="ignore")
    assert_done(moved)
    assert inserted(moved, "public.stock") == {
        "rows": 3000, "inserted": 1499, "updated": 0, "unchanged": 0, "ignored": 1501
    }  # fmt: skip
    assert rows(db_pair.target, everything) == before
    assert moved.notices("PROOF") == ["public.stock"]


DOUBLES = "CREATE TABLE public.d (k int4, v text); INSERT INTO public.d VALUES (1, 'a'), (1, 'b'), (2, 'c')"


@OLD
@pytest.mark.template(source=DOUBLES, target="CREATE TABLE public.d (k int4 PRIMARY KEY, v text)")
def test_rows_of_the_source_that_share_a_key_of_the_target(
    db_pair: DatabasePair, state: str, assumed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them is kept where conflicts are ignored; which of them would win an update nobody can say: an error."""
    monkeypatch.setenv("PGHAUL_ASSUME_VERSION", assumed)
    with pytest.raises(RowError):
        move(db_pair, "d", on_conflict="update")
    assert rows(db_pair.target, "SELECT count(*) FROM public.d") == [(0,)]
    moved = move(db_pair, "d", on_conflict="ignore")
    assert inserted(moved, "public.d")["ignored"] == 1
    assert rows(db_pair.target, "SELECT k, v FROM public.d ORDER BY 1") == [(1, "a"), (2, "c")]


@pytest.mark.template(source=STOCK_SOURCE, target=STOCK_TARGET)
def test_a_conflict_is_an_error_that_names_table_constraint_and_key(db_pair: DatabasePair, state: str) -> None:
    with pytest.raises(RowError, match=r'"stock_pkey".*\(a, b\).*public\.stock') as refused:
        move(db_pair, "stock", recipe="insert", on_existing="append")
    assert "--on-conflict" in (refused.value.advice or "")
    assert rows(db_pair.target, "SELECT count(*) FROM public.stock") == [(1505,)]


@pytest.mark.template(source=STOCK_SOURCE, target=STOCK_TARGET)
def test_appended_rows_are_proven_by_their_keys(db_pair: DatabasePair, state: str) -> None:
    run_sql(db_pair.target, "DELETE FROM public.stock WHERE a < 100")
    moved = move(db_pair, "stock", recipe="insert", on_existing="append")
    assert_done(moved)
    assert (moved.proofs(), moved.notices("PROOF")) == ({"public.stock": "rows"}, [])


KEYLESS = "CREATE TABLE public.k (a int4, b int4 UNIQUE, c int4 NOT NULL UNIQUE DEFERRABLE)"


@pytest.mark.template(source=KEYLESS, target=KEYLESS)
def test_without_a_key_nothing_can_be_updated(db_pair: DatabasePair, state: str) -> None:
    with pytest.raises(ShapeChangedError, match=r"public\.k has no key"):
        move(db_pair, "k", on_conflict="update")
    assert rows(db_pair.target, "SELECT to_regclass('pghaul.run')") == [(None,)]


def test_a_table_that_the_run_creates_has_nothing_to_conflict_with(db_pair: DatabasePair, state: str) -> None:
    run_sql(db_pair.source, STOCK_SOURCE)
    moved = move(db_pair, "stock", on_conflict="update")
    assert_done(moved)
    assert inserted(moved, "public.stock")["inserted"] == 3000
    assert_same_content(db_pair.source, db_pair.target, ["public.stock"])


# --- what stays quiet, and what a role may do --------------------------------------------------------------------

NOISE = f"""{STOCK_TARGET}
CREATE TABLE public.heard (what text);
CREATE FUNCTION public.hear() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO public.heard VALUES (TG_OP); RETURN NULL; END';
CREATE TRIGGER rows BEFORE INSERT OR UPDATE ON public.stock FOR EACH ROW EXECUTE FUNCTION public.hear();
CREATE TRIGGER whole AFTER UPDATE ON public.stock EXECUTE FUNCTION public.hear();
CREATE RULE away AS ON INSERT TO public.only_key DO INSTEAD NOTHING;
"""


@pytest.mark.template(source=STOCK_SOURCE, target=NOISE)
def test_neither_triggers_nor_rules_of_the_target_are_set_off(db_pair: DatabasePair, state: str) -> None:
    run_sql(db_pair.target, "DELETE FROM public.only_key")
    assert_done(move(db_pair, "stock", on_conflict="update"))
    assert_done(move(db_pair, "only_key", recipe="insert"))
    assert rows(db_pair.target, "SELECT * FROM public.heard") == []
    assert rows(db_pair.target, "SELECT count(*) FROM public.only_key") == [(100,)]


@pytest.mark.template(source=STOCK_SOURCE, target=NOISE)
def test_a_rule_that_always_fires_is_refused_by_name(db_pair: DatabasePair, state: str) -> None:
    run_sql(db_pair.target, "ALTER TABLE public.only_key ENABLE ALWAYS RULE away")
    with pytest.raises(NotSupportedError, match=r"rule away of the target's public\.only_key is ENABLE ALWAYS"):
        move(db_pair, "only_key", recipe="insert", on_existing="append")
    assert_done(move(db_pair, "only_key", on_existing="truncate"))


def as_role(db_pair: DatabasePair, *grants: str) -> str:
    """The target's URL for a role of this database with these rights; the ledger is there for it."""
    database = re.sub(r".*/", "", db_pair.target)
    role = f"loader_{database}"
    words = [f"CREATE ROLE {role} LOGIN", f"GRANT CREATE ON DATABASE {database} TO {role}"]
    run_sql(db_pair.target, "; ".join([*words, *(f"GRANT {g} TO {role}" for g in grants)]))
    return db_pair.target.replace("postgres@", f"{role}@")


@pytest.fixture
def _no_role_is_left(db_pair: DatabasePair) -> Any:
    yield
    role = "loader_" + re.sub(r".*/", "", db_pair.target)
    run_sql(db_pair.target, f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


@pytest.mark.usefixtures("_no_role_is_left")
@pytest.mark.template(source=STOCK_SOURCE, target=STOCK_TARGET)
def test_insert_and_select_are_privileges_enough(db_pair: DatabasePair, state: str) -> None:
    run_sql(db_pair.target, "TRUNCATE public.only_key")
    target = as_role(db_pair, "INSERT, SELECT ON public.stock, public.only_key")
    assert_done(move(db_pair, "only_key", target=target, recipe="insert", analyze=False))
    assert_done(move(db_pair, "stock", target=target, on_conflict="ignore", analyze=False))
    with pytest.raises(AccessError, match=r"lacks UPDATE on the target's public\.stock"):
        move(db_pair, "stock", target=target, on_conflict="update")
    with pytest.raises(AccessError, match=r"lacks TRUNCATE"):
        move(db_pair, "stock", target=target, recipe="insert", on_existing="truncate")
    assert rows(db_pair.target, "SELECT count(*) FROM public.only_key") == [(100,)]


POLICY = """
CREATE TABLE public.guarded (id int4 PRIMARY KEY, v text);
ALTER TABLE public.guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY low ON public.guarded USING (id < 1000) WITH CHECK (id < 500);
INSERT INTO public.guarded VALUES (1000, 'not ours to see');
"""
GUARDED = """
CREATE TABLE public.guarded (id int4 PRIMARY KEY, v text);
INSERT INTO public.guarded VALUES (1, 'a'), (2, NULL);
"""


@pytest.mark.usefixtures("_no_role_is_left")
@pytest.mark.template(source=GUARDED, target=POLICY)
def test_row_security_refuses_copy_and_lets_inserts_through_that_it_allows(db_pair: DatabasePair, state: str) -> None:
    target = as_role(db_pair, "ALL ON public.guarded")
    with pytest.raises(AccessError, match="row security applies") as refused:
        move(db_pair, "guarded", target=target)
    assert "--recipe insert" in (refused.value.advice or "")
    moved = move(db_pair, "guarded", target=target, recipe="insert", analyze=False)
    assert_done(moved)
    assert moved.proofs() == {"public.guarded": "rows"}
    assert rows(db_pair.target, "SELECT id FROM public.guarded ORDER BY 1") == [(1,), (2,), (1000,)]
    run_sql(db_pair.source, "INSERT INTO public.guarded VALUES (700, 'forbidden')")
    with pytest.raises(AccessError, match="row-level security"):
        move(db_pair, "guarded", target=target, on_conflict="update", analyze=False)


# --- done again --------------------------------------------------------------------------------------------------


@pytest.mark.template(source=SMALL_BATCHES)
@pytest.mark.parametrize("split", [1 << 30, 65536])
def test_a_stopped_run_goes_on_and_copies_again_what_has_changed(db_pair: DatabasePair, state: str, split: int) -> None:
    run = move_until_stopped(db_pair, "keyed", "bare", chunks=1, recipe="insert", split_bytes=split)
    run_sql(db_pair.source, "UPDATE public.keyed SET v = 'changed' WHERE a = 3")
    run_sql(db_pair.source, "DELETE FROM public.bare WHERE i % 7 = 0")
    assert_done(resume(run))
    assert_same_content(db_pair.source, db_pair.target, ["public.keyed", "public.bare"])


OLD_LEDGER = """
CREATE SCHEMA pghaul;
CREATE TABLE pghaul.run (
    run_id text PRIMARY KEY, epoch int NOT NULL, leader text NOT NULL, state text NOT NULL,
    source_identity text NOT NULL, started_at timestamptz NOT NULL DEFAULT pg_catalog.now(), finished_at timestamptz);
CREATE TABLE pghaul.claim (relation text PRIMARY KEY, run_id text NOT NULL);
CREATE TABLE pghaul.run_table (
    run_id text, relation text, disposition text NOT NULL, PRIMARY KEY (run_id, relation));
CREATE TABLE pghaul.chunk_marker (
    run_id text, relation text, chunk text, epoch int NOT NULL, rows int8, bytes int8, seconds float8,
    proof text, source_hash text, target_hash text, finished_at timestamptz,
    PRIMARY KEY (run_id, relation, chunk));
CREATE UNLOGGED TABLE pghaul.chunk_marker_unlogged (LIKE pghaul.chunk_marker INCLUDING ALL);
CREATE TABLE pghaul.undo (
    id serial PRIMARY KEY, run_id text NOT NULL, relation text NOT NULL, kind text NOT NULL,
    forward_sql text NOT NULL, restore_sql text NOT NULL, validate_sql text, done boolean NOT NULL DEFAULT false);
INSERT INTO pghaul.chunk_marker VALUES ('aaaaaaaaaaaa', 'public.t', 'leaf', 1, 7, 7, 1, 'count', '', '', now());
"""


@pytest.mark.template(source=SMALL_BATCHES, target=OLD_LEDGER)
def test_the_ledger_of_the_first_release_is_brought_up_to_date_in_place(db_pair: DatabasePair, state: str) -> None:
    assert_done(move(db_pair, "keyed", verify=Verify.COUNT))
    with psycopg.connect(db_pair.target) as target:
        found = target.execute("SELECT run_id, rows, updated FROM pghaul.chunk_marker ORDER BY run_id = 'aaaaaaaaaaaa'")
        new, old = found.fetchall()
    assert old == ("aaaaaaaaaaaa", 7, None)
    assert new[1:] == (9000, 0)
