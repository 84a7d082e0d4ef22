"""A merge, mode by mode, along every path: current, assumed older versions, without a unique index. Same results."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.databases import DatabasePair

from pghaul.model.merging import MergeCounts, MergeDesign
from pghaul.model.plan import MergeMode
from pghaul.model.table import Name
from pghaul.postgres.dsn import resolve
from pghaul.postgres.session import Session, connect
from pghaul.target import merge, staging

TARGET = Name("public", "t")
STAGING = staging.name_for("0123456789ab", 1)


@pytest.fixture
def session(db_pair: DatabasePair) -> Iterator[Session]:
    with connect(resolve(db_pair.target), application_name="test", role="target") as opened:
        yield opened


def test_rows_are_inserted_updated_or_left_alone(session: Session) -> None:
    session.execute("CREATE TABLE public.t (id int4 PRIMARY KEY, v text)")
    session.execute("INSERT INTO public.t VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    staging.create(session, STAGING, staging.columns_of(session, TARGET, ["id", "v"]))
    session.execute("INSERT INTO pghaul.stage_0123456789ab_1 VALUES (1, 'a'), (2, 'new'), (4, '')")
    with session.transaction():
        counts = merge.merge(
            session,
            MergeDesign(target=TARGET, staging=STAGING, columns=("id", "v"), key=("id",), mode=MergeMode.UPSERT),
            3,
        )
    assert counts == MergeCounts(staged=3, inserted=1, updated=1, unchanged=1, before=2, after=3)
    assert session.rows("SELECT id, v FROM public.t ORDER BY id") == [(1, "a"), (2, "new"), (3, "c"), (4, "")]
    assert staging.sweep(session, None) == [STAGING]
