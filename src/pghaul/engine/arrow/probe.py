"""One look at a database that is not PostgreSQL: what it is, how far away, what may be read, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pghaul.model.errors import PghaulError
from pghaul.model.finding import Finding, Kind, Severity, of_error
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.probe import ForeignFacts, ForeignProbe
from pghaul.model.text import listed, say
from pghaul.postgres import tls
from pghaul.postgres.distance import judged, measured
from pghaul.sources.protocol import Source, Telling, engine_of, sslmode_of

NAMED = 5  # tables that a finding names
UNTOLD = say("its engine does not say")


def probe(endpoint: ForeignEndpoint) -> ForeignProbe:
    """Never raises for what the database or the way to it does: that is a finding."""
    said = sslmode_of(endpoint)
    facts, found = None, list(_of_way(endpoint, said))
    try:
        with engine_of(endpoint.engine).open(endpoint) as source:
            facts = _facts(source)
        found += _of_facts(facts, endpoint)
    except PghaulError as exc:
        found.insert(0, of_error(exc, _object(endpoint)))
    return ForeignProbe(
        engine=endpoint.engine,
        url=endpoint.display,
        sslmode=said or "",
        sslmode_means=UNTOLD if said is None else tls.worth(said, endpoint),
        facts=facts,
        findings=tuple(found),
    )


def _object(endpoint: ForeignEndpoint) -> str:
    return endpoint.get("database") or endpoint.get("path") or endpoint.engine


def _facts(source: Source) -> ForeignFacts:
    if isinstance(source, Telling):
        facts = source.facts()
        if source.clock() is None:  # it is the first answer, which takes longest, too
            return facts
        return replace(facts, distance=measured(lambda: float(source.clock() or 0)))
    found = source.database()
    return ForeignFacts(
        product=found.product, encoding=found.encoding, time_zone=found.timezone, tables=len(found.tables)
    )


def _of_way(endpoint: ForeignEndpoint, said: str | None) -> Iterator[Finding]:
    """About TLS, from what was asked for."""
    if said in tls.UNVERIFIED and not tls.is_local(endpoint):
        yield Finding(
            severity=Severity.WARNING,
            kind=Kind.SETTING,
            object=_object(endpoint),
            what=say("the way to it is {meaning}", meaning=tls.MEANING[said]),
            advice=say("docs/profiles.md says what its URL can ask for"),
            where=endpoint.display,
            code=5376,
        )


def _of_facts(facts: ForeignFacts, endpoint: ForeignEndpoint) -> Iterator[Finding]:
    where, object_ = endpoint.display, _object(endpoint)
    if facts.encrypted is False and not tls.is_local(endpoint):
        yield Finding(
            severity=Severity.WARNING,
            kind=Kind.SETTING,
            object=object_,
            what=say("nothing that goes to and fro is encrypted"),
            advice=say("docs/profiles.md says what its URL can ask for"),
            where=where,
            code=5377,
        )
    if facts.tables == 0:
        yield Finding(
            severity=Severity.WARNING,
            kind=Kind.PRIVILEGE,
            object=facts.user or object_,
            what=say("no table is seen there"),
            advice=say("look at the database's name, and at what the user may read: GRANT SELECT"),
            where=where,
            code=5182,
        )
    if facts.unreadable:
        yield Finding(
            severity=Severity.WARNING,
            kind=Kind.PRIVILEGE,
            object=facts.user or object_,
            what=say(
                "tables that are seen and may not be read: {n} ({names})",
                n=len(facts.unreadable),
                names=listed(facts.unreadable[:NAMED]),
            ),
            advice=say("GRANT SELECT on them, or leave them out: --exclude"),
            where=where,
            code=5183,
        )
    if facts.distance:
        yield from judged(facts.distance, object_, where)
