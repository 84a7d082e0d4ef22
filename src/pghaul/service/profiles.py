"""Profiles: databases under names, with their passwords kept, or found when they are needed.

Everything that reaches a database goes through `endpoint()`, so a name works wherever a URL does.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from pghaul.model.errors import NotFoundError, SecretError, TerminalError, UsageError
from pghaul.model.foreign import ForeignEndpoint
from pghaul.model.profile import Endpoint, PasswordFrom, Profile, Way, profile_name
from pghaul.model.redaction import know
from pghaul.model.text import joined, say
from pghaul.service import passwords, sealing
from pghaul.service.keys import KEY, Keys
from pghaul.service.profile_place import endpoint_of, takes_password, url_of

if TYPE_CHECKING:
    from pghaul.store.profiles import Change, Kept
    from pghaul.store.profiles import Profiles as Table
    from pghaul.store.repository import Store

NAMED = 5  # near names that a message lists
KEPT = Way(kind=PasswordFrom.KEPT)


class Profiles:
    """The profiles of one state store; methods raise PghaulError only."""

    def __init__(self, store: Callable[[], Store], environ: Mapping[str, str]) -> None:
        self._open = store
        self._environ = environ
        self._typed: dict[str, str] = {}  # nobody is asked twice by one command

    @cached_property
    def _table(self) -> Table:
        return self._open().profiles

    @cached_property
    def _identity(self) -> str:
        return self._table.identity()

    @cached_property
    def keys(self) -> Keys:
        """The keys of this store."""
        return Keys(self._identity, self._environ)

    # --- look ---

    def all(self) -> list[Profile]:
        """By name."""
        return [kept.profile for kept in self._table.all()]

    def get(self, name: str) -> Profile:
        """NotFoundError names those that are near."""
        return self._required(name).profile

    def endpoint(
        self, name: str, password: str | None = None, fallback: str | None = None
    ) -> Endpoint | ForeignEndpoint:
        """What it takes to connect. `password` said outright wins; `fallback` is for where the profile has none."""
        kept = self._required(name)
        if password is None:
            password = self._password(kept) or fallback
        return endpoint_of(kept.profile, self._environ, password)

    # --- change ---

    def add(self, profile: Profile, password: str | None = None, *, replacing: bool = False) -> Profile:
        """Keep it; UsageError where the name is taken, or leads nowhere that anybody could connect to."""
        checked = self._checked(profile)
        with self._table.changing() as change:
            if not replacing and change.find(checked.name):
                raise UsageError(
                    say("there is a profile {name} already", name=checked.name),
                    advice=say("change it: pghaul profile edit {name}", name=checked.name),
                    code=1071,
                )
            self._put(change, checked, password)
        return checked

    def edit(self, name: str, changed: Callable[[Profile], Profile], password: str | None = None) -> Profile:
        """Change it; a kept password stays, unless another one, or another way to find it, is given."""
        self._required(name)
        with self._table.changing() as change:
            before = self._known(change, name)
            after = self._checked(changed(before.profile))
            if password is None and after.way == KEPT and before.secret:
                if (after.engine, after.params) == (before.profile.engine, before.profile.params):
                    change.put(after, before.secret)
                    return after
                password = self._unsealed(before)  # it is bound to where the profile leads
            self._put(change, after, password)
        return after

    def remove(self, name: str, *, force: bool = False) -> list[str]:
        """Forget it; TerminalError while unfinished runs need it. Returns the runs that were left without."""
        kept = self._required(name)
        runs = self._table.unfinished(kept.profile.name)
        if runs and not force:
            raise TerminalError(
                say("profile {name} is needed by unfinished runs: {runs}", name=name, runs=", ".join(runs[:NAMED])),
                advice=say("finish them with `pghaul resume RUN`, or use --force: they then need --from and --to"),
                code=5070,
            )
        with self._table.changing() as change:
            change.drop(kept.profile.name)
        return runs

    def rotate(self) -> int:
        """Encrypt all kept passwords by another key, in one transaction; how many there were.

        Old and new key lie side by side until after the commit: whenever this is killed, all passwords can be read.
        """
        with self._table.changing() as change:
            sealed = [kept for kept in change.all() if kept.secret]
            opened = [(kept.profile, self._unsealed(kept)) for kept in sealed]
            key = self.keys.renew()
            self._refuse_same(sealed, key.id)
            for profile, password in opened:
                change.reseal(profile.name, sealing.seal(password, key, self._belonging(profile)))
        with self._table.changing() as change:  # of two rotations at once, the later one's key is kept too
            used = {sealing.parsed(k.secret, k.profile.name).key_id for k in change.all() if k.secret}
            self.keys.retain(used | {key.id})
        return len(opened)

    def unreadable(self) -> list[str]:
        """Profiles whose kept password cannot be had: the key is lost, or somebody changed what is kept."""
        return [kept.profile.name for kept in self._table.all() if kept.secret and not self._opens(kept)]

    def kept(self) -> int:
        """How many passwords are kept."""
        return sum(kept.secret is not None for kept in self._table.all())

    # --- within ---

    def _opens(self, kept: Kept) -> bool:
        try:
            self._unsealed(kept)
        except SecretError:
            return False
        return True

    def password_of(self, name: str) -> str | None:
        """The kept password, for an export that is encrypted."""
        kept = self._required(name)
        return self._unsealed(kept) if kept.secret else None

    def _required(self, name: str) -> Kept:
        found = self._table.find(profile_name(name) or name)
        if found is None:
            raise self._unknown(name)
        return found

    def _known(self, change: Change, name: str) -> Kept:
        found = change.find(profile_name(name) or name)
        if found is None:
            raise self._unknown(name)
        return found

    def _unknown(self, name: str) -> NotFoundError:
        names = [kept.profile.name for kept in self._table.all()]
        near = difflib.get_close_matches(name, names, n=NAMED, cutoff=0.5)
        advice = say("`pghaul profile list` shows the profiles; a URL begins with postgresql://")
        if near:
            advice = say("did you mean {names}? A URL begins with postgresql://", names=", ".join(near))
        return NotFoundError(
            say("{name} is neither a URL nor a profile that is known here", name=name), advice=advice, code=5270
        )

    def _checked(self, profile: Profile) -> Profile:
        """The name a name, the words libpq's, and no password among them."""
        name = profile_name(profile.name)
        if name is None:
            raise UsageError(
                say("a profile's name is one word of letters, digits, dots, hyphens and underscores"),
                advice=say("at most 63 characters, beginning with a letter or a digit, e.g. old-plant"),
                code=1070,
            )
        checked = replace(profile, name=name, params=tuple(sorted(profile.params)))
        if checked.way != Way() and not takes_password(checked):
            raise UsageError(
                say("{engine} takes no password", engine=checked.engine),
                where=url_of(checked),
                advice=say("leave it out: what may be read there, the permissions of its files decide"),
                code=1048,
            )
        endpoint_of(checked, self._environ, "")
        return checked

    def _put(self, change: Change, profile: Profile, password: str | None) -> None:
        know(password)
        if profile.way != KEPT:
            change.put(profile, None)
            return
        if not password:
            raise SecretError(
                say("profile {name} is to keep a password, and none was given", name=profile.name),
                advice=say("use --password, --password-stdin or --password-from"),
                code=6311,
            )
        change.put(profile, sealing.seal(password, self.keys.current(), self._belonging(profile)))

    def _password(self, kept: Kept) -> str | None:
        name = kept.profile.name
        if kept.profile.way == KEPT:
            return self._unsealed(kept)
        if name not in self._typed:
            found = passwords.found(kept.profile.way, name, self._environ)
            if found is None:
                return None
            self._typed[name] = found
        return self._typed[name]

    def _unsealed(self, kept: Kept) -> str:
        """SecretError where the key is lost, or what was kept is not what was written."""
        name = kept.profile.name
        cure = say("give it anew: pghaul profile edit {name} --password", name=name)
        if not kept.secret:
            raise SecretError(say("the kept password of profile {name} is gone", name=name), advice=cure, code=6312)
        sealed = sealing.parsed(kept.secret, name)
        key = self.keys.find(sealed.key_id)
        if key is None:
            raise self._lost(sealed.key_id)
        password = sealing.unseal(sealed, key, self._belonging(kept.profile))
        if password is None:
            raise SecretError(
                say("the kept password of profile {name}, or where it leads, was changed by somebody else", name=name),
                advice=joined("; ", [say("look at it: pghaul profile show {name}", name=name), cure]),
                code=6313,
            )
        return password

    def _lost(self, key_id: str) -> SecretError:
        hit = [k.profile.name for k in self._table.all() if k.secret and f":{key_id}:" in k.secret]
        advice = say(
            "bring it back (PGHAUL_KEY, keyring or file), or give each anew: pghaul profile edit NAME --password"
        )
        if self.keys.ring_holds() is None:  # locked, or this is no session of a desktop: over ssh, by cron
            advice = say(
                "there is no keyring to ask just now: if it lies in one, unlock it or set PGHAUL_KEY; "
                "else give each anew: pghaul profile edit NAME --password"
            )
        return SecretError(
            say("key {key} is not found, and with it the passwords of: {names}", key=key_id, names=", ".join(hit)),
            advice=advice,
            code=6314,
        )

    def _refuse_same(self, sealed: Sequence[Kept], key_id: str) -> None:
        if any(f":{key_id}:" in (kept.secret or "") for kept in sealed):
            raise SecretError(
                say("{variable} is the key that the passwords are encrypted by already", variable=KEY),
                advice=say("set PGHAUL_KEY to a new key and PGHAUL_OLD_KEY to this one; or unset PGHAUL_KEY, "
                           "set PGHAUL_OLD_KEY, and a key is made and kept"),
                code=6315,
            )  # fmt: skip

    def _belonging(self, profile: Profile) -> bytes:
        return sealing.belonging(self._identity, profile)
