"""What the members of our closed sets are called where a person reads them; programs get their values instead.

The same words on every face, and each a Text, so that a reader's language has its own. A test holds the lists complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from pghaul.model.bounds import Strategy
from pghaul.model.chunk import ChunkState
from pghaul.model.figures import count
from pghaul.model.finding import Kind, Severity
from pghaul.model.receipt import Proof
from pghaul.model.run import RunState
from pghaul.model.text import Text, joined, say, saying
from pghaul.model.tree import Problem, TreeKind

RUN_STATES: Mapping[RunState, Text] = {
    RunState.RUNNING: say("running"),
    RunState.PAUSED: say("paused"),
    RunState.STOPPED: say("stopped"),
    RunState.FAILED: say("failed"),
    RunState.DONE: say("done"),
    RunState.DIFFERENT: say("different"),
}
CHUNK_STATES: Mapping[ChunkState, Text] = {
    ChunkState.PENDING: say("pending"),
    ChunkState.RUNNING: say("running"),
    ChunkState.DONE: say("done"),
    ChunkState.FAILED: say("failed"),
    ChunkState.SKIPPED: say("skipped"),
}
PROOFS: Mapping[Proof, Text] = {
    Proof.COUNT: say("rows counted"),
    Proof.STREAM: say("hash of the stream"),
    Proof.ROWS: say("sum of row hashes"),
}
PROBLEMS: Mapping[Problem, Text] = {
    Problem.OVERLAP: say("overlap"),
    Problem.GAP: say("gap"),
    Problem.NO_BOUNDS: say("no bounds"),
    Problem.NOT_PLAIN: say("not a plain bound"),
    Problem.NOT_VALID: say("not validated"),
    Problem.LOCKED: say("locked"),
    Problem.OWN_ROWS: say("rows of its own"),
    Problem.REGISTRY: say("registry"),
    Problem.TIMEZONE: say("time zone"),
}
KINDS: Mapping[Kind, Text] = {
    Kind.NOTHING_SELECTED: say("nothing-selected"),
    Kind.BOUNDS: say("bounds"),
    Kind.TABLE_MISSING: say("table-missing"),
    Kind.SHAPE: say("shape"),
    Kind.ROWS_PRESENT: say("rows-present"),
    Kind.VERSION: say("version"),
    Kind.PRIVILEGE: say("privilege"),
    Kind.ROLE: say("role"),
    Kind.TRIGGER: say("trigger"),
    Kind.ROW_SECURITY: say("row-security"),
    Kind.LOCKS: say("locks"),
    Kind.ENCODING: say("encoding"),
    Kind.CHARACTERS: say("characters"),
    Kind.COLLATION: say("collation"),
    Kind.EXTENSION: say("extension"),
    Kind.PROGRAM: say("program"),
    Kind.SPACE: say("space"),
    Kind.SETTING: say("setting"),
    Kind.SERVER: say("server"),
    Kind.USAGE: say("usage"),
    Kind.TAKEN: say("taken"),
    Kind.MERGE: say("merge"),
    Kind.WATERMARK: say("watermark"),
    Kind.REJECTS: say("rejects"),
    Kind.SOURCE: say("source"),
    Kind.TYPE: say("type"),
    Kind.NAME: say("name"),
    Kind.DEFINITION: say("definition"),
    Kind.ORPHANS: say("orphans"),
    Kind.TRANSFORM: say("transform"),
}
SEVERITIES: Mapping[Severity, Text] = {
    Severity.ERROR: say("error"),
    Severity.WARNING: say("warning"),
    Severity.NOTE: say("note"),
}
TREES: Mapping[TreeKind, Text] = {
    TreeKind.DECLARATIVE: say("declarative"),
    TreeKind.INHERITANCE: say("inheritance"),
}
STRATEGIES: Mapping[Strategy, Text] = {
    Strategy.RANGE: say("range"),
    Strategy.LIST: say("list"),
    Strategy.HASH: say("hash"),
    Strategy.DEFAULT: say("default"),
}
WORDED = (RUN_STATES, CHUNK_STATES, PROOFS, PROBLEMS, KINDS, SEVERITIES, TREES, STRATEGIES)


def worded(member: Enum) -> str:
    """A member of any of them in words; the value of what has none."""
    return _WORDS.get((type(member), member.name), str(member.value))


def side_named(side: str) -> str:
    """`source` or `target` in words."""
    return {"source": say("source"), "target": say("target")}.get(side, side)


def kind_named(kind: str) -> str:
    """What PostgreSQL calls a kind of objects (pg_identify_object), in words; an SQL keyword stays one."""
    return _OBJECTS.get(kind, kind)


_OBJECTS: Mapping[str, Text] = {
    "access method": say("access method"),
    "aggregate": say("aggregate"),
    "cast": say("cast"),
    "collation": say("collation"),
    "composite type": say("composite type"),
    "conversion": say("conversion"),
    "default value": say("default value"),
    "domain": say("domain"),
    "event trigger": say("event trigger"),
    "extension": say("extension"),
    "foreign table": say("foreign table"),
    "foreign-data wrapper": say("foreign-data wrapper"),
    "function": say("function"),
    "index": say("index"),
    "language": say("language"),
    "materialized view": say("materialized view"),
    "operator": say("operator"),
    "operator class": say("operator class"),
    "operator family": say("operator family"),
    "policy": say("policy"),
    "procedure": say("procedure"),
    "publication": say("publication"),
    "role": say("role"),
    "rule": say("rule"),
    "schema": say("schema"),
    "sequence": say("sequence"),
    "server": say("server"),
    "statistics object": say("statistics object"),
    "table": say("table"),
    "table constraint": say("table constraint"),
    "text search configuration": say("text search configuration"),
    "text search dictionary": say("text search dictionary"),
    "text search parser": say("text search parser"),
    "text search template": say("text search template"),
    "transform": say("transform"),
    "trigger": say("trigger"),
    "type": say("type"),
    "view": say("view"),
    # What is made of a database that is not PostgreSQL: model/mapped.py.
    "check": say("check constraint"),
    "comment": say("comment"),
    "primary": say("primary key"),
    "reference": say("foreign key"),
    "script": say("script"),
    "unique": say("unique key"),
    "validation": say("validation of a foreign key"),
}
_WORDS: Mapping[tuple[type[Enum], str], Text] = {
    (type(member), member.name): words for names in WORDED for member, words in names.items()
}


BECAME: Mapping[str, Text] = {  # of a receipt's fields, and of the figures of events
    "inserted": say("new"),
    "updated": say("updated"),
    "unchanged": say("the same"),
    "ignored": say("left out"),
    "rejected": say("set aside"),
    "deleted": say("deleted"),
}
COUNTED = saying("{n} {what}")


def became(figures: Mapping[str, int]) -> Text:
    """What has become of rows, without what none has become."""
    return joined(
        ", ", [COUNTED.format(n=count(figures[k]), what=what) for k, what in BECAME.items() if figures.get(k)]
    )
