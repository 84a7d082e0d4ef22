"""Passwords that are meant to leak, and everything that is searched for them: output, files, processes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psutil

# Characters that URLs, service files, pass files, SQL, JSON and shells treat in ways of their own; and Hangul.
SECRET = "Zq7kv#비밀번호/Wx9pp@100%41:Lm4tt'Rt5;&?\"Vy6\\Nn8"
# Whatever is left of it in a text has leaked: a part that stands between two special characters, too.
PIECES = ("Zq7kv", "비밀번호", "Wx9pp", "Lm4tt", "Rt5;", "Vy6\\")
ENCODED = quote(SECRET, safe="")


# URLs and conninfo strings with a mistake: what a person types by night.
MALFORMED = {
    "not encoded": f"postgresql://keeper:{SECRET}@127.0.0.1:5432/db",
    "no host": f"postgresql://keeper:{ENCODED}",
    "no host, not encoded": f"postgresql://keeper:{SECRET}",
    "another scheme": f"mysql://keeper:{ENCODED}@h/db",
    "a space in the scheme": f"postgre sql://keeper:{ENCODED}@h/db",
    "no scheme": f"keeper:{SECRET}@h/db",
    "a wrong port": f"postgresql://keeper:{ENCODED}@h:port/db",
    "a wrong option": f"postgresql://keeper:{ENCODED}@h/db?sslmod=disable",
    "a wrong value": f"postgresql://keeper:{ENCODED}@h/db?sslmode=never",
    "a wrong percent": f"postgresql://keeper:%ZZ{ENCODED}@h/db",
    "in the query": f"postgresql://keeper@h/db?password={ENCODED}&nothing=1",
    "in the query, not encoded": f"postgresql://keeper@h/db?password={SECRET}",
    "a secret of the key": f"postgresql://keeper@h/db?sslpassword={ENCODED}",
    "words": f"host=h user=keeper nothing=1 password={SECRET}",
    "words without an equals sign": f"host=h user=keeper password={SECRET} db",
    "an open quote": f"host=h password='{SECRET}",
    "as the port": f"host=h port={SECRET}",
    "two ends": f"postgresql://keeper:{ENCODED}@h,i,j:1,2/db",
}

# Mistakes of ours, each of which shows a password: code that is loaded into every process of a run.
BUGS = {
    "in a worker": """
import pghaul.engine.worker as module
async def broken(job, hands):
    raise RuntimeError(f"a bug with {module._worker.config.source.password} and {module._worker.config!r}")
module.perform = module.perform_batch = broken
""",
    "at a worker's start": """
import pghaul.engine.worker as module
def broken(self, config, control):
    raise RuntimeError(f"a bug with {config.source.password}")
module.Worker.__init__ = broken
""",
    "in the runner": """
import pghaul.engine.runner as module
def broken(self):
    raise LookupError({"password": self._order.source.password, "url": f"postgresql://x:{self._order.source.password}@h"})
module.Runner._attempts = broken
""",
    "in a thread": """
import threading
import pghaul.engine.runner as module
attempts = module.Runner._attempts
def broken(self):
    def fail():
        raise LookupError(self._order.source.password)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    return attempts(self)
module.Runner._attempts = broken
""",
    "in a library that warns": """
import logging
import pghaul.engine.runner as module
attempts = module.Runner._attempts
def broken(self):
    logging.getLogger("some.library").error("cannot use %s", self._order.source.password)
    return attempts(self)
module.Runner._attempts = broken
""",
    "in the store": """
import pghaul.store.repository as module
def broken(self, *args):
    raise ValueError(f"cannot store {args}" + open("/proc/self/cmdline").read())
module.Store.create_run = broken
""",
}


def leaks(text: str | bytes) -> list[str]:
    """What of the password is in there, in any form."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    forms = [*PIECES, quote("비밀번호"), json.dumps("비밀번호")[1:-1], repr("비밀번호".encode())[2:-1]]
    return [f for f in forms if f.casefold() in text.casefold()]


def assert_tight(**texts: str | bytes) -> None:
    """None of these holds any of it; what does is shown without it."""
    for name, text in texts.items():
        found = leaks(text)
        shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        at = re.search("|".join(re.escape(f) for f in found), shown, re.IGNORECASE) if found else None
        around = shown[max(0, at.start() - 300) : at.end() + 100] if at else ""
        assert not found, f"{name} holds {found}: {around}"


@dataclass(kw_only=True)
class Place:
    """A user's home with everything that pghaul may leave there. Files named `given…` are what a user has written."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("home", "tmp", "work"):
            (self.folder / name).mkdir()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "XDG_"))}
        self.environ = kept | {
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "PGHAUL_STATE": f"sqlite:///{(self.folder / 'state.db').as_posix()}",
            "PGHAUL_LOG_DIR": str(self.folder / "log"),
            "PGHAUL_LOG_LEVEL": "debug",
            "PGHAUL_DEBUG": "1",
            "PGHAUL_LANG": "en",
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "PYTHONWARNINGS": "default",
        }

    def pghaul(self, *words: str, expect: int | None = None, **more: str) -> str:
        """Run it to its end, and search everything; what it said on both streams."""
        done = subprocess.run(
            [sys.executable, "-m", "pghaul", *words],
            capture_output=True,
            check=False,
            timeout=240,
            env=self.environ | more,
            cwd=self.folder / "work",
        )
        assert_tight(stdout=done.stdout, stderr=done.stderr)
        self.assert_tight()
        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        assert expect is None or done.returncode == expect, said
        return said

    def start(self, *words: str, **more: str) -> subprocess.Popen[bytes]:
        """Start it; its output goes to files of the folder."""
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            return subprocess.Popen(
                [sys.executable, "-m", "pghaul", *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self.environ | more,
                cwd=self.folder / "work",
            )

    def said(self) -> str:
        """What a started one has said so far."""
        return "".join((self.folder / n).read_text(encoding="utf-8", errors="replace") for n in ("out", "err"))

    def assert_tight(self, *, left: bool = False) -> None:
        """Nothing that it wrote holds the password, and nothing temporary is left, unless it was killed."""
        for path in self.folder.rglob("*"):
            if path.is_file() and not path.name.startswith("given"):
                assert_tight(**{str(path.relative_to(self.folder)): path.read_bytes()})
        temporary = [str(p) for p in (self.folder / "tmp").rglob("*")]
        assert left or temporary == []

    def runs(self) -> list[str]:
        """The ids of the runs, by their logs."""
        return [p.stem for p in (self.folder / "log").glob("*.jsonl") if re.fullmatch("[0-9a-f]{12}", p.stem)]


def given(place: Place, name: str, text: str | bytes, mode: int = 0o600) -> Path:
    """A file of the user's own."""
    path = place.folder / f"given-{name}"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


# Of a program that waits until it has been looked at: by itself it would be gone in the twinkling of an eye.
PATIENT = """#!/bin/sh
case "$*" in *--version*) exec {program} "$@";; esac
while [ ! -e {seen} ]; do sleep 0.05; done
exec {program} "$@"
"""


def patient_programs(place: Place, programs: Path) -> dict[str, str]:
    """The setting by which a process takes pg_dump and pg_restore that wait for a Sampler."""
    own = place.folder / "given-bin"
    own.mkdir()
    for name in ("pg_dump", "pg_restore"):
        (own / name).write_text(PATIENT.format(program=programs / name, seen=own / "seen"))
        (own / name).chmod(0o755)
    return {"PGHAUL_PG_BIN": str(own)}


class Sampler:
    """Looks at all children of a process while it lives: what `ps` and /proc show of them.

    Its programs wait until they have been seen, and with them one process of each of these names.
    """

    def __init__(self, process: subprocess.Popen[bytes], place: Place, *names: str) -> None:
        self._process = psutil.Process(process.pid)
        self._seen = place.folder / "given-bin" / "seen"
        self._names = ("pg_dump", *names)
        self.arguments: set[str] = set()
        self.environments: dict[str, Mapping[str, str]] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(0.005):
            for child in self._children():
                try:
                    line = " ".join(child.cmdline())
                    self.arguments.add(line)
                    self.environments.setdefault(line, child.environ())
                except (psutil.Error, OSError):
                    continue
            if all(any(name in line for line in self.arguments) for name in self._names):
                self._seen.touch()

    def _children(self) -> Iterable[psutil.Process]:
        try:
            return self._process.children(recursive=True)
        except psutil.Error:
            return ()

    def programs(self) -> Iterator[Mapping[str, str]]:
        """The environments of pg_dump and pg_restore."""
        return (env for line, env in self.environments.items() if "pg_dump" in line or "pg_restore" in line)
