"""The catalogue queries on real servers, also as an old server would be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.databases import DatabasePair, database_pair
from tests.looking import select

from pghaul.model.errors import AccessError, NotFoundError, NotSupportedError, PlanError, SnapshotLostError
from pghaul.model.plan import Locks
from pghaul.model.table import Name, RelationKind
from pghaul.postgres.catalog import describe
from pghaul.postgres.dsn import resolve
from pghaul.postgres.session import Session, connect
from pghaul.service.embedded import Cluster
from pghaul.sources.postgresql import Snapshot, not_carried

SCHEMA = """
CREATE TABLE public.root (id int8, day int4, v varchar(10), PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE SCHEMA leaves;
CREATE TABLE leaves.mid PARTITION OF public.root FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (day);
CREATE TABLE leaves.a PARTITION OF leaves.mid FOR VALUES FROM (0) TO (5);
CREATE TABLE leaves.b PARTITION OF leaves.mid FOR VALUES FROM (5) TO (10);
CREATE TABLE public.parent (id int4 NOT NULL);
CREATE TABLE public.child (extra text) INHERITS (public.parent);
CREATE TYPE public.mood AS ENUM ('good', 'bad');
CREATE DOMAIN public.grade AS numeric(4,1) CHECK (VALUE >= 0);
CREATE TYPE public.pair AS (x int4, y float8);
CREATE TABLE public."한 ""글.x" (
    gone int4, id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, m public.mood, ms public.mood[], g public.grade,
    p public.pair, f float8[], twice int8 GENERATED ALWAYS AS (1) STORED, "100%" text UNIQUE);
ALTER TABLE public."한 ""글.x" DROP COLUMN gone;
CREATE TABLE public.nothing ();
CREATE UNLOGGED TABLE public.fleeting (id int4);
CREATE TABLE public.filled AS SELECT i AS id FROM generate_series(1, 5000) i;
ANALYZE public.filled;
CREATE FOREIGN DATA WRAPPER w; CREATE SERVER far FOREIGN DATA WRAPPER w;
CREATE FOREIGN TABLE public.far_away (id int4) SERVER far;
CREATE VIEW public.seen AS SELECT id FROM public.filled;
CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER noisy BEFORE INSERT ON public.parent FOR EACH ROW EXECUTE FUNCTION public.f();
CREATE TABLE public.secret (id int4); ALTER TABLE public.secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY part ON public.secret USING (id > 1);
CREATE TABLE public.pointing (id int8 REFERENCES public."한 ""글.x");
CREATE RULE quiet AS ON DELETE TO public.filled DO INSTEAD NOTHING;
COMMENT ON COLUMN public.filled.id IS 'a remark';
"""
ODD = Name("public", '한 "글.x')


@pytest.fixture(params=["15", "16", "18", "16 as 12", "16 as 9.3"])
def pair(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[DatabasePair]:
    real, _, assumed = request.param.partition(" as ")
    cluster: Cluster = request.getfixturevalue(f"pg{real}")
    if assumed:
        monkeypatch.setenv("PGHAUL_ASSUME_VERSION", assumed)
    with database_pair(cluster, cluster, source_sql=SCHEMA) as found:
        yield found


@pytest.fixture
def session(pair: DatabasePair) -> Iterator[Session]:
    with connect(resolve(pair.source), application_name="test", role="source") as found:
        yield found


def described(session: Session) -> dict[str, Any]:
    return {t.name.name: t for t in describe(session, select(session, ["*.*"])).values()}


def test_a_root_brings_its_descendants_of_other_schemas_parents_first(session: Session) -> None:
    assert [str(n) for n in select(session, ["root"])] == ["public.root", "leaves.mid", "leaves.a", "leaves.b"]


def test_an_inheritance_parent_brings_its_children(session: Session) -> None:
    assert [n.name for n in select(session, ["public.pare*"])] == ["parent", "child"]


def test_wildcards_work_in_both_parts_and_names_with_dots_are_found(session: Session) -> None:
    assert [n.name for n in select(session, ["lea?es.[ab]"])] == ["a", "b"]
    assert select(session, ['public.한 "글.x']) == [ODD]
    assert not any(n.schema.startswith("pg_") or n.schema == "information_schema" for n in select(session, ["*.*"]))


def test_a_pattern_that_matches_nothing_names_the_nearest_table(session: Session) -> None:
    with pytest.raises(NotFoundError, match="fild") as missing:
        select(session, ["root", "fild"])
    assert missing.value.advice == "did you mean public.filled?"
    with pytest.raises(PlanError):
        select(session, ["public."])


def test_relations_are_described_with_parents_kinds_sizes_and_estimates(session: Session) -> None:
    found = described(session)
    assert found["a"].parent == Name("leaves", "mid")
    assert found["child"].parent == Name("public", "parent")
    assert found["parent"].has_children
    assert found["root"].kind is RelationKind.PARTITIONED
    assert found["far_away"].kind is RelationKind.FOREIGN
    assert found["fleeting"].unlogged
    assert (found["filled"].rows, found["filled"].bytes) == (5000, found["filled"].pages * 8192)
    assert found["filled"].filenode > 0
    assert found["fleeting"].rows == 0
    assert found["nothing"].columns == ()
    assert "seen" not in found
    assert [n for n, t in found.items() if t.row_triggers] == ["parent"]


def test_columns_know_their_types_and_dropped_ones_are_absent(session: Session) -> None:
    columns = {c.name: c for c in described(session)[ODD.name].columns}
    assert "gone" not in columns
    assert [columns[n].type for n in ("m", "ms", "g", "f")] == [
        "public.mood",
        "public.mood[]",
        "public.grade",
        "double precision[]",
    ]
    assert {n for n, c in columns.items() if not c.portable_binary} == {"ms", "p"}
    assert {n for n, c in columns.items() if c.holds_float} == {"p", "f"}
    assert columns["f"].send_function == "pg_catalog.array_send"
    capable = session.server.capabilities
    assert [columns["twice"].generated, columns["id"].identity] == [capable.generated_columns, capable.identity]


def test_indexes_come_with_their_constraints(session: Session) -> None:
    indexes = {i.constraint_kind: i for i in described(session)[ODD.name].indexes}
    assert indexes["p"].constraint_definition == "PRIMARY KEY (id)"
    assert indexes["u"].constraint_definition == 'UNIQUE ("100%")'
    assert indexes["p"].definition.startswith("CREATE UNIQUE INDEX")


def test_partitions_and_row_security_are_told_where_the_server_knows_them(session: Session) -> None:
    found = described(session)
    capable = session.server.capabilities
    assert found["a"].partition is capable.declarative_partitions
    assert found["secret"].row_security is capable.row_security
    assert not found["child"].partition


def test_missing_relations_are_absent_and_the_number_of_queries_is_constant(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [*select(session, ["*.*"]), Name("public", "missing")]
    asked: list[object] = []
    rows: Callable[..., Sequence[Any]] = session.rows
    monkeypatch.setattr(session, "rows", lambda sql, params=(): (asked.append(sql), rows(sql, params))[1])
    assert describe(session, names).keys() == set(names[:-1])
    assert len(asked) == 4


def test_what_is_not_carried_is_listed(session: Session) -> None:
    left = {(u.kind, u.name) for u in not_carried(session, select(session, ["filled", "parent", "far_away", str(ODD)]))}
    expected = {
        ("FOREIGN TABLE", "public.far_away"),
        ("FK CONSTRAINT", "public.pointing.pointing_id_fkey"),
    }
    assert left == expected


def test_a_foreign_key_within_the_selection_is_not_listed(session: Session) -> None:
    assert not_carried(session, select(session, ["pointing", str(ODD)])) == []


def test_the_snapshot_is_shared_and_its_locks_hold_off_truncate(session: Session, pair: DatabasePair) -> None:
    names = select(session, ["*.*"])
    snapshot = Snapshot.acquire(session, names, locks=Locks.RUN)
    with connect(resolve(pair.source), application_name="test", role="source", lock_timeout=0.05) as other:
        other.execute("INSERT INTO public.filled VALUES (0)")
        with pytest.raises(Exception, match="lock timeout"):
            other.execute("TRUNCATE public.filled")
        other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        other.execute(f"SET TRANSACTION SNAPSHOT '{snapshot.id}'")
        assert other.value("SELECT count(*) FROM public.filled") == 5000
        other.execute("ROLLBACK")
        snapshot.release()
        snapshot.release()
        other.execute("TRUNCATE public.filled")


def test_with_locks_per_chunk_nothing_is_locked(session: Session, pair: DatabasePair) -> None:
    snapshot = Snapshot.acquire(session, select(session, ["filled"]), locks=Locks.CHUNK)
    with connect(resolve(pair.source), application_name="test", role="source", lock_timeout=0.05) as other:
        other.execute("TRUNCATE public.filled")
    snapshot.check()
    snapshot.release()


def test_a_snapshot_whose_session_was_ended_is_lost(session: Session, pair: DatabasePair) -> None:
    snapshot = Snapshot.acquire(session, select(session, ["filled"]), locks=Locks.RUN)
    with connect(resolve(pair.source), application_name="test", role="source") as other:
        other.value("SELECT pg_catalog.pg_terminate_backend(%s)", (session.pid,))
    for _ in range(2):
        with pytest.raises(SnapshotLostError):
            snapshot.check()
    snapshot.release()


def test_tables_that_may_not_be_read_are_named_before_anything_is_locked(pair: DatabasePair) -> None:
    with connect(resolve(pair.source), application_name="test", role="source") as admin:
        admin.execute("DROP ROLE IF EXISTS reader")
        admin.execute("CREATE ROLE reader LOGIN")
        admin.execute("GRANT SELECT ON public.filled, public.secret TO reader")
    url = pair.source.replace("postgres@", "reader@")
    with connect(resolve(url), application_name="test", role="source") as reader:
        with pytest.raises(AccessError, match=r"may not read public\.parent"):
            Snapshot.acquire(reader, [Name("public", "filled"), Name("public", "parent")], locks=Locks.RUN)
        if reader.server.capabilities.row_security:
            with pytest.raises(AccessError, match=r"hides rows of public\.secret"):
                Snapshot.acquire(reader, [Name("public", "secret")], locks=Locks.RUN)
        Snapshot.acquire(reader, [Name("public", "filled")], locks=Locks.RUN).release()
    with connect(resolve(pair.source), application_name="test", role="source") as admin:
        admin.execute("DROP OWNED BY reader")
        admin.execute("DROP ROLE reader")


def test_more_tables_than_the_lock_table_holds_are_refused_with_advice(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = select(session, ["root"])
    monkeypatch.setattr(session, "server", replace(session.server, max_locks=6))
    with pytest.raises(NotSupportedError) as refused:
        Snapshot.acquire(session, names, locks=Locks.RUN)
    assert "--locks chunk" in str(refused.value.advice)
    Snapshot.acquire(session, names, locks=Locks.CHUNK).release()
