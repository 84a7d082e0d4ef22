"""Verifications in the state store: what goes in comes out, words with their templates, the latest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pghaul.model.errors import NotFoundError
from pghaul.model.table import Name
from pghaul.model.text import Text, say
from pghaul.model.verification import Difference, Method, RowDifference, TableVerdict, Verification
from pghaul.store.repository import Store

RUN = "0123456789ab"
NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)
DIFFERENT = RowDifference(
    kind=Difference.DIFFERENT, key=(("id", "1"),), columns=(("점", None, ""), ("v", "a b ", "a b")), times=(1, 1)
)
FOUND = Verification(
    id="aaaaaaaaaaaa",
    run=RUN,
    source="postgresql://me@a/b",
    target="postgresql://me@c/d",
    method=Method.CHECKSUM,
    started=NOW,
    finished=NOW + timedelta(seconds=1),
    tables=(
        TableVerdict(
            source=Name("public", "t"),
            target=Name("public", "u"),
            agrees=False,
            source_rows=2,
            target_rows=1,
            source_hash="-12345678901234567890",
            key=("id",),
            missing=1,
            different=1,
            rows=(DIFFERENT, RowDifference(kind=Difference.MISSING, key=(("id", None),), times=(1, 0))),
        ),
        TableVerdict(
            source=Name("public", "v"),
            target=Name("public", "v"),
            agrees=None,
            why=say("the target has no table {table}", table="public.v"),
        ),
    ),
    who="me@there",
)


@pytest.fixture
def store(state: str) -> Iterator[Store]:
    opened = Store(state)
    yield opened
    opened.close()


def test_what_goes_in_comes_out(store: Store) -> None:
    store.save_verification(FOUND)
    assert store.verification(FOUND.id) == FOUND
    assert store.verifications(RUN) == [FOUND]
    why = store.verification(FOUND.id).tables[1].why
    assert isinstance(why, Text)
    assert why.template == "the target has no table {table}"


def test_the_latest_comes_first_and_runs_are_told_apart(store: Store) -> None:
    later = replace(FOUND, id="bbbbbbbbbbbb", started=NOW + timedelta(hours=1), tables=FOUND.tables[:1])
    foreign = replace(FOUND, id="cccccccccccc", run=None, started=NOW - timedelta(hours=1))
    for one in (later, FOUND, foreign):
        store.save_verification(one)
    assert [v.id for v in store.verifications(RUN)] == [later.id, FOUND.id]
    assert [v.id for v in store.verifications()] == [later.id, FOUND.id, foreign.id]
    assert store.verifications("000000000000") == []


def test_the_same_id_is_replaced(store: Store) -> None:
    store.save_verification(FOUND)
    store.save_verification(replace(FOUND, tables=()))
    assert store.verification(FOUND.id).tables == ()


def test_one_that_is_not_there_is_named(store: Store) -> None:
    with pytest.raises(NotFoundError, match="no verification dddddddddddd"):
        store.verification("dddddddddddd")
