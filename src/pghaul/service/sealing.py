"""AES-256-GCM for the passwords of profiles, in the store (by a key) and in exported files (by a passphrase).

A sealed secret says its format and its key: `v1:<key id>:<base64 of nonce and ciphertext>`. What it belongs to (the
store, the profile's name, where that profile leads) is authenticated with it: who can write to the store, but does not
have the key, can neither move a password to another profile nor have it sent to another server.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pghaul.model.errors import SecretError
from pghaul.model.profile import POSTGRESQL, Profile
from pghaul.model.redaction import know
from pghaul.model.text import say
from pghaul.service.keys import KEY_BYTES, Key

VERSION = "v1"
NONCE_BYTES = 12  # 96 bits, as GCM wants them; random, for a key seals a few hundred secrets at most
SALT_BYTES = 16
# Of scrypt: 128 MiB and about half a second for one guess at a passphrase.
COST = {"n": 2**17, "r": 8, "p": 1}
MOST_MEMORY = 2**30  # what a file from elsewhere may have us spend


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A secret as it is stored."""

    key_id: str
    data: bytes

    @property
    def spelled(self) -> str:
        """One line of text."""
        return f"{VERSION}:{self.key_id}:{base64.b64encode(self.data).decode()}"

    @classmethod
    def parse(cls, words: str) -> Sealed:
        """ValueError for what this version has not written."""
        version, key_id, data = words.split(":")
        if version != VERSION:
            raise ValueError(version)
        return cls(key_id=key_id, data=base64.b64decode(data, validate=True))


def seal(password: str, key: Key, belongs: bytes) -> str:
    """The password, for the store."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 -- for those who keep one

    nonce = secrets.token_bytes(NONCE_BYTES)
    return Sealed(key_id=key.id, data=nonce + AESGCM(key.raw).encrypt(nonce, password.encode(), belongs)).spelled


def unseal(sealed: Sealed, key: Key, belongs: bytes) -> str | None:
    """The password; None where it was not sealed with this key, for this, and as it is now."""
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    nonce, data = sealed.data[:NONCE_BYTES], sealed.data[NONCE_BYTES:]
    try:
        return AESGCM(key.raw).decrypt(nonce, data, belongs).decode()
    except (InvalidTag, ValueError):
        return None


def parsed(words: str, name: str) -> Sealed:
    """SecretError for what is damaged, or was written by a newer version."""
    try:
        return Sealed.parse(words)
    except (ValueError, binascii.Error):
        raise SecretError(
            say("the kept password of profile {name} is damaged, or of a newer pghaul", name=name),
            advice=say("give it anew: pghaul profile edit {name} --password", name=name),
            code=6305,
        ) from None


def belonging(place: str, profile: Profile) -> bytes:
    """What is authenticated with a profile's password. `place`: the store's identity, or that of a file."""
    words: list[Any] = ["pghaul", VERSION, place, profile.name, dict(profile.params)]
    if profile.engine != POSTGRESQL:  # passwords that were sealed before there was another are opened as ever
        words.append(profile.engine)
    return json.dumps(words, sort_keys=True).encode()


def passphrase_key(passphrase: str, salt: bytes, cost: Mapping[str, Any]) -> Key:
    """The key that a passphrase makes; ValueError for a cost that nobody means well with."""
    know(passphrase)
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt  # noqa: PLC0415

    n, r, p = (int(cost[k]) for k in ("n", "r", "p"))
    if len(salt) < SALT_BYTES or n < 2**14 or not 0 < p <= 8 or not 0 < r <= 32 or 128 * n * r > MOST_MEMORY:
        raise ValueError("cost")
    return Key(raw=Scrypt(salt=salt, length=KEY_BYTES, n=n, r=r, p=p).derive(passphrase.encode()))
