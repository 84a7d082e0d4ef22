"""Writers that commit late: long, prepared, rolled back, in savepoints, with values taken early and used late."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

SCHEMA = """
CREATE SEQUENCE public.counter;
CREATE TABLE public.t (
    id bigserial PRIMARY KEY, at timestamptz NOT NULL, local timestamp NOT NULL, ver bigint NOT NULL, v int NOT NULL);
CREATE INDEX ON public.t (at);
CREATE INDEX ON public.t (ver);
INSERT INTO public.t (at, local, ver, v)
SELECT now(), now() AT TIME ZONE 'Asia/Seoul', nextval('public.counter'), i FROM generate_series(1, 40) AS i;
"""
VALUES = "now(), now() AT TIME ZONE 'Asia/Seoul', nextval('public.counter')"
INSERT = f"INSERT INTO public.t (at, local, ver, v) SELECT {VALUES}, i FROM generate_series(1, %s) AS i"
UPDATE = (
    f"UPDATE public.t SET (at, local, ver) = (SELECT {VALUES}), v = v + 1 "
    "WHERE id IN (SELECT id FROM public.t WHERE id %% 11 = %s ORDER BY id DESC LIMIT 2 FOR UPDATE SKIP LOCKED)"
)
EARLY = "INSERT INTO public.t (at, local, ver, v) VALUES (now(), now() AT TIME ZONE 'Asia/Seoul', %s, 0)"
_names = itertools.count(1)


class Writer(threading.Thread):
    """One connection that goes on until it is told to stop; what went wrong is in `failure`."""

    def __init__(self, url: str, seed: int, *, prepares: bool) -> None:
        super().__init__(name=f"writer-{seed}", daemon=True)
        self._url, self._random, self.stopping = url, random.Random(seed), threading.Event()
        self._prepares = prepares  # more of them would leave no moment without any, and nothing would move on
        self.failure: BaseException | None = None
        self.done: dict[str, int] = {}
        self._pending: list[str] = []

    def run(self) -> None:
        kinds: list[Callable[[psycopg.Connection], None]] = [
            _short, _short, self._long, self._early, _rolled_back, self._savepoints
        ] + [self._prepared] * (2 if self._prepares else 0)  # fmt: skip
        try:
            with psycopg.connect(self._url, autocommit=True, prepare_threshold=None) as connection:
                while not self.stopping.is_set():
                    kind = self._random.choice(kinds)
                    kind(connection)
                    name = getattr(kind, "__name__", "")
                    self.done[name] = self.done.get(name, 0) + 1
                    if self._random.random() < 0.4:
                        self._finish(connection)
                self._finish(connection)
        except BaseException as exc:
            self.failure = exc
            raise

    def _while(self, connection: psycopg.Connection) -> None:
        """Time goes by on the server, and others go on."""
        connection.execute("SELECT pg_sleep(%s)", [self._random.choice([0.01, 0.05, 0.4])])

    def _long(self, connection: psycopg.Connection) -> None:
        with connection.transaction():
            connection.execute("SELECT now()")
            self._while(connection)
            connection.execute(INSERT, [2])
            connection.execute(UPDATE, [self._random.randrange(11)])
            self._while(connection)

    def _early(self, connection: psycopg.Connection) -> None:
        """The number is taken long before it is written, without a transaction number."""
        with connection.transaction():
            row = connection.execute("SELECT nextval('public.counter')").fetchone()
            self._while(connection)
            connection.execute(EARLY, row)

    def _prepared(self, connection: psycopg.Connection) -> None:
        name = f"late-{next(_names)}"
        connection.execute("BEGIN")
        connection.execute(INSERT, [1])
        connection.execute(UPDATE, [self._random.randrange(11)])
        connection.execute(f"PREPARE TRANSACTION '{name}'")
        self._pending.append(name)

    def _finish(self, connection: psycopg.Connection) -> None:
        """Prepared transactions belong to nobody: meanwhile this session has done other things, or nothing."""
        while self._pending:
            end = self._random.choice(["COMMIT", "COMMIT", "ROLLBACK"])
            connection.execute(f"{end} PREPARED '{self._pending.pop()}'")

    def _savepoints(self, connection: psycopg.Connection) -> None:
        with connection.transaction() as outer:
            connection.execute(INSERT, [1])
            with connection.transaction() as inner:
                connection.execute(UPDATE, [self._random.randrange(11)])
                if self._random.random() < 0.5:
                    raise psycopg.Rollback(inner)
            self._while(connection)
            if self._random.random() < 0.2:
                raise psycopg.Rollback(outer)


def _short(connection: psycopg.Connection) -> None:
    connection.execute(INSERT, [1])


def _rolled_back(connection: psycopg.Connection) -> None:
    with connection.transaction() as transaction:
        connection.execute(INSERT, [3])
        raise psycopg.Rollback(transaction)


@contextmanager
def writing(url: str, count: int, seed: int) -> Iterator[list[Writer]]:
    """Writers at work; afterwards all of them have come to an end."""
    writers = [Writer(url, seed + n, prepares=n == 0) for n in range(count)]
    for writer in writers:
        writer.start()
    try:
        yield writers
    finally:
        for writer in writers:
            writer.stopping.set()
        for writer in writers:
            writer.join(60)
        failed = [w.failure for w in writers if w.failure is not None]
        if failed:
            raise failed[0]
