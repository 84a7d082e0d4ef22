"""Rows that refer to rows which are not there: named, or set aside until every foreign key holds."""

from __future__ import annotations

from typing import Any

import pytest
from tests.databases import DatabasePair
from tests.moving import Moved, move, resume, rows, run_sql

from pghaul.cli import app
from pghaul.engine.rejects import Rejects
from pghaul.engine.schema import Schema
from pghaul.model.copy_text import decode
from pghaul.model.errors import QuarantineError
from pghaul.model.event import EventKind
from pghaul.model.quarantine import Which
from pghaul.model.run import RunState
from pghaul.model.table import Name
from pghaul.service.migration import MigrationService, new_run_id

# A source whose keys say that they are valid, as after a restore with triggers disabled.
FAMILY = """
CREATE TABLE public.parent (a int4, b int8, PRIMARY KEY (a, b));
CREATE TABLE public.child (id int4 PRIMARY KEY, a int8, b int8, note text, up int4 REFERENCES public.child,
    FOREIGN KEY (a, b) REFERENCES public.parent);
CREATE TABLE public."full one" ("a%s" int4, b int4, FOREIGN KEY ("a%s", b) REFERENCES public.parent MATCH FULL);
CREATE TABLE public.pieces (id int4, child int4 REFERENCES public.child) PARTITION BY RANGE (id);
CREATE TABLE public.pieces_1 PARTITION OF public.pieces FOR VALUES FROM (0) TO (10);
CREATE TABLE public.pieces_2 PARTITION OF public.pieces FOR VALUES FROM (10) TO (20);
"""
MEMBERS = r"""
SET session_replication_role = replica;
INSERT INTO public.parent SELECT i, i FROM generate_series(1, 100) i;
INSERT INTO public.child SELECT i, i, i, 'n' || i, nullif(i - 1, 0) FROM generate_series(1, 50) i;
INSERT INTO public.child VALUES (60, 999, NULL, 'half', NULL), (61, 999, 1, E'a\tb\\N', NULL),
    (62, NULL, NULL, NULL, 61), (63, 1, 1, '', 62), (64, 1, 1, 'ok', 1);
INSERT INTO public."full one" VALUES (1, 1), (NULL, NULL), (1, NULL), (7, 8);
INSERT INTO public.pieces VALUES (1, 1), (2, 63), (11, 64), (12, 777);
"""
KEPT = {"child": 52, '"full one"': 2, "pieces_1": 1, "pieces_2": 1}
ORPHANS = {
    "public.child": ["61", "62", "63"], "public.full one": ["1", "7"], "public.pieces_1": ["2"],
    "public.pieces_2": ["12"],
}  # fmt: skip
KEYS = "SELECT count(*), bool_and(convalidated) FROM pg_constraint WHERE contype = 'f' AND coninhcount = 0"


def aside(url: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for relation, line, encoding in rows(url, "SELECT relation, row_data, encoding FROM pghaul.quarantine ORDER BY id"):
        found.setdefault(relation, []).append(decode(bytes(line), encoding)[0])
    return {k: sorted(v) for k, v in found.items()}


def counts(url: str) -> dict[str, int]:
    return {t: rows(url, f"SELECT count(*) FROM ONLY public.{t}")[0][0] for t in KEPT}


def assert_settled(moved: Moved, pair: DatabasePair) -> None:
    assert moved.run.state is RunState.DIFFERENT
    assert aside(pair.target) == ORPHANS
    assert counts(pair.target) == KEPT
    assert rows(pair.target, KEYS) == [(4, True)]
    assert set(moved.notices("SET ASIDE")) == set(ORPHANS)


@pytest.mark.since(12)
@pytest.mark.template(source=FAMILY + MEMBERS)
def test_orphans_are_set_aside_until_every_key_of_new_tables_holds(
    db_pair: DatabasePair, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Grandchildren and rows of the same table follow; half a key is none, but MATCH FULL; then all can come back."""
    url = db_pair.target
    moved = move(db_pair, "public.*", verify="count", max_rejects=3)
    assert_settled(moved, db_pair)
    assert app.run(["watch", moved.run.id]) == 3
    assert f"pghaul quarantine show --run {moved.run.id}" in capsys.readouterr().err
    assert app.run(["quarantine", "list", "--run", moved.run.id]) == 0
    assert "child_a_b_fkey" in capsys.readouterr().out
    reasons = rows(url, "SELECT sqlstate, constraint_name, message FROM pghaul.quarantine WHERE relation LIKE '%full%'")
    assert {r[:2] for r in reasons} == {("23503", "full one_a%s_b_fkey")}
    assert any("(a%s, b)=(1, NULL)" in r[2] for r in reasons)
    rejected = "SELECT sum(rejected) FROM pghaul.chunk_marker WHERE chunk LIKE 'references:%'"
    assert rows(url, rejected) == [(7,)]
    run_sql(url, "INSERT INTO public.parent VALUES (999, 1), (7, 8); ")
    found = MigrationService().quarantine(url).replay(Which(), run=new_run_id())
    assert {r.table: (r.inserted, r.left) for r in found} == {
        "public.child": (3, 0), "public.full one": (1, 1), "public.pieces_1": (1, 0), "public.pieces_2": (0, 1),
    }  # fmt: skip
    assert rows(url, "SELECT note FROM public.child WHERE id = 61") == [("a\tb\\N",)]


@pytest.mark.since(12)
@pytest.mark.template(source=FAMILY + MEMBERS)
def test_a_run_that_dies_after_it_has_set_orphans_aside_counts_them_once(
    db_pair: DatabasePair, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(_: object) -> None:
        raise RuntimeError("as if the process were gone")

    with monkeypatch.context() as patched:
        patched.setattr(Schema, "finish", dies)
        patched.setattr(Rejects, "tables", [Name("public", "child")])
        with pytest.raises(RuntimeError, match="gone"):
            move(db_pair, "public.*", verify="count", max_rejects=3)
    assert aside(db_pair.target) == ORPHANS
    run_sql(db_pair.target, "UPDATE pghaul.run SET state = 'failed'")
    ended = resume()
    assert ended.run.state is RunState.DIFFERENT
    assert aside(db_pair.target) == ORPHANS
    assert counts(db_pair.target) == KEPT
    assert rows(db_pair.target, KEYS) == [(4, True)]


@pytest.mark.since(12)
@pytest.mark.template(source=FAMILY + MEMBERS)
def test_without_leave_the_first_keys_are_named(db_pair: DatabasePair, state: str) -> None:
    with pytest.raises(QuarantineError, match=r"1 rows of public\.child refer .*child_a_b_fkey.*\(a, b\)=\(999, 1\)"):
        move(db_pair, "child", "parent", verify="count")
    assert aside(db_pair.target) == {}


@pytest.mark.since(12)
@pytest.mark.template(source=FAMILY + MEMBERS, target=FAMILY)
@pytest.mark.parametrize("assumed", ["", "target=17"])
def test_keys_that_were_there_are_back_and_checked(
    db_pair: DatabasePair, state: str, assumed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before 18 the key of a partitioned table cannot be put back without its check."""
    monkeypatch.setenv("PGHAUL_ASSUME_VERSION", assumed)
    tables = ("parent", "child", '"full one"'.strip('"'), "pieces")
    moved = move(db_pair, *tables, on_existing="truncate", verify="count", max_rejects=3)
    assert_settled(moved, db_pair)


@pytest.mark.since(12)
@pytest.mark.template(source=FAMILY + MEMBERS, target=FAMILY)
def test_without_leave_keys_are_back_unchecked_and_the_run_says_so(db_pair: DatabasePair, state: str) -> None:
    moved = move(db_pair, "parent", "child", on_existing="truncate", verify="count")
    assert moved.run.state is RunState.DIFFERENT
    assert any("(a, b)=(999, 1)" in str(e.message) for e in moved.of(EventKind.WARNING))
    assert aside(db_pair.target) == {}
    assert rows(db_pair.target, "SELECT count(*) FROM public.child") == [(55,)]


@pytest.mark.template(source="CREATE TABLE public.p (id int4 PRIMARY KEY); INSERT INTO public.p VALUES (1)",
    target="CREATE TABLE public.p (id int4 PRIMARY KEY); CREATE TABLE public.theirs (p int4 REFERENCES public.p);"
    "INSERT INTO public.p VALUES (1), (2); INSERT INTO public.theirs VALUES (1), (2)")  # fmt: skip
def test_rows_of_tables_that_are_none_of_the_run_stay(db_pair: DatabasePair, state: str) -> None:
    moved = move(db_pair, "p", on_existing="truncate", verify="count", max_rejects=10)
    assert moved.run.state is RunState.DIFFERENT
    assert any("(p)=(2)" in str(e.message) for e in moved.of(EventKind.WARNING))
    assert rows(db_pair.target, "SELECT p FROM public.theirs ORDER BY 1") == [(1,), (2,)]


PAIR = """
CREATE TABLE public.p (id int4 PRIMARY KEY);
CREATE TABLE public.c (id int4 PRIMARY KEY, p int4 REFERENCES public.p);
"""
KEEPING = """
CREATE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER keep BEFORE DELETE ON public.c FOR EACH ROW EXECUTE FUNCTION public.keep();
ALTER TABLE public.c ENABLE ALWAYS TRIGGER keep;
"""


@pytest.mark.template(
    source=PAIR + "SET session_replication_role = replica; INSERT INTO public.c VALUES (1, 7)", target=PAIR + KEEPING
)
def test_rows_that_a_trigger_keeps_are_not_looked_for_without_end(db_pair: DatabasePair, state: str) -> None:
    moved = move(db_pair, "p", "c", on_existing="truncate", verify="count", max_rejects=5)
    assert moved.run.state is RunState.DIFFERENT
    assert any("a trigger or rule keeps them" in str(e.message) for e in moved.of(EventKind.WARNING))
    assert aside(db_pair.target) == {}
