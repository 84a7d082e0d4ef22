"""What earlier attempts have loaded, held against the source as it is now: chunks that have changed are loaded again.

Their rows of the source are read once more, as they were read for the load, and compared with the receipt's hash; where
there is none, with the target. Those that differ are taken out together, rows and markers in one transaction, before
anything is loaded: a row that has moved between two of them would else be in its own way. From then on they are chunks
that nobody has loaded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from psycopg import sql

from pghaul.engine import statements
from pghaul.engine.arrow import comparing, compose
from pghaul.engine.arrow.compose import Loading
from pghaul.engine.compose import Epoch
from pghaul.engine.dispatch import Task
from pghaul.engine.job import JobKind, ReadBack, Statement
from pghaul.engine.vacuum import CHUNK
from pghaul.model.chunk import Chunk
from pghaul.model.receipt import Receipt
from pghaul.model.table import Name
from pghaul.model.text import Text, say
from pghaul.target.ledger_sql import TAKE_BACK_CHUNKS, delete_chunks

TRUSTED = say("the ledger is trusted, as asked")
AMONG_OTHERS = say("rows that were there before cannot be told from ours")
ASIDE = say("rows of it are set aside, so that the two sides cannot be compared")
EMPTIED = "emptied"  # the step's name in the ledger
AFTER = ("analyze", CHUNK)  # what is done again with the rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Chunks of earlier attempts: those that can be compared, and why the others cannot."""

    chunks: Mapping[Name, tuple[Chunk, ...]]
    blind: Mapping[Name, Text]


def finished(loadings: Sequence[Loading], done: Mapping[Name, Mapping[str, Receipt]]) -> Finished:
    """Of all tables that are loaded."""
    chunks: dict[Name, tuple[Chunk, ...]] = {}
    blind: dict[Name, Text] = {}
    for loading in loadings:
        found = done.get(loading.name, {})
        ours = [c for c in loading.chunks if c.key in found]
        if not ours:
            continue
        if loading.appended:
            blind[loading.name] = AMONG_OTHERS
            continue
        if any(r.rejected for r in found.values()):
            blind[loading.name] = ASIDE
            whole = any(r.rejected for k, r in found.items() if k not in {c.key for c in ours})
            ours = [] if whole else [c for c in ours if not found[c.key].rejected]
        chunks[loading.name] = tuple(ours)
    return Finished(chunks={n: c for n, c in chunks.items() if c}, blind=blind)


def confirming(loading: Loading, epoch: Epoch, chunk: Chunk, receipt: Receipt) -> Task:
    """Read it again. Its hash is that of the very reading that has loaded it; else both sides go by a key."""
    known = receipt.source_hash
    plan = compose.arrow_plan(loading, chunk) if known and not loading.split else compose.compared(loading, chunk)
    narrowing = comparing.narrowing(loading.there, plan.fields, plan.back or ReadBack(), 0)
    return compose.check(loading, epoch, chunk, replace(plan, known=known), narrowing)


def emptying(loading: Loading, epoch: Epoch, chunks: Sequence[Chunk], loaded: Collection[str]) -> Task:
    """Take these out again, all at once. `loaded` are the keys of all that is marked."""
    keys = [c.key for c in chunks]
    others = {c.key for c in loading.chunks} & set(loaded) - set(keys)
    rows = [compose.deleting(loading, c) for c in chunks] if others else [statements.truncate(loading.name)]
    job = compose.job_of(loading, epoch, JobKind.EMPTY, EMPTIED)
    words = {"run": sql.Literal(epoch.run), "relation": sql.Literal(str(loading.name))}
    forget = sql.SQL(delete_chunks(job.marker)).format(chunks=sql.Literal([*keys, *AFTER]), **words)
    aside = sql.SQL(TAKE_BACK_CHUNKS).format(chunks=sql.Literal(keys), **words)
    made = [*([] if others else [statements.lock_target(loading.name)]), *rows]
    made += [forget.as_string(None), aside.as_string(None)]
    job = replace(job, redo=True, statements=tuple(Statement(name=EMPTIED, sql=s) for s in made))
    return Task(job=job, table=loading.name, size=sum(c.bytes for c in chunks))
