"""Targets that were there before the run: other columns, rows, triggers, rules and foreign keys."""

from __future__ import annotations

import pytest
from tests.compare import assert_same_content
from tests.databases import DatabasePair
from tests.moving import assert_done, move, rows, run_sql

from pghaul.model.errors import AccessError, NotSupportedError, ShapeChangedError, TargetNotEmptyError
from pghaul.model.event import EventKind
from pghaul.model.plan import OnExisting
from pghaul.model.run import RunState

GIVEN = """
CREATE TABLE public.narrow (i2 int2, i int4, f float4, v varchar(5), c char(5), d date, ts timestamp, n numeric(6,2),
    b bool, a int4[], u uuid, e text, j json, n4 numeric(6,2), c8 char(5), t time, dz date);
INSERT INTO public.narrow VALUES (1, -2, 0.1, 'v', 'c', '2024-02-29', '2024-02-29 12:00:00.5', 1.50, true, '{1,NULL}',
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '', '{"b": 1,"a":2.0}', 1.25, 'c', '24:00', '4713-01-01 BC');
INSERT INTO public.narrow VALUES (NULL, NULL, 'NaN', '', '', 'infinity', '-infinity', 'NaN', false, '{}', NULL, NULL);
CREATE TYPE public.mood AS ENUM ('good', 'bad');
CREATE DOMAIN public.grade AS int4;
CREATE TABLE public.typed (m public.mood, g public.grade, ms public.mood[]);
INSERT INTO public.typed VALUES ('good', 1, '{bad,NULL}'), (NULL, NULL, NULL);
"""
WIDER = """
CREATE TABLE public.narrow (extra int4 NOT NULL DEFAULT 42, e varchar, u text, a int8[], b text, n numeric,
    ts timestamptz, d timestamp, c text, v text, f float8, i numeric, i2 int8, j jsonb, n4 numeric(9,4), c8 char(8),
    t timetz, dz timestamptz, seen timestamptz DEFAULT now(),
    twice int8 GENERATED ALWAYS AS (i2 * 2) STORED);
CREATE TABLE public.typed (ms text[], g int8, m text);
"""


@pytest.mark.template(source=GIVEN, target=WIDER)
@pytest.mark.parametrize("assumed", ["18", "10"])
def test_a_target_with_other_columns_order_and_wider_types_is_filled(
    db_pair: DatabasePair, state: str, assumed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHAUL_ASSUME_VERSION", assumed)
    moved = move(db_pair, "narrow", "typed")
    assert_done(moved)
    assert rows(db_pair.target, "SELECT DISTINCT extra, seen IS NULL FROM public.narrow") == [(42, False)]
    facts = """SELECT i2, i::int4, f::float4, v::text, c::text, d::date, ts::timestamp, n, b::text, a::int4[],
               u::text, e FROM (SELECT *, 0 FROM public.narrow) x WHERE i2 = 1"""
    assert rows(
        db_pair.target, facts.replace("b::text", "b::bool::text").replace("c::text", "c::char(5)::text")
    ) == rows(db_pair.source, facts)


@pytest.mark.template(source="CREATE TABLE public.t (a int4, b int4)", target="CREATE TABLE public.t (a int4)")
def test_a_target_without_a_column_is_refused_by_its_name(db_pair: DatabasePair, state: str) -> None:
    with pytest.raises(ShapeChangedError, match=r"public\.t has no column b"):
        move(db_pair, "t")


FILLED = "CREATE TABLE public.t (id int4 PRIMARY KEY, v text); INSERT INTO public.t VALUES "
FRESH, STALE = FILLED + "(1, 'new'), (2, 'new')", FILLED + "(3, 'old')"


@pytest.mark.template(source=FRESH, target=STALE)
def test_rows_on_the_target_are_refused_appended_to_skipped_or_replaced(db_pair: DatabasePair, state: str) -> None:
    content = "SELECT id, v FROM public.t ORDER BY 1"
    with pytest.raises(TargetNotEmptyError):
        move(db_pair, "t")
    assert rows(db_pair.target, content) == [(3, "old")]
    skipped = move(db_pair, "t", on_existing=OnExisting.SKIP)
    assert skipped.notices("TABLE") == ["public.t"]
    assert rows(db_pair.target, content) == [(3, "old")]
    move(db_pair, "t", on_existing=OnExisting.APPEND)
    assert rows(db_pair.target, content) == [(1, "new"), (2, "new"), (3, "old")]
    assert_done(move(db_pair, "t", on_existing=OnExisting.TRUNCATE))
    assert_same_content(db_pair.source, db_pair.target, ["public.t"])


NARROWED = """
CREATE TABLE public.rounded (n {numeric}); CREATE TABLE public.cut (f {float}); CREATE TABLE public.day (d {day});
"""
EXACT = (
    NARROWED.format(numeric="numeric", float="float8", day="timestamp")
    + """
INSERT INTO public.rounded VALUES (1.504); INSERT INTO public.cut VALUES (0.123456789012);
INSERT INTO public.day VALUES ('2024-01-01 12:00')
"""
)


@pytest.mark.template(source=EXACT, target=NARROWED.format(numeric="numeric(6,2)", float="float4", day="date"))
def test_what_a_narrower_type_cuts_off_is_a_difference(db_pair: DatabasePair, state: str) -> None:
    moved = move(db_pair, "rounded", "cut", "day")
    assert moved.run.state is RunState.DIFFERENT
    differing = [e.table for e in moved.of(EventKind.CHUNK_DONE) if e.data.get("agrees") is False]
    assert sorted(map(str, differing)) == ["public.cut", "public.day", "public.rounded"]


PLAIN = "CREATE TABLE public.t (id int4, v text); INSERT INTO public.t VALUES (1, 'a'), (2, 'b');"
NOISY = """
CREATE TABLE public.t (id int4, v text);
INSERT INTO public.t VALUES (9, 'old');
CREATE TABLE public.log (what text);
CREATE FUNCTION public.mangle() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.v := 'mangled'; RETURN NEW; END $$;
CREATE FUNCTION public.tell() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO public.log VALUES (TG_NAME); RETURN NULL; END $$;
"""
TRIGGERS = {
    "each": "CREATE TRIGGER x BEFORE INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.mangle()",
    "after": "CREATE TRIGGER x AFTER INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.tell()",
    "statement": "CREATE TRIGGER x AFTER INSERT ON public.t FOR EACH STATEMENT EXECUTE FUNCTION public.tell()",
    "emptying": "CREATE TRIGGER x BEFORE TRUNCATE ON public.t FOR EACH STATEMENT EXECUTE FUNCTION public.tell()",
    "replica": "CREATE TRIGGER x BEFORE INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.mangle();"
    "ALTER TABLE public.t ENABLE REPLICA TRIGGER x",
    "rule": "CREATE RULE x AS ON INSERT TO public.t DO INSTEAD INSERT INTO public.log VALUES ('rule')",
}


QUIET = "CREATE TABLE public.{0} (id int4, v text); INSERT INTO public.{0} VALUES "


@pytest.mark.template(
    source="".join(QUIET.format(k) + "(1, 'a'), (2, 'b');" for k in TRIGGERS),
    target=NOISY
    + "".join(
        QUIET.format(k) + "(9, 'old');" + t.replace("public.t ", f"public.{k} ") + ";" for k, t in TRIGGERS.items()
    ),
)
@pytest.mark.parametrize("options", [{}, {"split_bytes": 8192}])
def test_triggers_and_rules_of_the_target_stay_quiet(
    db_pair: DatabasePair, state: str, options: dict[str, int]
) -> None:
    assert_done(move(db_pair, *TRIGGERS, on_existing=OnExisting.TRUNCATE, **options))
    assert_same_content(db_pair.source, db_pair.target, [f"public.{k}" for k in TRIGGERS])
    assert rows(db_pair.target, "SELECT what FROM public.log") == []


ALWAYS = TRIGGERS["each"] + "; ALTER TABLE public.t ENABLE ALWAYS TRIGGER x"


REPLICA_TOO = TRIGGERS["after"].replace("TRIGGER x", "TRIGGER y") + "; " + TRIGGERS["replica"]


@pytest.mark.parametrize("db_pair", [("pg16", "pg18")], indirect=True)
@pytest.mark.parametrize("mode", ["ALWAYS", "REPLICA"])
@pytest.mark.template(source=PLAIN, target=NOISY)
def test_a_trigger_that_cannot_be_silenced_is_refused_by_name(db_pair: DatabasePair, state: str, mode: str) -> None:
    run_sql(db_pair.target, ALWAYS if mode == "ALWAYS" else REPLICA_TOO)
    with pytest.raises(NotSupportedError, match=rf"trigger x of the target's public\.t is ENABLE {mode}"):
        move(db_pair, "t", on_existing=OnExisting.TRUNCATE)
    assert rows(db_pair.target, "SELECT to_regnamespace('pghaul'), v FROM public.t") == [(None, "old")]


@pytest.mark.template(source=PLAIN, target=NOISY + TRIGGERS["each"])
def test_a_role_that_may_not_silence_triggers_is_refused_before_anything_is_changed(
    db_pair: DatabasePair, state: str
) -> None:
    owner = "CREATE ROLE loader LOGIN; ALTER TABLE public.t OWNER TO loader; GRANT CREATE ON DATABASE {} TO loader"
    run_sql(db_pair.target, owner.format(db_pair.target.rpartition("/")[2]))
    try:
        with pytest.raises(AccessError, match=r"public\.t has triggers.*loader may not switch them off"):
            move(db_pair, "t", target=db_pair.target.replace("postgres@", "loader@"), on_existing=OnExisting.TRUNCATE)
        assert rows(db_pair.target, "SELECT to_regnamespace('pghaul'), v FROM public.t") == [(None, "old")]
    finally:
        run_sql(db_pair.target, "REASSIGN OWNED BY loader TO postgres; DROP OWNED BY loader; DROP ROLE loader")
