"""What an sslmode is worth, in words: `require` sounds safer than it is."""

from __future__ import annotations

import ipaddress

from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.profile import Endpoint
from pghaul.model.text import Text, say

MEANING: dict[str, Text] = {
    "disable": say("not encrypted: who listens on the way reads everything"),
    "allow": say("not encrypted unless the server insists: who listens on the way may read everything"),
    "prefer": say("encrypted where the server offers it, and nobody is verified: who is on the way can switch it off"),
    "require": say("encrypted, but the server is not verified: who is on the way can pose as it"),
    "verify-ca": say("encrypted, and the server's certificate is verified, but not that it is this host's"),
    "verify-full": say("encrypted, and the server is verified: safe"),
}
WITHIN = say("within this machine: nothing goes over a network")
UNSAID = say("not said, so prefer")
UNVERIFIED = frozenset({"disable", "allow", "prefer", "require"})


def mode(endpoint: Endpoint) -> str:
    """As libpq takes it: `require` with a root certificate verifies it, as verify-ca does."""
    if endpoint.get("sslrootcert") == "system":
        return "verify-full"
    said = endpoint.get("sslmode", "prefer")
    return "verify-ca" if said == "require" and endpoint.get("sslrootcert") else said


def meaning(endpoint: Endpoint) -> Text:
    """What the endpoint's sslmode does, and what not."""
    return WITHIN if is_local(endpoint) and mode(endpoint) in UNVERIFIED else MEANING[mode(endpoint)]


def worth(said: str, endpoint: ForeignEndpoint) -> Text:
    """The same of another server, of which `said` is what its own words come to. "" is a file."""
    return WITHIN if not said or (is_local(endpoint) and said in UNVERIFIED) else MEANING[said]


def is_local(endpoint: Endpoint | ForeignEndpoint) -> bool:
    """Whether nothing leaves this machine: every host is a socket or a loopback address."""
    hosts = (endpoint.get("hostaddr") or endpoint.get("host")).split(",")
    return any(hosts) and all(_is_here(h) for h in hosts)


def _is_here(host: str) -> bool:
    if host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: who knows what it becomes
        return False


def is_safe(endpoint: Endpoint) -> bool:
    """Whether nobody on the way can read along or pose as the server."""
    return is_local(endpoint) or mode(endpoint) == "verify-full"
