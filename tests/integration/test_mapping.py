"""Placements on real servers: a part of the rows, some of the columns, another place; proven by content."""

from __future__ import annotations

from typing import Any

import pytest
from tests.databases import DatabasePair
from tests.looking import execute, state_of, value
from tests.moving import Moved, assert_done, resume, rows
from tests.stopping import Brake

from pghaul.model.errors import NotFoundError, PlanError, StoppedError
from pghaul.model.event import Event
from pghaul.model.plan import OnExisting, Options, Plan, Selection, Verify
from pghaul.service.migration import MigrationService

SOURCE = """
    CREATE TABLE point (id bigint PRIMARY KEY, at timestamptz, body text, weight float8);
    INSERT INTO point SELECT g, '2025-01-01'::timestamptz + g * interval '1 min', repeat('x', g % 90), g / 3.0
      FROM generate_series(1, 5000) g;
    CREATE TABLE other (id bigint, body text);
    INSERT INTO other SELECT g, 'o' || g FROM generate_series(1, 700) g;
"""
ELSEWHERE = """
    CREATE SCHEMA archive;
    CREATE TABLE archive.point (body text, id bigint);
    CREATE TABLE archive.other (id bigint, body text)
"""
WANTED = "SELECT id, body FROM public.point WHERE id % 7 = 3 ORDER BY id"

pytestmark = pytest.mark.template(source=SOURCE, target=ELSEWHERE)


def move(pair: DatabasePair, *selections: Selection, brake: Brake | None = None, **options: Any) -> Moved:
    chosen = Options(**({"workers": 1, "verify": Verify.CHECKSUM} | options))
    plan = Plan(source=pair.source, target=pair.target, tables=list(selections), options=chosen)
    heard: list[Event] = []

    def hear(event: Event) -> None:
        heard.append(event)
        if brake:
            brake.hear(event)

    stop = brake.pulled if brake else (lambda: False)
    return Moved(run=MigrationService().run(plan, listener=hear, stop=stop), events=heard)


ODD = Selection(name="point", where="id % 7 = 3 -- every week", columns=["id", "body"], into="archive.point")


@pytest.mark.parametrize("split", [1 << 30, 100_000], ids=["one leaf", "page ranges"])
def test_a_condition_some_columns_and_another_name(db_pair: DatabasePair, state: str, split: int) -> None:
    assert_done(moved := move(db_pair, ODD, split_bytes=split))
    assert rows(db_pair.target, WANTED.replace("public", "archive")) == rows(db_pair.source, WANTED)
    assert set(moved.proofs()) == {"archive.point"}


def test_it_is_resumed_under_its_new_name(db_pair: DatabasePair, state: str) -> None:
    """What is finished is compared with the same condition; what changed in it is copied again, the rest is not."""
    both = (ODD, Selection(name="other", into="archive.*"))
    with pytest.raises(StoppedError):
        move(db_pair, *both, brake=Brake(), split_bytes=100_000)
    execute(
        db_pair.source, "UPDATE point SET body = 'changed' WHERE id IN (3, 10, 11)", "DELETE FROM other WHERE id = 7"
    )
    assert_done(resume())
    assert rows(db_pair.target, WANTED.replace("public", "archive")) == rows(db_pair.source, WANTED)
    query = "SELECT * FROM {}.other ORDER BY id"
    assert rows(db_pair.target, query.format("archive")) == rows(db_pair.source, query.format("public"))


def test_locks_per_chunk_go_with_a_condition(db_pair: DatabasePair, state: str) -> None:
    assert_done(move(db_pair, ODD, locks="chunk"))
    assert value(db_pair.target, "SELECT count(*) FROM archive.point") == 714


def test_truncate_is_said_of_the_selection_whatever_the_name_becomes(db_pair: DatabasePair, state: str) -> None:
    execute(db_pair.target, "INSERT INTO archive.other VALUES (1, 'old')")
    both = Selection(name="other", into="archive.other", on_existing=OnExisting.TRUNCATE)
    assert_done(move(db_pair, both))
    assert value(db_pair.target, "SELECT count(*) FROM archive.other") == 700


@pytest.mark.parametrize(
    ("selection", "kind", "says"),
    [
        (
            Selection(name="point", where="nobody = 1", into="archive.point"),
            PlanError,
            'column "nobody" does not exist',
        ),
        (
            Selection(name="point", where="id = 1) OR (true", into="archive.point"),
            PlanError,
            "condition on public.point",
        ),
        (Selection(name="point", columns=["id", "size"], into="archive.point"), NotFoundError, "no column size"),
        (Selection(name="*", into="archive.point"), PlanError, "would both become archive.point"),
        (Selection(name="point", into="archive"), PlanError, "'archive' is no place for a table"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(
    db_pair: DatabasePair, state: str, selection: Selection, kind: type[Exception], says: str
) -> None:
    before = state_of(db_pair.target)
    with pytest.raises(kind, match=says):
        move(db_pair, selection)
    assert state_of(db_pair.target) == before
