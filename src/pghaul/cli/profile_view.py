"""How profiles, what a test of one found, and what an import did are shown. There is no password in any of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text as Styled

from pghaul.cli import render
from pghaul.cli.grid import grid
from pghaul.cli.words import tell
from pghaul.model.errors import PghaulError
from pghaul.model.finding import Finding, Severity
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.probe import Distance, Facts, ForeignProbe, Grants, Probe
from pghaul.model.profile import POSTGRESQL, Endpoint, PasswordFrom, Profile
from pghaul.model.text import Text, joined, say
from pghaul.service.profile_place import url_of

if TYPE_CHECKING:
    from pghaul.service.profile_file import Imported

NONE_YET = say("There is no profile yet: pghaul profile add NAME URL")
NOTHING_WRONG = say("Nothing is wrong.")
WAYS = {
    PasswordFrom.KEPT: say("kept, encrypted"),
    PasswordFrom.PGPASS: say("as psql finds it: PGPASSWORD, the service file, ~/.pgpass"),
    PasswordFrom.PROMPT: say("asked for each time"),
}
WITHOUT = say("as its driver finds it, or none; PGHAUL_SOURCE_PASSWORD works too")
FATES = {
    "added": say("added"),
    "replaced": say("replaced"),
    "left": say("left as it is"),
    "refused": say("refused"),
}
SIGNS = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: ""}
SCHEMAS = 5  # that are named


def as_data(profile: Profile) -> dict[str, Any]:
    """A profile as JSON has it."""
    return {
        "name": profile.name,
        "engine": profile.engine,
        "url": url_of(profile),
        "params": dict(profile.params),
        "password_from": profile.way.spelled,
        "sslmode": _sslmode(profile),
        "sslmode_means": _meaning(profile),
        "note": profile.note,
        "changed": profile.changed,
    }


def imported_data(done: Imported) -> dict[str, Any]:
    """What became of one profile of a file."""
    return {"name": done.name, "fate": done.fate.value, "password": done.password, "why": done.why}


def probe_data(found: Probe | ForeignProbe) -> dict[str, Any]:
    """A test as JSON has it."""
    from dataclasses import asdict  # noqa: PLC0415

    return {"engine": POSTGRESQL, **asdict(found), "usable": found.usable}


def listing(console: Console, found: Sequence[Profile]) -> None:
    """`pghaul profile list`."""
    if not found:
        render.line(console, NONE_YET)
        return
    table = grid(say("name"), say("engine"), say("database"), say("password"), say("TLS"), say("note"))
    for profile in found:
        way, mode = _kind(profile), _sslmode(profile) or ""
        render.row(table, profile.name, profile.engine, _place(profile), way, mode, profile.note)
    console.print(table)


def show(console: Console, profile: Profile) -> None:
    """`pghaul profile show`."""
    facts: list[tuple[Text, str | Styled]] = [(say("name"), profile.name), (say("engine"), profile.engine)]
    facts += [(say("database"), url_of(profile)), (say("password"), _way(profile))]
    facts += [(say("TLS"), _mode(profile)), (say("note"), profile.note)]
    if profile.changed:
        facts.append((say("changed"), f"{profile.changed.astimezone():%Y-%m-%d %H:%M:%S}"))
    facts_table(console, facts)


def probed(console: Console, found: Probe) -> None:
    """`pghaul profile test`."""
    facts: list[tuple[Text, str | Styled]] = [(say("database"), found.url)]
    if found.facts:
        facts += _server(found.facts)
    facts.append((say("sslmode"), say("{mode}: {meaning}", mode=found.sslmode, meaning=found.sslmode_means)))
    if found.facts:
        facts += _way_there(found.facts) + _granted(found.facts.grants)
    if found.pooler is not None:
        facts.append((say("pooler"), say("yes") if found.pooler else say("none between us and the server")))
    facts_table(console, facts)
    findings(console, found.findings)


def imported(console: Console, done: Iterable[Imported]) -> None:
    """`pghaul profile import`."""
    table = grid("", "", "")
    table.show_header = False
    for one in done:
        render.row(table, one.name, FATES[one.fate.value], one.why or "")
    console.print(table)


def facts_table(console: Console, facts: Iterable[tuple[Text, str | Styled]]) -> None:
    """Words and what is to be said of them; what is empty is left out."""
    table = grid("", "")
    table.show_header = False
    for name, value in facts:
        if value:
            render.row(table, Styled(tell(name), style="bold"), value)
    console.print(table)


def _server(facts: Facts) -> list[tuple[Text, str | Styled]]:
    kind = say("standby") if facts.standby else say("primary")
    version = say("PostgreSQL {version}, {kind}", version=facts.version, kind=kind)
    if facts.read_only and not facts.standby:
        version = say("PostgreSQL {version}, read-only", version=facts.version)
    return [
        (say("server"), version),
        (say("encoding"), facts.encoding),
        (say("time zone"), facts.time_zone),
        (say("role"), facts.role),
    ]


def _way_there(facts: Facts) -> list[tuple[Text, str | Styled]]:
    tls = facts.tls or (say("yes") if facts.encrypted else say("not encrypted"))
    distance = Distance(round_trip=facts.round_trip, clock_ahead=facts.clock_ahead, clock_within=facts.clock_within)
    return [(say("TLS in use"), tls), *distance_facts(distance)]


def distance_facts(distance: Distance) -> list[tuple[Text, str | Styled]]:
    """How far away it is."""
    clock = say(
        "{seconds:+.3f} s against ours, give or take {within:.3f} s",
        seconds=distance.clock_ahead,
        within=distance.clock_within,
    )
    return [
        (say("round trip"), say("{ms:.1f} ms", ms=distance.round_trip * 1000)),
        (say("its clock"), clock),
    ]


def _granted(grants: Grants) -> list[tuple[Text, str | Styled]]:
    schemas = ", ".join(grants.schemas_to_create_in[:SCHEMAS])
    if len(grants.schemas_to_create_in) > SCHEMAS:
        schemas = say("{names} and {n} more", names=schemas, n=len(grants.schemas_to_create_in) - SCHEMAS)
    rights = {
        "CREATE": grants.create_in_database,
        "TEMPORARY": grants.temporary,
        "COPY TO": grants.copy_to,
        "COPY FROM": grants.copy_from,
        "superuser": grants.superuser,
        "replication": grants.replication,
        "BYPASSRLS": grants.bypass_row_security,
        "pg_read_all_data": grants.read_all_data,
        "pg_monitor": grants.monitor,
    }
    return [
        (say("granted"), ", ".join(k for k, v in rights.items() if v)),
        (say("not granted"), ", ".join(k for k, v in rights.items() if v is False)),
        (say("not tried"), ", ".join(k for k, v in rights.items() if v is None)),
        (say("tables may be made in"), schemas),
    ]


def findings(console: Console, found: Sequence[Finding]) -> None:
    """What is wrong, and what helps."""
    if not found:
        render.line(console, NOTHING_WRONG, "green")
    for finding in found:
        console.print(Styled(tell(finding.what), style=SIGNS[finding.severity]), soft_wrap=True)
        if finding.advice:
            render.line(console, joined("", ["  ", render.TRY.format(advice=finding.advice)]), "cyan")


def _place(profile: Profile) -> str:
    if profile.engine == POSTGRESQL and dict(profile.params).get("host"):
        return Endpoint(params=profile.params).display
    return url_of(profile)


def _kind(profile: Profile) -> str:
    if profile.engine != POSTGRESQL and profile.way.kind is PasswordFrom.PGPASS:
        return ""
    return profile.way.kind.value


def _way(profile: Profile) -> Text:
    way = profile.way
    if way.kind is PasswordFrom.ENV:
        return say("from the variable {name}", name=way.detail)
    if way.kind is PasswordFrom.COMMAND:
        return say("from the program: {command}", command=way.detail)
    if profile.engine != POSTGRESQL and way.kind is PasswordFrom.PGPASS:
        return WITHOUT
    return WAYS[way.kind]


def _sslmode(profile: Profile) -> str | None:
    """As it was said; of another database, what its own words come to."""
    if profile.engine == POSTGRESQL:
        return dict(profile.params).get("sslmode")
    from pghaul.sources.protocol import sslmode_of  # noqa: PLC0415

    try:
        return sslmode_of(ForeignEndpoint(engine=profile.engine, params=profile.params))
    except PghaulError:  # its engine is not installed here
        return None


def _mode(profile: Profile) -> Styled | str:
    from pghaul.postgres import tls  # noqa: PLC0415

    said = _sslmode(profile)
    if profile.engine != POSTGRESQL:
        return _foreign_mode(said, ForeignEndpoint(engine=profile.engine, params=profile.params))
    endpoint = Endpoint(params=profile.params)
    shown = tell(say("{mode}: {meaning}", mode=said or tls.UNSAID, meaning=tls.meaning(endpoint)))
    return Styled(shown, style="green" if tls.is_safe(endpoint) else "yellow")


def _foreign_mode(said: str | None, endpoint: ForeignEndpoint) -> Styled | str:
    from pghaul.postgres import tls  # noqa: PLC0415

    if said is None:
        return ""
    means = tls.worth(said, endpoint)
    shown = tell(say("{mode}: {meaning}", mode=said, meaning=means) if said else means)
    return Styled(shown, style="yellow" if said in tls.UNVERIFIED and not tls.is_local(endpoint) else "green")


def _meaning(profile: Profile) -> Text | None:
    from pghaul.postgres import tls  # noqa: PLC0415

    if profile.engine == POSTGRESQL:
        return tls.meaning(Endpoint(params=profile.params))
    said = _sslmode(profile)
    return None if said is None else tls.worth(said, ForeignEndpoint(engine=profile.engine, params=profile.params))
