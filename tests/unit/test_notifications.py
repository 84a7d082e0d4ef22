"""Whoever is to be told of a run is told, signed and once; and nobody who cannot be told holds a run."""

from __future__ import annotations

import os
import re
import ssl
import stat
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests import receivers
from tests.components import need
from tests.receivers import hang, mail_server, reset, status, webhook

from pghaul.model.errors import AccessError, OutletError
from pghaul.model.event import Event, EventKind
from pghaul.model.plan import Options, Plan
from pghaul.model.run import Run, RunState
from pghaul.service import delivery, mail, notification
from pghaul.service import webhook as hooks
from pghaul.service.delivery import Courier, Note
from pghaul.service.embedded import free_port
from pghaul.service.notify_targets import channel_of, is_withheld, storable, storable_options
from pghaul.service.outlets import telling
from pghaul.service.plan_file import read_plan, write_plan

RUN = Run(
    id="0123456789ab",
    state=RunState.RUNNING,
    source="postgresql://reader@old/plant",
    target="postgresql://loader@new/plant",
    started=datetime(2026, 1, 2, tzinfo=UTC),
)
ENDED = {"state": "done", "rows": 4_320_000, "bytes": 3 << 20, "seconds": 61.0}


def event(kind: EventKind, message: str = "", **data: Any) -> Event:
    return Event(kind=kind, run=RUN.id, message=message, data=data)


def plan_of(*targets: str, **options: Any) -> Plan:
    return Plan(source="a", target="b", whole=True, options=Options(notify=list(targets), **options))


def tell(plan: Plan, *events: Event) -> list[Event]:
    """What the face saw of a run of these events."""
    face: list[Event] = []
    with telling(face.append, RUN, plan) as told:
        for one in events:
            told(one)
    return face


def ended(state: str = "done", message: str = "") -> Event:
    return event(EventKind.RUN_FINISHED, message, **(ENDED | {"state": state}))


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same waits, only shorter."""
    monkeypatch.setattr(delivery, "CLOSING", 5.0)
    monkeypatch.setattr(delivery, "FIRST_PAUSE", 0.01)
    for name in ("PGHAUL_WEBHOOK_SECRET", "PGHAUL_SMTP", "PGHAUL_SMTP_PASSWORD", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)


# --- webhooks -----------------------------------------------------------------------------------------------------


def test_the_end_of_a_run_reaches_a_webhook_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHAUL_WEBHOOK_SECRET", "s3cret")
    with webhook() as receiver:
        face = tell(plan_of(receiver.url), ended())
    (post,) = receiver.posts
    assert post.path == "/services/T0KEN"
    assert post.is_signed_with("s3cret")
    assert not post.is_signed_with("another")
    assert {k: post.json[k] for k in ("event", "state", "run", "rows", "bytes", "source", "target")} == {
        "event": "finished",
        "state": "done",
        "run": RUN.id,
        "rows": 4_320_000,
        "bytes": 3 << 20,
        "source": RUN.source,
        "target": RUN.target,
    }
    assert "4,320,000 rows, 3.0 MB, in 1:01" in post.json["text"]
    assert post.headers["X-Pghaul-Delivery"] == post.json["delivery"]
    assert [e.kind for e in face] == [EventKind.RUN_FINISHED, EventKind.NOTICE]


def test_a_changed_body_or_time_breaks_the_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHAUL_WEBHOOK_SECRET", "s3cret")
    with webhook() as receiver:
        tell(plan_of(receiver.url), ended())
    (post,) = receiver.posts
    post.body = post.body.replace(b"4320000", b"4320001")
    assert not post.is_signed_with("s3cret")


def test_the_receiver_in_the_documentation_knows_us(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/monitoring.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert code is not None
    receiver_s: dict[str, Any] = {}
    exec(code[1], receiver_s)  # noqa: S102 -- our own page
    is_ours = receiver_s["is_from_pghaul"]
    monkeypatch.setenv("PGHAUL_WEBHOOK_SECRET", "s3cret")
    with webhook() as receiver:
        tell(plan_of(receiver.url), ended())
    (post,) = receiver.posts
    assert is_ours(post.headers, post.body, "s3cret")
    assert not is_ours(post.headers, post.body + b" ", "s3cret")
    assert not is_ours(post.headers | {"X-Pghaul-Timestamp": "1700000000"}, post.body, "s3cret")
    assert not is_ours({}, post.body, "s3cret")


def test_without_a_secret_nothing_pretends_to_be_signed() -> None:
    with webhook() as receiver:
        tell(plan_of(receiver.url), ended())
    assert "X-Pghaul-Signature" not in receiver.posts[0].headers


@pytest.mark.parametrize("bad", [status(500), status(503), status(429), reset], ids=["500", "503", "429", "reset"])
def test_a_passing_fault_is_tried_again_under_the_same_number(bad: receivers.Answer) -> None:
    with webhook(bad, bad, status(200)) as receiver:
        face = tell(plan_of(receiver.url), ended())
    assert len(receiver.posts) == 3
    assert len({p.json["delivery"] for p in receiver.posts}) == 1
    assert face[-1].kind is EventKind.NOTICE


@pytest.mark.parametrize("code", [400, 401, 404, 410])
def test_a_refusal_is_final_and_said(code: int) -> None:
    with webhook(status(code)) as receiver:
        face = tell(plan_of(receiver.url), ended())
    assert len(receiver.posts) == 1
    assert face[-1].kind is EventKind.WARNING
    assert f"answered {code}" in face[-1].message


def test_a_redirect_is_not_followed() -> None:
    with webhook() as elsewhere, webhook(status(307, Location=elsewhere.url)) as receiver:
        face = tell(plan_of(receiver.url), ended())
    assert (len(receiver.posts), elsewhere.posts) == (1, [])
    assert "redirect" in face[-1].message


def test_a_webhook_that_hangs_holds_neither_the_run_nor_its_end_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notification, "CLOSING", 0.3)
    monkeypatch.setattr(hooks, "TIMEOUT", 100.0)
    with webhook(hang) as receiver, webhook() as other:
        began = time.monotonic()
        face = tell(plan_of(receiver.url, other.url), event(EventKind.PAUSED, "paused: asked", cause="asked"), ended())
        assert time.monotonic() - began < 60  # a hanging answer is given up after a hundred
        assert [p.json["event"] for p in other.posts] == ["paused", "finished"]
    assert "has not answered yet" in face[-1].message


def test_a_webhook_that_hangs_is_given_up_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "TIMEOUT", 0.1)
    monkeypatch.setattr(delivery, "PATIENCE", 0.2)
    with webhook(hang) as receiver:
        face = tell(plan_of(receiver.url), ended())
    assert "did not answer within 0.1 s" in face[-1].message


def test_nobody_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "PATIENCE", 0.1)
    face = tell(plan_of(f"http://127.0.0.1:{free_port()}/T0KEN"), ended())
    assert "cannot be reached" in face[-1].message
    assert face[-1].kind is EventKind.WARNING


def test_a_token_is_in_no_word_that_anybody_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "PATIENCE", 0.1)
    said: list[Event] = []
    bad = (status(500), status(404), status(302, Location="/T0KEN2"), reset)
    for answer in bad:
        with webhook(answer) as receiver:
            said += tell(plan_of(receiver.url), ended("failed", "it broke"))
    said += tell(plan_of(f"http://127.0.0.1:{free_port()}/T0KEN"), ended())
    assert len(said) == 2 * (len(bad) + 1)
    assert "T0KEN" not in "".join(e.message + repr(e.data) for e in said)


def test_an_address_that_cannot_be_is_refused_without_being_quoted() -> None:
    for bad in (
        "https://user:T0KEN@host/x",
        "https:///T0KEN",
        "https://host:port/T0KEN",
        "https://host/T0 KEN",
        "https://host/T0KEN\r\nX: y",
        "T0KEN",
        "ftp://host/T0KEN",
        "https://host/…",
    ):
        with pytest.raises(OutletError) as caught:
            channel_of(bad, {})
        exc = caught.value
        assert "T0KEN" not in f"{exc}{exc.advice}{exc.where}{exc!r}{exc.__cause__}{exc.__context__}"


def test_a_target_in_a_variable_brings_its_own_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHAUL_WEBHOOK_SECRET", "everybody's")
    monkeypatch.setenv("CHAT_SECRET", "its own")
    with webhook() as receiver:
        monkeypatch.setenv("CHAT", receiver.url)
        tell(plan_of("env:CHAT"), ended())
    assert receiver.posts[0].is_signed_with("its own")


def test_a_variable_that_is_not_set_is_said_before_the_run() -> None:
    with pytest.raises(OutletError, match="NOWHERE"), telling(lambda _e: None, RUN, plan_of("env:NOWHERE")):
        pytest.fail("it must not begin")


@pytest.mark.parametrize(
    ("target", "stored"),
    [
        ("https://hooks.example/services/T/B/X", "https://hooks.example/…"),
        ("https://hooks.example/?token=x", "https://hooks.example/…"),
        ("https://me:pw@hooks.example:8443/x", "https://hooks.example:8443/…"),
        ("http://[::1]:80/x", "http://[::1]:80/…"),
        ("https://hooks.example", "https://hooks.example/"),
        ("env:CHAT", "env:CHAT"),
        ("mailto:ops@example.com", "mailto:ops@example.com"),
        ("desktop", "desktop"),
        ("a token by itself", "…"),
        ("https://host:port/x", "…"),
    ],
)
def test_what_may_be_a_token_is_not_stored(target: str, stored: str) -> None:
    assert storable(target) == stored
    assert is_withheld(stored) is ("…" in stored)
    assert storable_options(Options(notify=[target])).notify == [stored]


def test_a_plan_that_is_written_down_holds_no_token(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    write_plan(plan_of("https://hooks.example/T0KEN", "env:CHAT"), file)
    assert "T0KEN" not in file.read_text(encoding="utf-8")
    again = read_plan(file)
    assert again.options.notify == ["https://hooks.example/…", "env:CHAT"]
    with pytest.raises(OutletError, match="was not stored"), telling(lambda _e: None, RUN, again):
        pytest.fail("it must not begin")


# --- of what ------------------------------------------------------------------------------------------------------


def told(plan: Plan, receiver: receivers.Receiver, *events: Event) -> list[tuple[str, str]]:
    tell(plan, *events)
    return [(p.json["event"], p.json["state"]) for p in receiver.posts]


STORY = (
    event(EventKind.ATTEMPT, epoch=1),
    event(EventKind.PAUSED, "paused: asked", cause="asked"),
    event(EventKind.PAUSED, "let go", cause="asked", freed=True),
    event(EventKind.RESUMED, "goes on", cause="asked", seconds=3.0),
    event(EventKind.ATTEMPT, epoch=2),
)


@pytest.mark.parametrize(
    ("wanted", "state", "expected"),
    [
        (None, "done", [("paused", "paused"), ("finished", "done")]),
        (None, "failed", [("paused", "paused"), ("failed", "failed")]),
        (None, "different", [("paused", "paused"), ("finished", "different")]),
        (None, "stopped", [("paused", "paused")]),
        (["failed"], "done", []),
        (["failed"], "different", [("finished", "different")]),
        (["started", "resumed", "stopped"], "stopped", [
            ("started", "running"), ("resumed", "running"), ("stopped", "stopped")]),
    ],
)  # fmt: skip
def test_only_what_was_asked_for_is_told(wanted: list[str] | None, state: str, expected: list[tuple[str, str]]) -> None:
    with webhook() as receiver:
        assert told(plan_of(receiver.url, notify_on=wanted), receiver, *STORY, ended(state)) == expected


def test_waves_of_load_are_told_once_in_a_while() -> None:
    wave = event(EventKind.PAUSED, "paused: a replica is behind", cause="load")
    with webhook() as receiver:
        assert told(plan_of(receiver.url), receiver, wave, wave, wave) == [("paused", "paused")]


def test_a_cutover_that_found_differences_is_not_told_as_done() -> None:
    different = event(EventKind.CUTOVER, step="different")
    with webhook() as receiver:
        assert told(plan_of(receiver.url), receiver, ended(), different) == [("finished", "different")]


def test_what_fails_after_its_rows_were_done_is_told_as_failed() -> None:
    def begin(plan: Plan) -> None:
        with telling(lambda _e: None, RUN, plan) as tells:
            tells(ended())
            raise AccessError("the source is gone", code=5101)

    with webhook() as receiver, pytest.raises(AccessError):
        begin(plan_of(receiver.url))
    (post,) = receiver.posts
    assert (post.json["event"], post.json["code"]) == ("failed", "PGH-5101")


def test_an_error_keeps_its_code_and_its_english_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pghaul.service.language.speaking", lambda _code: _Shouting())
    exc = AccessError("who are you?", code=5101)
    with webhook() as receiver:
        tell(plan_of(receiver.url), ended("failed", exc.said))
    found = receiver.posts[0].json
    assert (found["code"], found["error"]) == ("PGH-5101", "No access: who are you? [PGH-5101]")
    assert found["title"] == f"RUN {RUN.id.upper()} HAS FAILED"
    assert "PGHAUL RESUME" in found["message"]


def test_people_read_it_in_korean_and_programs_in_english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHAUL_LANG", "ko")
    exc = AccessError("who are you?", code=5101)
    with webhook() as receiver:
        tell(plan_of(receiver.url), ended("failed", exc.said))
    found = receiver.posts[0].json
    korean = re.compile(r"[\uac00-\ud7a3]")
    assert korean.search(found["title"])
    assert RUN.id in found["title"]
    assert korean.search(found["message"])
    assert not korean.search("".join(str(v) for k, v in found.items() if k not in {"title", "message", "text"}))


class _Shouting:
    """A language that everybody can check."""

    def say(self, words: str) -> str:
        return words.upper()


def test_a_channel_with_too_many_notes_says_which_it_lost() -> None:
    stuck, outcomes = threading.Event(), notification.queue.SimpleQueue()

    class Stuck:
        name = "the stuck one"

        def deliver(self, _note: Note) -> None:
            stuck.wait(60)

    courier = Courier(Stuck(), outcomes)
    for number in range(delivery.MOST_WAITING + 2):
        courier.send(Note(event=f"e{number}", title="", message=""))
    assert "too many notes" in outcomes.get(timeout=60).words
    courier.end()
    stuck.set()
    courier.wait(time.monotonic() + 60)


def test_no_thread_outlives_what_was_delivered() -> None:
    with webhook() as receiver:
        tell(plan_of(receiver.url), ended())
        ours = [t.name for t in threading.enumerate() if t.name.endswith(str(receiver.port))]
        assert (len(receiver.posts), ours) == (1, [])


# --- mail ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 127.0.0.1, signed by itself."""
    need("openssl")
    folder = tmp_path_factory.mktemp("smtp")
    subprocess.run(
        ["openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "2", "-subj", "/CN=mail",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "mail.key", "-out", "mail.crt"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture
def tls(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """The server's side; and its certificate is trusted here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "mail.crt", certificate / "mail.key")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "mail.crt"))
    return context


def test_mail_arrives_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server() as server:
        monkeypatch.setenv("PGHAUL_SMTP", f"smtp://127.0.0.1:{server.port}?from=pghaul@example.com")
        face = tell(plan_of("mailto:ops@example.com,ops2@example.com"), ended("failed", "no disk"))
    (message,) = server.mails
    assert message["Subject"] == f"pghaul: Run {RUN.id} has failed"
    assert (message["From"], message["To"]) == ("pghaul@example.com", "ops@example.com, ops2@example.com")
    assert "no disk" in message.get_content()
    assert f"pghaul resume {RUN.id}" in message.get_content()
    assert face[-1].message == "mail to ops@example.com, ops2@example.com was told: failed"


def test_a_password_goes_over_tls_only(monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext) -> None:
    monkeypatch.setenv("PGHAUL_SMTP_PASSWORD", "p@ss:w/ör d")
    with mail_server(tls=tls, login=("me@example.com", "p@ss:w/ör d")) as server:
        monkeypatch.setenv("PGHAUL_SMTP", f"smtp://me%40example.com@127.0.0.1:{server.port}")
        face = tell(plan_of("mailto:ops@example.com"), ended())
    assert face[-1].kind is EventKind.NOTICE, face[-1].message
    assert [m["From"] for m in server.mails] == ["me@example.com"]
    assert [w.split()[0].upper() for w in server.said] == ["EHLO", "STARTTLS"]


def test_a_server_without_tls_gets_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHAUL_SMTP_PASSWORD", "s3cret")
    with mail_server(login=("me", "s3cret")) as server:
        monkeypatch.setenv("PGHAUL_SMTP", f"smtp://me@127.0.0.1:{server.port}")
        face = tell(plan_of("mailto:ops@example.com"), ended())
    assert "no TLS" in face[-1].message
    assert not [w for w in server.said if w.startswith("AUTH")]


def test_a_certificate_that_nobody_trusts_ends_it(monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with mail_server(tls=tls) as server:
        monkeypatch.setenv("PGHAUL_SMTP", f"smtp://127.0.0.1:{server.port}")
        face = tell(plan_of("mailto:ops@example.com"), ended())
    assert "not trusted" in face[-1].message
    assert server.mails == []


def test_a_wrong_password_is_said_without_it(monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext) -> None:
    monkeypatch.setenv("PGHAUL_SMTP_PASSWORD", "wr0ng")
    with mail_server(tls=tls, login=("me", "s3cret")) as server:
        monkeypatch.setenv("PGHAUL_SMTP", f"smtp://me@127.0.0.1:{server.port}")
        face = tell(plan_of("mailto:ops@example.com"), ended())
    assert "refuses the password (535)" in face[-1].message
    assert "wr0ng" not in repr(face)


def test_greylisting_is_waited_for_and_a_refusal_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server(refusals=["451 later"]) as server:
        monkeypatch.setenv("PGHAUL_SMTP", f"smtp://127.0.0.1:{server.port}")
        assert tell(plan_of("mailto:ops@example.com"), ended())[-1].kind is EventKind.NOTICE
        assert len(server.mails) == 1
    with mail_server(refusals=["550 nobody"]) as server:
        monkeypatch.setenv("PGHAUL_SMTP", f"smtp://127.0.0.1:{server.port}")
        assert "refuses the recipient (550)" in tell(plan_of("mailto:ops@example.com"), ended())[-1].message


def test_a_webhook_over_tls_has_to_be_trusted(monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext) -> None:
    with webhook(tls=tls) as receiver:
        assert tell(plan_of(receiver.url), ended())[-1].kind is EventKind.NOTICE
        monkeypatch.delenv("SSL_CERT_FILE")
        refused = tell(plan_of(receiver.url), ended())[-1].message
    assert len(receiver.posts) == 1
    assert "its certificate is not trusted: self-signed certificate" in refused


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (None, "PGH-6530"),
        ("mail.example.com", "PGH-6531"),
        ("smtp://host:port", "PGH-6531"),
        ("smtp://me:s3cret@mail.example.com", "PGH-6532"),
    ],
)
def test_a_mail_server_that_is_not_said_well_is_refused(said: str | None, code: str) -> None:
    with pytest.raises(OutletError) as caught:
        mail.server_of({"PGHAUL_SMTP": said} if said else {})
    assert caught.value.code == code
    assert "s3cret" not in f"{caught.value}{caught.value.advice}"


@pytest.mark.parametrize("bad", ["nobody", "a@b c", "a@b%0d%0aBcc:x@y", "", "Name <a@b>"])
def test_an_address_that_is_none_is_refused(bad: str) -> None:
    with pytest.raises(OutletError, match="no mail address"):
        channel_of(f"mailto:{bad}", {"PGHAUL_SMTP": "smtp://127.0.0.1"})


# --- the desktop --------------------------------------------------------------------------------------------------

NOTIFY_SEND = """#!/bin/sh
printf '%s\\n' "$@" > "$(dirname "$0")/said"
exit ${FAKE_EXIT:-0}
"""


@pytest.fixture
def desktop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of this name, first on PATH, that writes down its arguments."""
    if sys.platform in {"win32", "darwin"}:
        pytest.skip("notify-send is of other systems")
    program = tmp_path / "notify-send"
    program.write_text(NOTIFY_SEND)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "said"


def test_the_desktop_is_told_by_its_program(desktop: Path) -> None:
    face = tell(plan_of("desktop"), ended("failed", "-- $(touch x)"))
    said = desktop.read_text().splitlines()
    assert said[:4] == ["--app-name=pghaul", "--urgency=critical", "--", f"Run {RUN.id} has failed"]
    assert "-- $(touch x)" in said
    assert face[-1].message == "the desktop was told: failed"


def test_a_machine_without_a_desktop_says_so(desktop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_EXIT", "1")
    assert "is there a desktop?" in tell(plan_of("desktop"), ended())[-1].message


def test_without_the_program_the_run_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(OutletError, match="is not here"):
        channel_of("desktop", {})


def test_of_a_series_only_its_end_its_pauses_and_what_went_wrong_are_told() -> None:
    failed = {"state": "failed", "round": 3, "code": "PGH-2100"}
    wait = {"wait": 5.0}
    with webhook() as receiver:
        tell(
            plan_of(receiver.url),
            event(EventKind.RUN_STARTED, every=30.0),
            event(EventKind.ROUND, state="done", round=1, rows=3),
            event(EventKind.ROUND, state="empty", round=2),
            event(EventKind.ROUND, "the server went away", **failed, **wait, again=False),
            event(EventKind.ROUND, "the server went away", **failed, **wait, again=True),
            event(EventKind.ROUND, state="different", round=5, rows=3, rejected=1),
            event(EventKind.ROUND, state="different", round=6, rows=3, rejected=1),
            event(EventKind.ROUND, "two rows with one key", **failed),
            event(EventKind.RUN_FINISHED, "two rows with one key", state="failed", rows=9, seconds=600.0),
        )
    told = [(p.json["event"], p.json["state"], p.json["title"]) for p in receiver.posts]
    assert told == [
        ("failed", "running", f"A round of series {RUN.id} has failed"),
        ("finished", "running", f"A round of series {RUN.id} has set rows aside"),
        ("failed", "failed", f"Series {RUN.id} has failed"),
    ]
    assert (receiver.posts[0].json["error"], receiver.posts[0].json["round"]) == ("the server went away", 3)


def test_that_a_series_has_begun_and_goes_well_again_is_told_on_request() -> None:
    with webhook() as receiver:
        tell(
            plan_of(receiver.url, notify_on=["started", "resumed"]),
            event(EventKind.RUN_STARTED, every=30.0),
            event(EventKind.ATTEMPT, epoch=1),
            event(EventKind.ROUND, state="failed", wait=5.0, again=False),
            event(EventKind.ROUND, state="done", round=3, failed_before=2),
            event(EventKind.RUN_FINISHED, **ENDED),
        )
    assert [p.json["event"] for p in receiver.posts] == ["started", "resumed"]
