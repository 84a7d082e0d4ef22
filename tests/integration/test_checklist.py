"""`pghaul check`: each question of the runbook is answered rightly where all is well, and where it is not."""

from __future__ import annotations

import json

import psycopg
import pytest
from tests.databases import DatabasePair
from tests.looking import execute, state_of
from tests.moving import assert_done, move, plan_of

from pghaul.cli.app import run
from pghaul.model.checklist import Checklist, Item, Outcome, Phase
from pghaul.service.migration import MigrationService

SOURCE = """
    CREATE TABLE payment (id serial PRIMARY KEY, v text CHECK (v <> 'no'));
    INSERT INTO payment (v) SELECT 'x' FROM generate_series(1, 400) g;
    CREATE TABLE note (v text); INSERT INTO note VALUES ('a');
    ANALYZE
"""
TABLES = ("public.payment", "public.note")

pytestmark = pytest.mark.usefixtures("state")

Output = pytest.CaptureFixture[str]


def check(pair: DatabasePair, phase: Phase) -> Checklist:
    return MigrationService().check(plan_of(pair.source, pair.target, TABLES), phase)


def answer(found: Checklist, id_: str, side: str | None = None) -> Item:
    items = [i for i in found.items if i.id == id_ and side in {None, i.side}]
    assert len(items) == 1, items
    return items[0]


@pytest.mark.template(source=SOURCE)
def test_before_anything_was_done_nothing_has_to_be_mended_and_nothing_is_changed(db_pair: DatabasePair) -> None:
    before = state_of(db_pair.source), state_of(db_pair.target)
    found = check(db_pair, Phase.BEFORE)
    assert found.ok
    assert (state_of(db_pair.source), state_of(db_pair.target)) == before
    assert answer(found, "plan").outcome is Outcome.FINE
    assert answer(found, "rehearsal").outcome is Outcome.LOOK
    assert answer(found, "keys").outcome is Outcome.LOOK
    assert "public.note" in answer(found, "keys").found
    assert answer(found, "backup").outcome is Outcome.BY_HAND
    assert {i.side for i in found.items if i.id == "clock"} == {"source", "target"}


@pytest.mark.template(
    source=SOURCE, target="CREATE TABLE payment (id int, v text); INSERT INTO payment VALUES (1, 'old')"
)
def test_what_would_refuse_a_run_has_to_be_mended(db_pair: DatabasePair) -> None:
    found = check(db_pair, Phase.BEFORE)
    assert not found.ok
    assert answer(found, "plan").outcome is Outcome.BAD
    assert "payment" in answer(found, "plan").found


@pytest.mark.template(source=SOURCE)
def test_what_is_odd_on_the_source_is_named_before(db_pair: DatabasePair) -> None:
    execute(
        db_pair.source,
        "ALTER TABLE payment ADD CONSTRAINT late CHECK (id < 10) NOT VALID",
        "CREATE TABLE public.fresh AS SELECT g FROM generate_series(1, 10) g",
    )
    service = MigrationService()
    found = service.check(plan_of(db_pair.source, db_pair.target, (*TABLES, "public.fresh")), Phase.BEFORE)
    assert "payment.late" in answer(found, "not-valid", "source").found
    assert answer(found, "invalid-indexes").outcome is Outcome.FINE
    assert "public.fresh" in answer(found, "analysed").found


@pytest.mark.template(source=SOURCE)
def test_writers_and_prepared_transactions_are_seen_on_the_day(db_pair: DatabasePair) -> None:
    with psycopg.connect(db_pair.source, application_name="till 7") as busy:
        busy.execute("UPDATE payment SET v = 'y' WHERE id = 1")
        found = check(db_pair, Phase.DAY)
        busy.rollback()
    assert "till 7" in answer(found, "writers").found
    assert "till 7" in answer(found, "connected").found
    assert answer(found, "last-run").outcome is Outcome.LOOK
    assert found.ok


@pytest.mark.template(source=SOURCE)
def test_after_a_run_all_is_there_and_its_proof_is_asked_for(db_pair: DatabasePair) -> None:
    assert_done(move(plan_of(db_pair.source, db_pair.target, TABLES)))
    found = check(db_pair, Phase.AFTER)
    fine = {i.id for i in found.items if i.outcome is Outcome.FINE}
    assert {"tables", "sequences", "invalid-indexes", "not-valid", "triggers", "analysed", "writers"} <= fine
    assert answer(found, "proof").outcome is Outcome.LOOK
    # The tests' servers run with fsync = off, which is just what this question is for.
    assert answer(found, "settings").outcome is Outcome.BAD
    assert "fsync = off" in answer(found, "settings").found
    assert answer(check(db_pair, Phase.DAY), "last-run").outcome is Outcome.FINE
    assert answer(check(db_pair, Phase.BEFORE), "rehearsal").outcome is Outcome.FINE


@pytest.mark.template(source=SOURCE)
def test_what_a_load_leaves_behind_has_to_be_mended(db_pair: DatabasePair) -> None:
    execute(db_pair.source, "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
    execute(db_pair.source, "CREATE TRIGGER stamp BEFORE UPDATE ON payment FOR EACH ROW EXECUTE PROCEDURE f()")
    assert_done(move(plan_of(db_pair.source, db_pair.target, TABLES)))
    execute(
        db_pair.target,
        "SELECT setval('payment_id_seq', 7)",
        "ALTER TABLE payment ADD CONSTRAINT late CHECK (id < 10) NOT VALID",
        "ALTER TABLE payment DISABLE TRIGGER stamp",
        "DROP TABLE note",
    )
    found = check(db_pair, Phase.AFTER)
    named = {i.id: i.found for i in found.items if i.outcome is Outcome.BAD}
    assert "payment_id_seq" in named["sequences"]
    assert "payment.late" in answer(found, "not-valid").found
    assert "payment.stamp" in named["triggers"]
    assert "public.note" in named["tables"]


@pytest.mark.template(source=SOURCE)
def test_a_sequence_whose_next_number_is_taken_is_behind(db_pair: DatabasePair) -> None:
    assert_done(move(plan_of(db_pair.source, db_pair.target, TABLES)))
    execute(db_pair.target, "SELECT setval('payment_id_seq', 400, false)")
    assert answer(check(db_pair, Phase.AFTER), "sequences").outcome is Outcome.BAD
    execute(db_pair.target, "SELECT setval('payment_id_seq', 400, true)")
    assert answer(check(db_pair, Phase.AFTER), "sequences").outcome is Outcome.FINE


@pytest.mark.template(source=SOURCE)
def test_the_command_prints_the_list_and_its_exit_code_says_whether_to_mend(
    db_pair: DatabasePair, capsys: Output
) -> None:
    words = ["--from", db_pair.source, "--to", db_pair.target, "--table", "public.payment"]
    assert run(["check", *words]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("The week before: ")
    assert "a run of this plan would begin" in shown
    assert run(["check", *words, "--phase", "after", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is False
    assert {"id", "side", "outcome", "about", "found", "advice"} == set(said["items"][0])


@pytest.mark.template(source=SOURCE)
def test_old_servers_are_asked_in_their_own_words(db_pair: DatabasePair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHAUL_ASSUME_VERSION", "9.3")
    for phase in Phase:
        items = check(db_pair, phase).items
        assert [i.about for i in items if i.about.startswith("a look at")] == []


HISTORY = """
    CREATE TABLE history (path int8 NOT NULL, at int8 NOT NULL, PRIMARY KEY (path, at)) PARTITION BY RANGE (at);
    CREATE INDEX history_at ON history (at);
    DO $$ BEGIN FOR day IN 1..30 LOOP EXECUTE format(
        'CREATE TABLE history_%s PARTITION OF history FOR VALUES FROM (%s) TO (%s)',
        day, day, day + 1); END LOOP; END $$;
    INSERT INTO history SELECT g, 1 + g % 30 FROM generate_series(1, 300) g;
    ANALYZE
"""


@pytest.mark.template(source=HISTORY)
def test_a_history_without_any_sequence_has_none_that_is_behind(db_pair: DatabasePair) -> None:
    """Indexes hang on columns as sequences do; asked for the privileges of a sequence, they are an error."""
    assert_done(move(db_pair, "public.history"))
    with psycopg.connect(db_pair.target, autocommit=True) as connection:
        connection.execute("ANALYZE")
    found = MigrationService().check(plan_of(db_pair.source, db_pair.target, ["public.history"]), Phase.AFTER)
    assert answer(found, "sequences").outcome is Outcome.FINE
    assert "target-belongings" not in {i.id for i in found.items}
