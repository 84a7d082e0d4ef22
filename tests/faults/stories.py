"""What else may be under way when a fault strikes: merges, loads that set rows aside, replays of those.

A story has its own tables, says at which moments it can be struck, and judges its end by full compares of its own.
Those of other databases are in carrying.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from pghaul.model.plan import Options, Plan, Selection
from pghaul.service.migration import MigrationService
from pghaul.target.ledger_sql import INSTALL
from tests.compare import Row, content_difference, contents
from tests.faults.carrying import CARRYING
from tests.faults.program import RUN_OPTIONS
from tests.faults.proxy import Moment
from tests.faults.story import REPLAY, RUN_ID, WORKER, Story, Strike

if TYPE_CHECKING:
    from tests.faults.faults import Scene

PROCESSES = Path(__file__).parent / "processes"  # a sitecustomize.py that sends little work to processes, too


# --- merges --------------------------------------------------------------------------------------------------

LAST_WORD = r"UPDATE pghaul\.chunk_marker SET"  # of the merge's transaction, before its commit
MERGING = {
    "prepare": Strike(pattern=r"CREATE UNLOGGED TABLE .pghaul.\..stage_", most=2),
    "copy": Strike(moment=Moment.COPIED, application=WORKER),
    "staged": Strike(pattern=r"pghaul\.chunk_marker_unlogged", application=WORKER, most=3),
    "own": Strike(pattern="AS owned"),
    "write": Strike(pattern=r"^(UPDATE|DELETE FROM|INSERT INTO|WITH written|CREATE UNLOGGED TABLE).*shop", most=4),
    "mark": Strike(pattern=r"(UPDATE|INSERT INTO) pghaul\.watermark", most=1),
    "marker": Strike(pattern=LAST_WORD, most=1),
    "commit_before": Strike(pattern=r"^\s*COMMIT", after=LAST_WORD),
    "commit_after": Strike(moment=Moment.ANSWER, pattern="^COMMIT$", after=LAST_WORD),
    "drop": Strike(pattern=r"DROP TABLE IF EXISTS .*stage_", after=LAST_WORD),
}
ITEM = "CREATE TABLE shop.item (id int8 PRIMARY KEY, changed timestamptz NOT NULL, name text, body text);"
PART = "CREATE TABLE shop.part (id int8 NOT NULL {}, changed timestamptz NOT NULL, item int8, body text);"
SHOP = f"""
CREATE SCHEMA shop; {ITEM} {PART.format("PRIMARY KEY")}
INSERT INTO shop.item SELECT g, '2026-01-01'::timestamptz + g * interval '1 s', 'n' || g, repeat(md5(g::text), 3)
  FROM generate_series(1, 2500) g;
INSERT INTO shop.part SELECT g, '2026-01-01'::timestamptz + g * interval '1 s', g % 2500, repeat(md5(g::text), 2)
  FROM generate_series(1, 2000) g; ANALYZE;
"""
SHELVES = f"CREATE SCHEMA shop; {ITEM} {PART.format('')}"  # `part` has no key there: what is doubled would stay
SOLD = ("shop.item", "shop.part")
MOVED = "SELECT relation FROM pghaul.watermark WHERE run_id = '{}'"
STAGING = "SELECT relname FROM pg_class WHERE relname ~ '^(stage|changes)_' AND relnamespace = 'pghaul'::regnamespace"
UNSTAGED = "SELECT relation || ' ' || chunk FROM pghaul.chunk_marker_unlogged"
CHANGED = """
UPDATE {table} SET body = body || '*', changed = clock_timestamp() WHERE id % {k} = 1;
"""
LATE = """
INSERT INTO shop.item SELECT {first} + g, clock_timestamp(), 'late', repeat(md5(g::text), 3)
  FROM generate_series(1, 700) g;
INSERT INTO shop.part SELECT {first} + g, clock_timestamp(), g, repeat(md5(g::text), 2) FROM generate_series(1, 700) g;
"""
GONE = "DELETE FROM shop.item WHERE id % 7 = 3; DELETE FROM shop.part WHERE id % 5 = 2;"


def merge_words(mode: str, *more: str) -> Callable[[str, str], tuple[str, ...]]:
    """`pghaul run` of both tables."""

    def words(source: str, target: str) -> tuple[str, ...]:
        tables = ("--table", "shop.item", "--table", "shop.part", "--recipe", "merge", "--mode", mode)
        ends = ("--from", source, "--to", target, "--run-id", RUN_ID, "--json")
        return ("run", *ends, *tables, "--merge-key", "id", *more, *RUN_OPTIONS)

    return words


def merged(scene: Scene, mode: str, watermark: str | None) -> None:
    """A merge of now, past the proxies and undisturbed."""
    how = {"mode": mode, "key": ["id"]} | ({"watermark": watermark} if watermark else {})
    plan = Plan(
        source=scene.urls["source"],
        target=scene.urls["target"],
        tables=[Selection.model_validate({"name": table, "merge": how}) for table in SOLD],
        options=Options.model_validate({"recipe": "merge", "workers": 1}),
    )
    state = f"sqlite:///{(scene.program.folder / 'undisturbed.db').as_posix()}"
    MigrationService(state).run(plan, listener=lambda _: None)


def change(scene: Scene, first: int, *, delete: bool = False) -> None:
    """On the source, everywhere in the tables."""
    k = scene.rng.randint(3, 9)
    script = "".join(CHANGED.format(table=table, k=k) for table in SOLD) + LATE.format(first=first)
    _execute(scene.urls["source"], script + (GONE if delete else ""))


def before_merge(mode: str, watermark: str | None) -> Callable[[Scene], None]:
    """All rows are merged, and then the source changes."""

    def before(scene: Scene) -> None:
        merged(scene, mode, watermark)
        change(scene, 100_000, delete=mode == "full-sync")

    return before


def judge_merge(mode: str, watermark: str | None) -> Callable[[Scene], Iterable[str]]:
    """Equal now; nothing is left; and what changes from now on arrives, so that no mark is too far."""

    def judge(scene: Scene) -> Iterable[str]:
        yield from _differences(scene, "merged")
        yield from (f"left over: {name}" for (name,) in _rows(scene, STAGING))
        if watermark:
            moved = {relation for (relation,) in _rows(scene, MOVED.format(RUN_ID))}
            if moved != set(SOLD):
                yield f"marks were moved for {sorted(moved)} only"
        change(scene, 200_000, delete=mode == "full-sync")
        merged(scene, mode, watermark)
        yield from _differences(scene, "merged once more")
        yield from (f"left over: {name}" for (name,) in _rows(scene, STAGING))

    return judge


def _differences(scene: Scene, when: str) -> Iterable[str]:
    found = content_difference(scene.urls["source"], scene.urls["target"], SOLD)
    if found:
        yield f"{when}: {found.lost} lost, {found.doubled} too many in {found.tables}: {found.examples[:2]}"


# --- rows that are set aside ----------------------------------------------------------------------------------

BAD = "g % 40 = 7"
ODD = f"""
CREATE SCHEMA shop;
CREATE TABLE shop.typed (id int8 PRIMARY KEY, v text, body text);
CREATE TABLE shop.twice (id int8 PRIMARY KEY, v text, body text);
CREATE TABLE shop.small (id int8 PRIMARY KEY, v text, body text);
CREATE TABLE shop.fine (id int8 PRIMARY KEY, v text, body text);
INSERT INTO shop.typed SELECT g, CASE WHEN {BAD} THEN 'x' ELSE g::text END, repeat(md5(g::text), 3)
  FROM generate_series(1, 4000) g;
INSERT INTO shop.twice SELECT g, (CASE WHEN {BAD} THEN g - 1 ELSE g END)::text, repeat(md5(g::text), 2)
  FROM generate_series(1, 2000) g;
INSERT INTO shop.small SELECT g, CASE WHEN {BAD} THEN NULL ELSE g::text END, 's' FROM generate_series(1, 200) g;
INSERT INTO shop.fine SELECT g, g::text, 'f' FROM generate_series(1, 200) g;
ANALYZE;
"""
STRICT = """
CREATE SCHEMA shop;
CREATE TABLE shop.typed (id int8 NOT NULL, v int4, body text);
CREATE TABLE shop.twice (id int8 NOT NULL, v int4 UNIQUE, body text);
CREATE TABLE shop.small (id int8 NOT NULL, v int4 NOT NULL, body text);
CREATE TABLE shop.fine (id int8 NOT NULL, v int4, body text);
"""
ODDS = {"shop.typed": 100, "shop.twice": 50, "shop.small": 5, "shop.fine": 0}
SET_ASIDE = {
    "copy": Strike(moment=Moment.COPIED, application=WORKER),
    "aside": Strike(pattern=r"INSERT INTO pghaul\.quarantine", application=WORKER, most=60),
    "savepoint": Strike(pattern="SAVEPOINT", application=WORKER, most=60),
    "marker": Strike(pattern=r"(INSERT INTO|UPDATE)\s+pghaul\.chunk_marker", application=WORKER, most=4),
    "commit_before": Strike(pattern=r"^\s*COMMIT", application=WORKER, most=3),
    "commit_after": Strike(moment=Moment.ANSWER, pattern="^COMMIT$", application=WORKER, most=3),
}
MERGING_CAREFULLY = {name: strike for name, strike in MERGING.items() if name != "mark"} | {
    name: SET_ASIDE[name] for name in ("aside", "savepoint")
}
ASIDE = "SELECT relation, row_data, run_id FROM pghaul.quarantine WHERE replayed_at IS NULL"


def careful_words(tables: Iterable[str], *more: str) -> Callable[[str, str], tuple[str, ...]]:
    """`pghaul run` that may set rows aside."""
    chosen = [word for table in tables for word in ("--table", table)]

    def words(source: str, target: str) -> tuple[str, ...]:
        ends = ("--from", source, "--to", target, "--run-id", RUN_ID, "--json")
        return ("run", *ends, *chosen, "--max-rejects", "10%", *more, *RUN_OPTIONS)

    return words


def judge_careful(scene: Scene) -> Iterable[str]:
    """What is on the target and what is set aside are together the source's rows, each once."""
    odds = {table: ODDS[table] for table in scene.tables}
    source, target = (contents(scene.urls[side], odds) for side in ("source", "target"))
    aside = _aside(scene)
    for name, content in source.items():
        found = (target[name].rows if name in target else Counter[Row]()) + aside.get(str(name), Counter[Row]())
        if found != content.rows:
            lost, doubled = content.rows - found, found - content.rows
            yield f"{name}: {lost.total()} lost, {doubled.total()} too many: {[*lost, *doubled][:2]}"
        odd = aside.get(str(name), Counter[Row]()).total()
        if odd != odds[str(name)]:
            yield f"{name}: {odd} rows are set aside, not {odds[str(name)]}"
    yield from (f"left over: {name}" for (name,) in _rows(scene, STAGING))


def _aside(scene: Scene) -> dict[str, Counter[Row]]:
    """Rows in quarantine by table. None of these stories' values needs to be escaped."""
    found: dict[str, Counter[Row]] = {}
    for relation, line, _run in _rows(scene, ASIDE):
        row = tuple(None if value == b"\\N" else value for value in bytes(line).split(b"\t"))
        found.setdefault(relation, Counter())[row] += 1
    return found


# --- replays ---------------------------------------------------------------------------------------------------

WAITING = f"""
{INSTALL}
CREATE SCHEMA shop;
CREATE TABLE shop.typed (id int8 NOT NULL, v int4, body text);
CREATE TABLE shop.small (id int8 NOT NULL, v int4, body text);
INSERT INTO shop.typed SELECT g, g, 'there' FROM generate_series(5001, 5100) g;
INSERT INTO pghaul.quarantine (run_id, relation, chunk, columns, row_data, encoding, sqlstate, message)
  SELECT 'ba9876543210', t.n, 'leaf', '{{id,v,body}}', convert_to(concat_ws(E'\\t', g, CASE WHEN {BAD} THEN 'x'
         ELSE g::text END, repeat(md5(g::text), 3)), 'UTF8'), 'UTF8', '22P02', 'no'
  FROM (VALUES ('shop.typed', 2000), ('shop.small', 80)) t (n, most), generate_series(1, t.most) g;
ANALYZE;
"""
EXPECTED = f"""
SELECT g, g, repeat(md5(g::text), 3) FROM generate_series(1, {{}}) g WHERE NOT {BAD}
"""
AGAIN = {
    "begin": Strike(pattern=r"INSERT INTO pghaul\.run", application=REPLAY, most=1),
    "copy": Strike(moment=Moment.COPIED, application=REPLAY),
    "savepoint": Strike(pattern="SAVEPOINT", application=REPLAY, most=30),
    "done": Strike(pattern=r"UPDATE pghaul\.quarantine", application=REPLAY, most=30),
    "marker": Strike(pattern=r"INSERT INTO pghaul\.chunk_marker", application=REPLAY, most=1),
    "commit_before": Strike(pattern=r"^\s*COMMIT", application=REPLAY, most=1),
    "commit_after": Strike(moment=Moment.ANSWER, pattern="^COMMIT$", application=REPLAY, most=1),
    "end": Strike(pattern=r"UPDATE pghaul\.run", application=REPLAY),
}
REPLAYED = """
SELECT count(*) FILTER (WHERE replayed_at IS NOT NULL AND replayed_by IS NOT NULL), count(*) FROM pghaul.quarantine
WHERE relation = '{}'
"""


def replay_words(_source: str, target: str) -> tuple[str, ...]:
    """`pghaul quarantine replay`."""
    return ("quarantine", "replay", target, "--json")


def judge_replay(scene: Scene) -> Iterable[str]:
    """Every good row once, beside those that were there; every bad one still set aside."""
    for table, most, there in (("shop.typed", 2000, 100), ("shop.small", 80, 0)):
        here = "SELECT id, v, body FROM {} WHERE id <= 5000"
        found, expected = Counter(_rows(scene, here.format(table))), Counter(_rows(scene, EXPECTED.format(most)))
        if found != expected:
            yield f"{table}: {(expected - found).total()} lost, {(found - expected).total()} too many"
        if len(_rows(scene, f"SELECT 1 FROM {table} WHERE id > 5000")) != there:
            yield f"{table}: rows that were there are not what they were"
        ((replayed, known),) = _rows(scene, REPLAYED.format(table))
        if (replayed, known) != (expected.total(), most):
            yield f"{table}: {replayed} of {known} are replayed, not {expected.total()} of {most}"


# --- all -------------------------------------------------------------------------------------------------------


def _rows(scene: Scene, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(scene.urls["target"], autocommit=True) as session:
        return session.execute(query.encode()).fetchall()


def _execute(url: str, script: str) -> None:
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(script.encode())


def _merge(mode: str, watermark: str | None, **more: object) -> Story:
    words = merge_words(mode, *(("--watermark", watermark) if watermark else ()))
    return Story(
        source=SHOP,
        target=SHELVES,
        tables=SOLD,
        strikes=MERGING if watermark else {k: v for k, v in MERGING.items() if k != "mark"},
        words=words,
        before=before_merge(mode, watermark),
        judge=judge_merge(mode, watermark),
        **more,  # type: ignore[arg-type]
    )


BY_PROCESSES = {"PYTHONPATH": str(PROCESSES)}
STORIES: dict[str, Story] = {
    "upsert": _merge("upsert", "changed", volume=250_000),
    "upsert by processes": _merge("upsert", "changed", volume=250_000, environ=BY_PROCESSES),
    "full-sync": _merge("full-sync", None, volume=500_000),
    "full-sync by processes": _merge("full-sync", None, volume=500_000, environ=BY_PROCESSES),
    "careful": Story(
        source=ODD,
        target=STRICT,
        tables=tuple(ODDS),
        strikes=SET_ASIDE,
        words=careful_words(ODDS),
        judge=judge_careful,
        volume=700_000,
        ends=(3,),
    ),
    "careful merge": Story(
        source=ODD,
        target=STRICT,
        tables=("shop.typed", "shop.fine"),
        strikes=MERGING_CAREFULLY,
        words=careful_words(
            ("shop.typed", "shop.fine"),
            "--recipe",
            "merge",
            "--mode",
            "upsert",
            "--merge-key",
            "id",
            "--on-drift",
            "ignore",
        ),
        judge=judge_careful,
        volume=700_000,
        ends=(3,),
    ),
    "replay": Story(
        source="",
        target=WAITING,
        tables=("shop.typed", "shop.small"),
        strikes=AGAIN,
        words=replay_words,
        judge=judge_replay,
        volume=150_000,
        ends=(3,),
        resumed=False,
    ),
} | CARRYING
