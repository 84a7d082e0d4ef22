"""How a test of a database that is not PostgreSQL is shown."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text as Styled

from pghaul.cli import profile_view
from pghaul.model.probe import ForeignFacts, ForeignProbe
from pghaul.model.text import Text, say

GRANTS = 8  # that are named


def show(console: Console, found: ForeignProbe) -> None:
    """`pghaul profile test`."""
    facts: list[tuple[Text, str | Styled]] = [(say("database"), found.url), (say("engine"), found.engine)]
    if found.facts:
        facts += _database(found.facts)
    way = say("{mode}: {meaning}", mode=found.sslmode, meaning=found.sslmode_means)
    facts.append((say("TLS"), way if found.sslmode else found.sslmode_means))
    if found.facts:
        facts += _way_there(found.facts) + _granted(found.facts)
    profile_view.facts_table(console, facts)
    profile_view.findings(console, found.findings)


def _database(facts: ForeignFacts) -> list[tuple[Text, str | Styled]]:
    product = say("{product}, read-only", product=facts.product) if facts.read_only else facts.product
    return [
        (say("server"), product),
        (say("encoding"), facts.encoding),
        (say("time zone"), facts.time_zone),
        (say("user"), facts.user),
        (say("tables"), "" if facts.tables is None else say("{n}", n=facts.tables)),
    ]


def _way_there(facts: ForeignFacts) -> list[tuple[Text, str | Styled]]:
    if facts.encrypted is None:
        used: str = ""
    else:
        used = facts.tls or (say("yes") if facts.encrypted else say("not encrypted"))
    return [(say("TLS in use"), used), *(profile_view.distance_facts(facts.distance) if facts.distance else [])]


def _granted(facts: ForeignFacts) -> list[tuple[Text, str | Styled]]:
    granted = "; ".join(facts.granted[:GRANTS])
    if len(facts.granted) > GRANTS:
        granted = say("{names} and {n} more", names=granted, n=len(facts.granted) - GRANTS)
    return [(say("granted"), granted), (say("not granted"), ", ".join(facts.not_granted))]
