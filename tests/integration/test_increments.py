"""How far increments may go: open, prepared and hidden transactions, and values that no order places."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.databases import DatabasePair
from tests.moving import run_sql
from tests.reading import Follower, everything, session_at

from pghaul.model.plan import Merge
from pghaul.postgres.session import Session

ROWS = """
CREATE TABLE public.t (id serial PRIMARY KEY, at timestamptz DEFAULT now(), v text);
CREATE INDEX ON public.t (at);
INSERT INTO public.t (at, v) SELECT now() - i * interval '1 minute', i::text FROM generate_series(1, 50) AS i;
"""


@pytest.fixture
def source(db_pair: DatabasePair) -> Iterator[Session]:
    with session_at(db_pair.source) as session:
        yield session


@pytest.mark.template(source=ROWS)
@pytest.mark.parametrize("watermark", ["at", "id", "xmin"])
def test_the_first_reading_is_of_all_rows_and_the_next_of_new_ones(
    db_pair: DatabasePair, source: Session, watermark: str
) -> None:
    follower = Follower(session=source, table="t", merge=Merge(watermark=watermark))
    assert len(follower.step()) == 50
    run_sql(db_pair.source, "INSERT INTO public.t (v) VALUES ('new')")
    assert "new" in {row[2] for row in follower.step()}
    assert follower.read < 60
    assert follower.rows == everything(db_pair.source, "public.t")
