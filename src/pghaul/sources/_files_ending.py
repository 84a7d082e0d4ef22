"""Does a CSV end where a row ends? A quote that nobody closes takes all rows behind it into one value, without a word.

A last row of ours, with another number of values than the others have, stands behind the file: who reads rows meets it
and leaves it out; within a value that was never closed nobody does.
"""

from __future__ import annotations

import io
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pghaul.model.errors import SourceError
from pghaul.model.text import say

if TYPE_CHECKING:
    import pyarrow as pa


class Ending:
    """Of one file, read once. `delimiter`: of a file with one column, whose rows can only have too many values."""

    def __init__(self, path: Path, delimiter: str, encoding: str) -> None:
        self._path = path
        word = f"pghaul-{secrets.token_hex(8)}"
        self._row = word + delimiter + word if delimiter else word
        self._known = "\n".encode(encoding) == b"\n"  # of UTF-16 the file alone says in which order its bytes are
        self._met = not self._known

    def behind(self, stream: pa.NativeFile) -> pa.NativeFile:
        """The file, and the row."""
        import pyarrow as pa  # noqa: PLC0415

        if not self._known:
            return stream
        return pa.PythonFile(_Followed(stream, f"\n{self._row}\n".encode()), mode="r")

    def met(self, row: Any) -> str:
        """What becomes of a row with another number of values: pyarrow asks."""
        if row.text != self._row:
            return "error"
        self._met = True
        return "skip"

    def check(self) -> None:
        """All is read. Raises SourceError where the last row was not met."""
        if not self._met:
            raise SourceError(
                say("the file ends within a value: a quote is opened and never closed"),
                where=str(self._path),
                advice=say("close it, or say another quote: files:///folder?quote=…"),
                code=6979,
            )


def ended(stream: pa.NativeFile, encoding: str) -> pa.NativeFile:
    """The file, its last line as one with an end: names alone, without it, would be no line."""
    import pyarrow as pa  # noqa: PLC0415

    if "\n".encode(encoding) != b"\n":
        return stream
    return pa.PythonFile(_Followed(stream, b"\n"), mode="r")


class _Followed(io.RawIOBase):
    """A stream with something behind it."""

    def __init__(self, stream: pa.NativeFile, last: bytes) -> None:
        super().__init__()
        self._stream = stream
        self._last = last

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        found: bytes = self._stream.read(size if size >= 0 else None)
        while (left := size - len(found)) > 0:  # the first block has to hold a whole line
            more = self._stream.read(left)
            if not more:
                more, self._last = self._last[:left], self._last[left:]
            if not more:
                break
            found += more
        if size < 0:
            found, self._last = found + self._last, b""
        return found

    def close(self) -> None:
        self._stream.close()
        super().close()
