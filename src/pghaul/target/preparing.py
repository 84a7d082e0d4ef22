"""`target prepare`: a role, a database, schemas and extensions, as they are wanted; what is there already stays.

Each step looks first and is a statement of its own (CREATE DATABASE goes into no transaction), so it may be done again
whenever it was cut off. What this role may not do is handed over as SQL, for somebody who may. A password never leaves
this process: the server is given what it would keep of it, and the SQL that is shown asks for it by psql's \\password.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from psycopg.sql import SQL, Composable, Identifier, Literal

from pghaul.model.errors import AccessError, NotFoundError, PghaulError
from pghaul.model.profile import Endpoint
from pghaul.model.text import say
from pghaul.model.upkeep import Fate, Preparation, Step, Wanted
from pghaul.postgres.session import Session, connect
from pghaul.target import _preparing_sql as sql

MAINTENANCE = ("postgres", "template1")  # where a database is created from, while it is not there
NO_DATABASE = "3D000"
REFUSALS = frozenset({"42501", "0LP01", "28000"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where we are connected, and what is wanted there; without a session nothing is there yet."""

    session: Session
    wanted: Wanted
    empty: bool = False

    def do(self, step: Step, statement: Composable, *, secret: Composable | None = None) -> Step:
        """`secret` is what is executed in place of what is shown."""
        shown = replace(step, sql=f"{statement.as_string()};")
        if self.wanted.only_print or self.empty or (step.kind != "role" and self._lacks_owner()):
            return replace(shown, fate=Fate.TO_DO)
        try:
            self.session.execute(SQL("{}").format(secret or statement))
        except AccessError as exc:
            if exc.sqlstate not in REFUSALS:
                raise
            return replace(shown, fate=Fate.REFUSED, note=exc.message)
        return replace(shown, fate=Fate.MADE)

    def _lacks_owner(self) -> bool:
        """What is to belong to a role waits for it."""
        return bool(self.wanted.owner) and not self.session.rows(sql.ROLE, (self.wanted.owner,))


def prepare(endpoint: Endpoint, wanted: Wanted) -> Preparation:
    """Look, and make what is missing. AccessError where even looking is refused."""
    steps: list[Step] = []
    with _server(endpoint, wanted.database) as session:
        place = _Place(session=session, wanted=wanted)
        steps += _on_server(place)
        there = bool(session.rows(sql.DATABASE, (wanted.database,)))
        if not there:
            steps += _inside(_unseen(place))
    if there:
        try:
            with connect(_to(endpoint, wanted.database), application_name="pghaul/prepare", role="target") as session:
                steps += _inside(_Place(session=session, wanted=wanted))
        except AccessError as exc:
            with _server(endpoint, "") as session:  # not into it: all of it is for somebody else
                steps += [
                    replace(s, fate=Fate.REFUSED, note=exc.message)
                    for s in _inside(_unseen(_Place(session=session, wanted=wanted)))
                ]
    url = replace(_to(endpoint, wanted.database), password=None)
    told = tuple(_handed_over(steps))
    return Preparation(url=url.display, steps=told, sql=_script(told))


def _unseen(place: _Place) -> _Place:
    """The same of a database that nobody can look into: all of it is to be done."""
    return replace(place, empty=True)


def _to(endpoint: Endpoint, database: str) -> Endpoint:
    return replace(endpoint, params=tuple(sorted({**dict(endpoint.params), "dbname": database}.items())))


def _server(endpoint: Endpoint, wanted: str) -> Session:
    """To any database of this server but the one that may not be there yet."""
    named = [n for n in (endpoint.get("dbname"), *MAINTENANCE) if n]
    names = list(dict.fromkeys([*(n for n in named if n != wanted), wanted or named[0]]))
    if endpoint.get("dbname") == wanted:
        names = list(dict.fromkeys([*MAINTENANCE, wanted]))
    first: PghaulError | None = None
    for name in names:
        try:
            return connect(_to(endpoint, name), application_name="pghaul/prepare", role="target")
        except AccessError as exc:
            if exc.sqlstate not in {NO_DATABASE, "42501"} and not _is_about_database(exc):
                raise
            first = first or exc
    raise first or NotFoundError(say("no database of this server lets us in"), where=endpoint.display, code=5272)


def _is_about_database(exc: AccessError) -> bool:
    """pg_hba.conf may let a role into its own database alone."""
    return exc.sqlstate == "28000"


def _on_server(place: _Place) -> Iterator[Step]:
    wanted = place.wanted
    if wanted.owner:
        yield _role(place, wanted.owner)
        if (step := _membership(place, wanted.owner)) is not None:
            yield step
    yield _database(place)
    if wanted.owner:
        yield from _database_rights(place, wanted.owner)


def _role(place: _Place, owner: str) -> Step:
    step = Step(kind="role", name=owner, fate=Fate.THERE)
    found = place.session.rows(sql.ROLE, (owner,))
    if found:
        return step if found[0][0] else replace(step, fate=Fate.DIFFERENT, note=say("it may not log in"))
    statement = sql.CREATE_ROLE.format(role=Identifier(owner))
    password = None if place.wanted.only_print else place.wanted.password()
    secret = None
    if password:
        verifier = Literal(place.session.verifier(owner, password))
        secret = statement + sql.WITH_PASSWORD.format(verifier=verifier)
    done = place.do(step, statement, secret=secret)
    if done.fate is Fate.MADE:
        return done if password else replace(done, note=say("without a password: set one by \\password in psql"))
    return replace(done, sql=f"{done.sql}\n\\password {Identifier(owner).as_string()}")


def _membership(place: _Place, owner: str) -> Step | None:
    """Who gives a database to another role must be able to become that role, unless he is a superuser."""
    session = place.session
    me = session.server.user
    if session.server.superuser or owner == me or session.rows(sql.DATABASE, (place.wanted.database,)):
        return None
    if not session.rows(sql.ROLE, (owner,)):
        return None  # for who makes the role and the database
    kind = "SET" if session.server.capabilities.set_role_option else "MEMBER"
    step = Step(kind="membership", name=f"{me} → {owner}", fate=Fate.THERE)
    if session.value(sql.IS_MEMBER, (owner, kind)):
        return step
    return place.do(step, sql.JOIN_ROLE.format(role=Identifier(owner), me=Identifier(me)))


def _database(place: _Place) -> Step:
    wanted = place.wanted
    step = Step(kind="database", name=wanted.database, fate=Fate.THERE)
    found = place.session.rows(sql.DATABASE, (wanted.database,))
    if found:
        return _compared(step, wanted, *found[0])
    statement: Composable = sql.CREATE_DATABASE.format(database=Identifier(wanted.database))
    if wanted.owner:
        statement += sql.OWNER.format(owner=Identifier(wanted.owner))
    if wanted.template0 or wanted.collation or wanted.ctype or _other_encoding(place.session, wanted.encoding):
        statement += sql.TEMPLATE
    statement += sql.ENCODING.format(encoding=Literal(wanted.encoding))
    if wanted.collation or wanted.ctype:
        either = wanted.collation or wanted.ctype or ""
        statement += sql.LOCALE.format(
            collation=Literal(wanted.collation or either), ctype=Literal(wanted.ctype or either)
        )
    return place.do(step, statement)


def _other_encoding(session: Session, encoding: str) -> bool:
    """template1 can be copied in its own encoding only."""
    found = session.rows(sql.DATABASE, ("template1",))
    return bool(found) and not _same_encoding(found[0][1], encoding)


def _same_encoding(one: str, other: str) -> bool:
    return one.replace("-", "").replace("_", "").upper() == other.replace("-", "").replace("_", "").upper()


def _compared(step: Step, wanted: Wanted, owner: str, encoding: str, collation: str, ctype: str) -> Step:
    asked = [
        ("owner", owner, wanted.owner, owner == wanted.owner),
        ("encoding", encoding, wanted.encoding, _same_encoding(encoding, wanted.encoding)),
        ("LC_COLLATE", collation, wanted.collation, collation == wanted.collation),
        ("LC_CTYPE", ctype, wanted.ctype, ctype == wanted.ctype),
    ]
    other = [f"{what}: {found} ≠ {said}" for what, found, said, same in asked if said and not same]
    return replace(step, fate=Fate.DIFFERENT, note=", ".join(other)) if other else step


def _database_rights(place: _Place, owner: str) -> Iterator[Step]:
    """Of a database that was there, and belongs to somebody else."""
    database = place.wanted.database
    found = place.session.rows(sql.DATABASE, (database,))
    if not found or found[0][0] == owner or not place.session.rows(sql.ROLE, (owner,)):
        return
    step = Step(kind="privilege", name=f"{database}: CONNECT, CREATE → {owner}", fate=Fate.THERE)
    if all(place.session.rows(sql.IN_DATABASE, (owner, owner, database))[0]):
        yield step
        return
    grant = sql.GRANT_DATABASE.format(database=Identifier(database), owner=Identifier(owner))
    yield place.do(step, grant)


def _inside(place: _Place) -> Iterator[Step]:
    for schema in place.wanted.schemas:
        yield from _schema(place, schema)
    for extension in place.wanted.extensions:
        yield _extension(place, extension)


def _schema(place: _Place, schema: str) -> Iterator[Step]:
    owner, database = place.wanted.owner, place.wanted.database
    step = Step(kind="schema", name=schema, fate=Fate.THERE, database=database)
    known = owner if owner and place.session.rows(sql.ROLE, (owner,)) else place.session.server.user
    found = [] if place.empty else place.session.rows(sql.SCHEMA, (known, known, schema))
    if place.empty and schema == "public":
        return  # every database has it
    if not found:
        statement: Composable = sql.CREATE_SCHEMA.format(schema=Identifier(schema))
        if owner:
            statement += sql.AUTHORIZATION.format(owner=Identifier(owner))
        yield place.do(step, statement)
        return
    yield step
    if owner and not (found[0][1] and found[0][2]):
        right = replace(step, kind="privilege", name=f"{schema}: USAGE, CREATE → {owner}")
        yield place.do(right, sql.GRANT_SCHEMA.format(schema=Identifier(schema), owner=Identifier(owner)))


def _extension(place: _Place, extension: str) -> Step:
    step = Step(kind="extension", name=extension, fate=Fate.THERE, database=place.wanted.database)
    if not place.empty and place.session.rows(sql.EXTENSION, (extension,)):
        return step
    found = place.session.rows(sql.AVAILABLE, (extension,))
    if not found:
        return replace(
            step, fate=Fate.MISSING, note=say("this server has no such extension: install its package there")
        )
    statement: Composable = sql.CREATE_EXTENSION.format(extension=Identifier(extension))
    if found[0][0] is None:
        statement += sql.INTO_SCHEMA.format(schema=Identifier(_home(place)))
    return place.do(step, statement)


def _home(place: _Place) -> str:
    """Where an extension goes that does not mind: public, unless somebody has dropped it."""
    me = place.session.server.user
    there = place.empty or place.session.rows(sql.SCHEMA, (me, me, "public"))
    return "public" if there or not place.wanted.schemas else place.wanted.schemas[0]


def _handed_over(steps: list[Step]) -> Iterator[Step]:
    """What waits for something that was refused is refused with it, and not merely to do."""
    refused = False
    for step in steps:
        refused = refused or step.fate is Fate.REFUSED
        yield replace(step, fate=Fate.REFUSED) if refused and step.fate is Fate.TO_DO else step


def _script(steps: Iterable[Step]) -> str:
    """For psql, by somebody who may: all that is still to be done, and no password."""
    lines: list[str] = []
    inside = False
    for step in steps:
        if step.fate not in {Fate.TO_DO, Fate.REFUSED} or not step.sql:
            continue
        if step.database and not inside:
            lines.append(f"\\connect {Identifier(step.database).as_string()}")
            inside = True
        lines.append(step.sql)
    return "".join(f"{line}\n" for line in lines)
