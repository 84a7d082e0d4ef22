"""`target switch`: the settings by which an application finds its new database, in its .env file, and back again.

What was there is made a comment in its place, and a block of ours at the end says the new values: every reader takes
the last one. So `--back` gives the file back byte for byte, whatever else somebody has written into it meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote, urlencode

from pghaul.model.errors import UsageError
from pghaul.model.profile import Endpoint
from pghaul.model.text import say
from pghaul.service import env_file

BEGIN = "# >>> pghaul target switch >>>"
END = "# <<< pghaul target switch <<<"
TAKEN_BACK = "# taken back by: pghaul target switch --back --write FILE"
NEW_FILE, NO_END = "# the file was not there before", "# the line before had no end"
OFF = "#pghaul# "  # before a line of the application that we have switched off
BLOCK = re.compile(rf"{re.escape(BEGIN)}\r?\n(?P<inside>.*?){re.escape(END)}\r?\n?", re.DOTALL)
REFERENCE = "${{{name}}}"


class Format(StrEnum):
    """How an application is told where its database is."""

    ENV = "env"
    SQLALCHEMY = "sqlalchemy"
    JDBC = "jdbc"
    ODBC = "odbc"
    NPGSQL = "npgsql"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """What became of a file, or with None the lines themselves; `changed` is false where it said so already."""

    file: str | None = None
    changed: bool = False
    back: bool = False
    keys: tuple[str, ...] = ()
    text: str = field(default="", repr=False)  # holds a password only where it was asked for


def settings(endpoint: Endpoint, form: Format, password: str) -> dict[str, str]:
    """Names and values; `password` is itself, or a reference such as ${NAME}."""
    host, port = endpoint.get("host") or endpoint.get("hostaddr"), endpoint.get("port", "5432")
    if "," in host or "," in port or host.startswith(("/", "@")):
        raise UsageError(
            say("an application is led to one host, and not to several or to a socket's folder"),
            where=endpoint.display,
            advice=say("name one host in the URL"),
            code=1037,
        )
    forms = [f for f in Format if f is not Format.ALL] if form is Format.ALL else [form]
    found: dict[str, str] = {}
    for each in forms:
        found |= MAKERS[each](endpoint, host, port, password)
    return found


def _env(endpoint: Endpoint, host: str, port: str, password: str) -> dict[str, str]:
    found = {"DB_TYPE": "postgresql", "DB_HOST": host, "DB_PORT": port}
    found |= {"DB_NAME": endpoint.get("dbname"), "DB_USER": endpoint.get("user"), "DB_PASSWORD": password}
    return found | ({"DB_SSLMODE": mode} if (mode := _tls(endpoint)) else {})


def _tls(endpoint: Endpoint) -> str:
    """libpq's own default says nothing."""
    mode = endpoint.get("sslmode")
    return "" if mode in {"", "prefer"} else mode


def _tls_words(endpoint: Endpoint) -> dict[str, str]:
    found = {"sslmode": _tls(endpoint), "sslrootcert": endpoint.get("sslrootcert")}
    return {k: v for k, v in found.items() if v}


def _encoded(password: str) -> str:
    return password if password.startswith("${") else quote(password, safe="")


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _sqlalchemy(endpoint: Endpoint, host: str, port: str, password: str) -> dict[str, str]:
    user, name = quote(endpoint.get("user"), safe=""), quote(endpoint.get("dbname"), safe="")
    query = f"?{urlencode(words)}" if (words := _tls_words(endpoint)) else ""
    url = f"postgresql+psycopg://{user}:{_encoded(password)}@{_in_url(host)}:{port}/{name}{query}"
    return {"DATABASE_URL": url}


def _jdbc(endpoint: Endpoint, host: str, port: str, password: str) -> dict[str, str]:
    words = {"user": endpoint.get("user")} | _tls_words(endpoint)
    place = f"jdbc:postgresql://{_in_url(host)}:{port}/{quote(endpoint.get('dbname'), safe='')}"
    return {"JDBC_URL": f"{place}?{urlencode(words)}&password={_encoded(password)}"}


def _odbc(endpoint: Endpoint, host: str, port: str, password: str) -> dict[str, str]:
    words = {
        "Driver": "{PostgreSQL Unicode}",
        "Server": host,
        "Port": port,
        "Database": _braced(endpoint.get("dbname")),
    }
    words |= {"Uid": _braced(endpoint.get("user")), "Pwd": _braced(password)}
    if mode := _tls(endpoint):
        words["SSLmode"] = mode
    return {"ODBC_CONNECTION": "".join(f"{k}={v};" for k, v in words.items())}


def _braced(value: str) -> str:
    """As ODBC wants what holds its own signs."""
    special = not value.startswith("${") and set(value) & set("[]{}(),;?*=!@ ")
    return "{" + value.replace("}", "}}") + "}" if special else value


def _npgsql(endpoint: Endpoint, host: str, port: str, password: str) -> dict[str, str]:
    words = {"Host": host, "Port": port, "Database": endpoint.get("dbname"), "Username": endpoint.get("user")}
    words["Password"] = password
    if mode := _tls(endpoint):
        words["SSL Mode"] = {"verify-ca": "VerifyCA", "verify-full": "VerifyFull"}.get(mode, mode.capitalize())
    if (root := endpoint.get("sslrootcert")) and root != "system":
        words["Root Certificate"] = root
    return {"NPGSQL_CONNECTION": ";".join(f"{k}={_delimited(v)}" for k, v in words.items())}


def _delimited(value: str) -> str:
    """As .NET's connection strings want what holds their own signs."""
    special = not value.startswith("${") and (set(value) & set(";='\"") or value != value.strip())
    return '"' + value.replace('"', '""') + '"' if special else value


MAKERS: Mapping[Format, Callable[[Endpoint, str, str, str], dict[str, str]]] = {
    Format.ENV: _env,
    Format.SQLALCHEMY: _sqlalchemy,
    Format.JDBC: _jdbc,
    Format.ODBC: _odbc,
    Format.NPGSQL: _npgsql,
}


def lines(new: Mapping[str, str], newline: str = "\n") -> str:
    """As a .env file has them; a reference stays one that its readers follow."""
    return "".join(f"{k}={_value(v)}{newline}" for k, v in new.items())


def _value(value: str) -> str:
    return f'"{value}"' if re.search(r"\$\{\w+\}", value) else env_file.quoted(value)


def switch(path: Path, new: Mapping[str, str]) -> Switched:
    """Write the settings; the same ones again change nothing."""
    there = path.exists()
    text = env_file.text_of(path) if there else ""
    made = switched(text, new, str(path), there=there and not _was_new(text))
    if made != text:
        env_file.save(path, made)
    return Switched(file=str(path), changed=made != text, keys=tuple(new))


def back(path: Path) -> Switched:
    """The file as it was; UsageError where nothing has been switched in it."""
    text = env_file.text_of(path)
    found = BLOCK.search(text)
    if found is None:
        raise UsageError(
            say("nothing has been switched in this file"),
            where=str(path),
            advice=say("name the file that pghaul target switch --write has written"),
            code=1038,
        )
    before = taken_back(text)
    if _was_new(text) and not before:
        path.unlink()
    else:
        env_file.save(path, before)
    return Switched(file=str(path), changed=True, back=True)


def _was_new(text: str) -> bool:
    found = BLOCK.search(text)
    return found is not None and NEW_FILE in found["inside"]


def switched(text: str, new: Mapping[str, str], where: str, *, there: bool = True) -> str:
    """The file with our block at its end, and the application's own values of these keys as comments."""
    before = taken_back(text)
    mark = "\ufeff" if before.startswith("\ufeff") else ""
    newline = "\r\n" if "\r\n" in before else "\n"
    kept = "".join(_off(line.text) if line.key in new else line.text
                   for line in env_file.parsed(before.removeprefix(mark), where))  # fmt: skip
    notes = [TAKEN_BACK, *([] if there else [NEW_FILE])]
    if kept and not kept.endswith("\n"):
        kept, notes = kept + newline, [*notes, NO_END]
    inside = "".join(f"{note}{newline}" for note in notes) + lines(new, newline)
    return f"{mark}{kept}{BEGIN}{newline}{inside}{END}{newline}"


def _off(text: str) -> str:
    """Each line of a value that goes over several."""
    return "".join(OFF + line for line in env_file.LINES.findall(text))


def taken_back(text: str) -> str:
    """What stood there before the switch, with what has been written beside the block since."""
    found = BLOCK.search(text)
    if found is None:
        return text
    before, after = text[: found.start()], text[found.end() :]
    if NO_END in found["inside"] and not after:
        before = before.removesuffix("\r\n" if found[0].startswith(f"{BEGIN}\r\n") else "\n")
    return re.sub(rf"^(\ufeff?){re.escape(OFF)}", r"\1", before + after, flags=re.MULTILINE)
