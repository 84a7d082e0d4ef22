"""What sources share: the SQL of a reading, batches that are made ahead and put together, URLs of servers."""

from __future__ import annotations

import threading

import pytest

from pghaul.model.errors import NotFoundError, ShapeChangedError, SourceError, StoppedError, UsageError
from pghaul.model.foreign import KeyRange, ReadColumn, Reading
from pghaul.model.table import Name
from pghaul.sources.gathering import first_failing, gathered
from pghaul.sources.reading_ahead import Ahead
from pghaul.sources.reading_sql import check_names, where_clause
from pghaul.sources.server_url import server_url

pa = pytest.importorskip("pyarrow")


def quoted(name: str) -> str:
    return f"<{name}>"


def part(low: int | None, high: int | None) -> KeyRange:
    return KeyRange(column="k", low=low, high=high)


def batch(*values: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"n": list(values)})


@pytest.mark.parametrize(
    ("where", "range_", "said"),
    [
        (None, None, ""),
        (None, part(None, None), ""),
        ("a > 1 -- mine", None, " WHERE (\na > 1 -- mine\n)"),
        (None, part(None, 5), " WHERE (<k> < 5 OR <k> IS NULL)"),
        (None, part(5, 9), " WHERE <k> >= 5 AND <k> < 9"),
        ("a", part(9, None), " WHERE (\na\n) AND <k> >= 9"),
    ],
)
def test_a_condition_and_a_range_have_each_row_in_one_part(
    where: str | None, range_: KeyRange | None, said: str
) -> None:
    assert where_clause(where, range_, quoted) == said


def test_names_that_a_table_no_longer_has_are_told_in_order() -> None:
    columns = tuple(ReadColumn(name=n, native="int", pg_type="integer") for n in ("z", "b", "a"))
    reading = Reading(table=Name("", "t"), columns=columns, range=part(1, 2))
    with pytest.raises(ShapeChangedError, match=r"t has no column b, k(,| and) z"):
        check_names(reading, ["a"], "here")
    with pytest.raises(NotFoundError, match="no table t"):
        check_names(reading, [], "here")
    check_names(reading, ["a", "b", "k", "z"], "here")


def test_pieces_become_batches_of_so_many_rows_and_a_larger_one_stays_whole() -> None:
    made = list(gathered([batch(1), batch(2), batch(3, 4, 5, 6), batch(7)], rows=2, size=1 << 20))
    assert [b.num_rows for b in made] == [2, 4, 1]
    assert [v for b in made for v in b.column(0).to_pylist()] == [1, 2, 3, 4, 5, 6, 7]
    assert [b.num_rows for b in gathered([batch(1), batch(2)], rows=9, size=8)] == [1, 1]


def test_the_first_value_that_fails_is_found_in_halves() -> None:
    values = [1, 2, 3, -1, 5, -2]
    assert first_failing(values, lambda part: any(v < 0 for v in part)) == [-1]


def test_who_is_stopped_waits_for_nothing_and_nobody_gives_any_more() -> None:
    ahead = Ahead("here", 1)
    assert ahead.give(batch(1))
    rows = iter(ahead)
    assert next(rows).num_rows == 1
    stopping = threading.Timer(0.05, ahead.stop)
    stopping.start()
    with pytest.raises(StoppedError):
        next(rows)
    stopping.join()
    assert not ahead.give(batch(2))


def test_the_last_item_ends_it_or_is_raised() -> None:
    ahead = Ahead("here", 3)
    for item in (batch(1), batch(2), None):
        assert ahead.give(item)
    assert [b.num_rows for b in ahead] == [1, 1]
    ahead.give(SourceError("broken", code=6947))
    with pytest.raises(SourceError, match="broken"):
        list(ahead)


def unreadable() -> UsageError:
    return UsageError("unreadable", code=1054)


def unknown(key: str, value: str) -> UsageError:
    return UsageError(f"{key} {value}", code=1055)


def test_a_server_s_url_is_taken_apart() -> None:
    options = {"schema": (), "mode": ("a", "b"), "timeout": ()}
    said = server_url("x://me:p%40ss@host:7/d%20b?SCHEMA=s&timeout=3", options, unreadable, unknown)
    assert (said.host, said.port, said.user, said.database) == ("host", 7, "me", "d b")
    assert said.options == {"schema": "s", "timeout": "3"}
    kept = said.endpoint("x", {"host": "host", "port": ""}, given=None, last="late")
    assert (kept.params, kept.password) == ((("host", "host"),), "p@ss")
    assert said.endpoint("x", {}, given="", last=None).password == ""
    for url, words in (("x://h:99999/d", "unreadable"), ("x://h/?mode=c", "mode c"), ("x://h/?timeout=x", "timeout x")):
        with pytest.raises(UsageError, match=words):
            server_url(url, options, unreadable, unknown)
