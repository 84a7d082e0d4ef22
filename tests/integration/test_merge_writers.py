"""Others insert, update and delete the very keys that are merged. Nothing fails, nothing is lost, and every count is
exact: a trigger of the target keeps a list of what each transaction did to how many rows.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import psycopg
import pytest
from tests.faults.program import wait_until
from tests.merging import sessions

from pghaul.model.merging import MergeCounts, MergeDesign
from pghaul.model.plan import MergeMode
from pghaul.model.table import Name
from pghaul.postgres.session import Session
from pghaul.service.embedded import Cluster
from pghaul.target import merge, staging

TARGET, STAGING = Name("public", "t"), staging.name_for("0123456789ab", 1)
KEYS, MERGES = 40, 12
LOG = """
CREATE TABLE public.log (tx int8, op text);
CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.log VALUES (pg_catalog.txid_current(), TG_OP); RETURN NULL; END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON public.t FOR EACH ROW EXECUTE PROCEDURE public.note();
"""
SHAPES = {
    "one statement": ("CREATE TABLE public.t (a int4, b text, v text, PRIMARY KEY (a, b));", False),
    "unique index": ("CREATE TABLE public.t (a int4, b text, v text, PRIMARY KEY (a, b));", False),
    "no unique index": ("CREATE TABLE public.t (a int4, b text, v text);", True),
    "partitioned": (
        "CREATE TABLE public.t (a int4, b text, v text, PRIMARY KEY (a, b)) PARTITION BY LIST (a);"
        "CREATE TABLE public.t0 (v text, a int4 NOT NULL, b text NOT NULL); ALTER TABLE public.t ATTACH PARTITION "
        "public.t0 FOR VALUES IN (0); CREATE TABLE public.t1 PARTITION OF public.t DEFAULT;",
        False,
    ),
}
WRITES = (
    "INSERT INTO public.t SELECT {a}, '{b}', '{v}' WHERE NOT EXISTS (SELECT FROM public.t WHERE a = {a} AND b = '{b}')",
    "UPDATE public.t SET v = '{v}' WHERE a = {a} AND b = '{b}'",
    "UPDATE public.t SET v = 'same' WHERE a = {a} AND b = '{b}'",
    "DELETE FROM public.t WHERE a = {a} AND b = '{b}'",
)


@contextmanager
def writers(url: str, count: int) -> Iterator[list[int]]:
    """Each writes one row at a time; how many rows they have written."""
    over, written = threading.Event(), [0] * count

    def write(number: int) -> None:
        random = Random(number)
        with psycopg.connect(url, autocommit=True) as connection:
            while not over.is_set():
                n = random.randrange(KEYS)
                words = random.choice(WRITES).format(a=n % 3, b=n, v=f"w{number} {random.random()}")
                try:
                    written[number] += connection.execute(words.encode()).rowcount
                except psycopg.errors.UniqueViolation:
                    continue  # the other writer, or the merge, was faster

    threads = [threading.Thread(target=write, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield written
    finally:
        over.set()
        for thread in threads:
            thread.join()


def staged(random: Random, number: int) -> list[tuple[int, str, str]]:
    """Most rows carry what nobody else writes; some may be there alike."""
    chosen = random.sample(range(KEYS), random.randrange(1, KEYS))
    return [(n % 3, str(n), "same" if random.random() < 0.2 else f"m{number}") for n in chosen]


def one_merge(session: Session, mode: MergeMode, rows: list[tuple[int, str, str]]) -> tuple[MergeCounts, int]:
    """With the number of its transaction. Before it commits, all that it had to write is there."""
    staging.create(session, STAGING, staging.columns_of(session, TARGET, ["a", "b", "v"]))
    listed = ", ".join(f"({a}, '{b}', '{v}')" for a, b, v in rows)
    session.execute(f"INSERT INTO pghaul.stage_0123456789ab_1 VALUES {listed}")
    design = MergeDesign(
        target=TARGET, staging=STAGING, columns=("a", "b", "v"), key=("a", "b"), mode=mode, verify=True
    )
    with session.transaction():
        transaction = int(session.value("SELECT pg_catalog.txid_current()"))
        counts = merge.merge(session, design, len(rows))
        if mode in {MergeMode.UPSERT, MergeMode.FULL_SYNC}:
            own = [v for _, _, v in rows if v != "same"]
            assert session.value("SELECT count(*) FROM public.t WHERE v = ANY (%s)", (own,)) == len(own)
    return counts, transaction


def logged_by(session: Session, transaction: int) -> dict[str, int]:
    return dict(session.rows("SELECT op, count(*) FROM public.log WHERE tx = %s GROUP BY 1", (transaction,)))


@pytest.mark.since(12)
@pytest.mark.parametrize("shape", SHAPES)
def test_other_writers_are_met_and_nothing_is_lost(shape: str, pg18: Cluster) -> None:
    script, locked = SHAPES[shape]
    modes = [MergeMode.UPSERT, MergeMode.FULL_SYNC, MergeMode.INSERT_ONLY, MergeMode.UPDATE_ONLY]
    random, done = Random(shape), []
    with sessions(pg18) as (session,):
        logged = shape != "one statement"  # for which a table must have no triggers
        session.execute(script + (LOG if logged else ""))
        with writers(pg18.url(session.server.database), 1 if locked else 3) as written:
            assert wait_until(lambda: min(written) > 0)
            for number in range(MERGES):
                rows = staged(random, number)
                done.append(one_merge(session, modes[number % 4] if logged else MergeMode.UPSERT, rows))
        for counts, transaction in done:
            told = {"INSERT": counts.inserted, "UPDATE": counts.updated, "DELETE": counts.deleted}
            assert not logged or {op: n for op, n in told.items() if n} == logged_by(session, transaction)
            assert counts.settled
            assert counts.differing == 0
        if not locked:
            assert session.value("SELECT count(*) - count(DISTINCT (a, b)) FROM public.t") == 0
        everything = [(n % 3, str(n), f"end {n}") for n in range(KEYS)]
        if not locked:
            counts, _ = one_merge(session, MergeMode.FULL_SYNC, everything)
            assert counts.after == KEYS
            assert sorted(session.rows("SELECT a, b, v FROM public.t")) == sorted(everything)
