"""What a plan takes: patterns, sizes, and periods that are resolved against bounds. Wrong ones are refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from tests.compare import assert_same_content
from tests.databases import DatabasePair, database_pair
from tests.moving import Moved, assert_done, resume, rows, run_sql
from tests.plant_history import FAULTY, SMALL
from tests.stopping import Brake

from pghaul.model.errors import NotFoundError, PghaulError, PlanError, StoppedError
from pghaul.model.event import Event
from pghaul.model.plan import Options, Period, Plan, Selection, Unit, Verify
from pghaul.postgres.dsn import resolve
from pghaul.postgres.session import Session, connect
from pghaul.service.embedded import Cluster
from pghaul.service.migration import MigrationService
from pghaul.sources.choice import choose

POINTS = SMALL.script()
DAY_4 = FAULTY.moment(date(2024, 9, 4))
NOON_2 = FAULTY.moment(date(2024, 9, 2)) + 43_200_000
MIXED = """
CREATE TABLE public.declared (id int8, at timestamptz) PARTITION BY RANGE (at);
CREATE TABLE public.d1 PARTITION OF public.declared FOR VALUES FROM ('2024-08-31 15:00+00') TO ('2024-09-01 15:00+00');
CREATE TABLE public.d2 PARTITION OF public.declared FOR VALUES FROM ('2024-09-01 15:00+00') TO ('2024-09-02 15:00+00')
    PARTITION BY LIST (id);
CREATE TABLE public.d2_1 PARTITION OF public.d2 FOR VALUES IN (1);
CREATE TABLE public.d3 PARTITION OF public.declared FOR VALUES FROM ('2024-09-02 15:00+00') TO ('2024-09-03 15:00+00')
    PARTITION BY LIST (id);
CREATE TABLE public.d3_1 PARTITION OF public.d3 FOR VALUES IN (1);
CREATE TABLE public.rest PARTITION OF public.declared DEFAULT;
INSERT INTO public.declared SELECT 1, timestamptz '2024-08-31 15:00+00' + g * interval '1 hour'
    FROM generate_series(0, 71) g;
INSERT INTO public.declared VALUES (7, '2024-12-24');
CREATE TABLE public.texts (k varchar(14), d date);
CREATE TABLE public.t1 (CHECK (k >= '20240901' AND k < '20240911')) INHERITS (public.texts);
CREATE TABLE public.t2 (CHECK (k >= '20240911' AND k < '20240921')) INHERITS (public.texts);
INSERT INTO public.t1 SELECT '202409' || to_char(g, 'FM00') || '1200' FROM generate_series(1, 10) g;
INSERT INTO public.t1 VALUES (NULL);
CREATE TABLE public.numbers (n int4, v int4) PARTITION BY RANGE (n);
CREATE TABLE public.n1 PARTITION OF public.numbers FOR VALUES FROM (1) TO (5000);
CREATE TABLE public.days (n int4, v int4) PARTITION BY RANGE (n);
CREATE TABLE public.days_9 PARTITION OF public.days FOR VALUES FROM (20240901) TO (20241001);
CREATE TABLE public.days_10 PARTITION OF public.days FOR VALUES FROM (20241001) TO (20241101);
INSERT INTO public.days VALUES (20240930, 1), (20241001, 2);
CREATE TABLE public.odd (none numeric);
INSERT INTO public.odd VALUES ('NaN');
CREATE TABLE public.named (at int8, day date, word text);
INSERT INTO public.named VALUES (1725116400, '2024-09-01', 'x');
CREATE TABLE public.listed (day date, v int4) PARTITION BY LIST (day);
CREATE TABLE public.l1 PARTITION OF public.listed FOR VALUES IN ('2024-09-01', '2024-09-02');
CREATE TABLE public.l2 PARTITION OF public.listed FOR VALUES IN ('2024-09-03', NULL);
INSERT INTO public.listed VALUES ('2024-09-01', 1), ('2024-09-03', 3), (NULL, 4);
CREATE TABLE public.hashed (id int8, at timestamp) PARTITION BY HASH (id);
CREATE TABLE public.h0 PARTITION OF public.hashed FOR VALUES WITH (MODULUS 1, REMAINDER 0);
INSERT INTO public.hashed VALUES (1, '2024-09-01 00:00'), (2, '2024-09-02 00:00');
CREATE TABLE public.big AS SELECT g AS id, repeat('x', 100) AS v FROM generate_series(1, 3000) g;
CREATE SCHEMA other;
CREATE TABLE other.big AS SELECT 1 AS id;
"""


@pytest.fixture(scope="module")
def session(request: pytest.FixtureRequest, pg18: Cluster) -> Iterator[Session]:
    """On a database that the test's own script, or MIXED, made."""
    script = getattr(request, "param", MIXED)
    with (
        database_pair(pg18, pg18, source_sql=script) as pair,
        connect(resolve(pair.source), application_name="test", role="source") as found,
    ):
        yield found


plant = pytest.mark.parametrize("session", [POINTS], indirect=True, ids=["plant"])
faulty = pytest.mark.parametrize("session", [FAULTY.script()], indirect=True, ids=["faulty"])


def plan(*names: str | Selection, since: str | None = None, until: str | None = None, **more: Any) -> Plan:
    """A plan of these selections; `timezone` and `unit` are the period's."""
    period = {k: more.pop(k) for k in ("timezone", "unit") if k in more}
    return Plan(
        source="x",
        target="y",
        tables=[Selection(name=n) if isinstance(n, str) else n for n in names],
        period=Period(since=since, until=until, **period) if since or until else None,
        **more,
    )


def taken(session: Session, made: Plan) -> dict[str, str]:
    """Conditions by name."""
    return {c.table.name: c.where for c in choose(session, made)}


# --- without a period ---


def test_regular_expressions_schemas_and_exclusions_choose(session: Session) -> None:
    assert set(taken(session, plan(r"/(public|other)\.bi./"))) == {"big"}
    assert [str(c.table) for c in choose(session, plan("other.*"))] == ["other.big"]
    assert set(taken(session, plan("declared", exclude=["d2", "/.*rest/"]))) == {"declared", "d1", "d3", "d3_1"}
    everything = taken(session, plan(whole=True, exclude=["public.*"]))
    assert set(everything) == {"big"}


@pytest.mark.parametrize(
    ("made", "error", "words"),
    [
        (plan("/pub[/"), PlanError, "no regular expression"),
        (plan("/nothing/"), NotFoundError, "no table matches '/nothing/'"),
        (plan("bog"), NotFoundError, "no table matches 'bog'"),
        (plan("big", exclude=["bag"]), NotFoundError, "no table matches 'bag'"),
        (plan("big", exclude=["public.*"]), NotFoundError, "all that matches 'big' is excluded"),
        (plan(Selection(name="*.big", larger_than=1 << 30)), NotFoundError, "no table that matches"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_patterns_that_match_nothing_are_refused(
    session: Session, made: Plan, error: type[PghaulError], words: str
) -> None:
    with pytest.raises(error, match=words) as refused:
        choose(session, made)
    assert refused.value.advice


def test_sizes_choose_whole_trees(session: Session) -> None:
    assert [str(c.table) for c in choose(session, plan(Selection(name="*.big", larger_than=100_000)))] == ["public.big"]
    assert [str(c.table) for c in choose(session, plan(Selection(name="*.big", smaller_than=100_000)))] == ["other.big"]
    small = plan(Selection(name="public.*", larger_than=30_000, smaller_than=40_000))
    assert set(taken(session, small)) == {"declared", "d1", "d2", "d2_1", "d3", "d3_1", "rest"}  # 4 leaves of 8 kB


# --- with one ---


@plant
def test_a_period_takes_days_whole_cuts_others_and_looks_at_the_parents_own_rows(session: Session) -> None:
    found = taken(session, plan("point_history", since="2024-09-02", until="2024-09-04", timezone="Asia/Seoul"))
    own = '"issued_date" >= 1725202800000 AND "issued_date" < 1725375600000'
    assert found == {"point_history": own, "point_history_240902": "", "point_history_240903": ""}
    cut = taken(session, plan("point_history", since="2024-09-02T12:00", until="2024-09-03", timezone="Asia/Seoul"))
    assert cut["point_history_240902"] == '"issued_date" >= 1725246000000 AND "issued_date" < 1725289200000'
    utc = taken(session, plan("point_history", since="2024-09-02", until="2024-09-03"))
    assert {n for n, w in utc.items() if w} == {"point_history", "point_history_240902", "point_history_240903"}


@plant
def test_months_are_cut_by_the_same_period_in_milliseconds_and_in_local_timestamps(session: Session) -> None:
    names = ("trend_history", "energy_display", "running_time_history")
    whole = taken(session, plan(*names, since="2024-09-01", until="2024-10-01", timezone="Asia/Seoul"))
    assert {n for n, w in whole.items() if not w} == {
        "trend_history_2409",
        "energy_display_2409",
        "running_time_history_2409",
    }
    cut = taken(session, plan("energy_display", since="2024-09-05", until="2024-09-06", timezone="Asia/Seoul"))
    assert cut["energy_display_2409"] == (
        "\"issued_date\" >= '2024-09-05 00:00:00'::timestamp AND \"issued_date\" < '2024-09-06 00:00:00'::timestamp"
    )


@faulty
def test_children_that_nobody_vouches_for_are_neither_skipped_nor_taken_whole(session: Session) -> None:
    made = plan("point_history", since="2024-09-11", until="2024-09-12", timezone="Asia/Seoul")
    condition = '"issued_date" >= 1725980400000 AND "issued_date" < 1726066800000'
    assert taken(session, made) == {
        "point_history": condition,
        "point_history_240904": condition,  # no CHECK; the registry alone says that it lies outside
        "point_history_240910": condition,  # NOT VALID
        "point_history_240911": "",
    }


def test_declarative_trees_keep_the_levels_that_are_needed_and_look_into_the_default(session: Session) -> None:
    found = taken(session, plan("declared", since="2024-09-02", until="2024-09-03", timezone="Asia/Seoul"))
    condition = (
        "\"at\" >= '2024-09-01 15:00:00+00:00'::timestamptz AND \"at\" < '2024-09-02 15:00:00+00:00'::timestamptz"
    )
    assert found == {"declared": "", "d2": "", "d2_1": "", "rest": condition}


def test_texts_numbers_and_lists_of_days_are_keys(session: Session) -> None:
    found = taken(session, plan("texts", since="2024-09-01", until="2024-09-11"))
    condition = '"k"::pg_catalog.text COLLATE pg_catalog."C" >= \'20240901\''
    assert found["t1"] == '"k" IS NOT NULL'  # a CHECK lets NULL pass
    assert found["texts"].startswith(condition)
    assert "t2" not in found
    assert taken(session, plan("days", since="2024-09-01", until="2024-10-01")) == {"days": "", "days_9": ""}
    assert taken(session, plan("listed", since="2024-09-01", until="2024-09-03")) == {"listed": "", "l1": ""}
    assert taken(session, plan("listed", since="2024-09-03"))["l2"] == '"day" IS NOT NULL'
    assert "IS NOT" not in taken(session, plan("listed", since="2024-09-02"))["l1"]


def test_a_key_may_be_named_for_flat_tables_and_for_trees_that_are_told_apart_otherwise(session: Session) -> None:
    flat = Selection(name="named", key="at")
    assert taken(session, plan(flat, since="2024-09-01", timezone="Asia/Seoul")) == {"named": '"at" >= 1725116400'}
    dated = Selection(name="named", key="day")
    assert taken(session, plan(dated, until="2024-09-02")) == {"named": "\"day\" < '2024-09-02'::date"}
    hashed = Selection(name="hashed", key="at")
    condition = "\"at\" >= '2024-09-02 00:00:00'::timestamp"
    assert taken(session, plan(hashed, since="2024-09-02")) == {"hashed": "", "h0": condition}
    with pytest.raises(NotFoundError, match="lies in the period"):
        choose(session, plan(hashed, since="2024-09-03"))


@pytest.mark.parametrize(
    ("made", "error", "words", "advice"),
    [
        (plan("big", "named", since="2024-09-01"), PlanError, r"public\.big, public\.named", "--key"),
        (plan("numbers", since="2024-09-01"), PlanError, r"numbers\.n .integer. tells no time", "--unit"),
        (plan(Selection(name="big", key="at"), since="2024-09-01"), NotFoundError, "no column at", "it has id, v"),
        (plan(Selection(name="big", key="v"), since="2024-09-01"), PlanError, "it holds xxx", "--key"),
        (plan(Selection(name="odd", key="none"), since="2024-09-01"), PlanError, "it holds NaN", "--key"),
        (plan(Selection(name="declared", key="x"), since="2024-09-01"), NotFoundError, "no column x", "at, id"),
        (
            plan("declared", since="2023-09-01", until="2023-10-01"),
            NotFoundError,
            "nothing that matches 'declared' lies in the period 2023-09-01 to 2023-10-01",
            "public.declared goes from 2024-08-31 15:00:00 to 2024-09-03 15:00:00",
        ),
        (plan("days", since="2024-09-01T06:00"), PlanError, "within a day", None),
        (plan("days", since="2024-09-02", until="2024-09-02"), PlanError, "is empty", "say the next"),
        (plan("days", since="2024-09-02", until="2024-09-01"), PlanError, "ends before it begins", "say the next"),
    ],
    ids=lambda v: v[:25] if isinstance(v, str) else "",
)
def test_periods_that_cannot_be_are_refused_with_what_there_is(
    session: Session, made: Plan, error: type[PghaulError], words: str, advice: str | None
) -> None:
    with pytest.raises(error, match=words) as refused:
        choose(session, made)
    assert (advice or "") in (refused.value.advice or "")


def test_a_default_partition_alone_may_hold_the_period(session: Session) -> None:
    assert set(taken(session, plan("declared", since="2024-12-24", until="2024-12-25"))) == {"declared", "rest"}


def test_units_are_found_by_magnitude_and_may_be_said(session: Session) -> None:
    flat = Selection(name="named", key="at")
    said = plan(flat, since="1970-01-20", unit=Unit.MILLISECONDS)
    assert taken(session, said) == {"named": '"at" >= 1641600000'}
    with pytest.raises(NotFoundError, match="lies in the period"):
        choose(session, plan(flat, since="2024-09-01", unit=Unit.MILLISECONDS))


def moved(pair: DatabasePair, made: Plan, brake: Brake | None = None) -> Moved:
    """The plan, run between the databases of the pair, until the brake is pulled."""
    heard: list[Event] = []

    def hear(event: Event) -> None:
        heard.append(event)
        if brake is not None:
            brake.hear(event)

    stop = (lambda: False) if brake is None else brake.pulled
    options = Options(workers=1, verify=Verify.CHECKSUM)
    real = made.model_copy(update={"source": pair.source, "target": pair.target, "options": options})
    return Moved(run=MigrationService().run(real, listener=hear, stop=stop), events=heard)


@pytest.mark.template(source=MIXED)
def test_a_run_carries_the_rows_of_the_period_and_no_others(db_pair: DatabasePair, state: str) -> None:
    made = plan("declared", since="2024-09-02", until="2024-09-03T06:00", timezone="Asia/Seoul")
    assert_done(moved(db_pair, made))
    counted = "SELECT count(*), min(at AT TIME ZONE 'UTC')::text, max(at AT TIME ZONE 'UTC')::text FROM public.declared"
    assert rows(db_pair.target, counted) == [(30, "2024-09-01 15:00:00", "2024-09-02 20:00:00")]
    assert_same_content(db_pair.source, db_pair.target, ["public.d2_1"])


@pytest.mark.template(source=FAULTY.script())
def test_plan_says_what_a_period_leaves_and_what_is_wrong_with_the_bounds(db_pair: DatabasePair, state: str) -> None:
    made = plan("point_history", since="2024-09-11", until="2024-09-12", timezone="Asia/Seoul")
    found = MigrationService().plan(made.model_copy(update={"source": db_pair.source, "target": db_pair.target}))
    said = [f.what for f in found.findings]
    counted = "of 11 partitions 1 are taken whole, 2 in part, 8 not at all"
    assert f"public.point_history: {counted} (Asia/Seoul; issued_date is milliseconds since 1970)" in said
    assert "public.point_history_240910: its CHECK was never validated: rows may break it" in said
    assert not any("240902" in s for s in said)  # which overlaps, but is not taken


@pytest.mark.template(source=FAULTY.script())
def test_a_period_that_was_stopped_goes_on_with_its_conditions(db_pair: DatabasePair, state: str) -> None:
    brake = Brake(2)
    made = plan("point_history", since="2024-09-02T12:00", until="2024-09-05", timezone="Asia/Seoul")
    with pytest.raises(StoppedError):
        moved(db_pair, made, brake)
    run_sql(db_pair.source, f"INSERT INTO point_history_240904 VALUES (77, {DAY_4}, 'late', true)")
    assert_done(resume())
    period = f"issued_date >= {NOON_2} AND issued_date < {DAY_4 + 86_400_000}"
    wanted = f"SELECT * FROM point_history WHERE {period} ORDER BY 1, 2"
    there = rows(db_pair.target, "SELECT * FROM point_history ORDER BY 1, 2")
    assert there == rows(db_pair.source, wanted)
    assert (77, DAY_4, "late", True) in there
