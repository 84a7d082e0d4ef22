"""What the relay's driver sends by itself: nothing that an old server might not understand."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from tests.databases import DatabasePair
from tests.looking import execute
from tests.moving import assert_done, move

from pghaul.service.embedded import Cluster

# Types that asyncpg has codecs for and types that it has not, in a table that is read in ranges.
SCHEMA = """
CREATE TYPE mood AS ENUM ('sad', 'fine');
CREATE TABLE typed (id int8 PRIMARY KEY, m mood, a mood[], f float8, j json, r numrange, t timestamptz);
INSERT INTO typed SELECT i, 'sad', ARRAY['fine']::mood[], i / 7.0, '{}', '[1,2)', now() FROM generate_series(1, 3000) i;
"""
DESCRIPTION = "typeinfo_tree"  # a word of the query that asyncpg asks for types that it does not know


async def ask_for_a_type(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.fetch("SELECT m FROM public.typed LIMIT 1")
    await connection.close()


def said(server: Cluster) -> str:
    return (server.data / "log").read_text(errors="replace")


@pytest.mark.template(source=SCHEMA)
def test_the_driver_asks_for_the_description_of_no_type(db_pair: DatabasePair, state: str) -> None:
    for url in (db_pair.source, db_pair.target):
        name = url.rpartition("/")[2]
        execute(url, f"ALTER DATABASE {name} SET log_statement = 'all'")
    assert_done(move(db_pair, "typed", split_bytes=65536))
    for server in (db_pair.source_server, db_pair.target_server):
        assert "COPY " in said(server)
        assert DESCRIPTION not in said(server)
    asyncio.run(ask_for_a_type(db_pair.source))
    assert DESCRIPTION in said(db_pair.source_server)
