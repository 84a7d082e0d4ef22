"""Marks on the target: committed with the rows they speak of, and checked against what the target holds now."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

from psycopg.sql import SQL, Composable, Identifier, Literal

from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.merging import Mark, MergeDesign, WatermarkKind
from pghaul.model.text import say, saying
from pghaul.target.merge_target import Column, Target, equals
from pghaul.target.merge_terms import s, t

if TYPE_CHECKING:
    from pghaul.postgres.session import Session

KEPT = frozenset(f.name for f in fields(Mark))
WITNESSES = 8  # a few rows may be deleted for good reasons; the last eight of them at once are not
LOAD = "SELECT w.mark FROM pghaul.watermark AS w WHERE w.relation = %s AND w.origin = %s"
OTHERS = """
SELECT w.origin FROM pghaul.watermark AS w
 WHERE w.relation = %s AND w.origin <> %s AND pg_catalog.left(w.origin, pg_catalog.length(%s)) = %s
 ORDER BY w.moved_at DESC
"""
UPDATE = """
UPDATE pghaul.watermark SET run_id = %s, mark = %s, moved_at = pg_catalog.clock_timestamp()
 WHERE relation = %s AND origin = %s
"""
INSERT = """
INSERT INTO pghaul.watermark (run_id, mark, moved_at, relation, origin)
VALUES (%s, %s, pg_catalog.clock_timestamp(), %s, %s)
"""
FILENODE = """
SELECT coalesce(pg_catalog.pg_relation_filenode(c.oid), 0)::pg_catalog.int8
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = %s AND c.relname = %s
"""
EMPTIED = saying("{table} was emptied, made anew or restored since the last merge (of {moment})")
GONE = saying("the rows of {table} that were merged last (at {moment}) are gone, or older than they were")
PARTLY = saying(
    "{table} was made anew or rewritten since the last merge, and {n} of {all} rows that were merged last are gone"
)
RELOAD = say("if that is how it should be, read all rows again: --reload")


def load(session: Session, relation: str, origin: str) -> Mark | None:
    """What the last merge has committed; None where there was none."""
    if session.value(FILENODE, ("pghaul", "watermark")) is None:  # a target that no run has written to
        return None
    found = session.value(LOAD, (relation, origin))
    return None if found is None else _mark(json.loads(found))


def _mark(said: dict[str, Any]) -> Mark:
    """Keys of a later release are left alone."""
    held = said.get("held")
    return Mark(
        **{k: v for k, v in said.items() if k in KEPT}
        | {
            "kind": WatermarkKind(said["kind"]),
            "held": None if held is None else (held[0], held[1]),
            "witness": tuple(tuple(w) for w in said.get("witness", ())),
            "columns": tuple(said.get("columns", ())),
            "members": tuple(said.get("members", ())),
        }
    )


def save(session: Session, relation: str, origin: str, run: str, mark: Mark) -> None:
    """In the transaction of the merge: rows and mark are there together, or neither is."""
    said = (run, json.dumps(asdict(mark)), relation, origin)
    if session.execute(UPDATE, said) == 0:
        session.execute(INSERT, said)


def stranger(session: Session, relation: str, origin: str, identity: str) -> Finding | None:
    """For a source without a mark: whether the same was merged from another database until now.

    That may be a copy of the source, a source after an upgrade, or the wrong URL.
    """
    if session.value(FILENODE, ("pghaul", "watermark")) is None:
        return None
    place = origin.removesuffix(identity)
    other = session.value(OTHERS, (relation, origin, place, place))
    if other is None:
        return None
    return Finding(
        kind=Kind.WATERMARK,
        object=relation,
        what=say(
            "{table} was merged from another database until now ({old}, not {new})",
            table=relation,
            old=str(other).removeprefix(place),
            new=identity,
        ),
        where=session.server.database,
        advice=say("look at the source's URL; if it is meant, read all rows of this one: --reload"),
        code=6720,
    )


def complete(session: Session, target: Target, design: MergeDesign, mark: Mark) -> Mark:
    """The mark with what will tell later whether the target still holds what was merged. Call it after the merge,
    before its staging table is dropped.
    """
    seen = witness(session, target, design, mark)
    filenode = session.value(FILENODE, (design.target.schema, design.target.name))  # the merge may have rewritten it
    return replace(mark, filenode=filenode or 0, witness=seen or mark.witness)


def witness(session: Session, target: Target, design: MergeDesign, mark: Mark) -> tuple[tuple[str, ...], ...]:
    """Keys of rows that were merged last, as the target has them now: the latest by watermark, if there is one."""
    if not design.key:
        return ()
    order = _order(design, mark)
    rows = session.rows(
        SQL(
            "SELECT {keys} FROM (SELECT s.* FROM {staging} AS s ORDER BY {order} LIMIT {most}) AS s "
            "JOIN {target} AS t ON {match}"
        ).format(
            keys=SQL(", ").join([*_texts("t", design.key), *_texts("t", _column(design, mark))]),
            staging=Identifier(design.staging.schema, design.staging.name),
            target=Identifier(design.target.schema, design.target.name),
            order=order,
            most=WITNESSES,
            match=_match(target, design),
        )
    )
    return tuple(sorted({tuple(row) for row in rows if None not in row}))


def check(session: Session, target: Target | None, design: MergeDesign, mark: Mark) -> Finding | None:
    """Whether none of the rows that were merged last is on the target any more, or all of them are older: emptied, made
    anew, or restored from a backup. An increment on top of that would leave a hole that nobody sees. Where all rows are
    read every time, nothing can be missing.
    """
    if mark.kind is WatermarkKind.NONE:
        return None
    present = len(mark.witness) if target is None or not mark.witness else _present(session, target, design, mark)
    if target is not None and (present == len(mark.witness) or (present and target.filenode == mark.filenode)):
        return None
    table, where = str(design.target), session.server.database
    if target is not None and present:
        partly = PARTLY.format(table=table, n=len(mark.witness) - present, all=len(mark.witness))
        return Finding(
            severity=Severity.WARNING,
            kind=Kind.WATERMARK,
            object=table,
            what=partly,
            where=where,
            advice=RELOAD,
            code=6723,
        )
    if target is not None and target.filenode == mark.filenode:
        gone = GONE.format(table=table, moment=mark.read_at)
        return Finding(kind=Kind.WATERMARK, object=table, what=gone, where=where, advice=RELOAD, code=6722)
    emptied = EMPTIED.format(table=table, moment=mark.read_at)
    return Finding(kind=Kind.WATERMARK, object=table, what=emptied, where=where, advice=RELOAD, code=6721)


def _present(session: Session, target: Target, design: MergeDesign, mark: Mark) -> int:
    """How many of the rows that were merged last are there. By literals without a type: each is read as its column's
    own, and an index finds it.
    """
    column, width = _column(design, mark), len(design.key)
    if any(len(w) != width + len(column) for w in mark.witness):
        return len(mark.witness)  # of another key: it says nothing about this one
    conditions = []
    for row in mark.witness:
        parts = [equals(k, t(k.name), Literal(v)) for k, v in zip(_key(target, design), row, strict=False)]
        parts += [SQL("t.{} >= {}").format(Identifier(c), Literal(v)) for c, v in zip(column, row[width:], strict=True)]
        conditions.append(SQL("({})").format(SQL(" AND ").join(parts)))
    found = session.value(
        SQL("SELECT pg_catalog.count(*) FROM {} AS t WHERE {}").format(
            Identifier(design.target.schema, design.target.name), SQL(" OR ").join(conditions)
        )
    )
    return int(found)


def _column(design: MergeDesign, mark: Mark) -> tuple[str, ...]:
    """The watermark's own column, if the target has it."""
    ordered = mark.kind not in {WatermarkKind.NONE, WatermarkKind.XMIN} and mark.column in design.columns
    return (mark.column,) if ordered else ()


def _order(design: MergeDesign, mark: Mark) -> Composable:
    column = _column(design, mark)
    return SQL("s.{} DESC NULLS LAST").format(Identifier(column[0])) if column else SQL("s.ctid DESC")


def _texts(alias: str, columns: Sequence[str]) -> list[Composable]:
    return [SQL("{}::pg_catalog.text").format(Identifier(alias, c)) for c in columns]


def _match(target: Target, design: MergeDesign) -> Composable:
    return SQL(" AND ").join([equals(k, t(k.name), s(k.name)) for k in _key(target, design)])


def _key(target: Target, design: MergeDesign) -> list[Column]:
    return [target.column(k) for k in design.key]
