"""What a merge writes and leaves alone: keys, types, numbers, triggers; what it finds and refuses before."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.merging import sessions

from pghaul.model.errors import MergeError, RowError
from pghaul.model.finding import Finding, Severity
from pghaul.model.merging import MergeCounts, MergeDesign
from pghaul.model.plan import MergeMode
from pghaul.model.table import Name
from pghaul.postgres.session import Session
from pghaul.service.embedded import Cluster
from pghaul.target import merge, merge_checks, merge_target, staging

TARGET, RUN = Name("public", "t"), "0123456789ab"
STAGING = staging.name_for(RUN, 1)


@pytest.fixture(scope="module")
def server(pg18: Cluster) -> Iterator[Session]:
    with sessions(pg18) as (opened,):
        yield opened


@pytest.fixture
def session(server: Session) -> Iterator[Session]:
    """Each test begins with an empty schema."""
    server.execute("DROP SCHEMA public CASCADE")
    server.execute("CREATE SCHEMA public")
    yield server
    staging.drop(server, [STAGING])


def stage(session: Session, columns: Sequence[str], values: str, table: Name = TARGET, number: int = 1) -> Name:
    name = staging.name_for(RUN, number)
    staging.create(session, name, staging.columns_of(session, table, columns))
    if values:
        session.execute(f"INSERT INTO pghaul.{name.name} VALUES {values}")
    return name


def merged(session: Session, columns: str, values: str, **design: Any) -> MergeCounts:
    """`columns` in one word each, the first one is the key unless something else is said."""
    names = tuple(columns.split())
    stage(session, names, values)
    design = {"key": names[:1], "verify": True} | design
    with session.transaction():
        rows = staging.count(session, STAGING)
        return merge.merge(session, MergeDesign(target=TARGET, staging=STAGING, columns=names, **design), rows)


def examined(session: Session, design: MergeDesign) -> list[Finding]:
    return merge_checks.examine(session, design, merge_target.look(session, design.target))


def told(counts: MergeCounts) -> tuple[int, int, int, int, int]:
    return counts.inserted, counts.updated, counts.unchanged, counts.passed_over, counts.deleted


# --- values ------------------------------------------------------------------------------------------------------

SAME_BUT_NOT_ALIKE = [
    ("numeric", "1.0", "1.00"),
    ("float8", "0", "-0"),
    ("interval", "1 day", "24:00:00"),
    ("json", '{"a":1}', '{"a": 1}'),
    ("jsonb", '{"a":1.0}', '{"a":1.00}'),
    ("point", "(1,2)", "(1,3)"),
    ("numeric[]", "{1}", "{1.0}"),
    ("numrange", "[1,2)", "[1.0,2)"),
    ("text", "", "NULL"),
    ("text", "007", "7"),
    ("char(3)", "a", "b"),
]


@pytest.mark.parametrize("assumed", ["", "9.3"])
def test_a_row_is_written_if_any_byte_of_it_differs_and_only_then(
    assumed: str, pg18: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHAUL_ASSUME_VERSION", assumed)
    with sessions(pg18) as (session,):
        for kind, old, new in SAME_BUT_NOT_ALIKE:
            session.execute(f"CREATE TABLE public.t (id int4 PRIMARY KEY, v {kind})")
            session.execute(f"INSERT INTO public.t VALUES (1, '{old}'), (2, '{old}'), (3, NULL)")
            value = new if new == "NULL" else f"'{new}'"
            counts = merged(session, "id v", f"(1, '{old}'), (2, {value}), (3, NULL)")
            assert told(counts) == (0, 1, 2, 0, 0), kind
            assert (counts.compared, counts.differing) == (3, 0)
            rows = session.rows(
                "SELECT id, v::text, xmin <> (SELECT xmin FROM public.t WHERE id = 1) FROM public.t ORDER BY id"
            )
            assert [r[2] for r in rows] == [False, True, False], kind
            session.execute("DROP TABLE public.t")


def test_nan_is_the_same_as_nan(session: Session) -> None:
    session.execute("CREATE TABLE public.t (id int4 PRIMARY KEY, v float8, n numeric)")
    session.execute("INSERT INTO public.t VALUES (1, 'NaN', 'NaN')")
    assert told(merged(session, "id v n", "(1, 'NaN', 'NaN')")) == (0, 0, 1, 0, 0)


# Texts that are equal whatever their case, as of citext: its operators are in public, where a session does not look.
CASELESS = """
CREATE TYPE public.ci;
CREATE FUNCTION public.ci_in(cstring) RETURNS public.ci LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION public.ci_out(public.ci) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE public.ci (INPUT = public.ci_in, OUTPUT = public.ci_out, LIKE = pg_catalog.text);
CREATE CAST (public.ci AS text) WITHOUT FUNCTION AS IMPLICIT;
CREATE FUNCTION public.ci_cmp(public.ci, public.ci) RETURNS int4 LANGUAGE sql IMMUTABLE STRICT AS
    $$ SELECT pg_catalog.bttextcmp(pg_catalog.lower($1::text), pg_catalog.lower($2::text)) $$;
CREATE FUNCTION public.ci_hash(public.ci) RETURNS int4 LANGUAGE sql IMMUTABLE STRICT AS
    $$ SELECT pg_catalog.hashtext(pg_catalog.lower($1::text)) $$;
"""
OPERATOR = """
CREATE FUNCTION public.ci_{name}(public.ci, public.ci) RETURNS bool LANGUAGE sql IMMUTABLE STRICT AS
    $$ SELECT public.ci_cmp($1, $2) {sign} 0 $$;
CREATE OPERATOR public.{sign} (FUNCTION = public.ci_{name}, LEFTARG = public.ci, RIGHTARG = public.ci{more});
"""
CLASSES = """
CREATE OPERATOR CLASS public.ci_ops DEFAULT FOR TYPE public.ci USING btree AS OPERATOR 1 public.<, OPERATOR 2 public.<=,
    OPERATOR 3 public.=, OPERATOR 4 public.>=, OPERATOR 5 public.>, FUNCTION 1 public.ci_cmp(public.ci, public.ci);
CREATE OPERATOR CLASS public.ci_hash_ops DEFAULT FOR TYPE public.ci USING hash AS OPERATOR 1 public.=,
    FUNCTION 1 public.ci_hash(public.ci);
"""


def test_a_key_that_is_equal_and_looks_different_is_made_the_same(session: Session) -> None:
    """Equality is that of the key's type, wherever that lives."""
    session.execute(CASELESS)
    for name, sign in (("lt", "<"), ("le", "<="), ("eq", "="), ("ge", ">="), ("gt", ">")):
        more = ", HASHES, MERGES, COMMUTATOR = OPERATOR(public.=)" if sign == "=" else ""
        session.execute(OPERATOR.format(name=name, sign=sign, more=more))
    session.execute(CLASSES + "CREATE DOMAIN public.name AS public.ci")
    session.execute("CREATE TABLE public.t (n numeric, c public.name, v int4, PRIMARY KEY (c, n))")
    session.execute("INSERT INTO public.t VALUES (1.0, 'kim', 1), (2, 'lee', 2)")
    counts = merged(session, "n c v", "(1.00, 'Kim', 1), (2, 'lee', 2), (1, 'park', 3)", key=("n", "c"))
    assert told(counts) == (1, 1, 1, 0, 0)
    found = session.rows("SELECT n::text, c::text FROM public.t ORDER BY v")
    assert found == [("1.00", "Kim"), ("2", "lee"), ("1", "park")]
    with pytest.raises(MergeError, match="have a key that another one has"):
        merged(session, "n c v", "(1, 'kim', 1), (1.0, 'KIM', 1)", key=("n", "c"))


def test_a_key_of_six_columns(session: Session) -> None:
    session.execute(
        "CREATE TABLE public.t (a int8, b text, c date, d timestamptz, e uuid, f bytea, v text,"
        " PRIMARY KEY (f, e, d, c, b, a))"
    )
    row = (
        "({n}, 'b{n}', '2024-01-01', '2024-01-01 00:00:00.00000{n}Z', '00000000-0000-0000-0000-00000000000{n}',"
        " '\\x0{n}', '{v}')"
    )
    session.execute("INSERT INTO public.t VALUES " + ", ".join(row.format(n=n, v="v") for n in range(1, 6)))
    values = ", ".join(row.format(n=n, v="v" if n < 4 else "new") for n in range(1, 8))
    counts = merged(session, "a b c d e f v", values, key=tuple("abcdef"), mode=MergeMode.FULL_SYNC)
    assert told(counts) == (2, 2, 3, 0, 0)
    assert session.value("SELECT pg_catalog.count(*) FROM public.t WHERE v = 'new'") == 4


def test_a_condition_is_taken_as_it_is_written(session: Session) -> None:
    """With braces, per cent signs, a comment, and the table's own name in it."""
    session.execute("CREATE TABLE public.t (id int4 PRIMARY KEY, v text)")
    session.execute("INSERT INTO public.t VALUES (1, '{}%'), (2, '{x}'), (3, 'y'), (4, '{}%s')")
    scope = "t.v LIKE '{}%' OR v = '{x}' -- {and} %s no more"
    counts = merged(session, "id v", "(1, '{}%'), (3, '{x}')", mode=MergeMode.FULL_SYNC, scope=scope)
    assert told(counts) == (0, 1, 1, 0, 2)
    assert session.rows("SELECT id, v FROM public.t ORDER BY id") == [(1, "{}%"), (3, "{x}")]


def test_a_table_that_is_all_key(session: Session) -> None:
    session.execute("CREATE TABLE public.t (a int4, b int4, PRIMARY KEY (a, b))")
    session.execute("INSERT INTO public.t VALUES (1, 1), (1, 2)")
    counts = merged(session, "a b", "(1, 2), (2, 2)", key=("a", "b"), mode=MergeMode.FULL_SYNC)
    assert told(counts) == (1, 0, 1, 0, 1)


# --- numbers -----------------------------------------------------------------------------------------------------


def test_identities_take_the_source_s_numbers_and_go_on_behind_them(session: Session) -> None:
    session.execute("CREATE TABLE public.t (id int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text, n serial)")
    session.execute("INSERT INTO public.t (v) VALUES ('a'), ('b')")
    assert told(merged(session, "id v n", "(2, 'new', 7), (40, 'c', 3)")) == (1, 1, 0, 0, 0)
    session.execute("INSERT INTO public.t (v) VALUES ('next')")
    assert session.rows("SELECT id, n FROM public.t ORDER BY id") == [(1, 1), (2, 7), (40, 3), (41, 8)]


@pytest.mark.parametrize(
    ("words", "last", "value", "next_one"),
    [
        ("", 1, 5, 6),
        ("", 100, 5, 101),  # never back
        ("", 1, 1_000_000, 1_000_001),
        ("INCREMENT 10", 1, 5, 11),
        ("INCREMENT 10", 1, 11, 21),
        ("INCREMENT -1 MAXVALUE 100 START 100", 100, 7, 6),
        ("INCREMENT -10 MINVALUE -1000000 MAXVALUE 0 START 0", 0, -500_000, -500_010),
        ("CYCLE", 1, 5, 2),
    ],
)
def test_sequences_move_on_beyond_what_was_inserted(
    session: Session, words: str, last: int, value: int, next_one: int
) -> None:
    session.execute(f"CREATE SEQUENCE public.q {words}")
    session.execute("CREATE TABLE public.t (id int8 PRIMARY KEY DEFAULT pg_catalog.nextval('public.q'), v text)")
    session.value("SELECT pg_catalog.setval('public.q', %s)", (last,))
    merged(session, "id v", f"({value}, 'v')")
    assert session.value("SELECT pg_catalog.nextval('public.q')") == next_one


def test_a_sequence_that_others_draw_from_never_goes_back(pg18: Cluster) -> None:
    drawn: list[int] = []
    with sessions(pg18, 2) as (session, other):
        session.execute("CREATE TABLE public.t (id bigserial PRIMARY KEY, v text)")
        over = threading.Event()

        def draw() -> None:
            while not over.is_set():
                drawn.append(other.value("SELECT pg_catalog.nextval('public.t_id_seq')"))

        thread = threading.Thread(target=draw)
        thread.start()
        try:
            for number in range(6):
                last = drawn[-1] if drawn else 0
                merged(session, "id v", f"({last + (1_000_000 if number % 3 == 2 else 30)}, 'v')")
        finally:
            over.set()
            thread.join()
        assert session.value("SELECT pg_catalog.nextval('public.t_id_seq') > pg_catalog.max(id) FROM public.t")
        staging.drop(session, [STAGING])
    assert drawn == sorted(set(drawn))
    assert drawn[-1] > 1_000_000


def test_an_identity_that_no_update_may_set_is_refused_by_its_key(session: Session) -> None:
    session.execute("CREATE TABLE public.t (k text PRIMARY KEY, id int4 GENERATED ALWAYS AS IDENTITY, v text)")
    session.execute("INSERT INTO public.t (k, v) VALUES ('a', 'old'), ('b', 'old')")
    assert told(merged(session, "k id v", "('a', 1, 'new'), ('c', 9, 'new')")) == (1, 1, 0, 0, 0)
    with pytest.raises(MergeError, match=r"id of public\.t is GENERATED ALWAYS.*\(b\)"):
        merged(session, "k id v", "('b', 5, 'new'), ('d', 8, 'new')")
    assert session.value("SELECT pg_catalog.count(*) FROM public.t") == 3


# --- the target's own programs -----------------------------------------------------------------------------------

TRIGGER = """
CREATE TABLE public.t (id int4 PRIMARY KEY, v text, CHECK (v <> 'bad'));
INSERT INTO public.t VALUES (1, 'a'), (2, 'b');
CREATE FUNCTION public.act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {act} END $$;
CREATE TRIGGER act BEFORE {when} ON public.t FOR EACH ROW EXECUTE FUNCTION public.act();
"""


@pytest.mark.parametrize(
    ("when", "act", "said"),
    [
        ("INSERT", "RAISE 'no entry';", r"6612.*public\.t: no entry"),
        ("INSERT", "RETURN NULL;", r"6613.*1 rows do not arrive in public\.t"),
        ("UPDATE", "RETURN NULL;", r"6613.*1 rows do not arrive in public\.t"),
        ("DELETE", "RETURN NULL;", r"6610.*1 rows of public\.t cannot be deleted"),
        ("INSERT", "NEW.v := 'bad'; RETURN NEW;", r"3000.*check constraint.*public\.t"),
    ],
)
def test_what_the_target_refuses_is_told_and_nothing_is_half_done(
    session: Session, when: str, act: str, said: str
) -> None:
    session.execute(TRIGGER.format(when=when, act=act))
    with pytest.raises((MergeError, RowError)) as caught:
        merged(session, "id v", "(2, 'new'), (3, 'c')", mode=MergeMode.FULL_SYNC)
    assert caught.match(said.partition(".*")[2])
    assert caught.value.code.endswith(said[:4])
    assert session.rows("SELECT id, v FROM public.t ORDER BY id") == [(1, "a"), (2, "b")]


def test_a_trigger_that_changes_values_is_seen_by_the_comparison(session: Session) -> None:
    session.execute(TRIGGER.format(when="INSERT OR UPDATE", act="NEW.v := 'mine'; RETURN NEW;"))
    counts = merged(session, "id v", "(2, 'new'), (3, 'c'), (1, 'a')")
    assert (told(counts), counts.compared, counts.differing) == ((1, 1, 1, 0, 0), 1, 2)


def test_rows_that_a_trigger_sends_to_children_are_counted(session: Session) -> None:
    session.execute("CREATE TABLE public.t (id int4, v text); CREATE TABLE public.c () INHERITS (public.t)")
    session.execute("INSERT INTO public.c VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    session.execute(
        "CREATE FUNCTION public.send() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO public.c VALUES (NEW.*); RETURN NULL; END $$;"
        "CREATE TRIGGER send BEFORE INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.send()"
    )
    counts = merged(session, "id v", "(1, 'a'), (2, 'new'), (4, 'd')", mode=MergeMode.FULL_SYNC)
    assert told(counts) == (1, 1, 1, 0, 1)
    assert session.rows("SELECT id, v FROM public.c ORDER BY id") == [(1, "a"), (2, "new"), (4, "d")]


def test_of_several_tables_children_go_first_and_parents_come_first(session: Session) -> None:
    session.execute("CREATE TABLE public.p (id int4 PRIMARY KEY); INSERT INTO public.p VALUES (1), (2)")
    session.execute("CREATE TABLE public.t (id int4 PRIMARY KEY, p int4 REFERENCES public.p)")
    session.execute("INSERT INTO public.t VALUES (10, 1), (20, 2)")
    stage(session, ["id"], "(2), (3)", Name("public", "p"), 2)
    stage(session, ["id", "p"], "(20, 2), (30, 3)")
    with session.transaction():
        plans = [
            merge.plan(
                session,
                MergeDesign(target=t, staging=s, columns=c, key=("id",), mode=MergeMode.FULL_SYNC),
                2,
            )
            for t, s, c in (
                (Name("public", "p"), staging.name_for(RUN, 2), ("id",)),
                (TARGET, STAGING, ("id", "p")),
            )
        ]
        for plan in plans:
            plan.prepare()
        for plan in reversed(plans):
            plan.remove()
        for plan in plans:
            plan.write()
        assert [told(plan.account()) for plan in plans] == [(1, 0, 1, 0, 1)] * 2
    assert session.rows("SELECT id, p FROM public.t ORDER BY id") == [(20, 2), (30, 3)]
    assert staging.sweep(session, RUN) == [STAGING, staging.name_for(RUN, 2)]


# --- before anything moves ---------------------------------------------------------------------------------------

PLAIN = (
    "CREATE TABLE public.t (id int4 PRIMARY KEY, v text, g int4 GENERATED ALWAYS AS (id) STORED, at timestamptz,"
    " d date NOT NULL DEFAULT now(), x point)"
)


@pytest.mark.parametrize(
    ("script", "changed", "codes"),
    [
        (PLAIN, {}, []),
        ("", {}, [6628]),
        ("CREATE VIEW public.t AS SELECT 1 AS id", {}, [6616]),
        (PLAIN, {"columns": ("id", "v", "nix")}, [6602]),
        (PLAIN, {"key": ("nix",)}, [6602]),
        (PLAIN, {"key": ()}, [6614, 6618]),
        (PLAIN, {"key": ("at",)}, [6615, 6618]),
        (PLAIN, {"latest_by": "at"}, [6615]),
        (PLAIN, {"columns": ("id", "g")}, [6619]),
        (PLAIN, {"key": ("v",)}, [6618]),
        (PLAIN, {"key": ("x",), "columns": ("x",)}, [6618, 6626]),
        (PLAIN, {"nulls_match": True}, [6618]),
        (PLAIN, {"mode": "scd2", "valid_from": "at", "valid_to": "d"}, [6620, 6624, 6621, 6618]),
        (PLAIN, {"mode": "full-sync", "deleted": "d"}, [6622]),
        (PLAIN, {"mode": "full-sync", "deleted": "v"}, [6622]),
        (PLAIN, {"mode": "full-sync", "scope": "nix > 3"}, [6625]),
        (PLAIN, {"mode": "full-sync", "scope": "id > 3 -- few"}, []),
        (PLAIN + " PARTITION BY RANGE (id)", {}, []),
        ("CREATE TABLE public.t (id int4 UNIQUE DEFERRABLE, v text)", {}, [6618]),
        (PLAIN + "; CREATE RULE r AS ON UPDATE TO public.t DO ALSO NOTHING", {}, [6618]),
    ],
)
def test_what_is_wrong_is_found_before_any_row_is_read(
    session: Session, script: str, changed: dict[str, Any], codes: list[int]
) -> None:
    if script:
        session.execute(script)
    design = {"columns": ("id", "v"), "key": ("id",)} | changed
    design["mode"] = MergeMode(design.get("mode", "upsert"))
    wanted = MergeDesign(target=TARGET, staging=STAGING, **design)
    found = examined(session, wanted)
    assert [f.code for f in found] == codes
    assert all(f.severity is Severity.ERROR or f.code == 6618 for f in found)


def test_a_role_is_told_what_it_lacks(session: Session, pg18: Cluster) -> None:
    session.execute("CREATE TABLE public.t (id serial PRIMARY KEY, v text)")
    session.execute("DROP ROLE IF EXISTS merger; CREATE ROLE merger")
    session.execute("GRANT USAGE ON SCHEMA public TO merger; GRANT SELECT, INSERT ON public.t TO merger")
    design = MergeDesign(target=TARGET, staging=STAGING, columns=("id", "v"), key=("id",))
    session.execute("SET ROLE merger")
    try:
        assert [str(f.what) for f in examined(session, design)] == ["the role lacks UPDATE on the target's public.t"]
        with pytest.raises(MergeError, match="may not create staging tables"):
            staging.create(session, STAGING, [("id", "int4")])
    finally:
        session.execute("RESET ROLE")
    session.execute(
        "ALTER TABLE public.t ENABLE ROW LEVEL SECURITY; GRANT UPDATE ON public.t TO merger; SET ROLE merger"
    )
    try:
        assert [f.code for f in examined(session, design)] == [6623]
        session.execute("RESET ROLE; ALTER TABLE public.t DISABLE ROW LEVEL SECURITY; SET ROLE merger")
        (found,) = examined(session, design)
        assert (found.code, found.severity) == (6627, Severity.WARNING)
    finally:
        session.execute("RESET ROLE; DROP OWNED BY merger; DROP ROLE merger")


def test_a_staging_table_that_has_lost_its_rows_is_never_merged(session: Session) -> None:
    session.execute("CREATE TABLE public.t (id int4 PRIMARY KEY); INSERT INTO public.t VALUES (1)")
    stage(session, ["id"], "")
    design = MergeDesign(target=TARGET, staging=STAGING, columns=("id",), key=("id",), mode=MergeMode.FULL_SYNC)
    with pytest.raises(MergeError, match=r"1 rows were staged for public\.t, and 0 are there"), session.transaction():
        merge.merge(session, design, 1)
    assert session.value("SELECT pg_catalog.count(*) FROM public.t") == 1


def test_staging_tables_of_the_living_are_spared(pg18: Cluster) -> None:
    with sessions(pg18, 2) as (session, other):
        session.execute("CREATE TABLE public.t (id int4)")
        living, dead = staging.name_for("aaaaaaaaaaaa", 0), staging.name_for("bbbbbbbbbbbb", 12)
        for name in (living, dead):
            staging.create(session, name, staging.columns_of(session, TARGET, ["id"]))
        session.execute("CREATE TABLE pghaul.stage_of_mine ()")
        other.value("SELECT pg_catalog.pg_advisory_lock(28519, pg_catalog.hashtext('pghaul run aaaaaaaaaaaa'))")
        assert staging.sweep(session, None) == [dead]
        assert staging.sweep(session, "aaaaaaaaaaaa") == [living]
        assert session.value("SELECT pg_catalog.to_regclass('pghaul.stage_of_mine') IS NOT NULL")


def test_a_version_never_ends_before_it_began(session: Session) -> None:
    session.execute("CREATE TABLE public.t (id int4, v text, valid_from timestamptz, valid_to timestamptz)")
    design = {"mode": MergeMode.SCD2, "valid_from": "valid_from", "valid_to": "valid_to"}
    merged(session, "id v", "(1, 'a')", moment="2024-01-02T00:00:00+09:00", **design)
    with pytest.raises(MergeError, match="began at or after"):
        merged(session, "id v", "(1, 'b')", moment="2024-01-02T00:00:00+09:00", **design)
    assert told(merged(session, "id v", "(1, 'a')", moment="2024-01-01T00:00:00+09:00", **design)) == (0, 0, 1, 0, 0)


def test_more_columns_than_a_table_of_changes_can_have_are_refused(session: Session) -> None:
    names = [f"c{n}" for n in range(1600)]
    session.execute(f"CREATE TABLE public.t ({', '.join(f'{n} int2' for n in names)}, PRIMARY KEY (c0))")
    design = MergeDesign(target=TARGET, staging=STAGING, columns=tuple(names), key=("c0",), mode=MergeMode.FULL_SYNC)
    assert [f.code for f in examined(session, design)] == [6652]
    assert 6652 not in [f.code for f in examined(session, replace(design, columns=tuple(names[:-1])))]
