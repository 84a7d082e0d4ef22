"""A result of MySQL cut into pieces: nothing lost, nothing twice, numbered as results are, however it comes."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymysql._auth import scramble_native_password

from pghaul.sources import _mysql_cutting as cutting
from pghaul.sources._mysql_cutting import Piece, Rows
from pghaul.sources._mysql_packets import Frames, eof, greeting, is_welcome, one_value, packet, refusal

FIRST = 5


def stream(rows: list[bytes], end: bytes, longest: int) -> bytes:
    """As a server sends it: packets are numbered on, long rows go on in further ones."""
    out, number = b"", FIRST
    for row in rows:
        rest = row
        while True:
            part, rest = rest[:longest], rest[longest:]
            out += packet(part, number)
            number += 1
            if len(part) < longest:
                break
    return out + packet(end, number)


def receiver(data: bytes, sizes: list[int]) -> Callable[[memoryview], int]:
    """That gives it in portions."""
    left = bytearray(data)
    turns = iter(sizes)

    def receive(view: memoryview) -> int:
        taken = min(len(view), next(turns, 1 << 20), len(left))
        view[:taken] = left[:taken]
        del left[:taken]
        return taken

    return receive


def payloads(data: bytes, longest: int) -> tuple[list[bytes], list[int]]:
    """The rows in what was handed on, and the numbers of its packets."""
    rows, numbers, at, whole = [], [], 0, b""
    while at < len(data):
        size = int.from_bytes(data[at : at + 3], "little")
        numbers.append(data[at + 3])
        whole += data[at + 4 : at + 4 + size]
        at += 4 + size
        if size < longest:
            rows.append(whole)
            whole = b""
    assert whole == b""
    return rows, numbers


ROW = st.binary(max_size=40).map(lambda b: b"\0" + b)


@given(
    rows=st.lists(ROW, max_size=600),
    sizes=st.lists(st.integers(1, 200), max_size=40),
    most_rows=st.sampled_from([1, 2, 7, 256]),
    most_bytes=st.sampled_from([1, 50, 1000, 1 << 20]),
    longest=st.sampled_from([16, 0xFFFFFF]),
)
def test_pieces_are_the_whole(
    rows: list[bytes], sizes: list[int], most_rows: int, most_bytes: int, longest: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "LONGEST", longest)
        patch.setattr(cutting, "CHUNK", 64)
        end = eof(0)[4:]
        found = Rows(receiver(stream(rows, end, longest), sizes), b"", FIRST)
        arrived: list[bytes] = []
        made = Piece(full=True)
        while not made.last:
            if not made.full:
                found.restart()
            made = Piece()
            handed = b"".join(bytes(view) for view in found.piece(most_rows, most_bytes, made))
            piece, numbers = payloads(handed, longest)
            assert len(piece) == made.rows <= most_rows
            assert len(handed) == made.size
            assert made.size - len(piece[-1] if piece else b"") < most_bytes + 4 * max(len(numbers), 1)
            if numbers:
                follow = [n & 0xFF for n in range(numbers[0], numbers[0] + len(numbers))]
                assert numbers == follow
                assert found.following == (numbers[-1] + 1) & 0xFF
            arrived += piece
        assert arrived == rows
        assert made.refused is None


def test_a_piece_behind_a_short_one_is_numbered_from_the_beginning() -> None:
    rows = [b"\0" + bytes(30)] * 5
    found = Rows(receiver(stream(rows, eof(0)[4:], 0xFFFFFF), []), b"", FIRST)
    first, second = Piece(), Piece()
    list(found.piece(256, 40, first))
    assert (first.rows, first.full, first.last) == (2, False, False)
    found.restart()
    (view,) = [bytes(v) for v in found.piece(256, 40, second)]
    assert view[3] == FIRST


def test_a_server_that_refuses_or_goes_ends_the_last_piece() -> None:
    error = struct.pack("<BH", 0xFF, 1317) + b"#70100Query execution was interrupted"
    refused = Piece()
    found = Rows(receiver(stream([b"\0a"], error, 0xFFFFFF), []), b"", FIRST)
    assert [bytes(v)[5:] for v in found.piece(256, 1000, refused)] == [b"a"]
    assert refused.last
    assert refused.refused == refusal(error)
    assert refused.refused is not None
    assert (refused.refused.number, refused.refused.message) == (1317, "Query execution was interrupted")
    gone = Rows(receiver(packet(b"\0a", FIRST), []), b"", FIRST)
    with pytest.raises(EOFError):
        list(gone.piece(256, 1000, Piece()))


def test_who_does_not_know_the_password_is_not_welcome() -> None:
    salt = b"abcdefghijklmnopqrst"
    response = scramble_native_password(b"word", salt)
    assert is_welcome(b"before" + response + b"behind", b"word", salt)
    assert not is_welcome(response, b"words", salt)
    assert salt[:8] in greeting(salt)


def test_frames_put_packets_together() -> None:
    data = one_value(b"name", b"value")
    parts = [data[i : i + 3] for i in range(0, len(data), 3)]
    frames = Frames(lambda _: parts.pop(0) if parts else b"")
    taken = [frames.take() for _ in range(5)]
    assert [n for n, _ in taken] == [1, 2, 3, 4, 5]
    assert taken[3][1] == b"\x05value"
    with pytest.raises(EOFError):
        frames.take()
