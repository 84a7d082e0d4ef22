"""Collations: those that the tables need and the target lacks, and those that order text differently there.

Another order of text is another order of indexes and of ranges; equality stays what it is (only a nondeterministic
collation says otherwise), so unique means the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from psycopg.sql import SQL, Composable

from pghaul.model.finding import Finding, Kind, Severity
from pghaul.model.table import Name, Table
from pghaul.model.text import Text, joined, say
from pghaul.postgres.session import Session
from pghaul.postgres.versions import Capabilities

# The database's own collation. Columns came over the years; NULL where a server has none.
_DATABASE = SQL(
    """
SELECT d.datcollate::text, {provider}, {locale}, {version}
  FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()
"""
)
# Collations of columns and indexes of these relations, by (schema, name); "default" says nothing.
_USED = SQL(
    """
SELECT n.nspname::text, l.collname::text, {provider}, coalesce({locale}, l.collcollate::text), {version},
       pg_catalog.min(u.relation), pg_catalog.bool_or(l.oid >= 16384)
  FROM (SELECT a.attcollation AS oid, a.attrelid::regclass::text AS relation FROM pg_catalog.pg_attribute AS a
         WHERE a.attrelid = ANY (%s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT pg_catalog.unnest(i.indcollation::oid[]), i.indrelid::regclass::text FROM pg_catalog.pg_index AS i
         WHERE i.indrelid = ANY (%s::oid[])) AS u
  JOIN pg_catalog.pg_collation AS l ON l.oid = u.oid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = l.collnamespace
 WHERE l.collname NOT IN ('default', 'C', 'POSIX', 'ucs_basic')
 GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2
"""
)
_THERE = SQL(
    """
SELECT n.nspname::text, l.collname::text, {provider}, coalesce({locale}, l.collcollate::text), {version}
  FROM pg_catalog.pg_collation AS l JOIN pg_catalog.pg_namespace AS n ON n.oid = l.collnamespace
 WHERE l.collencoding IN (-1, (SELECT d.encoding FROM pg_catalog.pg_database AS d
                                WHERE d.datname = pg_catalog.current_database()))
"""
)
PROVIDERS = {"c": "libc", "i": "ICU", "b": say("built in"), "d": say("the default")}
ORDER = say(
    "text is ordered otherwise there: indexes on text, ranges and merges by text; what is equal and unique stays so"
)
INSTALL = say("install the locale on the target's machine, then SELECT pg_import_system_collations('pg_catalog')")
ICU = say("a server built with ICU is needed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Collation:
    """`locale` and `version` are the provider's words."""

    name: Name
    provider: str
    locale: str
    version: str | None
    used_by: str = ""
    own: bool = False  # made by a person, so pg_dump carries it

    @property
    def meaning(self) -> tuple[str, str]:
        """Equal where it is meant to be the same: spellings of encodings differ between systems."""
        return (self.provider, _plain(self.locale))


def findings(source: Session, target: Session, created: Sequence[Table]) -> Iterator[Finding]:
    """`created` are the tables that the target lacks."""
    yield from _databases(source, target)
    used = _used(source, [t.oid for t in created])
    if not used:
        return
    there = _all(target)
    known = {c.name: c for c in there}
    for collation in used:
        if collation.name in known:
            yield from _compared(collation, known[collation.name])
        else:
            yield from _missing(collation, there)


def _databases(source: Session, target: Session) -> Iterator[Finding]:
    ours, theirs = _of_database(source), _of_database(target)
    if ours.meaning != theirs.meaning:
        yield Finding(
            severity=Severity.NOTE,
            kind=Kind.COLLATION,
            object=say("database"),
            what=say(
                "the databases order text by {ours} on the source and {theirs} on the target: {order}",
                ours=_words(ours),
                theirs=_words(theirs),
                order=ORDER,
            ),
            code=5333,
        )
    elif ours.provider != "b" and ours.version and theirs.version and ours.version != theirs.version:
        yield Finding(
            severity=Severity.NOTE,
            kind=Kind.COLLATION,
            object=say("database"),
            what=say(
                "{collation} is version {ours} on the source and {theirs} on the target: {order}",
                collation=_words(ours),
                ours=ours.version,
                theirs=theirs.version,
                order=ORDER,
            ),
            code=5334,
        )


def _compared(ours: Collation, theirs: Collation) -> Iterator[Finding]:
    if ours.meaning != theirs.meaning or (ours.version and theirs.version and ours.version != theirs.version):
        yield Finding(
            severity=Severity.NOTE,
            kind=Kind.COLLATION,
            object=str(ours.name),
            what=say(
                "collation {name} of {table} is {ours} on the source and {theirs} on the target: {order}",
                name=str(ours.name),
                table=ours.used_by,
                ours=_versioned(ours),
                theirs=_versioned(theirs),
                order=ORDER,
            ),
            code=5335,
        )


def _missing(collation: Collation, there: Iterable[Collation]) -> Iterator[Finding]:
    """Of one that pg_dump carries, it is the provider and its locale that must be there."""
    if collation.own:
        same = [c for c in there if c.provider == collation.provider]
        if collation.provider != "b" and not same:
            yield Finding(
                kind=Kind.COLLATION,
                object=str(collation.name),
                what=say(
                    "{table} needs the collation {name}: the target has no collations of {provider}",
                    table=collation.used_by,
                    name=str(collation.name),
                    provider=PROVIDERS.get(collation.provider, collation.provider),
                ),
                where=say("target"),
                advice=ICU if collation.provider == "i" else INSTALL,
                code=5336,
            )
        elif collation.provider == "c" and collation.meaning not in {c.meaning for c in same} | {("c", "c")}:
            yield Finding(
                severity=Severity.WARNING,
                kind=Kind.COLLATION,
                object=str(collation.name),
                what=say(
                    "{table} needs the collation {name}: its locale {locale} is not known there",
                    table=collation.used_by,
                    name=str(collation.name),
                    locale=collation.locale,
                ),
                where=say("target"),
                advice=INSTALL,
                code=5337,
            )
        return
    yield Finding(
        kind=Kind.COLLATION,
        object=str(collation.name),
        what=say(
            "{table} needs the collation {name}: the target does not have it",
            table=collation.used_by,
            name=str(collation.name),
        ),
        where=say("target"),
        advice=INSTALL,
        code=5338,
    )


def _words(collation: Collation) -> Text:
    provider = PROVIDERS.get(collation.provider, collation.provider)
    return say("{locale} ({provider})", locale=collation.locale, provider=provider)


def _versioned(collation: Collation) -> Text:
    return joined(" ", [_words(collation), *([collation.version] if collation.version else [])])


def _plain(locale: str) -> str:
    """en_US.UTF-8 and en_US.utf8 are one; C.UTF-8 is none of them."""
    return re.sub(r"[^a-z0-9.@]", "", locale.lower())


def _of_database(session: Session) -> Collation:
    can = session.server.capabilities
    query = _DATABASE.format(
        provider=SQL("d.datlocprovider::text") if can.parameter_privileges else SQL("'c'"),
        locale=SQL("NULL::text") if not can.parameter_privileges else _database_locale(can),
        version=SQL("d.datcollversion::text") if can.parameter_privileges else SQL("NULL::text"),
    )
    collate, provider, locale, version = session.rows(query)[0]
    return Collation(name=Name("", "database"), provider=provider, locale=locale or collate, version=version)


def _database_locale(can: Capabilities) -> Composable:
    return SQL("d.datlocale::text") if can.builtin_locales else SQL("d.daticulocale::text")


def _parts(can: Capabilities) -> dict[str, Composable]:
    """collprovider and collversion came with 10; where an ICU locale stands has changed twice since."""
    if not can.declarative_partitions:
        return {"provider": SQL("'c'"), "locale": SQL("NULL::text"), "version": SQL("NULL::text")}
    locale = SQL("NULL::text")
    if can.builtin_locales:
        locale = SQL("l.colllocale::text")
    elif can.parameter_privileges:
        locale = SQL("l.colliculocale::text")
    return {"provider": SQL("l.collprovider::text"), "locale": locale, "version": SQL("l.collversion::text")}


def _used(source: Session, oids: Sequence[int]) -> list[Collation]:
    if not oids:
        return []
    rows = source.rows(_USED.format(**_parts(source.server.capabilities)), (list(oids), list(oids)))
    return [
        Collation(name=Name(s, n), provider=p, locale=loc or "", version=v, used_by=by, own=own)
        for s, n, p, loc, v, by, own in rows
    ]


def _all(target: Session) -> list[Collation]:
    rows = target.rows(_THERE.format(**_parts(target.server.capabilities)))
    return [Collation(name=Name(s, n), provider=p, locale=loc or "", version=v) for s, n, p, loc, v in rows]
