"""How to reach one database. The secret itself never stands here."""

from __future__ import annotations

from dataclasses import dataclass, field

from pghaul.model.redaction import know

PUBLIC = ("user", "dbname", "host")  # a password that says the same is not hidden where they are named


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One PostgreSQL database, resolved from URL, service file and environment.

    `params` are libpq's keywords without the password. `password` is kept out of repr, str, logs and pickles of
    anything but the worker's initialiser.
    """

    params: tuple[tuple[str, str], ...]
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.keep_secret()

    def keep_secret(self) -> None:
        """From now on no word of this process shows the password. A worker, who unpickles it, says so itself."""
        know(self.password, public=[self.get(keyword) for keyword in PUBLIC])

    def get(self, keyword: str, default: str = "") -> str:
        """One libpq keyword, or the default."""
        return dict(self.params).get(keyword, default)

    @property
    def display(self) -> str:
        """A URL without password, for plans, logs and the screen."""
        hosts = self.get("host", "localhost").split(",")
        ports = (self.get("port", "5432").split(",") * len(hosts))[: len(hosts)]
        place = ",".join(f"{h}:{p}" for h, p in zip(hosts, ports, strict=True) if not h.startswith("/"))
        query = "" if place else f"?host={hosts[0]}&port={ports[0]}"
        return f"postgresql://{self.get('user')}@{place}/{self.get('dbname')}{query}"
