"""How far increments may go: open, prepared and hidden transactions, and values that no order places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from tests.moving import run_sql
from tests.reading import Follower, everything, session_at

from pghaul.model.errors import UsageError, WatermarkError
from pghaul.model.finding import Severity
from pghaul.model.merging import Guarantee, WatermarkKind
from pghaul.model.plan import Merge
from pghaul.postgres.session import Session
from pghaul.sources.increments import horizon, reading
from pghaul.sources.increments_sql import changed_from

ROWS = """
CREATE TABLE public.t (id serial PRIMARY KEY, at timestamptz DEFAULT now(), v text);
CREATE INDEX ON public.t (at);
INSERT INTO public.t (at, v) SELECT now() - i * interval '1 minute', i::text FROM generate_series(1, 50) AS i;
"""


@pytest.fixture
def source(db_source: str) -> Iterator[Session]:
    with session_at(db_source) as session:
        yield session


@pytest.mark.template(source=ROWS)
@pytest.mark.parametrize("watermark", ["at", "id", "xmin"])
def test_the_first_reading_is_of_all_rows_and_the_next_of_new_ones(
    db_source: str, source: Session, watermark: str
) -> None:
    follower = Follower(session=source, table="t", merge=Merge(watermark=watermark))
    assert len(follower.step()) == 50
    run_sql(db_source, "INSERT INTO public.t (v) VALUES ('new')")
    assert "new" in {row[2] for row in follower.step()}
    assert follower.read < 60
    assert follower.rows == everything(db_source, "public.t")


# --- who is at work -------------------------------------------------------------------------------------------------


def other(url: str, *statements: str) -> psycopg.Connection[tuple[object, ...]]:
    """A session that has done this, and stays."""
    connection = psycopg.connect(url, autocommit=True)
    for statement in statements:
        connection.execute(statement)
    return connection


BEGIN = ("BEGIN", "INSERT INTO public.t (v) VALUES ('late')")


@pytest.mark.template(source=ROWS)
@pytest.mark.parametrize("watermark", ["at", "id", "xmin"])
def test_an_open_transaction_is_waited_for(db_source: str, source: Session, watermark: str) -> None:
    """Numbers of the first reading are read whole once more: nobody could say what the open one had taken."""
    follower = Follower(session=source, table="t", merge=Merge(watermark=watermark))
    with other(db_source, *BEGIN) as late:
        follower.step()
        run_sql(db_source, "INSERT INTO public.t (at, v) SELECT clock_timestamp(), 'after' FROM pg_sleep(0.01)")
        follower.step()
        late.execute("COMMIT")
        follower.step()
    assert follower.rows == everything(db_source, "public.t")
    assert "late" in {row[2] for row in follower.rows.values()}
    follower.step()
    follower.step()
    assert follower.last is not None
    assert not follower.last.full


@pytest.mark.template(source=ROWS)
@pytest.mark.parametrize("watermark", ["at", "id"])
def test_prepared_transactions_hold_increments_back_and_are_named(
    db_source: str, source: Session, watermark: str
) -> None:
    follower = Follower(session=source, table="t", merge=Merge(watermark=watermark))
    follower.step()
    first = follower.mark
    assert first is not None
    run_sql(db_source, "; ".join([*BEGIN, f"PREPARE TRANSACTION 'held {watermark}'"]))
    for _ in range(2):
        run_sql(db_source, "INSERT INTO public.t (v) VALUES ('after')")
        follower.step()
        assert follower.mark is not None
        assert follower.mark.low == first.low
    assert follower.last is not None
    assert [f.what for f in follower.last.findings if f.code == 6731] == [
        f"prepared transactions keep increments from moving on: held {watermark}"
    ]
    run_sql(db_source, f"COMMIT PREPARED 'held {watermark}'")
    follower.step()
    assert follower.rows == everything(db_source, "public.t")
    assert "late" in {row[2] for row in follower.rows.values()}


PLAIN = ROWS + "GRANT SELECT ON public.t TO PUBLIC;"


@pytest.fixture
def reader(db_source: str) -> Iterator[str]:
    """The source's URL, for a role that may only read."""
    name = "reader_" + db_source.rpartition("/")[2]
    run_sql(db_source, f"CREATE ROLE {name} LOGIN")
    yield db_source.replace("postgres@", f"{name}@")
    run_sql(db_source, f"DROP ROLE {name}")


@pytest.mark.template(source=PLAIN)
@pytest.mark.parametrize(("watermark", "back"), [("at", "10m"), ("id", "20")])
def test_a_plain_role_needs_a_lookback_and_is_told_so(db_source: str, reader: str, watermark: str, back: str) -> None:
    with session_at(reader) as session:
        with pytest.raises(WatermarkError, match="is not shown when other transactions began") as refused:
            Follower(session=session, table="t", merge=Merge(watermark=watermark)).step()
        assert "pg_monitor" in (refused.value.advice or "")
        follower = Follower(session=session, table="t", merge=Merge(watermark=watermark, lookback=back))
        with other(db_source, *BEGIN) as late:
            follower.step()
            run_sql(db_source, "INSERT INTO public.t (v) VALUES ('after')")
            follower.step()
            late.execute("COMMIT")
        follower.step()
        assert follower.last is not None
        assert (follower.last.guarantee, follower.last.full) == (Guarantee.LOOKBACK, False)
        assert follower.rows == everything(db_source, "public.t")


@pytest.mark.template(source=PLAIN)
def test_pg_monitor_sees_what_a_lookback_would_stand_for(db_source: str, reader: str) -> None:
    role = reader.partition("://")[2].partition("@")[0]
    run_sql(db_source, f"GRANT pg_monitor TO {role}")
    with session_at(reader) as session, other(db_source, *BEGIN):
        follower = Follower(session=session, table="t", merge=Merge(watermark="at"))
        follower.step()
        assert follower.last is not None
        assert follower.last.guarantee is Guarantee.EXACT
        assert horizon(session).oldest is not None


@pytest.mark.template(source=ROWS)
def test_a_session_that_tracks_no_activity_is_not_taken_for_idle(db_source: str, source: Session) -> None:
    with other(db_source, "SET track_activities = off", *BEGIN):
        assert horizon(source).oldest is None
        with pytest.raises(WatermarkError, match="1 sessions do not show"):
            Follower(session=source, table="t", merge=Merge(watermark="at")).step()


@pytest.mark.template(source=ROWS)
def test_a_transaction_that_is_open_for_hours_is_named(db_source: str, source: Session) -> None:
    follower = Follower(session=source, table="t", merge=Merge(watermark="at"))
    with other(db_source, "SET application_name = 'forgotten'", "BEGIN"):
        look = horizon(source)
        assert look.oldest is not None
        later = replace(look, clock=look.oldest + timedelta(hours=2))
        table = follower.described()
        found = reading(source, table, follower.merge, None, later).findings
    assert [f.severity for f in found if f.code == 6732] == [Severity.WARNING]
    assert "forgotten" in str(look.oldest_session)


COUNTING = """
CREATE SEQUENCE public.cached CACHE 10;
CREATE TABLE public.c (id bigint DEFAULT nextval('public.cached'), v int);
CREATE TABLE public.d (id bigint GENERATED ALWAYS AS IDENTITY (CACHE 5));
CREATE TABLE public.e (id bigint GENERATED ALWAYS AS IDENTITY);
"""


@pytest.mark.template(source=COUNTING)
def test_a_sequence_with_a_cache_gives_numbers_out_of_order(source: Session) -> None:
    for table, sequence in (("c", "public.cached"), ("d", "public.d_id_seq")):
        follower = Follower(session=source, table=table, merge=Merge(watermark="id"))
        with pytest.raises(WatermarkError, match=f"{sequence} does not count up one by one"):
            follower.step()
        Follower(session=source, table=table, merge=Merge(watermark="id", lookback="100")).step()
    assert Follower(session=source, table="e", merge=Merge(watermark="id")).step() == []


FOREIGN = """
CREATE EXTENSION postgres_fdw;
CREATE SERVER away FOREIGN DATA WRAPPER postgres_fdw;
CREATE USER MAPPING FOR PUBLIC SERVER away;
CREATE TABLE public.p (id int, at timestamptz);
CREATE FOREIGN TABLE public.f () INHERITS (public.p) SERVER away;
"""


@pytest.mark.template(source=FOREIGN)
@pytest.mark.parametrize("db_source", ["pg15"], indirect=True)
def test_rows_of_another_server_have_open_transactions_that_nobody_sees(source: Session) -> None:
    for merge, words in ((Merge(watermark="at"), "rows of another server"), (Merge(watermark="xmin"), "has no xmin")):
        with pytest.raises(WatermarkError, match=words):
            Follower(session=source, table="p", merge=merge).step()


# --- what has no order ----------------------------------------------------------------------------------------------

ODD = """
CREATE TABLE public.o (id int PRIMARY KEY, tz timestamptz, ts timestamp, d date, n numeric, t text, u uuid, i int8);
INSERT INTO public.o VALUES
 (1, '2025-01-01 00:00:00.000001+09', '2025-01-01 00:00:00.000001', '2025-01-01', 1.50, '20250101',
  '01941f29-7c00-7000-8000-000000000001', 1),
 (2, 'infinity', 'infinity', 'infinity', 12345678901234567890.123456789, '20250102',
  '01941f29-7c00-7000-8000-000000000002', 2),
 (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (4, '-infinity', '-infinity', '-infinity', 'NaN', '2025/1/4', '11111111-1111-4111-8111-111111111111', NULL);
"""
PLACED = {"tz": {}, "ts": {"watermark_zone": "Asia/Seoul"}, "d": {}, "n": {}, "u": {}, "i": {}}
PLACED |= {"t": {"watermark_format": "YYYYMMDD"}}


@pytest.mark.template(source=ODD)
def test_rows_without_an_order_are_refused_included_or_left_out(db_source: str, source: Session) -> None:
    for column, said in PLACED.items():
        merge = Merge(watermark=column, **said)
        with pytest.raises(WatermarkError, match=rf"2 rows of public.o have no usable watermark in {column}: "):
            Follower(session=source, table="o", merge=merge).step()
        for nulls, first, again in (("include", {1, 2, 3, 4}, {3, 4}), ("exclude", {1, 2}, set())):
            merge = Merge(watermark=column, null_watermarks=nulls, **said)
            follower = Follower(session=source, table="o", merge=merge)
            assert {row[0] for row in follower.step()} == first
            assert {row[0] for row in follower.step()} - {1, 2} == again
            assert follower.last is not None
            assert not follower.last.full


@pytest.mark.template(source=ODD)
@pytest.mark.parametrize("column", ["tz", "ts", "d"])
def test_infinity_hides_nothing(db_source: str, source: Session, column: str) -> None:
    merge = Merge(watermark=column, null_watermarks="exclude", watermark_zone=None if column == "tz" else "UTC")
    follower = Follower(session=source, table="o", merge=merge)
    follower.step()
    now = "now()" if column == "tz" else "now() AT TIME ZONE 'UTC'"  # wherever the server is
    run_sql(db_source, f"INSERT INTO public.o (id, {column}) VALUES (10, {now})")
    run_sql(db_source, f"INSERT INTO public.o (id, {column}) VALUES (11, '9999-12-31'), (12, '12345-01-01')")
    assert {10, 11, 12} <= {row[0] for row in follower.step()}
    run_sql(db_source, f"INSERT INTO public.o (id, {column}) VALUES (13, {now})")
    assert 13 in {row[0] for row in follower.step()}


@pytest.mark.template(source=ODD)
def test_marks_have_all_digits(source: Session) -> None:
    for column, expected in {
        "tz": "2024-12-31 15:00:00.000001+00",
        "n": "12345678901234567890.123456789",
        "t": "20250102",
        "u": "01941f29-7c00-7000-8000-000000000002",
    }.items():
        merge = Merge(watermark=column, null_watermarks="exclude", **PLACED[column])
        follower = Follower(session=source, table="o", merge=merge)
        follower.step()
        assert follower.mark is not None
        assert (follower.mark.low, follower.mark.seen) == (expected, expected)


TEXTS = """
CREATE TABLE public.x (id int PRIMARY KEY, day varchar(10), moment char(20));
INSERT INTO public.x VALUES (1, '2025-01-31', '20250131235959'), (2, '2025-02-01', '20250201000000');
"""


@pytest.mark.template(source=TEXTS)
@pytest.mark.parametrize(("column", "form"), [("day", "YYYY-MM-DD"), ("moment", "YYYYMMDDHH24MISS")])
def test_texts_are_moments_of_their_format(db_source: str, source: Session, column: str, form: str) -> None:
    follower = Follower(session=source, table="x", merge=Merge(watermark=column, watermark_format=form))
    assert len(follower.step()) == 2
    assert [row[0] for row in follower.step()] == [2]
    run_sql(db_source, "INSERT INTO public.x VALUES (3, '01.02.2025', '1 February 2025')")
    with pytest.raises(WatermarkError, match=r"1 rows of public.x .*: (01.02.2025|1 February 2025)"):
        follower.step()


# --- what is wrong --------------------------------------------------------------------------------------------------


@pytest.mark.template(source=ODD + "ALTER TABLE public.o ADD f float8, ADD j jsonb, ADD a int[];")
@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"watermark": "gone"}, "no column gone for a watermark"),
        ({"watermark": "f"}, r"o\.f is double precision: that is no watermark"),
        ({"watermark": "j"}, r"o\.j is jsonb"),
        ({"watermark": "a"}, r"o\.a is integer\[\]"),
        ({"watermark": "t"}, "a text needs a format"),
        ({"watermark": "d", "watermark_format": "YYYYMMDD"}, "no other has one: d is date"),
        ({"watermark": "t", "watermark_format": "DD.MM.YYYY"}, "there is no watermark_format 'DD.MM.YYYY'"),
        ({"watermark": "xmin", "lookback": "10m"}, "xmin takes no lookback"),
        ({"watermark": "tz", "lookback": "100"}, "'100' is no span of time"),
        ({"watermark": "i", "lookback": "10m"}, "'10m' is no number"),
        ({"watermark": "ts", "watermark_zone": "Asia/Seul"}, "there is no time zone 'Asia/Seul'"),
    ],
)
def test_what_cannot_be_a_watermark_is_refused(source: Session, said: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError if "zone" in words else WatermarkError, match=words):
        Follower(session=source, table="o", merge=Merge(**said)).step()


@pytest.mark.template(source=ROWS)
def test_marks_of_another_time_and_place(db_source: str, source: Session) -> None:
    """Another database and an older one are refused; a clock that went back, and new columns, are read again whole."""
    follower = Follower(session=source, table="t", merge=Merge(watermark="at"))
    follower.step()
    mark, table, look = follower.mark, follower.described(), horizon(source)
    assert mark is not None
    for changed, words in (
        (replace(mark, source_identity="1/2/x"), "came from another database: 1/2/x"),
        (replace(mark, txid=mark.txid + 1000), "the source is older than what was read from it"),
    ):
        with pytest.raises(WatermarkError, match=words):
            reading(source, table, follower.merge, changed, look)
    for changed, words in (
        (replace(mark, read_at="2999-01-01T00:00:00+00:00"), "clock shows less"),
        (replace(mark, columns=("id", "at")), "not read before: v"),
        (replace(mark, kind=WatermarkKind.DATE), "the watermark was date, and is timestamptz now"),
    ):
        again = reading(source, table, follower.merge, changed, look)
        assert again.full
        assert [f for f in again.findings if f.code == 6730 and words in f.what]


# --- trees, conditions and queries ----------------------------------------------------------------------------------

TREES = """
CREATE TABLE public.part (id int, at timestamptz) PARTITION BY RANGE (id);
CREATE TABLE public.part_1 PARTITION OF public.part FOR VALUES FROM (0) TO (10);
CREATE TABLE public.part_2 PARTITION OF public.part FOR VALUES FROM (10) TO (20);
INSERT INTO public.part VALUES (1, '2025-01-01'), (11, '2025-01-02');
CREATE TABLE public."Eltern" (id int, at timestamptz);
CREATE TABLE public.child () INHERITS (public."Eltern");
INSERT INTO public."Eltern" VALUES (1, '2025-01-01'); INSERT INTO public.child VALUES (11, '2025-01-02');
"""


@pytest.mark.template(source=TREES)
@pytest.mark.parametrize("watermark", ["at", "xmin", None])
@pytest.mark.parametrize("table", ["part", "Eltern"])
def test_a_parent_is_read_with_its_children(source: Session, table: str, watermark: str | None) -> None:
    follower = Follower(session=source, table=table, merge=Merge(watermark=watermark))
    follower.step()
    follower.step()
    assert set(follower.rows) == {1, 11}


@pytest.mark.template(source=TREES)
@pytest.mark.parametrize("watermark", ["at", "xmin", "id"])
@pytest.mark.parametrize(
    ("table", "attached"),
    [
        ("part", "ALTER TABLE public.part ATTACH PARTITION public.old FOR VALUES FROM (20) TO (30)"),
        ("Eltern", 'ALTER TABLE public.old INHERIT public."Eltern"'),
    ],
)
def test_old_rows_of_a_table_that_joins_the_tree_are_read(
    db_source: str, source: Session, table: str, attached: str, watermark: str
) -> None:
    """No watermark of theirs is new. Put back after it was taken off, it is read once more."""
    run_sql(db_source, "CREATE TABLE public.old (at timestamptz, id int NOT NULL)")
    run_sql(db_source, "INSERT INTO public.old VALUES ('2024-01-01', -7), ('2024-01-02', 21), (NULL, 22)")
    run_sql(db_source, f"DELETE FROM public.old WHERE id < 0 AND 'part' = '{table}'")
    merge = Merge(watermark=watermark, null_watermarks="fail" if watermark != "at" else "exclude")
    follower = Follower(session=source, table=table, merge=merge, where="id <> 21 -- but")
    for _ in range(2):
        follower.step()
    for _ in range(2):
        run_sql(db_source, attached)
        found = {row[0] for row in follower.step()}
        assert found - {1, 11} == {22, *({-7} if table == "Eltern" else ())} - ({22} if watermark == "at" else set())
        assert {row[0] for row in follower.step()} <= {1, 11, 22}
        off = attached.replace("ATTACH", "DETACH").partition(" FOR ")[0].replace(" INHERIT", " NO INHERIT")
        run_sql(db_source, off)


@pytest.mark.template(source=ROWS)
def test_a_condition_and_a_query_bound_what_is_read(db_source: str, source: Session) -> None:
    odd = Follower(session=source, table="t", merge=Merge(watermark="at"), where="id % 2 = 1 OR id = 2 -- 100%")
    query = "SELECT id * 10 AS id, at, v || ';' AS v FROM public.t; -- done"
    asked = Follower(session=source, table="t", merge=Merge(watermark="at"), query=query)
    assert (len(odd.step()), len(asked.step())) == (26, 50)
    run_sql(db_source, "INSERT INTO public.t (v) VALUES ('a'), ('b')")
    assert {row[2] for row in odd.step()} & {"a", "b"} == {"a"}
    assert {row[2] for row in asked.step()} >= {"a;", "b;"}
    assert asked.read < 60
    with pytest.raises(WatermarkError, match=r"public\.t has no xmin"):
        Follower(session=source, table="t", merge=Merge(watermark="xmin"), query=query).step()


@pytest.mark.template(source=PLAIN)
@pytest.mark.parametrize(
    ("watermark", "words"), [("at", "does not show the open"), ("id", "does not"), ("xmin", "no use")]
)
def test_a_replica_tells_nothing_of_its_primary(source: Session, watermark: str, words: str) -> None:
    table = Follower(session=source, table="t", merge=Merge()).described()
    look = replace(horizon(source), in_recovery=True)
    with pytest.raises(WatermarkError, match=words):
        reading(source, table, Merge(watermark=watermark), None, look)


@pytest.mark.template(source=ROWS)
@pytest.mark.parametrize("assumed", ["source=9.3", "source=9.4", "source=9.6"])
def test_older_servers_are_asked_what_they_know(db_source: str, assumed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 9.4 a frozen row has lost its xmin: it is read every time."""
    monkeypatch.setenv("PGHAUL_ASSUME_VERSION", assumed)
    with session_at(db_source) as session, other(db_source, *BEGIN) as late:
        followers = [Follower(session=session, table="t", merge=Merge(watermark=w)) for w in ("at", "id", "xmin")]
        for follower in followers:
            follower.step()
        late.execute("COMMIT")
        for follower in followers:
            follower.step()
            assert follower.rows == everything(db_source, "public.t")
            assert follower.last is not None
        assert follower.last is not None
        assert (" < 3" in follower.last.query) is (assumed == "source=9.3")


@pytest.mark.template(source=ROWS)
def test_xmin_is_compared_round_the_clock(source: Session) -> None:
    """Of rows that were frozen aeons ago some look young: they are read once more, and none that is young is left."""
    numbers = (
        "SELECT n::text::xid AS xmin FROM (VALUES (3::int8), (700), (2147483648), (4294967290), (4294967295)) v(n)"
    )
    for first, count, expected in (
        (700, 10, {"700"}),
        (4294967290, 16, {"4294967290", "4294967295", "3"}),
        (3, 1, {"3"}),
        (701, 4294967290, {"3", "2147483648", "4294967290", "4294967295"}),
    ):
        condition = changed_from(first, count, frozen_by_flag=True).as_string(None)
        found = source.rows(f"SELECT xmin::text FROM ({numbers}) AS q WHERE {condition}")
        assert {text for (text,) in found} == expected


GENERATED = """
CREATE TABLE public.g (id int PRIMARY KEY, a int, b int, last int GENERATED ALWAYS AS (greatest(a, b)) STORED);
INSERT INTO public.g (id, a, b) SELECT i, i, -i FROM generate_series(1, 30) AS i;
"""


@pytest.mark.since(12)
@pytest.mark.template(source=GENERATED)
def test_a_watermark_that_is_not_carried_still_tells_what_is_new(db_source: str, source: Session) -> None:
    """A generated column is made anew by the target, or is not there at all."""
    follower = Follower(session=source, table="g", merge=Merge(watermark="last"))
    assert (len(follower.step()), follower.mark and follower.mark.low) == (30, "30")
    run_sql(db_source, "INSERT INTO public.g VALUES (31, 5, 31); UPDATE public.g SET b = 32 WHERE id = 1")
    assert {row[0] for row in follower.step()} == {1, 30, 31}
    assert follower.mark is not None
    assert (follower.mark.seen, follower.mark.columns) == ("32", ("id", "a", "b"))
