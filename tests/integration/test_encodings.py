"""Bytes become the same characters on the other side, or the run says whose encoding is at fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import sql
from tests.compare import assert_same_content
from tests.databases import DatabasePair, drop
from tests.merge_runs import merge
from tests.moving import assert_done, move, rows, run_sql

from pghaul.model.errors import NotSupportedError, PlanError, RowError
from pghaul.model.event import EventKind
from pghaul.model.plan import Format
from pghaul.model.run import RunState
from pghaul.service.embedded import Cluster

WORDS = ["가나다", "측정값", "plain", "", "뷁", "한\t글\n줄\\"]
IN_KS_ONLY = ["가나다", "측정값", "plain", "", "한\t글\n줄\\"]  # EUC-KR has 2,350 syllables; 뷁 is not among them


@contextmanager
def database(cluster: Cluster, encoding: str, codec: str, words: list[str]) -> Iterator[str]:
    """A database of this encoding with a table of these words as bytes of this codec; its URL."""
    name = f"encoded_{encoding.lower()}_{codec}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {} LOCALE 'C'")
    with psycopg.connect(cluster.url(), autocommit=True) as admin:
        admin.execute(create.format(sql.Identifier(name), sql.Literal(encoding)))
    try:
        url = cluster.url(name)
        with psycopg.connect(url, client_encoding="SQL_ASCII", autocommit=True) as session:
            session.execute("CREATE TABLE public.t (id int4 PRIMARY KEY, v text, w varchar(20), a text[], j json)")
            with session.cursor().copy("COPY public.t FROM STDIN") as copy:
                for i, word in enumerate(words):
                    copy.write(line(i, word).encode(codec))
        yield url
    finally:
        drop(cluster, name)


def line(number: int, word: str) -> str:
    """A row of COPY's text format."""
    plain = word.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
    bare = "".join(c for c in word if c.isalpha())
    return f'{number}\t{plain}\t{plain}\t{{"{bare}",NULL}}\t{{"{bare}" : 1}}\n'


def words_of(url: str) -> list[str]:
    return [v for (v,) in rows(url, "SELECT v FROM public.t ORDER BY id")]


@pytest.mark.parametrize("form", [Format.AUTO, Format.TEXT])
def test_a_sql_ascii_source_that_holds_utf8_arrives(
    db_pair: DatabasePair, pg16: Cluster, state: str, form: Format
) -> None:
    with database(pg16, "SQL_ASCII", "utf-8", WORDS) as source:
        assert_done(move(db_pair, "t", source=source, format=form))
        assert words_of(db_pair.target) == WORDS
        assert_same_content(source, db_pair.target, ["public.t"], source_encoding="utf-8")


def test_bytes_that_are_no_utf8_are_refused_with_the_way_out(db_pair: DatabasePair, pg16: Cluster, state: str) -> None:
    with database(pg16, "SQL_ASCII", "cp949", WORDS) as source:
        with pytest.raises(RowError, match=r"invalid byte sequence for encoding.*UTF8.*public\.t") as refused:
            move(db_pair, "t", source=source)
        assert "--source-encoding" in (refused.value.advice or "")
        assert rows(db_pair.target, "SELECT to_regclass('public.t')") == [(None,)]


@pytest.mark.parametrize("options", [{}, {"split_bytes": 8192}, {"recipe": "insert"}])
def test_with_the_source_encoding_told_the_bytes_become_characters(
    db_pair: DatabasePair, pg16: Cluster, state: str, options: dict[str, Any]
) -> None:
    words = WORDS * 200
    with database(pg16, "SQL_ASCII", "cp949", words) as source:
        assert_done(move(db_pair, "t", source=source, source_encoding="UHC", **options))
        assert words_of(db_pair.target) == words
        assert_same_content(source, db_pair.target, ["public.t"], source_encoding="cp949")


@pytest.mark.parametrize("recipe", ["copy", "insert"])
def test_an_euc_kr_source_arrives_in_utf8_and_both_hash_alike(
    db_pair: DatabasePair, pg16: Cluster, state: str, recipe: str
) -> None:
    with database(pg16, "EUC_KR", "euc_kr", IN_KS_ONLY * 300) as source:
        moved = move(db_pair, "t", source=source, split_bytes=8192, recipe=recipe)
        assert_done(moved)
        proofs = moved.of(EventKind.VERIFIED)
        assert [(e.data["agrees"], e.data["proof"]) for e in proofs] == [(True, "rows")]
        assert words_of(db_pair.target) == IN_KS_ONLY * 300
        assert_same_content(source, db_pair.target, ["public.t"])


def test_a_character_that_the_targets_encoding_lacks_is_refused(
    db_pair: DatabasePair, pg16: Cluster, pg18: Cluster, state: str
) -> None:
    with (
        database(pg16, "UTF8", "utf-8", WORDS) as source,
        database(pg18, "EUC_KR", "euc_kr", []) as target,
        pytest.raises(RowError, match=r"no equivalent in encoding .EUC_KR.*public\.t"),
    ):
        move(db_pair, "t", source=source, target=target)


def test_characters_that_a_sql_ascii_server_would_tear_apart_in_arrays_are_refused(
    db_pair: DatabasePair, pg16: Cluster, state: str
) -> None:
    """The second byte of some is a backslash."""
    with database(pg16, "SQL_ASCII", "sjis", ["表示"]) as source:
        with pytest.raises(NotSupportedError, match="cannot read SJIS"):
            move(db_pair, "t", source=source, source_encoding="SJIS", recipe="insert")
        assert rows(db_pair.target, "SELECT to_regclass('public.t')") == [(None,)]


@pytest.mark.template(source="CREATE TABLE public.u ()")
def test_an_impossible_source_encoding_is_refused_before_anything_is_changed(
    db_pair: DatabasePair, pg16: Cluster, state: str
) -> None:
    with database(pg16, "SQL_ASCII", "cp949", WORDS) as source:
        with pytest.raises(PlanError, match="KLINGON"):
            move(db_pair, "t", source=source, source_encoding="KLINGON")
        with pytest.raises(PlanError, match="the source's encoding is UTF8"):
            move(db_pair, "u", source_encoding="UHC")
        assert rows(db_pair.target, "SELECT to_regclass('public.t')") == [(None,)]


NAMED = """
CREATE TYPE public."상태" AS ENUM ('정상', '고장');
CREATE TABLE public."측정" ("번호" int4 PRIMARY KEY, "상태" public."상태" DEFAULT '정상', v text CHECK (v <> '없음'));
INSERT INTO public."측정" VALUES (1, '고장', '값'), (2, NULL, NULL);
CREATE INDEX "색인" ON public."측정" (v) WHERE v <> '값';
"""


@contextmanager
def database_of_names(cluster: Cluster, encoding: str, codec: str) -> Iterator[str]:
    with database(cluster, encoding, codec, []) as url:
        with psycopg.connect(url, client_encoding="SQL_ASCII", autocommit=True) as session:
            session.execute(NAMED.encode(codec))
        yield url


@pytest.mark.parametrize(("encoding", "codec"), [("EUC_KR", "euc_kr"), ("SQL_ASCII", "utf-8")])
def test_names_and_labels_arrive_as_characters_too(
    db_pair: DatabasePair, pg16: Cluster, state: str, encoding: str, codec: str
) -> None:
    with database_of_names(pg16, encoding, codec) as source:
        assert_done(move(db_pair, "*", source=source))
        facts = 'SELECT "번호", "상태", v FROM public."측정" ORDER BY 1'
        assert rows(db_pair.target, facts) == [(1, "고장", "값"), (2, None, None)]
        constraints = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'c' AND conrelid <> 0"
        assert ("CHECK ((v <> '없음'::text))",) in rows(db_pair.target, constraints)


def test_names_that_are_no_characters_are_refused_by_saying_so(
    db_pair: DatabasePair, pg16: Cluster, state: str
) -> None:
    with (
        database_of_names(pg16, "SQL_ASCII", "cp949") as source,
        pytest.raises(NotSupportedError, match=r"names of tables in this SQL_ASCII database are no UTF-8"),
    ):
        move(db_pair, "*", source=source, source_encoding="UHC")


# --- sessions' defaults ------------------------------------------------------------------------------------------

VALUES = """
CREATE TABLE public.v (d date, ts timestamp, tz timestamptz, tt timetz, iv interval, f4 float4, f8 float8, by bytea,
    m money, a timestamptz[], x float8[], r tstzrange, p point, n numeric);
INSERT INTO public.v VALUES ('2024-02-01', '2024-02-01 03:04:05.678901', '2024-03-31 02:30:00+00', '12:34:56+09',
    '-1 year 2 mons -3 days 04:05:06.7', 0.1, 0.30000000000000004, '\\x00ff5c27', '1234.56', '{2024-07-01 00:00+05:30}',
    '{1e-300,0.1}', '[2024-01-01 00:00+00,infinity)', '(0.1,-0)', '1.10'),
    ('0044-03-15 BC', '-infinity', '4713-01-01 00:00:00+00 BC', '24:00:00-15:59', '1 day -00:00:00.000001', 'NaN',
    '-0', '', '-0.01', '{}', '{}', 'empty', NULL, 'NaN');
"""
SOURCE_DEFAULTS = {
    "DateStyle": "SQL, DMY", "IntervalStyle": "sql_standard", "TimeZone": "Asia/Seoul", "extra_float_digits": "-15",
    "bytea_output": "escape", "statement_timeout": "1s", "search_path": "nowhere",
    "default_transaction_read_only": "on", "standard_conforming_strings": "off", "xmloption": "document",
    "lock_timeout": "1ms", "idle_in_transaction_session_timeout": "1s",
}  # fmt: skip
TARGET_DEFAULTS = {
    "DateStyle": "German, MDY", "IntervalStyle": "iso_8601", "TimeZone": "America/St_Johns", "extra_float_digits": "0",
    "bytea_output": "hex", "statement_timeout": "1s", "search_path": "", "array_nulls": "off",
    "transaction_timeout": "1s", "client_min_messages": "debug1", "synchronize_seqscans": "on",
    "default_transaction_read_only": "on",
}  # fmt: skip


@contextmanager
def defaults(url: str, owner: str, settings: dict[str, str]) -> Iterator[str]:
    """Half of them are the database's and half the role's; the URL of that role, a superuser."""
    with psycopg.connect(url, autocommit=True) as session:
        name = session.info.dbname
        session.execute(sql.SQL("CREATE ROLE {} SUPERUSER LOGIN").format(sql.Identifier(owner)))
        for i, (key, value) in enumerate(settings.items()):
            what = sql.SQL("DATABASE {}" if i % 2 else "ROLE {}").format(sql.Identifier(name if i % 2 else owner))
            # a list of names, as DateStyle and search_path take, must not be one literal
            text = sql.SQL(", ").join(sql.Literal(v.strip()) for v in value.split(","))
            session.execute(sql.SQL("ALTER {} SET {} = {}").format(what, sql.Identifier(key), text))
    try:
        yield url.replace("postgres@", f"{owner}@")
    finally:
        with psycopg.connect(url.rpartition("/")[0] + "/postgres", autocommit=True) as session:
            session.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(sql.Identifier(name)))
        run_sql(url, f"REASSIGN OWNED BY {owner} TO postgres; DROP ROLE {owner}")


@pytest.mark.template(source=VALUES)
@pytest.mark.parametrize("form", [Format.AUTO, Format.TEXT])
def test_defaults_of_databases_and_roles_change_nothing(db_pair: DatabasePair, state: str, form: Format) -> None:
    with (
        defaults(db_pair.source, "source_owner", SOURCE_DEFAULTS) as source,
        defaults(db_pair.target, "target_owner", TARGET_DEFAULTS) as target,
    ):
        assert_done(move(db_pair, "v", source=source, target=target, format=form))
        assert_done(
            move(db_pair, "v", source=source, target=target, format=form, on_existing="truncate", split_bytes=8192)
        )
    assert_same_content(db_pair.source, db_pair.target, ["public.v"])


def test_a_merge_sets_aside_what_the_target_has_no_character_for(
    db_pair: DatabasePair, pg18: Cluster, state: str
) -> None:
    """Its key, too, may be one that this database cannot be asked about."""
    run_sql(db_pair.source, "CREATE TABLE public.t (v text PRIMARY KEY, w varchar(20), a text[], j json, n int4)")
    run_sql(db_pair.source, "INSERT INTO t (v, w) VALUES ('가', '나'), ('뷁', 'x'), ('다', '뷁')")
    merged: dict[str, Any] = {"name": "t", "into": "public.u"}
    with database(pg18, "EUC_KR", "euc_kr", []) as target:
        pair = replace(db_pair, target=target)
        with pytest.raises(RowError, match="EUC_KR"):
            merge(pair, merged, verify="count")
        assert merge(pair, merged, verify="count", max_rejects=2).run.state is RunState.DIFFERENT
        run_sql(db_pair.source, "UPDATE t SET w = 'y' WHERE v = '다'")
        merge(pair, merged, verify="count", max_rejects=2)
        assert rows(target, "SELECT v, w FROM u ORDER BY w") == [("다", "y"), ("가", "나")]
        waiting = "SELECT source_key FROM pghaul.quarantine WHERE replayed_at IS NULL"
        assert rows(target, waiting) == [(json.dumps({"v": "뷁"}),)]
