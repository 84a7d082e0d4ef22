"""Databases for one test each, cloned from templates: a clone takes a tenth of what building one takes."""

from __future__ import annotations

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


@dataclass(frozen=True, kw_only=True)
class DatabasePair:
    """Two fresh databases by URL, and the servers they are on."""

    source: str
    target: str
    source_server: Cluster
    target_server: Cluster


def template(cluster: Cluster, script: str) -> str:
    """The name of a template database that this SQL script built; built on first use, once per server."""
    name = "template_" + hashlib.blake2b(script.encode(), digest_size=8).hexdigest()
    with psycopg.connect(cluster.url(), autocommit=True) as admin:
        known = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        if known:
            return name
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(name)))
    with psycopg.connect(cluster.url(name), autocommit=True) as builder:
        builder.execute(script.encode())
    return name


def clone(cluster: Cluster, origin: str, kind: str) -> str:
    """A fresh database of this template; its name."""
    name = f"{kind}_{os.getpid()}_{next(_numbers)}"
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(origin))
    with psycopg.connect(cluster.url(), autocommit=True) as admin:
        admin.execute(statement)
    return name


def drop(cluster: Cluster, name: str) -> None:
    """End its sessions and drop it."""
    with psycopg.connect(cluster.url(), autocommit=True) as admin:
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
