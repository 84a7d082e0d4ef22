"""Databases for one test each, cloned from templates: a clone takes a tenth of what building one takes.

Two thousand are made and dropped by one run of the tests. So it is done in one session per server, which stays open,
and by copying files (11 ms of CPU with the drop; by way of the log, as 15 and later would, 25 ms).
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from pghaul.service.embedded import Cluster

_numbers = itertools.count(1)
_admins: dict[str, psycopg.Connection] = {}  # by URL: servers that have gone leave one behind, which is found dead


@dataclass(frozen=True, kw_only=True)
class DatabasePair:
    """Two fresh databases by URL, and the servers they are on."""

    source: str
    target: str
    source_server: Cluster
    target_server: Cluster


def _admin(cluster: Cluster) -> psycopg.Connection:
    """A session on that server, as good as new."""
    url = cluster.url()
    known = _admins.get(url)
    if known is not None:
        with contextlib.suppress(psycopg.OperationalError):
            known.execute("SELECT 1")
            return known
        known.close()
    _admins[url] = psycopg.connect(url, autocommit=True)
    return _admins[url]


@atexit.register
def _close() -> None:
    for session in _admins.values():
        session.close()


def _create(admin: psycopg.Connection, name: str, origin: str, *, encoding: str = "") -> None:
    words = [sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(origin))]
    if encoding:
        words.append(sql.SQL("ENCODING {}").format(sql.Literal(encoding)))
    if admin.info.server_version >= 150000:
        words.append(sql.SQL("STRATEGY file_copy"))
    admin.execute(sql.SQL(" ").join(words))


def template(cluster: Cluster, script: str) -> str:
    """The name of a template database that this SQL script built; built on first use, once per server."""
    name = "template_" + hashlib.blake2b(script.encode(), digest_size=8).hexdigest()
    admin = _admin(cluster)
    if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
        return name
    _create(admin, name, "template0", encoding="UTF8")
    with psycopg.connect(cluster.url(name), autocommit=True) as builder:
        builder.execute(script.encode())
    return name


def clone(cluster: Cluster, origin: str, kind: str) -> str:
    """A fresh database of this template; its name."""
    name = f"{kind}_{os.getpid()}_{next(_numbers)}"
    _create(_admin(cluster), name, origin)
    return name


def drop(cluster: Cluster, name: str) -> None:
    """End its sessions and drop it."""
    admin = _admin(cluster)
    force = sql.SQL("WITH (FORCE)" if admin.info.server_version >= 130000 else "")
    if admin.info.server_version < 130000:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
    admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} {}").format(sql.Identifier(name), force))


@contextmanager
def database_pair(
    source: Cluster, target: Cluster, *, source_sql: str = "", target_sql: str = ""
) -> Iterator[DatabasePair]:
    """Clone both databases from the templates of these scripts, and drop them afterwards."""
    names = (
        clone(source, template(source, source_sql), "source"),
        clone(target, template(target, target_sql), "target"),
    )
    try:
        yield DatabasePair(
            source=source.url(names[0]),
            target=target.url(names[1]),
            source_server=source,
            target_server=target,
        )
    finally:
        drop(source, names[0])
        drop(target, names[1])
