"""Names of the target, made of the source's by the rule of the plan. What becomes another name is said.

PostgreSQL holds 63 bytes of a name, and cuts the rest off in silence: here a longer one is cut between two characters,
and keeps a suffix of its own, the same in every run.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from hashlib import blake2b

from pghaul.model.plan import Names

LIMIT = 63  # bytes: NAMEDATALEN - 1
MARK = 8  # hexadecimal digits that tell two cut names apart
NOT_A_WORD = re.compile(r"\W+")
UNNAMED = "_"  # PostgreSQL has no empty names; SQLite has


def by_rule(name: str, rule: Names) -> str:
    """As the plan wants it, and as long as PostgreSQL holds it."""
    return cut(ruled(name, rule))


def ruled(name: str, rule: Names) -> str:
    """As the plan wants it, however long."""
    new = name.lower() if rule is Names.LOWER else snake_case(name) if rule is Names.SNAKE else name
    return new.replace("\0", "") or UNNAMED


def snake_case(name: str) -> str:
    """OrderDetails, "Order Details" and orderDetails become order_details; HTTPServer2 http_server2.

    >>> [snake_case(n) for n in ("OrderID", "Order Details", "_id", "ABCDef")]
    ['order_id', 'order_details', '_id', 'abc_def']
    """
    parted = "".join(_parted(name, i) for i in range(len(name)))
    words = re.sub(r"_{2,}", "_", NOT_A_WORD.sub("_", parted))
    lead = "_" if name.startswith("_") else ""
    return lead + words.strip("_").lower()


def _parted(name: str, at: int) -> str:
    """The character, after an underscore where a word begins with it."""
    character, before, after = name[at], name[at - 1 : at], name[at + 1 : at + 2]
    begins = character.isupper() and (before.islower() or before.isdigit() or (before.isupper() and after.islower()))
    return f"_{character}" if begins else character


def cut(name: str, limit: int = LIMIT) -> str:
    """At most `limit` bytes: what is longer keeps whole characters and a mark made of all of it."""
    data = name.encode("utf-8", "surrogatepass")
    if len(data) <= limit:
        return name
    mark = blake2b(data, digest_size=MARK // 2).hexdigest()
    return f"{data[: limit - MARK - 1].decode('utf-8', 'ignore')}_{mark}"


def free(name: str, taken: Collection[str]) -> str:
    """This name, or the first that nobody has: name_1, name_2 …"""
    found, number = cut(name), 0
    while found in taken:
        number += 1
        found = cut(name, LIMIT - len(f"_{number}")) + f"_{number}"
    return found
