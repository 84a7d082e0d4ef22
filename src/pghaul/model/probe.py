"""What a look at one database has found out: of the server, the way to it, and our place on it."""

from __future__ import annotations

from dataclasses import dataclass

from pghaul.model.finding import Finding, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """What the role may do. None: it could not be tried, or the server does not know of such a thing."""

    create_in_database: bool
    temporary: bool
    schemas_to_create_in: tuple[str, ...]
    superuser: bool
    replication: bool
    bypass_row_security: bool | None
    read_all_data: bool | None  # pg_read_all_data
    monitor: bool | None  # pg_monitor
    copy_to: bool
    copy_from: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Times are in seconds. `clock_ahead` is the server's clock minus ours, known to `clock_within`."""

    version: str
    version_num: int
    encoding: str
    time_zone: str
    database: str
    role: str
    standby: bool
    read_only: bool
    encrypted: bool
    tls: str | None  # protocol and cipher, where the server tells
    round_trip: float
    clock_ahead: float
    clock_within: float
    grants: Grants


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """Of a server, in seconds. `clock_ahead` is its clock minus ours, known to `clock_within`."""

    round_trip: float
    clock_ahead: float
    clock_within: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignFacts:
    """What another source than PostgreSQL tells of itself. "" and None: there is no such thing, or it does not tell."""

    product: str  # with its version
    encoding: str = ""
    time_zone: str = ""
    user: str = ""
    granted: tuple[str, ...] = ()  # in its own words
    not_granted: tuple[str, ...] = ()  # of what a run may ask for
    tables: int | None = None  # that are seen there
    unreadable: tuple[str, ...] = ()  # tables that are seen, and may not be read
    read_only: bool | None = None  # nobody can write to it
    encrypted: bool | None = None
    tls: str | None = None  # protocol and cipher
    distance: Distance | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignProbe:
    """As Probe, of a database of another engine. `sslmode` is libpq's word for what its own words mean."""

    engine: str
    url: str  # without password
    sslmode: str  # "": nothing goes over a network
    sslmode_means: str
    facts: ForeignFacts | None
    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        """Whether nothing stands against reading it."""
        return not any(f.severity is Severity.ERROR for f in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """`facts` is None where nobody could connect; the findings then say why."""

    url: str  # without password
    sslmode: str
    sslmode_means: str
    pooler: bool | None
    facts: Facts | None
    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        """Whether nothing stands against using it."""
        return not any(f.severity is Severity.ERROR for f in self.findings)
