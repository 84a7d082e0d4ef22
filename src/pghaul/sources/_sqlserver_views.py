"""Of CREATE VIEW its query alone: what stands behind AS, without WITH CHECK OPTION."""

from __future__ import annotations

import re

# Comments, strings and quoted names are one token each, so that no word inside of them counts.
_TOKEN = re.compile(
    r"--[^\n]*|/\*.*?\*/|N?'(?:[^']|'')*'|\[(?:[^\]]|\]\])*\]|\"(?:[^\"]|\"\")*\"|[\w@#$]+|\s+|.", re.DOTALL
)
_CHECKED = re.compile(r"\s+WITH\s+CHECK\s+OPTION\s*;?\s*$", re.IGNORECASE)


def query_of(text: str) -> str | None:
    """None where it is not understood. Names of columns that stand behind the view's own are put around the query."""
    words = [(m.group(), m.end()) for m in _TOKEN.finditer(text) if not _is_space(m.group())]
    place = next((i for i, (w, _) in enumerate(words) if w.upper() == "VIEW"), None)
    begin = next((i for i, (w, _) in enumerate(words) if w.upper() == "AS" and place is not None and i > place), None)
    if place is None or begin is None:
        return None
    query = _CHECKED.sub("", text[words[begin][1] :]).strip().rstrip(";").rstrip()
    columns = _columns([w for w, _ in words[place + 1 : begin]])
    if not query:
        return None
    return f"SELECT * FROM ({query}\n) AS v ({columns})" if columns else query  # noqa: S608 -- it is read, not run


def _is_space(token: str) -> bool:
    return token.isspace() or token.startswith(("--", "/*"))


def _columns(head: list[str]) -> str:
    """Of: dbo . name ( a , b ) WITH SCHEMABINDING."""
    if "(" not in head or ")" not in head:
        return ""
    return ", ".join(w for w in head[head.index("(") + 1 : head.index(")")] if w != ",")
