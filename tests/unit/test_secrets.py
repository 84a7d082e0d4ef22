"""Kept passwords: encrypted, bound to their profile, lost with their key and with nothing else."""

from __future__ import annotations

import base64
import os
import sqlite3
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend

from pghaul.model.checklist import Outcome
from pghaul.model.errors import SecretError, UsageError
from pghaul.model.profile import PasswordFrom, Profile, Way
from pghaul.service import doctor, keys, passwords, sealing
from pghaul.service.keys import Key, KeyFile, SystemKeyring
from pghaul.service.migration import MigrationService
from pghaul.service.profiles import KEPT, Profiles
from pghaul.store.repository import Store

PASSWORD = "p@ss:wörd-7781"
PLANT = Profile(name="old-plant", params=(("dbname", "plant"), ("host", "old.example")), way=KEPT)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's settings, in a folder of this test's own."""
    home = tmp_path / "settings"
    monkeypatch.setattr(keys, "key_folder", lambda: home)
    return home


class Memory(KeyringBackend):
    """A keyring that works, for as long as a test does."""

    priority = 5  # type: ignore[assignment]

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.held[service, username] = password


class Broken(Memory):
    """One that raises what it likes."""

    def get_password(self, service: str, username: str) -> str | None:
        raise RuntimeError(f"no session bus for {service} of {username}")

    set_password = get_password  # type: ignore[assignment]


@pytest.fixture
def ring() -> Iterator[Memory]:
    before, memory = keyring.get_keyring(), Memory()
    keyring.set_keyring(memory)
    yield memory
    keyring.set_keyring(before)


def service(state: str, **environ: str) -> Profiles:
    """As another process has it: nothing is remembered."""
    return MigrationService(state, environ={"HOME": "/nowhere", **environ}).profiles


def password_of(profiles: Profiles, name: str = PLANT.name) -> str | None:
    return profiles.endpoint(name).password


def blobs(state: str) -> dict[str, str]:
    with sqlite3.connect(state.removeprefix("sqlite:///")) as session:
        return dict(session.execute("SELECT name, secret FROM pghaul_profile"))


def write_blob(state: str, name: str, blob: str) -> None:
    with sqlite3.connect(state.removeprefix("sqlite:///")) as session:
        session.execute("UPDATE pghaul_profile SET secret = ? WHERE name = ?", (blob, name))


def bytes_of(state: str) -> bytes:
    """The store's file, its log, and whatever lies beside them."""
    path = Path(state.removeprefix("sqlite:///"))
    return b"".join(p.read_bytes() for p in path.parent.glob(f"{path.name}*"))


def test_a_kept_password_is_found_by_another_process(state: str) -> None:
    service(state).add(PLANT, PASSWORD)
    assert password_of(service(state)) == PASSWORD


def test_no_password_stands_in_the_store(state: str) -> None:
    service(state).add(PLANT, PASSWORD)
    held = bytes_of(state)
    assert b"old-plant" in held
    assert PASSWORD.encode() not in held
    assert base64.b64encode(PASSWORD.encode()) not in held
    assert PASSWORD.encode("utf-16-le") not in held


def test_neither_a_key_nor_an_endpoint_shows_its_secret_in_repr(state: str) -> None:
    service(state).add(PLANT, PASSWORD)
    assert PASSWORD not in repr(service(state).endpoint("old-plant"))
    key = Key.make()
    assert repr(key.raw) not in repr(key)


def test_two_seals_of_one_password_differ() -> None:
    key, place = Key.make(), sealing.belonging("store", PLANT)
    assert sealing.seal(PASSWORD, key, place) != sealing.seal(PASSWORD, key, place)


def test_a_seal_holds_for_its_profile_its_store_and_where_it_leads_only() -> None:
    key = Key.make()
    sealed = sealing.Sealed.parse(sealing.seal(PASSWORD, key, sealing.belonging("store", PLANT)))
    elsewhere = replace(PLANT, params=(("dbname", "plant"), ("host", "evil.example")))
    assert sealing.unseal(sealed, key, sealing.belonging("store", PLANT)) == PASSWORD
    assert sealing.unseal(sealed, key, sealing.belonging("other", PLANT)) is None
    assert sealing.unseal(sealed, key, sealing.belonging("store", replace(PLANT, name="new"))) is None
    assert sealing.unseal(sealed, key, sealing.belonging("store", elsewhere)) is None


def test_a_seal_moved_to_another_profile_is_refused(state: str) -> None:
    profiles = service(state)
    profiles.add(PLANT, PASSWORD)
    profiles.add(replace(PLANT, name="other"), "another")
    write_blob(state, "other", blobs(state)["old-plant"])
    with pytest.raises(SecretError, match="other, or where it leads, was changed"):
        password_of(service(state), "other")


def test_a_tampered_seal_is_refused(state: str) -> None:
    service(state).add(PLANT, PASSWORD)
    sealed = sealing.Sealed.parse(blobs(state)["old-plant"])
    turned = replace(sealed, data=sealed.data[:-1] + bytes([sealed.data[-1] ^ 1]))
    write_blob(state, "old-plant", turned.spelled)
    with pytest.raises(SecretError, match="changed by somebody else") as caught:
        password_of(service(state))
    assert caught.value.code == "PGH-6313"


@pytest.mark.parametrize("blob", ["", "v2:0011:AAAA", "rubbish", "v1:00:%%%"])
def test_what_is_no_seal_is_named(state: str, blob: str) -> None:
    service(state).add(PLANT, PASSWORD)
    write_blob(state, "old-plant", blob)
    with pytest.raises(SecretError, match=r"of profile old-plant is (damaged|gone)") as caught:
        password_of(service(state))
    assert "pghaul profile edit old-plant --password" in caught.value.advice


def test_a_lost_key_is_said_with_all_that_is_lost_and_the_rest_works(state: str, folder: Path) -> None:
    profiles = service(state)
    profiles.add(PLANT, PASSWORD)
    profiles.add(replace(PLANT, name="new-plant"), "another")
    profiles.add(replace(PLANT, name="by-env", way=Way(kind=PasswordFrom.ENV, detail="PLANT_PW")))
    next(folder.iterdir()).unlink()
    with pytest.raises(SecretError, match="the passwords of: new-plant, old-plant") as caught:
        password_of(service(state))
    assert "pghaul profile edit NAME --password" in caught.value.advice
    assert password_of(service(state, PLANT_PW="there"), "by-env") == "there"
    service(state).edit("old-plant", lambda before: before, "anew")
    assert password_of(service(state)) == "anew"
    assert service(state).edit("new-plant", lambda p: replace(p, note="seen")).note == "seen"


def test_a_lost_key_does_not_let_a_profile_be_led_elsewhere(state: str, folder: Path) -> None:
    service(state).add(PLANT, PASSWORD)
    next(folder.iterdir()).unlink()
    with pytest.raises(SecretError, match="is not found"):
        service(state).edit("old-plant", lambda p: replace(p, params=(("host", "new.example"),)))
    assert dict(service(state).get("old-plant").params)["host"] == "old.example"


def test_the_variable_wins_and_leaves_no_file(state: str, folder: Path) -> None:
    key = Key.make()
    service(state, PGHAUL_KEY=key.spelled).add(PLANT, PASSWORD)
    assert not folder.exists()
    assert key.id in blobs(state)["old-plant"]
    assert password_of(service(state, PGHAUL_KEY=key.spelled)) == PASSWORD
    with pytest.raises(SecretError, match="is not found"):
        password_of(service(state, PGHAUL_KEY=Key.make().spelled))


@pytest.mark.parametrize("words", ["short", base64.b64encode(b"x" * 31).decode(), "ü" * 44, "-" * 44])
def test_a_malformed_key_is_refused_without_quoting_it(state: str, words: str) -> None:
    with pytest.raises(SecretError, match="PGHAUL_KEY is not a key") as caught:
        service(state, PGHAUL_KEY=words).add(PLANT, PASSWORD)
    assert words not in str(caught.value)
    assert "openssl rand -base64 32" in caught.value.advice


def test_a_keyring_that_works_holds_the_key(state: str, folder: Path, ring: Memory) -> None:
    service(state).add(PLANT, PASSWORD)
    assert not folder.exists()
    assert len(ring.held) == 1
    assert password_of(service(state)) == PASSWORD


def test_a_keyring_that_raises_is_passed_by(state: str, folder: Path, ring: Memory) -> None:
    keyring.set_keyring(Broken())
    service(state).add(PLANT, PASSWORD)
    assert folder.exists()
    assert password_of(service(state)) == PASSWORD


def test_a_keyring_that_hangs_is_passed_by_once_and_for_all(
    state: str, ring: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, asked = threading.Event(), []

    def hang(_service: str, _username: str) -> str | None:
        asked.append(1)
        release.wait(60)
        return None

    monkeypatch.setattr(keys, "KEYRING_SECONDS", 0.1)
    monkeypatch.setattr(ring, "get_password", hang)
    try:
        service(state).add(PLANT, PASSWORD)
        assert len(asked) == 1
        assert password_of(service(state)) == PASSWORD
    finally:
        release.set()


@pytest.mark.parametrize("priority", [-1, 0, 0.5])
def test_a_keyring_that_guards_nothing_counts_as_none(ring: Memory, priority: float) -> None:
    ring.priority = priority  # type: ignore[assignment]
    assert SystemKeyring("x").read() is None
    assert not SystemKeyring("x").write([Key.make()])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_key_file_is_its_owner_s_alone(state: str, folder: Path) -> None:
    service(state).add(PLANT, PASSWORD)
    path = next(folder.iterdir())
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    path.chmod(0o640)
    with pytest.raises(SecretError, match="may be read by others") as caught:
        password_of(service(state))
    assert f"chmod 600 {path}" in caught.value.advice


def test_a_folder_that_cannot_be_written_says_what_else_there_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SecretError, match="cannot be written") as caught:
        KeyFile(tmp_path / "file" / "key").write([Key.make()])
    assert "PGHAUL_KEY" in caught.value.advice


def test_a_damaged_key_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("rubbish\n")
    path.chmod(0o600)
    with pytest.raises(SecretError, match="cannot be read") as caught:
        KeyFile(path).read()
    assert caught.value.where == str(path)


def test_each_store_has_a_key_of_its_own(state: str, tmp_path: Path, folder: Path) -> None:
    other = f"sqlite:///{(tmp_path / 'other.db').as_posix()}"
    service(state).add(PLANT, PASSWORD)
    service(other).add(PLANT, "another")
    service(state).rotate()
    assert len(list(folder.iterdir())) == 2
    assert password_of(service(other)) == "another"


def test_rotation_changes_the_key_and_no_password(state: str, folder: Path) -> None:
    service(state).add(PLANT, PASSWORD)
    service(state).add(replace(PLANT, name="new"), "another")
    before, old_key = blobs(state), next(folder.iterdir()).read_text()
    assert service(state).rotate() == 2
    assert {name: blob.split(":")[1] for name, blob in blobs(state).items()} != {
        name: blob.split(":")[1] for name, blob in before.items()
    }
    assert old_key not in next(folder.iterdir()).read_text()
    assert (password_of(service(state)), password_of(service(state), "new")) == (PASSWORD, "another")
    for blob in before.values():  # what was under the old key is overwritten, not only unlinked
        assert blob.encode() not in bytes_of(state)


DYING = """
import os, sys
from pathlib import Path
from pghaul.service import keys, sealing
from pghaul.service.migration import MigrationService

moment, state, folder = sys.argv[1:]
keys.key_folder = lambda: Path(folder)
renew = keys.Keys.renew

def die(*_):
    os._exit(9)  # as a kill: no rollback of ours, no cleaning up

def renew_and_die(self):
    renew(self)
    die()

if moment == "before the new key":
    keys.Keys.renew = die
elif moment == "after the new key":
    keys.Keys.renew = renew_and_die
elif moment == "before the commit":
    seal, first = sealing.seal, []
    def sealing_one(*given):
        return die() if first else first.append(1) or seal(*given)
    sealing.seal = sealing_one
else:
    keys.Keys.retain = die
MigrationService(state).profiles.rotate()
"""


@pytest.mark.parametrize("moment", ["before the new key", "after the new key", "before the commit", "after the commit"])
def test_a_rotation_that_is_killed_loses_nothing(state: str, folder: Path, moment: str) -> None:
    service(state).add(PLANT, PASSWORD)
    service(state).add(replace(PLANT, name="new"), "another")
    done = subprocess.run([sys.executable, "-c", DYING, moment, state, str(folder)], check=False)
    assert done.returncode == 9
    for _ in range(2):
        assert (password_of(service(state)), password_of(service(state), "new")) == (PASSWORD, "another")
        assert service(state).rotate() == 2
    assert len(next(folder.iterdir()).read_text().split()) == 1


def test_two_rotations_at_once_lose_nothing(state: str) -> None:
    """The first one, about to forget what it replaced, finds the second one's key in use."""
    service(state).add(PLANT, PASSWORD)
    first, second = service(state), threading.Thread(target=service(state).rotate)
    second.start()
    first.rotate()
    second.join(60)
    assert not second.is_alive()
    assert password_of(service(state)) == PASSWORD


def test_rotation_to_a_key_of_one_s_own_reads_with_the_old_one(state: str) -> None:
    old, new = Key.make(), Key.make()
    service(state, PGHAUL_KEY=old.spelled).add(PLANT, PASSWORD)
    with pytest.raises(SecretError, match="PGHAUL_KEY is the key"):
        service(state, PGHAUL_KEY=old.spelled).rotate()
    assert service(state, PGHAUL_KEY=new.spelled, PGHAUL_OLD_KEY=old.spelled).rotate() == 1
    assert password_of(service(state, PGHAUL_KEY=new.spelled)) == PASSWORD


def test_rotation_moves_from_the_variable_to_a_place_that_keeps(state: str, folder: Path) -> None:
    old = Key.make()
    service(state, PGHAUL_KEY=old.spelled).add(PLANT, PASSWORD)
    assert service(state, PGHAUL_OLD_KEY=old.spelled).rotate() == 1
    assert password_of(service(state)) == PASSWORD


def test_a_rotation_with_a_lost_key_changes_nothing(state: str) -> None:
    lost = Key.make()
    service(state).add(replace(PLANT, name="fine"), PASSWORD)
    service(state, PGHAUL_KEY=lost.spelled).add(PLANT, PASSWORD)
    before = blobs(state)
    with pytest.raises(SecretError, match="the passwords of: old-plant"):
        service(state).rotate()
    assert blobs(state) == before


def test_several_first_passwords_at_once_have_one_key(state: str, folder: Path) -> None:
    def add(name: str) -> None:
        service(state).add(replace(PLANT, name=name), PASSWORD)

    threads = [threading.Thread(target=add, args=(f"p{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(blobs(state)) == 4
    assert len({blob.split(":")[1] for blob in blobs(state).values()}) == 1
    assert len(next(folder.iterdir()).read_text().split()) == 1


def test_a_key_in_a_keyring_that_is_away_is_not_called_lost_for_good(state: str, ring: Memory) -> None:
    """As over ssh, or by cron: the keyring belongs to the desktop's session."""
    service(state).add(PLANT, PASSWORD)
    ring.priority = 0  # type: ignore[assignment]
    with pytest.raises(SecretError, match="is not found") as caught:
        password_of(service(state))
    assert "there is no keyring to ask just now" in caught.value.advice
    ring.priority = 5  # type: ignore[assignment]
    assert password_of(service(state)) == PASSWORD


def test_the_identity_of_a_store_stays(state: str) -> None:
    first = Store(state).profiles.identity()
    assert len(first) == 32
    assert Store(state).profiles.identity() == first


# --- passwords that are not kept ---


def test_a_command_gives_its_first_line(tmp_path: Path) -> None:
    assert passwords.from_command("printf 'one\\ntwo\\n'", "x", os.environ) == "one"


def test_a_command_is_not_run_by_a_shell(tmp_path: Path) -> None:
    assert passwords.from_command("echo $HOME;id", "x", os.environ) == "$HOME;id"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("sh -c 'echo leaked-secret >&2; exit 3'", "gave none: status 3"),
        ("sh -c 'echo leaked-secret; exit 1'", "gave none: status 1"),
        ("true", "gave none"),
        ("/no/such/program", "cannot be run"),
        ("echo 'unclosed", "cannot be run"),
    ],
)
def test_a_command_that_fails_is_named_and_what_it_wrote_is_not(
    command: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SecretError, match=said) as caught:
        passwords.from_command(command, "plant", os.environ)
    assert "leaked-secret" not in str(caught.value)
    assert "leaked-secret" not in "".join(capfd.readouterr())


def test_a_command_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "COMMAND_SECONDS", 0.2)
    with pytest.raises(SecretError, match="has not answered"):
        passwords.from_command("sleep 30", "plant", os.environ)


def test_a_prompt_needs_somebody_and_asks_once(state: str) -> None:
    profiles = service(state)
    profiles.add(replace(PLANT, way=Way(kind=PasswordFrom.PROMPT)))
    asked: list[str] = []
    passwords.ask_with(None)
    with pytest.raises(SecretError, match="nobody to ask"):
        password_of(profiles)
    passwords.ask_with(lambda words: asked.append(words) or "typed")
    try:
        assert (password_of(profiles), password_of(profiles)) == ("typed", "typed")
    finally:
        passwords.ask_with(None)
    assert asked == ["Password of profile old-plant"]


def test_a_variable_that_is_not_set_is_named(state: str) -> None:
    service(state).add(replace(PLANT, way=Way(kind=PasswordFrom.ENV, detail="PLANT_PW")))
    with pytest.raises(SecretError, match="from PLANT_PW, which is not set"):
        password_of(service(state))


@pytest.mark.parametrize("words", ["env", "env:", "pgpass:x", "prompt:", "vault:x", ""])
def test_a_way_that_means_nothing_is_none(words: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Way.parse(words)


@pytest.mark.parametrize("name", ["old plant", "a=b", "postgresql://x", "-x", ".hidden", "", "x" * 64, "plan.toml"])
def test_a_name_that_could_be_something_else_is_refused(state: str, name: str) -> None:
    with pytest.raises(UsageError, match="one word"):
        service(state).add(replace(PLANT, name=name), PASSWORD)


def test_hangul_is_the_same_name_however_it_was_typed(state: str) -> None:
    """A Mac takes its syllables apart."""
    apart = unicodedata.normalize("NFD", "구공장")
    assert apart != "구공장"
    service(state).add(replace(PLANT, name=apart), PASSWORD)
    assert password_of(service(state), "구공장") == PASSWORD
    assert password_of(service(state), apart) == PASSWORD


def test_the_doctor_knows_where_the_key_lies_and_what_is_lost(state: str, folder: Path) -> None:
    environ = {"PGHAUL_STATE": state, "HOME": "/nowhere"}
    service(state).add(PLANT, PASSWORD)
    found = {item.id: item for item in doctor.keys(environ)}
    assert str(next(folder.iterdir())) in found["passwords-kept"].found
    assert "passwords-lost" not in found
    next(folder.iterdir()).unlink()
    lost = {item.id: item for item in doctor.keys(environ)}["passwords-lost"]
    assert (lost.outcome, lost.found) == (Outcome.BAD, "old-plant")
