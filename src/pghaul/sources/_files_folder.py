"""Which files are which tables: a file is a table, and so is a folder of files that look alike."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pghaul.model.errors import NotFoundError, SourceError
from pghaul.model.text import say

SUFFIXES: Mapping[str, str] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".arrows": "arrow",
}
PACKED = (".gz", ".bz2", ".zst", ".lz4")  # of CSV


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTable:
    """One or more files with the same columns, in the order of their names."""

    name: str
    format: str  # csv, parquet or arrow
    files: tuple[Path, ...]

    @property
    def bytes(self) -> int:
        """On the disk."""
        return sum(f.stat().st_size for f in self.files)

    @property
    def where(self) -> str:
        """For errors."""
        return str(self.files[0] if len(self.files) == 1 else self.files[0].parent)


def format_of(path: Path) -> str | None:
    """By the ending of its name; None for what is no file of ours."""
    suffixes = path.suffixes
    if suffixes and suffixes[-1] in PACKED and len(suffixes) > 1 and SUFFIXES.get(suffixes[-2].lower()) == "csv":
        return "csv"
    return SUFFIXES.get(path.suffix.lower())


def tables(path: Path, said: str) -> dict[str, FileTable]:
    """Of a file: itself. Of a folder: each of its files, and each folder in it. `said`: a format."""
    if not path.exists():
        raise NotFoundError(say("there is no file or folder {path}", path=str(path)), code=5241)
    if path.is_file():
        kind = said or format_of(path)
        if kind is None:
            raise SourceError(
                say("what kind of file it is cannot be told from its name"),
                where=str(path),
                advice=say("say it: csv:///…, parquet:///… or arrow:///…"),
                code=6970,
            )
        return {_stem(path): FileTable(name=_stem(path), format=kind, files=(path,))}
    found: dict[str, FileTable] = {}
    for entry in sorted(path.iterdir()):
        if entry.name.startswith((".", "_")):
            continue
        table = _of_folder(entry, said) if entry.is_dir() else _of_file(entry, said)
        if table is None:
            continue
        if table.name in found:
            raise SourceError(
                say(
                    "two files would be the same table: {one}, {other}", one=found[table.name].where, other=table.where
                ),
                where=str(path),
                advice=say("rename one of them, or put both into a folder, which is one table"),
                code=6971,
            )
        found[table.name] = table
    return found


def _of_file(path: Path, said: str) -> FileTable | None:
    kind = format_of(path)
    if kind is None or (said and kind != said):
        return None
    return FileTable(name=_stem(path), format=kind, files=(path,))


def _of_folder(path: Path, said: str) -> FileTable | None:
    files = sorted(f for f in _below(path) if format_of(f) and (not said or format_of(f) == said))
    kinds = {format_of(f) for f in files}
    if not files:
        return None
    if len(kinds) > 1:
        raise SourceError(
            say("the files of a folder are one table, and these are of several kinds"), where=str(path), code=6972
        )
    return FileTable(name=path.name, format=str(kinds.pop()), files=tuple(files))


def _below(path: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(path):
        folders[:] = [f for f in folders if not f.startswith((".", "_"))]
        yield from (Path(folder) / f for f in files if not f.startswith((".", "_")))


def _stem(path: Path) -> str:
    packed = path.suffix in PACKED
    return Path(path.stem).stem if packed else path.stem


def fingerprint(found: Mapping[str, FileTable]) -> str:
    """Changes when a file is written to, comes or goes."""
    parts = []
    for table in found.values():
        for file in table.files:
            try:
                seen = file.stat()
            except FileNotFoundError:
                parts.append((str(file), 0, 0, 0))
                continue
            parts.append((str(file), seen.st_size, seen.st_mtime_ns, seen.st_ino))
    return hashlib.blake2b(repr(sorted(parts)).encode(), digest_size=16).hexdigest()
