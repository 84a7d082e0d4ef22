"""A row as COPY's text: nothing is lost on the way to values and back, whatever it holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pghaul.model.copy_text import codec, decode, encode, escaped, undecoded
from pghaul.model.rejects import allowance

ANY_VALUE = (
    st.none()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(["", r"\N", "\\", "\t", "\n", "\r\n", "\\.", "\b\f\v", "한글\t서울", "a\\tb", "\0"])
)


@given(st.lists(ANY_VALUE, min_size=1).map(tuple))
def test_values_come_back_as_they_went(values: tuple[str | None, ...]) -> None:
    line = encode(values, "UTF8")
    assert b"\n" not in line
    assert line.count(b"\t") == len(values) - 1
    assert decode(line, "UTF8") == values


@given(st.binary().filter(lambda b: not set(b) & set(b"\n\t\r\\\b\f\v")))
def test_bytes_that_are_no_text_come_back_as_they_went(raw: bytes) -> None:
    assert encode(decode(raw, "UTF8"), "UTF8") == raw


@pytest.mark.parametrize(
    ("line", "encoding", "values"),
    [
        (b"1\t\\N\t\tx", "UTF8", ("1", None, "", "x")),
        (b"\\\\N\t\\\\t", "UTF8", (r"\N", r"\t")),
        (b"a\\tb\\nc\\\\", "UTF8", ("a\tb\nc\\",)),
        (b"\\101\\x42\\q", "UTF8", ("ABq",)),
        (b"\\355\\x95\\234", "UTF8", ("한",)),
        ("서울\t뷁".encode("cp949"), "UHC", ("서울", "뷁")),
        ("表\t1".encode("cp932"), "SJIS", ("表", "1")),  # its second byte is a backslash
        (b"\xc3\xa9", "MULE_INTERNAL", ("é",)),
        (b"\xe9", "LATIN1", ("é",)),
        (b"", "UTF8", ("",)),
    ],
)
def test_lines_of_servers_are_read(line: bytes, encoding: str, values: tuple[str | None, ...]) -> None:
    assert decode(line, encoding) == values


def test_bytes_that_do_not_decode_are_shown_and_told_from_text_that_looks_like_them() -> None:
    broken, plain = decode(b"a\xff\\\\xff\t\\\\xff", "UTF8")
    assert (undecoded(broken), undecoded(plain)) == (True, False)
    assert escaped(str(broken)) == r"a\xff\\xff"


@pytest.mark.parametrize(
    "name",
    [
        "BIG5",
        "EUC_CN",
        "EUC_JP",
        "EUC_KR",
        "GB18030",
        "GBK",
        "JOHAB",
        "KOI8R",
        "LATIN9",
        "WIN1252",
        "ISO_8859_5",
        "UHC",
    ],
)
def test_encodings_of_servers_have_a_codec_of_their_own(name: str) -> None:
    assert codec(name) != "utf-8"


@pytest.mark.parametrize(
    ("said", "rows", "allowed"),
    [(0, 10, 0), (7, 10, 7), ("0.1%", 999, 0), ("0.1%", 1000, 1), ("100%", 3, 3), ("0.07%", 10**17, 7 * 10**13)],
)
def test_a_share_is_counted_exactly(said: int | str, rows: int, allowed: int) -> None:
    assert allowance(said, rows) == allowed
