"""Where the key of a state store's passwords lies: PGHAUL_KEY, the keyring of the system, or a file of its owner's.

A secret carries the id of its key, so whichever place holds that key is right, and the cheapest is asked first. A new
secret takes PGHAUL_KEY where somebody has set it (who says so means it), else the key that is there, else a new one in
the keyring, else in the file. Each store has keys of its own: to rotate those of one leaves all others readable.

A place holds several keys, the current one first: while keys are rotated, old and new are there side by side.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pghaul.model.errors import SecretError
from pghaul.model.redaction import know
from pghaul.model.text import say

T = TypeVar("T")

KEY = "PGHAUL_KEY"
OLD_KEY = "PGHAUL_OLD_KEY"
KEY_BYTES = 32
KEYRING_SERVICE = "pghaul"
KEYRING_SECONDS = 5.0  # one that waits for a session nobody sits at answers never
MAKE_ONE = say("make one with: openssl rand -base64 32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """256 bits, and a name for them that says nothing about them."""

    raw: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """Eight bytes of a hash: enough to tell a user's keys apart."""
        return hashlib.sha256(b"pghaul key id\0" + self.raw).hexdigest()[:16]

    @property
    def spelled(self) -> str:
        """Base64, as PGHAUL_KEY has it."""
        return base64.b64encode(self.raw).decode()

    @classmethod
    def make(cls) -> Key:
        """A new one."""
        return cls(raw=secrets.token_bytes(KEY_BYTES))

    @classmethod
    def parse(cls, words: str) -> Key:
        """ValueError for anything but 32 bytes in base64; the words are not quoted."""
        try:
            raw = base64.b64decode(words.strip().encode(), validate=True)
        except (binascii.Error, UnicodeEncodeError):
            raise ValueError("no base64") from None
        if len(raw) != KEY_BYTES:
            raise ValueError("not 32 bytes")
        know(words.strip())
        return cls(raw=raw)


class KeyFile:
    """One file for each store, 0600, in the folder of this user's settings."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Key]:
        try:
            if os.name != "nt" and self.path.stat().st_mode & 0o077:  # on Windows the folder is the user's alone
                raise SecretError(
                    say("the file with the key may be read by others"),
                    where=str(self.path),
                    advice=say("chmod 600 {path}; then `pghaul profile rotate-key`", path=str(self.path)),
                    code=6301,
                )
            return _keys(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as exc:
            raise SecretError(say("the file with the key cannot be read"), where=str(self.path), code=6302) from exc

    def write(self, keys: Sequence[Key]) -> bool:
        """Whole or not at all, and on the disk before anything is encrypted by it."""
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(_spelled(keys))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
            _settle(self.path.parent)
        except OSError as exc:
            draft.unlink(missing_ok=True) if draft.parent.is_dir() else None
            raise SecretError(
                say("the file with the key cannot be written"),
                where=str(self.path),
                advice=say("make the folder writable, or set PGHAUL_KEY; to make one: openssl rand -base64 32"),
                code=6303,
            ) from exc
        return True


class SystemKeyring:
    """The keyring of the operating system. One that is none, hangs, is locked or fails is passed by."""

    def __init__(self, account: str) -> None:
        self._account = account
        self._dead = False  # it has hung: it is not waited for again

    def read(self) -> list[Key] | None:
        def ask(ring: Any) -> list[Key]:
            return _keys(ring.get_password(KEYRING_SERVICE, self._account) or "")

        return self._asked(ask)

    def write(self, keys: Sequence[Key]) -> bool:
        def put(ring: Any) -> bool:
            ring.set_password(KEYRING_SERVICE, self._account, _spelled(keys))
            return bool(ring.get_password(KEYRING_SERVICE, self._account) == _spelled(keys))

        return bool(self._asked(put))

    def _asked(self, question: Callable[[Any], T]) -> T | None:
        """In a thread that is left alone when it does not come back."""
        found: list[T] = []

        def run() -> None:
            try:
                ring = system_keyring()
                if ring is not None:
                    found.append(question(ring))
            except Exception:  # noqa: BLE001 -- backends raise what they like; any of it means: not this one
                found.clear()

        if self._dead:
            return None
        thread = threading.Thread(target=run, name="pghaul-keyring", daemon=True)
        thread.start()
        thread.join(KEYRING_SECONDS)
        self._dead = thread.is_alive()
        return found[0] if found and not self._dead else None


def system_keyring() -> Any | None:
    """The backend, where there is one that guards anything: those of priority below 1 keep nothing, or plain text."""
    import keyring  # noqa: PLC0415 -- 0.1 s, for those who keep a password

    backend = keyring.get_keyring()
    return backend if backend.priority >= 1 else None


class Keys:
    """The keys of one store."""

    def __init__(self, store_id: str, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._file = KeyFile(key_folder() / f"key-{store_id}")
        self._ring = SystemKeyring(store_id)

    def find(self, key_id: str) -> Key | None:
        """By its id, wherever it lies."""
        for name in (KEY, OLD_KEY):
            if (given := self._given(name)) and given.id == key_id:
                return given
        for place in (self._file, self._ring):
            for key in place.read() or []:
                if key.id == key_id:
                    return key
        return None

    def current(self) -> Key:
        """For a new secret; made where there is none. Only within a change of the store."""
        if given := self._given(KEY):
            return given
        kept = self._ring.read()
        if kept:
            return kept[0]
        if on_disk := self._file.read():
            return on_disk[0]
        return self._keep_new([])

    def renew(self) -> Key:
        """The key to rotate to, beside those that are there: PGHAUL_KEY where it is set, else a new one."""
        return self._given(KEY) or self._keep_new(self._kept())

    def retain(self, ids: Collection[str]) -> None:
        """Forget the kept keys that are none of these: after a commit, no secret needs them."""
        for place in (self._ring, self._file):
            kept = place.read() or []
            needed = [k for k in kept if k.id in ids]
            if needed != kept:
                place.write(needed)

    def ring_holds(self) -> int | None:
        """How many keys of this store the keyring holds; None where there is none that can be used."""
        kept = self._ring.read()
        return None if kept is None else len(kept)

    def file(self) -> Path | None:
        """The file with keys, where there is one. SecretError where it cannot be used."""
        return self._file.path if self._file.read() else None

    def _kept(self) -> list[Key]:
        found = [*(self._ring.read() or []), *self._file.read()]
        return list({k.id: k for k in found}.values())

    def _keep_new(self, others: Sequence[Key]) -> Key:
        new = Key.make()
        if not self._ring.write([new, *others]):
            self._file.write([new, *others])
        return new

    def _given(self, variable: str) -> Key | None:
        words = self._environ.get(variable, "")
        if not words.strip():
            return None
        try:
            return Key.parse(words)
        except ValueError:
            raise SecretError(
                say("{variable} is not a key: 32 bytes in base64", variable=variable), advice=MAKE_ONE, code=6304
            ) from None


def key_folder() -> Path:
    """Where this system keeps a user's settings of a program."""
    import platformdirs  # noqa: PLC0415

    return Path(platformdirs.user_config_dir("pghaul", appauthor=False))


def _keys(words: str) -> list[Key]:
    return [Key.parse(line) for line in words.split()]


def _spelled(keys: Sequence[Key]) -> str:
    return "".join(f"{k.spelled}\n" for k in keys)


def _settle(folder: Path) -> None:
    """The new name of the file is on the disk too, where a folder can be asked for that."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
