"""How profiles, what a test of one found, and what an import did are shown. There is no password in any of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text as Styled

from pghaul.cli import render
from pghaul.cli.grid import grid
from pghaul.cli.words import tell
from pghaul.model.finding import Finding, Severity
from pghaul.model.probe import Facts, Grants, Probe
from pghaul.model.profile import Endpoint, PasswordFrom, Profile, Way
from pghaul.model.text import Text, joined, say
from pghaul.service.endpoint_url import storable_url

if TYPE_CHECKING:
    from pghaul.service.profile_file import Imported

NONE_YET = say("There is no profile yet: pghaul profile add NAME URL")
NOTHING_WRONG = say("Nothing is wrong.")
WAYS = {
    PasswordFrom.KEPT: say("kept, encrypted"),
    PasswordFrom.PGPASS: say("as psql finds it: PGPASSWORD, the service file, ~/.pgpass"),
    PasswordFrom.PROMPT: say("asked for each time"),
}
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
        "url": _url(profile),
        "params": dict(profile.params),
        "password_from": profile.way.spelled,
        "sslmode": dict(profile.params).get("sslmode"),
        "sslmode_means": _meaning(profile),
        "note": profile.note,
        "changed": profile.changed,
    }


def imported_data(done: Imported) -> dict[str, Any]:
    """What became of one profile of a file."""
    return {"name": done.name, "fate": done.fate.value, "password": done.password, "why": done.why}


def probe_data(found: Probe) -> dict[str, Any]:
    """A test as JSON has it."""
    from dataclasses import asdict  # noqa: PLC0415

    return {**asdict(found), "usable": found.usable}


def listing(console: Console, found: Sequence[Profile]) -> None:
    """`pghaul profile list`."""
    if not found:
        render.line(console, NONE_YET)
        return
    table = grid(say("name"), say("database"), say("password"), say("TLS"), say("note"))
    for profile in found:
        mode = dict(profile.params).get("sslmode", "")
        render.row(table, profile.name, _place(profile), _kind(profile.way), mode, profile.note)
    console.print(table)


def show(console: Console, profile: Profile) -> None:
    """`pghaul profile show`."""
    facts: list[tuple[Text, str | Styled]] = [(say("name"), profile.name), (say("database"), _url(profile))]
    facts += [(say("password"), _way(profile.way)), (say("TLS"), _mode(profile)), (say("note"), profile.note)]
    if profile.changed:
        facts.append((say("changed"), f"{profile.changed.astimezone():%Y-%m-%d %H:%M:%S}"))
    _table(console, facts)


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
    _table(console, facts)
    _findings(console, found.findings)


def imported(console: Console, done: Iterable[Imported]) -> None:
    """`pghaul profile import`."""
    table = grid("", "", "")
    table.show_header = False
    for one in done:
        render.row(table, one.name, FATES[one.fate.value], one.why or "")
    console.print(table)


def _table(console: Console, facts: Iterable[tuple[Text, str | Styled]]) -> None:
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
    clock = say(
        "{seconds:+.3f} s against ours, give or take {within:.3f} s",
        seconds=facts.clock_ahead,
        within=facts.clock_within,
    )
    return [
        (say("TLS in use"), tls),
        (say("round trip"), say("{ms:.1f} ms", ms=facts.round_trip * 1000)),
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


def _findings(console: Console, found: Sequence[Finding]) -> None:
    if not found:
        render.line(console, NOTHING_WRONG, "green")
    for finding in found:
        console.print(Styled(tell(finding.what), style=SIGNS[finding.severity]), soft_wrap=True)
        if finding.advice:
            render.line(console, joined("", ["  ", render.TRY.format(advice=finding.advice)]), "cyan")


def _url(profile: Profile) -> str:
    return storable_url(Endpoint(params=profile.params))


def _place(profile: Profile) -> str:
    return Endpoint(params=profile.params).display if dict(profile.params).get("host") else _url(profile)


def _kind(way: Way) -> str:
    return way.kind.value


def _way(way: Way) -> Text:
    if way.kind is PasswordFrom.ENV:
        return say("from the variable {name}", name=way.detail)
    if way.kind is PasswordFrom.COMMAND:
        return say("from the program: {command}", command=way.detail)
    return WAYS[way.kind]


def _mode(profile: Profile) -> Styled:
    from pghaul.postgres import tls  # noqa: PLC0415

    endpoint = Endpoint(params=profile.params)
    said = dict(profile.params).get("sslmode")
    shown = tell(say("{mode}: {meaning}", mode=said or tls.UNSAID, meaning=tls.meaning(endpoint)))
    return Styled(shown, style="green" if tls.is_safe(endpoint) else "yellow")


def _meaning(profile: Profile) -> Text:
    from pghaul.postgres import tls  # noqa: PLC0415

    return tls.meaning(Endpoint(params=profile.params))
