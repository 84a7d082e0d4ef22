"""Lines between a reader and a writer, what servers say of them, and rows taken out of array literals."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pghaul.engine.careful import literal
from pghaul.engine.careful.lines import Feed, Span, count, parted, size
from pghaul.engine.careful.refusal import Refusal, column_of, line_of, refused
from pghaul.model import copy_text

LINE = st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"-") + b"\n")


def span(data: bytes) -> Span:
    return Span(data, 0, len(data))


def text(spans: list[Span]) -> bytes:
    return b"".join(s.data[s.start : s.end] for s in spans)


@given(st.lists(LINE, min_size=1, max_size=40), st.data())
def test_any_line_is_found_and_nothing_is_lost_around_it(lines: list[bytes], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(lines)))
    number = data.draw(st.integers(0, len(lines)))
    spans = [span(b"".join(part)) for part in (lines[:cut], lines[cut:]) if part]
    before, rest = parted(spans, number)
    assert (text(before), text(rest)) == (b"".join(lines[:number]), b"".join(lines[number:]))
    assert count(before) == number


def test_a_line_is_found_in_a_large_buffer_by_halves() -> None:
    whole = span(b"".join(b"%d\n" % i for i in range(100_000)))
    before, rest = parted([whole], 77_777)
    line, _ = parted(rest, 1)
    assert (count(before), text(line)) == (77_777, b"77777\n")


@given(st.lists(LINE, min_size=1, max_size=30), st.integers(1, 25), st.integers(1, 200), st.integers(1, 100))
def test_a_feed_gives_every_line_once_in_order_however_it_is_cut_and_handed_back(
    lines: list[bytes], pieces: int, room: int, most: int
) -> None:
    """Buffers are cut anywhere; every batch of more than one line comes back in two halves."""
    data = b"".join(lines)
    taken: list[bytes] = []

    async def write(feed: Feed) -> None:
        while await feed.more():
            held: list[Span] = []
            left = most
            while left > 0 and (got := await feed.take(left, at_least_one=not held)) is not None:
                held.append(got)
                left -= got.size
            if (n := count(held)) > 1:
                feed.give_back(*parted(held, n // 2))
            else:
                taken.append(text(held))
                feed.done()

    async def run() -> None:
        feed = Feed(room)
        writer = asyncio.ensure_future(write(feed))
        for at in range(0, len(data), pieces):
            await feed.put(data[at : at + pieces])
        feed.end()
        await asyncio.wait_for(writer, 5)

    asyncio.run(run())
    assert taken == lines


def test_a_feed_holds_no_more_than_its_room_or_one_buffer() -> None:
    async def run() -> list[int]:
        feed, put = Feed(100), []

        async def read() -> None:
            for length in (60, 60, 500, 10):
                await feed.put(b"x" * (length - 1) + b"\n")
                put.append(length)

        reader = asyncio.ensure_future(read())
        seen = []
        while len(put) < 4 or await feed.more():
            await asyncio.sleep(0)
            seen.append(sum(put))
            if await feed.more():
                held = []
                while (got := await feed.take(1 << 20, at_least_one=not held)) is not None:
                    held.append(got)
                    if len(put) == 4:
                        break
                assert size(held) <= 500
                feed.done()
            if len(put) == 4:
                feed.end()
        await reader
        return seen

    seen = asyncio.run(run())
    assert seen[0] == 60


def error(context: str | None, column: str | None = None) -> asyncpg.PostgresError:
    fields = {"C": "22P02", "M": "no", "W": context, "c": column}
    return asyncpg.exceptions.PostgresError.new({k: v for k, v in fields.items() if v})


@pytest.mark.parametrize(
    ("context", "line", "column"),
    [
        ('COPY t 5, line 37, column a: "x"', 37, "a"),
        ('COPY t 5, line 2: "COPY t 5, line 9"', 2, None),
        ("COPY t 5, Zeile 37, Spalte a b: »x«", 37, "a b"),
        ('COPY t 5, 37번째 줄, a b 열: "x"', 37, "a b"),
        ('COPY t 5, 行 37, 列 a："x"', 37, "a"),
        ('COPY t 5, строка 37, столбец a: "a b"', 37, "a"),
        ("COPY t 5、行 4", 4, None),
        ('PL/pgSQL function f() line 3 at RAISE\nCOPY t 5, line 7: "1"', 7, None),
        ("PL/pgSQL function f() line 3 at RAISE", None, None),
        ("COPY other, line 3", None, None),
        (None, None, None),
    ],
)
def test_line_and_column_are_read_whatever_the_language(
    context: str | None, line: int | None, column: str | None
) -> None:
    exc = error(context)
    assert line_of(exc, "t 5") == line
    assert column_of(exc, "t 5", ["a", "b", "a b", "line"]) == column


def test_a_column_that_the_server_names_by_itself_wins() -> None:
    refusal = Refusal.of(b"1", 1, error("COPY t, line 1", "v"), "t", ["a"])
    assert (refusal.column, refusal.sqlstate, refusal.message) == ("v", "22P02", "no")


@pytest.mark.parametrize(
    ("state", "is_refusal"),
    [("22021", True), ("23505", True), ("54000", True), ("P0001", True), ("22P04", False), ("21000", False),
     ("42501", False), ("40001", False), ("53100", False), ("XX000", False)],
)  # fmt: skip
def test_only_what_is_about_single_rows_is_a_refusal(state: str, is_refusal: bool) -> None:
    assert refused(asyncpg.exceptions.PostgresError.new({"C": state, "M": "no"})) is is_refusal


@given(st.lists(st.one_of(st.none(), st.binary(max_size=20)), min_size=1, max_size=20))
def test_texts_survive_an_array_literal_and_a_line(texts: list[bytes | None]) -> None:
    assert literal.elements(literal.literal(texts)) == texts
    kept = copy_text.decode(literal.line(texts), "SQL_ASCII")
    assert [v if v is None else v.encode("utf-8", "surrogateescape") for v in kept] == texts


def test_a_server_s_own_literals_are_read() -> None:
    assert literal.elements(b'{a,"b c",NULL,"NULL","","x\\"y\\\\z","{1,2}"}') == [
        b"a", b"b c", None, b"NULL", b"", b'x"y\\z', b"{1,2}",
    ]  # fmt: skip
