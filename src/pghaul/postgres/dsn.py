"""The one module that turns a URL into the parameters of both drivers and of PostgreSQL's programs.

`resolve` looks everything up once, as libpq would: the URL or conninfo string, then the service file, then
the PG* environment, then defaults, and the password apart from the rest. What comes out is complete, so
neither driver looks anywhere else, and a worker on another machine reaches the same server. What a driver
cannot honour is refused by name.
No message of this module quotes the input: a malformed URL may hold a password at any place.
"""

from __future__ import annotations

import difflib
import getpass
import os
import re
import ssl
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pghaul.model.errors import NotSupportedError, UsageError
from pghaul.model.profile import PUBLIC, Endpoint
from pghaul.model.redaction import know
from pghaul.model.text import say
from pghaul.postgres.userfiles import default_passfile, passfile_line, password_for, service_values

CONNECT_TIMEOUT = "10"
# A dead path is noticed after 30 + 5 × 10 s; the default of most systems is over two hours.
KEEPALIVES = {
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "5",
}
TCP_USER_TIMEOUT_MS = "80000"

SERVICE_ADVICE = say("look at its spelling in ~/.pg_service.conf, or in the file that PGSERVICEFILE names")
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
SESSION_ATTRS = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")
SOCKET_FOLDERS = ("/run/postgresql", "/var/run/postgresql", "/tmp")  # noqa: S108  where servers put sockets

# Secrets of their own, for which an Endpoint has no place.
_SECRET_KEYWORDS = ("sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret")
_MEANINGLESS = (
    "replication",
    "oauth_issuer",
    "oauth_client_id",
    "oauth_scope",
    "sslkeylogfile",
    "servicefile",
)
# Ours, whatever the URL says: the run is found by its name, and psycopg decodes catalogues as UTF-8.
_OURS = ("application_name", "fallback_application_name", "client_encoding")
# TLS options that asyncpg takes from the query of a DSN, under libpq's names.
_ASYNCPG_TLS = (
    *("sslmode", "sslnegotiation", "sslrootcert", "sslcrl", "sslcert", "sslkey"),
    *("ssl_min_protocol_version", "ssl_max_protocol_version"),
)
# What asyncpg has nothing for, and the values that ask nothing of it.
_ASYNCPG_LACKS: dict[str, tuple[str, ...]] = {
    "channel_binding": ("prefer", "disable"),
    "gssencmode": ("prefer", "disable"),
    "gssdelegation": ("0",),
    "require_auth": (),
    "requirepeer": (),
    "sslcertmode": ("allow",),
    "sslcompression": ("0",),
    "sslcrldir": (),
    "sslsni": ("1",),
    "min_protocol_version": ("3.0",),
    "max_protocol_version": ("3.0", "latest"),
}

SEE_EXAMPLES = say("see the examples in README.md")
SEE_LIBPQ = say("PostgreSQL's manual, chapter libpq, explains every option of a connection")
PERCENT_ENCODE = say("write %40 for @, %2F for /, %3A for :, %3F for ?, %23 for #, %25 for %")
LEAVE_OUT = say("leave it out")


def resolve(url: str, *, environ: Mapping[str, str] = os.environ, password: str | None = None) -> Endpoint:
    """Everything needed to reach one database; UsageError for what is malformed or has no meaning here."""
    given = _parse(url)
    environment = _from_environment(environ)
    service = given.pop("service", None) or environment.pop("service", None)
    served = service_values(service, environ) if service else {}
    params = environment | served | given
    for source in (given, served):  # a host named there does not go with a hostaddr from elsewhere
        if ("host" in source) != ("hostaddr" in source):
            params.pop("hostaddr" if "host" in source else "host", None)
            break
    secret = password if password is not None else params.get("password")
    for said in (password, *(part.get("password") for part in (environment, served, given))):
        know(said, public=[params.get(keyword, "") for keyword in PUBLIC])  # before anything can be wrong
    params = {k: v for k, v in params.items() if v and k not in ("password", "service", *_OURS)}
    _refuse(params)
    params = _defaults(params)
    _check(params)
    if secret is None:
        secret = _from_passfile(params, environ)
    return Endpoint(params=tuple(sorted(params.items())), password=secret or None)


def keywords_of(words: str) -> dict[str, str]:
    """What a URL or conninfo string says itself, password and all; nothing of the environment. UsageError."""
    found = {k: v for k, v in _parse(words).items() if v and k not in _OURS}
    _refuse(found)
    return found


def psycopg_params(endpoint: Endpoint, *, application_name: str) -> dict[str, Any]:
    """Keyword arguments of psycopg.connect()."""
    params: dict[str, Any] = KEEPALIVES | {"connect_timeout": CONNECT_TIMEOUT}
    if sys.platform == "linux":
        params["tcp_user_timeout"] = TCP_USER_TIMEOUT_MS
    params |= dict(endpoint.params)
    params |= {"application_name": application_name, "client_encoding": "UTF8"}
    if endpoint.password is not None:
        params["password"] = endpoint.password
    return params


def asyncpg_params(endpoint: Endpoint, *, application_name: str) -> dict[str, Any]:
    """Keyword arguments of asyncpg.connect(); NotSupportedError names what asyncpg cannot honour."""
    _refuse_for_asyncpg(endpoint)
    hosts, ports = places(endpoint)
    server_settings = {"application_name": application_name}
    if options := endpoint.get("options"):
        server_settings["options"] = options
    params: dict[str, Any] = {
        "host": hosts,
        "port": ports,
        "user": endpoint.get("user"),
        "database": endpoint.get("dbname"),
        "password": endpoint.password or "",  # never None: asyncpg would search the environment
        "server_settings": server_settings,
        "timeout": _timeout(endpoint, len(hosts)),
        "target_session_attrs": endpoint.get("target_session_attrs", "any"),
        "krbsrvname": endpoint.get("krbsrvname", "postgres"),
        "gsslib": endpoint.get("gsslib") or ("sspi" if sys.platform == "win32" else "gssapi"),
        "statement_cache_size": 0,  # nothing of ours runs twice, and poolers mix prepared statements up
    }
    if endpoint.get("sslrootcert") == "system":
        return params | {
            "ssl": _system_context(endpoint),
            "direct_tls": endpoint.get("sslnegotiation") == "direct",
        }
    tls = {k: endpoint.get(k) for k in _ASYNCPG_TLS if endpoint.get(k)} | {"sslmode": endpoint.get("sslmode", "prefer")}
    return params | {"dsn": "postgresql:///?" + urlencode({"sslnegotiation": "postgres"} | tls)}


@contextmanager
def child_environment(
    endpoint: Endpoint, *, application_name: str, folder: Path | None = None
) -> Iterator[dict[str, str]]:
    """The environment for pg_dump, pg_restore and psql; the password lies in a temporary 0600 file."""
    names = _environment_names()
    ours = {v.upper() for v in names.values()} | {"PGSERVICEFILE", "PGPASSWORD", "PGPASSFILE"}
    env = {k: v for k, v in os.environ.items() if k.upper() not in ours}
    params = {"connect_timeout": CONNECT_TIMEOUT} | dict(endpoint.params) | {"application_name": application_name}
    env |= {names[k]: v for k, v in params.items() if k in names}
    if endpoint.password is None:
        yield env
        return
    with tempfile.TemporaryDirectory(prefix="pghaul-", dir=folder) as private:  # made 0700
        passfile = Path(private) / "pgpass"
        handle = os.open(passfile, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as out:
            out.write(passfile_line(endpoint.password))
        yield env | {"PGPASSFILE": str(passfile)}


def places(endpoint: Endpoint) -> tuple[list[str], list[int]]:
    """Hosts (or addresses, or socket folders) and ports, of one length."""
    hosts = (endpoint.get("hostaddr") or endpoint.get("host")).split(",")
    ports = [int(p or 5432) for p in endpoint.get("port", "5432").split(",")]
    return hosts, (ports * len(hosts) if len(ports) == 1 else ports)


def keepalive_seconds(endpoint: Endpoint) -> tuple[int, int, int, int]:
    """Idle, interval and count for a socket, 0 idle for none; and the TCP user timeout in milliseconds."""
    values = KEEPALIVES | {"tcp_user_timeout": TCP_USER_TIMEOUT_MS} | dict(endpoint.params)
    names = ("keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout")
    idle, interval, count, user_timeout = (int(values[n]) for n in names)
    return (idle if values["keepalives"] != "0" else 0), interval, count, user_timeout


def _parse(url: str) -> dict[str, str]:
    """Libpq's own parser, behind checks for passwords that were not percent-encoded."""
    from psycopg import Error, pq  # noqa: PLC0415  a worker never resolves

    scheme, found, rest = url.strip().partition("://")
    if found and "=" not in scheme:
        if scheme not in ("postgresql", "postgres"):
            raise UsageError(say("the URL does not begin with postgresql://"), advice=SEE_EXAMPLES, code=1001)
        authority, _, path = rest.partition("/")  # as libpq: a ? before the @ belongs to the password
        hosts = authority.partition("@")[2].partition("?")[0]
        if "@" in hosts or "@" in path.partition("?")[0]:
            raise _not_encoded()
    elif "=" not in url:
        raise UsageError(say("neither a postgresql:// URL nor a conninfo string"), advice=SEE_EXAMPLES, code=1002)
    try:
        options = pq.Conninfo.parse(url.strip().encode())
    except Error as exc:
        raise _malformed(str(exc)) from None
    return {o.keyword.decode(): o.val.decode() for o in options if o.val is not None}


def _malformed(complaint: str) -> UsageError:
    """Libpq's complaint quotes the input; only a keyword of libpq itself may come out of it."""
    if found := re.search(r'"(\w+)"\s*$', complaint):
        near = difflib.get_close_matches(found[1], _keywords(), n=1, cutoff=0.7)
        if near:
            return UsageError(
                say("the connection string has an unknown option"),
                advice=say("did you mean {near}?", near=near[0]),
                code=1003,
            )
    return UsageError(
        say("the connection string cannot be read"),
        advice=say("percent-encode special characters of user and password, as in p%40ss for p@ss"),
        code=1004,
    )


def _not_encoded() -> UsageError:
    return UsageError(
        say("the URL is ambiguous: user or password hold a character that has to be percent-encoded"),
        advice=PERCENT_ENCODE,
        code=1005,
    )


def _keywords() -> list[str]:
    from psycopg import pq  # noqa: PLC0415

    return [o.keyword.decode() for o in pq.Conninfo.get_defaults()]


def _environment_names() -> dict[str, str]:
    """Libpq's variable for each keyword that has one."""
    from psycopg import pq  # noqa: PLC0415

    return {o.keyword.decode(): o.envvar.decode() for o in pq.Conninfo.get_defaults() if o.envvar}


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {k: environ[name] for k, name in _environment_names().items() if environ.get(name)}


def _refuse(params: Mapping[str, str]) -> None:
    unknown = sorted(set(params) - set(_keywords()))
    if unknown:  # only a service file can get here; what stands before an equals sign may be a password all the same
        near = difflib.get_close_matches(unknown[0], _keywords(), n=1, cutoff=0.7)
        raise UsageError(
            say("there is an unknown option in the service file"),
            advice=say("did you mean {option}?", option=near[0]) if near else SERVICE_ADVICE,
            code=1083,
        )
    for keyword in _SECRET_KEYWORDS:
        if keyword in params:
            raise NotSupportedError(
                say("the option {keyword} holds a secret and is not supported", keyword=keyword),
                advice=say("use a key file without passphrase, readable by you only"),
                code=5301,
            )
    for keyword in _MEANINGLESS:
        if keyword in params:
            raise NotSupportedError(
                say("the option {keyword} is not supported", keyword=keyword), advice=LEAVE_OUT, code=5302
            )


def _defaults(params: dict[str, str]) -> dict[str, str]:
    """What libpq would assume, spelled out: its compiled-in socket folder differs from build to build."""
    port = params.setdefault("port", "5432")
    if not params.get("host") and not params.get("hostaddr"):
        params["host"] = _default_host(port)
    if not params.get("user"):
        params["user"] = getpass.getuser()
    params.setdefault("dbname", params["user"])
    verify = params.get("sslrootcert") == "system"
    params.setdefault("sslmode", "verify-full" if verify else "prefer")
    return params


def _default_host(port: str) -> str:
    sockets = () if sys.platform == "win32" else SOCKET_FOLDERS
    return next((f for f in sockets if Path(f, f".s.PGSQL.{port}").exists()), "localhost")


def _check(params: Mapping[str, str]) -> None:
    """What libpq would only find when connecting, and then quote."""
    ports = params["port"].split(",")
    if not all(p == "" or (p.isascii() and p.isdigit() and 0 < int(p) < 65536) for p in ports):
        raise UsageError(say("the port is not a number from 1 to 65535"), advice=PERCENT_ENCODE, code=1007)
    for keyword in ("host", "hostaddr"):
        places = params.get(keyword, "").split(",")
        if keyword in params and len(ports) not in (1, len(places)):
            raise UsageError(
                say("{ports} ports do not match {hosts} hosts", ports=len(ports), hosts=len(places)),
                advice=say("give one port for all hosts, or one for each"),
                code=1008,
            )
    for keyword, allowed in (("sslmode", SSL_MODES), ("target_session_attrs", SESSION_ATTRS)):
        if params.get(keyword, allowed[0]) not in allowed:
            raise UsageError(
                say("{keyword} is none of {allowed}", keyword=keyword, allowed=", ".join(allowed)),
                advice=SEE_LIBPQ,
                code=1009,
            )
    if params.get("sslrootcert") == "system" and params["sslmode"] != "verify-full":
        raise UsageError(
            say("sslrootcert=system needs sslmode=verify-full"),
            advice=say("write sslmode=verify-full, or name a file in sslrootcert"),
            code=1010,
        )
    for keyword in ("connect_timeout", *KEEPALIVES, "tcp_user_timeout"):
        if not re.fullmatch(r"-?\d{1,9}", params.get(keyword, "0")):
            raise UsageError(say("{keyword} is not a whole number", keyword=keyword), advice=SEE_LIBPQ, code=1011)


def _from_passfile(params: dict[str, str], environ: Mapping[str, str]) -> str | None:
    """One password for all hosts; where they differ, the file stays with the endpoint for libpq to read."""
    passfile = params.pop("passfile", None) or default_passfile(environ)
    names = (params.get("host") or params["hostaddr"]).split(",")
    ports = params["port"].split(",")
    ports = ports * len(names) if len(ports) == 1 else ports
    found = [
        password_for(passfile, name, port or "5432", params["dbname"], params["user"])
        for name, port in zip(names, ports, strict=True)
    ]
    if len(set(found)) > 1:
        params["passfile"] = passfile
        return None
    return found[0]


def _refuse_for_asyncpg(endpoint: Endpoint) -> None:
    params, place = dict(endpoint.params), endpoint.display
    for keyword, harmless in _ASYNCPG_LACKS.items():
        if keyword in params and params[keyword] not in harmless:
            raise NotSupportedError(
                say(
                    "the option {keyword}={value} is not supported by the relay", keyword=keyword, value=params[keyword]
                ),
                where=place,
                advice=LEAVE_OUT,
                code=5303,
            )
    if "passfile" in params and endpoint.password is None:
        raise NotSupportedError(
            say("the password file gives the hosts different passwords"),
            where=place,
            advice=say("name one host only"),
            code=5304,
        )
    if params.get("load_balance_hosts", "disable") != "disable" and "," in endpoint.get("host"):
        raise NotSupportedError(
            say("the option load_balance_hosts is not supported with several hosts"),
            where=place,
            advice=LEAVE_OUT,
            code=5305,
        )
    if params.get("host", "").startswith("@"):
        raise NotSupportedError(
            say("a socket in the abstract namespace is not supported by the relay"),
            where=place,
            advice=say("name the folder of the server's socket, or its host and port"),
            code=5306,
        )
    named = params.get("hostaddr") and params.get("host") not in (None, params["hostaddr"])
    if named and params.get("sslmode") == "verify-full":
        raise NotSupportedError(
            say("the option hostaddr is not supported with sslmode=verify-full"),
            where=place,
            advice=LEAVE_OUT,
            code=5307,
        )


def _timeout(endpoint: Endpoint, hosts: int) -> float | None:
    """Libpq's is per host, asyncpg's for all of them; 0 means for ever, and 1 is too short for both."""
    seconds = int(endpoint.get("connect_timeout", CONNECT_TIMEOUT))
    return float(max(2, seconds) * hosts) if seconds > 0 else None


def _system_context(endpoint: Endpoint) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["postgresql"])
    if cert := endpoint.get("sslcert"):
        context.load_cert_chain(cert, endpoint.get("sslkey") or None)
    return context
