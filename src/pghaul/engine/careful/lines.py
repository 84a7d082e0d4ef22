"""Lines of COPY's text between a reader and a writer that may hand some of them back.

A line is a row: COPY's text writes a newline within a value as two other characters, in every encoding of a server.
Nothing here makes an object per row; a line is looked for when it is the one at fault.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NEWLINE = b"\n"
PIECE = 1 << 18  # bytes that are handed to a driver at once: what it has not sent yet, it holds a second time
NEAR = 4096  # bytes; within so few, lines are looked for one by one


@dataclass(frozen=True, slots=True)
class Span:
    """Whole lines of a buffer, each with its newline, at least one."""

    data: bytes
    start: int
    end: int

    @property
    def size(self) -> int:
        """In bytes."""
        return self.end - self.start

    @property
    def lines(self) -> int:
        """How many."""
        return self.data.count(NEWLINE, self.start, self.end)

    def pieces(self) -> Iterator[memoryview]:
        """The bytes, in portions, without a copy."""
        view = memoryview(self.data)
        for at in range(self.start, self.end, PIECE):
            yield view[at : min(self.end, at + PIECE)]

    def within(self, most: int) -> int:
        """Where the last line ends that is wholly among the first `most` bytes; the start where there is none."""
        if self.size <= most:
            return self.end
        return max(self.start, self.data.rfind(NEWLINE, self.start, self.start + most) + 1)

    def behind(self, lines: int) -> int:
        """Where so many lines end: found by halves, for counting is quicker than looking."""
        start, end = self.start, self.end
        while end - start > NEAR and lines:
            middle = (start + end) // 2
            before = self.data.count(NEWLINE, start, middle)
            if before >= lines:
                end = middle
            else:
                lines, start = lines - before, middle
        for _ in range(lines):
            start = self.data.index(NEWLINE, start) + 1
        return start

    def parted(self, at: int) -> tuple[list[Span], list[Span]]:
        """What is before that place, and what is behind it; either may be nothing."""
        before = [Span(self.data, self.start, at)] if at > self.start else []
        return before, [Span(self.data, at, self.end)] if at < self.end else []


def parted(spans: Sequence[Span], lines: int) -> tuple[list[Span], list[Span]]:
    """The first so many lines, and the others."""
    before: list[Span] = []
    for number, span in enumerate(spans):
        here = span.lines
        if here > lines:
            first, rest = span.parted(span.behind(lines))
            return before + first, [*rest, *spans[number + 1 :]]
        before.append(span)
        lines -= here
    return before, []


def count(spans: Sequence[Span]) -> int:
    """Lines in all of them."""
    return sum(s.lines for s in spans)


def size(spans: Sequence[Span]) -> int:
    """Bytes of all of them."""
    return sum(s.size for s in spans)


class Feed:
    """From one reader to one writer. At most `room` bytes are in hand, or one buffer that is larger.

    What the writer has taken counts until it says that it is done with it, for it may hand it back: in batches, and
    no batch reaches beyond its end.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._spans: deque[Span | None] = deque()  # None: the end of a batch
        self._waiting = 0  # bytes of them
        self._taken = 0
        self._rest: list[bytes] = []  # of a line whose end has not come yet
        self._crowded = False
        self._ended = False
        self._changed = asyncio.Event()

    async def put(self, data: bytes) -> None:
        """What has been read; waits for room, and with a row that is larger than all of it until that is done with."""
        if not (whole := self._whole(data)):
            return
        await self._until_there_is_room(len(whole))
        self._spans.append(Span(whole, 0, len(whole)))
        self._waiting += len(whole)
        self._changed.set()
        if len(whole) > self._room:
            await self._until_there_is_room(len(whole))

    async def _until_there_is_room(self, wanted: int) -> None:
        while self._waiting + self._taken and self._waiting + self._taken + wanted > self._room:
            self._crowded = True
            self._changed.set()
            await self._change()
        self._crowded = False

    def _whole(self, data: bytes) -> bytes:
        """Servers send row by row, so that hardly anything is ever left over."""
        end = data.rfind(NEWLINE) + 1
        if end == len(data) and not self._rest:
            return data
        whole = b"".join((*self._rest, data[:end])) if end else b""
        self._rest = [*([] if end else self._rest), *([data[end:]] if end < len(data) else [])]
        return whole

    def end(self) -> None:
        """Nothing more will come. ValueError for half a line."""
        if self._rest:
            raise ValueError("the stream ends in the middle of a line")
        self._ended = True
        self._changed.set()

    async def more(self) -> bool:
        """Is there something for another batch?"""
        while True:
            while self._spans and self._spans[0] is None:
                self._spans.popleft()
            if self._spans:
                return True
            if self._ended:
                return False
            await self._change()

    async def take(self, most: int, *, at_least_one: bool) -> Span | None:
        """The next lines of this batch, so many bytes at most; None where it ends, or should."""
        while not self._spans:
            if self._ended or (self._crowded and self._taken):  # the reader waits for us
                return None
            await self._change()
        span = self._spans[0]
        if span is None:
            return None
        at = span.within(most)
        if at == span.start:
            if not at_least_one:
                return None
            at = span.behind(1)
        self._spans.popleft()
        (first,), rest = span.parted(at)
        self._spans.extendleft(rest)
        self._waiting -= first.size
        self._taken += first.size
        return first

    def done(self) -> None:
        """Nothing of the batch is coming back."""
        self._taken = 0
        self._changed.set()

    def give_back(self, *batches: Sequence[Span]) -> None:
        """What was taken and not done with comes next again: batch by batch, the last with what follows it."""
        for number, batch in enumerate(reversed(batches)):
            if number:
                self._spans.appendleft(None)
            for span in reversed(batch):
                self._put_before(span)
            self._waiting += size(batch)
        self.done()

    def _put_before(self, span: Span) -> None:
        """What was one buffer becomes one span again: batches of many small ones would take more than they save."""
        first = self._spans[0] if self._spans else None
        if first is not None and first.data is span.data and first.start == span.end:
            self._spans[0] = Span(span.data, span.start, first.end)
        else:
            self._spans.appendleft(span)

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
