"""Roles that own what is carried, or are granted something of it: roles belong to a server, and no run makes them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from pghaul.model.finding import Finding, Kind
from pghaul.model.table import Unsupported
from pghaul.model.text import say, saying
from pghaul.postgres.session import Session
from pghaul.target.closure import PARTS, PG_CONSTRAINT, PG_POLICY, PG_REWRITE, PG_TRIGGER, ROW_SECURITY, Key, Thing

PG_DEFAULT_ACL = 826
# Have no owner of their own, and no privileges.
NOT_OWNED = {*PARTS, PG_CONSTRAINT, PG_TRIGGER, PG_REWRITE, PG_POLICY, ROW_SECURITY}

# What the first superuser owns is not in pg_shdepend: it cannot be dropped.
NAMED = """
SELECT s.classid::int8, s.objid::int8, s.deptype::text, r.rolname::text
  FROM pg_catalog.pg_shdepend AS s
  JOIN pg_catalog.pg_roles AS r ON r.oid = s.refobjid
 WHERE s.dbid = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
   AND s.refclassid = 1260 AND s.deptype IN ('o', 'a')
"""
# Grants to PUBLIC, or to the first superuser, are in no pg_shdepend either.
GRANTED = """
SELECT 1259, c.oid::int8 FROM pg_catalog.pg_class AS c WHERE c.relacl IS NOT NULL AND c.oid >= 16384
UNION SELECT 1259, a.attrelid::int8 FROM pg_catalog.pg_attribute AS a WHERE a.attacl IS NOT NULL AND a.attrelid >= 16384
UNION SELECT 1255, p.oid::int8 FROM pg_catalog.pg_proc AS p WHERE p.proacl IS NOT NULL AND p.oid >= 16384
UNION SELECT 1247, t.oid::int8 FROM pg_catalog.pg_type AS t WHERE t.typacl IS NOT NULL AND t.oid >= 16384
UNION SELECT 2615, n.oid::int8 FROM pg_catalog.pg_namespace AS n WHERE n.nspacl IS NOT NULL AND n.oid >= 16384
"""
FIRST = "SELECT r.rolname::text FROM pg_catalog.pg_roles AS r WHERE r.oid = 10"
THERE = "SELECT r.rolname::text, pg_catalog.pg_has_role(r.oid, 'MEMBER') FROM pg_catalog.pg_roles AS r"

LACKS = saying("role {role} owns, or is granted, something that is carried, and the target has no such role")
MAY_NOT = saying("{user} may not make {role} the owner of anything: it is no member of that role")
OWNERS_LEFT = saying("what they own belongs to {user} on the target: owners are carried with --owners")
GRANTS_LEFT = say("what is granted on them is not granted on the target: it is carried with --privileges")


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """`owners` and `grantees` by name; `granted` counts the objects with grants."""

    owners: frozenset[str]
    grantees: frozenset[str]
    granted: int


def named_by(source: Session, things: Sequence[Thing], *, whole: bool) -> Roles:
    """Those of the objects that are to be made."""
    own = {(t.tableoid, t.oid) for t in things if not t.extension and t.tableoid not in NOT_OWNED and t.relkind != "A"}
    owners: dict[Key, str] = {}
    grants: dict[Key, set[str]] = {}
    for classid, oid, kind, role in source.rows(NAMED) if own else []:
        if kind == "o" and (classid, oid) in own:
            owners[classid, oid] = role
        elif kind == "a" and ((classid, oid) in own or (whole and classid == PG_DEFAULT_ACL)):
            grants.setdefault((classid, oid), set()).add(role)
    first = {str(source.value(FIRST))} if own - owners.keys() else set()
    return Roles(
        owners=frozenset(owners.values()) | first,
        # Grants on what a role owns itself may be said of the owner, too.
        grantees=frozenset(r for roles in grants.values() for r in roles)
        | frozenset(owners[key] for key in grants.keys() & owners.keys()),
        granted=len(own & {(classid, oid) for classid, oid in source.rows(GRANTED)}) if own else 0,
    )


def findings(target: Session, roles: Roles, *, owners: bool, privileges: bool) -> Iterator[Finding]:
    """What stands against carrying them."""
    wanted = (roles.owners if owners else frozenset()) | (roles.grantees if privileges else frozenset())
    there = dict(target.rows(THERE)) if wanted else {}
    for role in sorted(wanted - there.keys()):
        yield Finding(
            kind=Kind.ROLE,
            object=role,
            what=LACKS.format(role=role),
            where=say("target"),
            advice=say("create it there (pg_dumpall --roles-only writes it), or go without --owners and --privileges"),
            code=5209,
        )
    user = target.server.user
    for role in sorted(roles.owners) if owners and not target.server.superuser else []:
        if role in there and not there[role]:
            yield Finding(
                kind=Kind.PRIVILEGE,
                object=role,
                what=MAY_NOT.format(user=user, role=role),
                where=say("target"),
                advice=say("GRANT {role} TO {user}, or use a superuser", role=role, user=user),
                code=5105,
            )


def left(target: Session, roles: Roles, *, owners: bool, privileges: bool) -> Iterator[Unsupported]:
    """Briefly, what is not asked for."""
    others: Collection[str] = roles.owners - {target.server.user}
    if others and not owners:
        why = OWNERS_LEFT.format(user=target.server.user)
        yield Unsupported(kind="OWNER", name=", ".join(sorted(others)), why=why)
    if roles.granted and not privileges:
        objects = say("1 object") if roles.granted == 1 else say("{n} objects", n=roles.granted)
        yield Unsupported(kind="PRIVILEGE", name=objects, why=GRANTS_LEFT)
