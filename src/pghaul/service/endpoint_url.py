"""An endpoint as a URL that may be kept: complete but for its secrets.

`Endpoint.display` is for people and leaves sslmode and its kin out; a resume that went by it would be laxer about TLS
than the run was.
"""

from __future__ import annotations

from urllib.parse import quote, urlencode

from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.profile import Endpoint

SECRET = ("password", "secret", "key_pass")
IN_URL = {"user", "host", "port", "dbname"}


def storable_url(endpoint: Endpoint | ForeignEndpoint) -> str:
    """A URL with every parameter of the endpoint that is not a secret."""
    if isinstance(endpoint, ForeignEndpoint):
        return endpoint.display
    params = {k: v for k, v in endpoint.params if not any(word in k for word in SECRET)}
    rest = {k: v for k, v in params.items() if k not in IN_URL}
    place = _place(params.get("host", ""), params.get("port", ""))
    if place is None:  # sockets and IPv6 with ports of their own are clearer as parameters
        rest = {k: params[k] for k in ("host", "port") if k in params} | rest
    user = f"{quote(params['user'], safe='')}@" if "user" in params else ""
    query = f"?{urlencode(rest, quote_via=quote)}" if rest else ""
    return f"postgresql://{user}{place or ''}/{quote(params.get('dbname', ''), safe='')}{query}"


def _place(host: str, port: str) -> str | None:
    """`host:port[,host:port]`, or None where a URL would have to escape it."""
    hosts = host.split(",")
    if not host or any(set(h) & set("/:@?#%") for h in hosts):
        return None
    ports = port.split(",") if port else []
    if len(ports) == 1:
        ports *= len(hosts)
    if ports and len(ports) != len(hosts):
        return None
    return ",".join(f"{h}:{p}" if p else h for h, p in zip(hosts, ports or [""] * len(hosts), strict=True))
