"""Which files are which tables: a file is a table, and so is a folder of files that look alike."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pghaul.model.errors import AccessError, NotFoundError, PghaulError, SourceError
from pghaul.model.table import Unsupported
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
    trouble: PghaulError | None = None  # these files cannot be one table

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
    for entry in _entries(path):
        if entry.name.startswith((".", "_")):
            continue
        table = _of_folder(entry, said) if entry.is_dir() else _of_file(entry, said)
        if table is not None:
            same = found.get(table.name)
            found[table.name] = table if same is None else replace(same, trouble=_twice(same, table, path))
    return found


def _entries(path: Path) -> list[Path]:
    try:
        return sorted(path.iterdir())
    except OSError as exc:
        raise _closed(exc, path) from exc


def _twice(one: FileTable, other: FileTable, path: Path) -> SourceError:
    return SourceError(
        say("two files would be the same table: {one}, {other}", one=one.where, other=other.where),
        where=str(path),
        advice=say("rename one of them, or put both into a folder, which is one table"),
        code=6971,
    )


def left_out(path: Path, said: str) -> Iterator[Unsupported]:
    """Files of a folder that no table is made of, where not only one kind of them was asked for."""
    if said or not path.is_dir():
        return
    for entry in _entries(path):
        if entry.name.startswith("_"):
            yield Unsupported(kind="FILE", name=entry.name, why=say("what begins with _ is left out"))
        elif not entry.name.startswith(".") and entry.is_file() and format_of(entry) is None:
            yield Unsupported(
                kind="FILE", name=entry.name, why=say("its name does not end as that of a CSV, Parquet or Arrow file")
            )


def _of_file(path: Path, said: str) -> FileTable | None:
    kind = format_of(path)
    if kind is None or (said and kind != said):
        return None
    return FileTable(name=_stem(path), format=kind, files=(path,))


def _of_folder(path: Path, said: str) -> FileTable | None:
    try:
        files = sorted(f for f in _below(path) if format_of(f) and (not said or format_of(f) == said))
    except OSError as exc:
        return FileTable(name=path.name, format=said or "csv", files=(path,), trouble=_closed(exc, path))
    kinds = sorted({str(format_of(f)) for f in files})
    if not files:
        return None
    trouble = None
    if len(kinds) > 1:
        trouble = SourceError(
            say("the files of a folder are one table, and these are of several kinds"),
            where=str(path),
            advice=say("give each kind of files a folder of its own"),
            code=6972,
        )
    return FileTable(name=path.name, format=kinds[0], files=tuple(files), trouble=trouble)


def _closed(exc: OSError, path: Path) -> AccessError:
    return AccessError(
        say("the folder cannot be read: {why}", why=exc.strerror or str(exc)),
        where=exc.filename or str(path),
        advice=say("look at the rights of the folder"),
        code=5191,
    )


def _below(path: Path) -> Iterator[Path]:
    """Raises OSError: a folder that may not be looked into would be rows that are missing."""

    def failed(error: OSError) -> None:
        raise error

    for folder, folders, files in os.walk(path, onerror=failed):
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
