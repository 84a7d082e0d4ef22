"""What every source that is not PostgreSQL can do, and how one is found: by the entry point of its engine's name.

A source is opened by `open(endpoint)` of its module. One Source object is used by one thread, but for cancel().
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pghaul.model.errors import SourceError, UsageError
from pghaul.model.foreign import ForeignDatabase, ForeignEndpoint, Guarantees, KeyRange, Reading
from pghaul.model.probe import ForeignFacts
from pghaul.model.table import Name
from pghaul.model.text import say

if TYPE_CHECKING:
    import pyarrow as pa

GROUP = "pghaul.sources"  # the entry points


class Batches(Protocol):
    """Record batches of one reading, in order; all of them have the same schema. Memory is bounded by the reading."""

    @property
    def schema(self) -> pa.Schema:
        """Known before the first batch."""
        ...

    def __iter__(self) -> Iterator[pa.RecordBatch]: ...

    def close(self) -> None:
        """End it, read to its end or not. Twice does no harm."""
        ...


class Source(Protocol):
    """An open source. Raises PghaulError only: TransientError where it may succeed if done again."""

    guarantees: Guarantees

    def database(self) -> ForeignDatabase:
        """Everything that it holds, described without reading the rows, or by a bounded look at them."""
        ...

    def bounds(self, table: Name, column: str, where: str | None = None) -> tuple[int, int] | None:
        """The smallest and the greatest value of an integer column; None where there is none."""
        ...

    def count(self, table: Name, where: str | None = None, range_: KeyRange | None = None) -> int:
        """The exact number of rows."""
        ...

    def read(self, reading: Reading) -> Batches:
        """Begin to read; an unknown table or column is an error now, not later."""
        ...

    def hold(self) -> str:
        """Begin what guarantees() promises, for as long as the source is open; what it returns goes to `join`."""
        ...

    def join(self, token: str) -> None:
        """See what the one who holds `token` sees, where the engine can; SnapshotLostError where it is gone."""
        ...

    def check(self) -> None:
        """Raise ShapeChangedError or SnapshotLostError where it is known that the source has changed since hold()."""
        ...

    def cancel(self) -> None:
        """End what is being read in another thread, within a second; its batches raise StoppedError."""
        ...

    def close(self) -> None:
        """Let everything go. Twice does no harm."""
        ...

    def __enter__(self) -> Source: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class Telling(Protocol):
    """What a source may have besides, for `pghaul profile test`. One that has not is asked for its description."""

    def facts(self) -> ForeignFacts:
        """What it is, as whom we are there, and what we may do; `distance` is left to `clock`."""
        ...

    def clock(self) -> float | None:
        """Its seconds since 1970, by one round trip; None where there is no server."""
        ...


class Engine(Protocol):
    """A module (or any object) that an entry point of the group `pghaul.sources` names.

    It may have two names more: `TAKES_PASSWORD = False`, and `sslmode(endpoint) -> str`, libpq's word for how well
    what goes to and fro is guarded there (`sslmode_of` asks).
    """

    SCHEMES: tuple[str, ...]  # of URLs, the engine's own name among them

    def endpoint(self, url: str, environ: Mapping[str, str], password: str | None) -> ForeignEndpoint:
        """Parse a URL; UsageError where it makes no sense. Needs no driver."""
        ...

    def open(self, endpoint: ForeignEndpoint) -> Source:
        """Connect. NotFoundError with the name of the extra to install where a driver is missing."""
        ...

    def types(self) -> tuple[tuple[str, str, str], ...]:
        """For `pghaul types`: native type as a person writes it, PostgreSQL's type, a remark (say() text)."""
        ...


def engine_of(scheme: str) -> Engine:
    """The engine whose URLs begin so. UsageError where there is none."""
    for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name):
        names = {entry.name, *ALSO.get(entry.name, ())}
        if scheme in names or (entry.name not in ALSO and scheme in _loaded(entry).SCHEMES):
            return _loaded(entry)
    raise UsageError(
        say("nothing is known of {scheme}://", scheme=scheme),
        advice=say("`pghaul doctor` lists the kinds of databases that can be read"),
        code=1040,
    )


def warm_up(scheme: str) -> None:
    """Import the engine; where its module has a function of this name, that gets ready whatever takes time.

    Called in a worker before it is known what is to be read, or whether anything is.
    """
    getattr(engine_of(scheme), "warm_up", lambda: None)()


def sslmode_of(endpoint: ForeignEndpoint) -> str | None:
    """What libpq would call its way; "" of what lies here as a file, None where its engine does not say."""
    if endpoint.get("path"):
        return ""
    asked: Callable[[ForeignEndpoint], str] | None = getattr(engine_of(endpoint.engine), "sslmode", None)
    return asked(endpoint) if asked else None


def _loaded(entry: EntryPoint) -> Engine:
    try:
        engine: Engine = entry.load()
    except ImportError as exc:
        raise SourceError(
            say("the module that reads {engine} cannot be loaded: {error}", engine=entry.name, error=str(exc)),
            where=entry.value,
            advice=say("install it anew, or uninstall the package that it is of"),
            code=6903,
        ) from exc
    return engine


# The schemes of our own engines, so that no other engine's module is imported to find one.
ALSO: Mapping[str, tuple[str, ...]] = {
    "files": ("csv", "parquet", "arrow"),
    "mysql": ("mariadb",),
    "oracle": (),
    "sqlite": (),
    "sqlserver": ("mssql",),
}
