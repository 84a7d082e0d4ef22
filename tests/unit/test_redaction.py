"""Passwords in words: what is replaced, in which forms, and what is left alone."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from urllib.parse import quote

import pytest

from pghaul.model import redaction
from pghaul.model.errors import AccessError, PghaulError
from pghaul.model.event import Event, EventKind
from pghaul.model.profile import Endpoint
from pghaul.model.redaction import HIDDEN, know, know_any, redacted, redacted_data, traceback_of
from pghaul.model.text import Text, say, told_in
from pghaul.postgres.dsn import resolve

SECRET = "p@ss/w:rd#1 'x\" 비밀\\번호"
FORMS = {
    "itself": SECRET,
    "a URL": quote(SECRET, safe=""),
    "a URL, in small letters": quote(SECRET, safe="").lower(),
    "a path": quote(SECRET),
    "JSON": json.dumps(SECRET)[1:-1],
    "JSON with its letters": json.dumps(SECRET, ensure_ascii=False)[1:-1],
    "repr": repr(SECRET)[1:-1],
    "bytes": repr(SECRET.encode())[2:-1],
    "a pass file": SECRET.replace("\\", "\\\\").replace(":", "\\:"),
    "SQL": SECRET.replace("'", "''"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_known_password_is_replaced_in_every_form(form: str) -> None:
    know(SECRET)
    assert redacted(f"tried <{FORMS[form]}> in vain") == f"tried <{HIDDEN}> in vain"


def test_a_text_keeps_its_template_and_is_translated_without_the_password() -> None:
    know(SECRET)
    words = redacted(say("{error}; again in {seconds} s", error=say("no {what}", what=SECRET), seconds=1.5))
    assert isinstance(words, Text)
    assert (words.template, words) == ("{error}; again in {seconds} s", f"no {HIDDEN}; again in 1.5 s")
    german = {"no {what}": "kein {what}", "{error}; again in {seconds} s": "{error}; wieder in {seconds} s"}
    assert told_in(german.__getitem__, words) == f"kein {HIDDEN}; wieder in 1.5 s"


def test_what_is_clean_is_returned_as_it_is() -> None:
    know(SECRET)
    words = say("{n} tables", n=3)
    assert redacted(words) is words


@pytest.mark.parametrize(
    ("words", "clean"),
    [
        ("at postgresql://me:geheim@h:5432/db?x=1", "at postgresql://me:***@h:5432/db?x=1"),
        ("at postgresql:/me:geheim@h/db", "at postgresql:/me:***@h/db"),  # as a path has it
        ("at postgresql://me:ge@heim@h/db", "at postgresql://me:***@h/db"),
        ("at https://u:tok@hook.example/x", "at https://u:***@hook.example/x"),
        ("host=h password=geheim port=1", "host=h password=*** port=1"),
        ("host=h password = 'ge \\' heim' port=1", "host=h password = *** port=1"),
        ("?user=a&password=geheim&x=1", "?user=a&password=***&x=1"),
        ("PGPASSWORD=geheim psql", "PGPASSWORD=*** psql"),
        ("sslpassword=geheim", "sslpassword=***"),
        ("CREATE ROLE a PASSWORD 'ge''heim' LOGIN", "CREATE ROLE a PASSWORD *** LOGIN"),
        ("OPTIONS (user 'a', password 'geheim')", "OPTIONS (user 'a', password ***)"),
        ('{"password": "geheim", "n": 1}', '{"password": "***", "n": 1}'),
        ("{'password': 'geheim'}", "{'password': \"***\"}"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
    ],
)
def test_a_password_that_nobody_knows_is_found_by_its_place(words: str, clean: str) -> None:
    assert redacted(words) == clean


@pytest.mark.parametrize(
    "words",
    [
        "postgresql://me@old:5432/db, postgresql://you@new/db",
        "http://127.0.0.1:9187/metrics",
        "PGPASSWORD or a .pgpass file (0600) can hold the password",
        'password authentication failed for user "me"',
        "2026-11-21T10:00:00+00:00",
        "C:\\Users\\me",
        '{"source":"postgresql://u@h:5432/d","target":"postgresql://v@h/d"}',
    ],
)
def test_words_without_a_password_stay_as_they_are(words: str) -> None:
    assert redacted(words) == words


@pytest.mark.parametrize("short", ["a", "in", "abc"])
def test_a_very_short_password_does_not_destroy_what_is_said(short: str) -> None:
    know(short)
    words = "a table in public.abc has an index"
    assert redacted(words) == words
    assert redacted(f"postgresql://u:{short}@h/d") == "postgresql://u:***@h/d"


def test_a_common_word_is_replaced_as_a_word_in_sentences_only() -> None:
    know("orders")
    assert redacted("the password orders is wrong, see reorders") == "the password *** is wrong, see reorders"
    assert redacted_data({"table": "public.orders", "why": "it is orders"}) == {
        "table": "public.orders",
        "why": "it is ***",
    }


def test_a_password_that_is_the_user_s_name_leaves_it_readable() -> None:
    end = resolve("postgresql://postgres:postgres@127.0.0.1/db", environ={})
    assert end.password == "postgres"
    assert redacted(f'no role "postgres" at {end.display}') == f'no role "postgres" at {end.display}'


def test_resolving_a_url_is_enough_to_know_its_password() -> None:
    resolve("postgresql://me:S3cret%2Fw%40rt@h/db", environ={})
    assert redacted("it is S3cret/w@rt or S3cret%2fw%40rt") == "it is *** or ***"


def test_a_url_that_is_refused_has_told_its_password_before() -> None:
    with pytest.raises(PghaulError):
        resolve("postgresql://me:S3cret-w0rt@h/db?sslmode=never", environ={})
    assert redacted("S3cret-w0rt") == HIDDEN


@pytest.mark.parametrize(
    "typed",
    [
        "postgresql://u:S3cret-w0rt@h/d",
        "--from=postgresql://u:S3cret-w0rt@h/d",
        "postgres://u:S3cret-w0rt",  # the host was forgotten
        "mysql://u:S3cret-w0rt@h/d",
        "u:S3cret-w0rt@h/d",
        "host=h user=u password=S3cret-w0rt",
        "host=h password='S3cret-w0rt' dbname=d",
    ],
)
def test_what_a_person_typed_is_known_however_malformed(typed: str) -> None:
    know_any(typed, typed=True)
    assert redacted("no such file: S3cret-w0rt") == f"no such file: {HIDDEN}"


def test_a_part_of_a_password_that_was_not_encoded_is_known_too() -> None:
    know_any("postgresql://u:Zq7kv/Wx9pp@Lm4tt:55@h:5432/plant", typed=True)
    assert redacted("no host Lm4tt:55, no port 'Wx9pp'") == "no host ***:55, no port '***'"
    assert redacted("plant on h:5432") == "plant on h:5432"


def test_a_url_that_is_well_formed_teaches_its_password_alone() -> None:
    know_any("postgresql://u:S3cret-w0rt@db.example:5432/plant?application_name=me@home", typed=True)
    words = "postgresql://u@db.example:5432/plant?application_name=me@home"
    assert redacted(words) == words
    assert redacted("S3cret-w0rt") == HIDDEN


def test_an_argument_without_a_password_teaches_nothing() -> None:
    for word in ("postgresql://postgres@localhost:5432/db", "http://h:8080/x", "--table", "public.a"):
        know_any(word, typed=True)
    words = "postgres localhost 5432 8080 public.a"
    assert redacted(words) == words


def test_an_error_holds_no_password_and_none_comes_back_by_pickle() -> None:
    know(SECRET)
    exc = AccessError(say("refused {what}", what=SECRET), where=f"postgresql://u:{SECRET}@h", advice=f"not {SECRET}")
    for seen in (exc, pickle.loads(pickle.dumps(exc))):  # noqa: S301
        said = f"{seen} {seen.message} {seen.where} {seen.advice} {seen.said} {seen.args}"
        assert HIDDEN in said
        assert SECRET not in said


def test_an_event_holds_no_password() -> None:
    know(SECRET)
    event = Event(
        kind=EventKind.WARNING, run="r", message=SECRET, data={"error": f"x {SECRET}", "l": [SECRET], "password": "p"}
    )
    assert event.data == {"error": f"x {HIDDEN}", "l": [HIDDEN], "password": HIDDEN}
    assert SECRET not in json.dumps(event.as_json(), ensure_ascii=False)


def test_a_traceback_with_its_causes_holds_no_password() -> None:
    know(SECRET)
    try:
        try:
            raise ValueError(SECRET)  # noqa: TRY301
        except ValueError as exc:
            raise RuntimeError({"password": "other-geheim", "x": SECRET}) from exc
    except RuntimeError as exc:
        said = traceback_of(exc)
    assert "ValueError" in said
    assert SECRET not in said
    assert repr(SECRET)[1:-1] not in said
    assert "other-geheim" not in said


def test_what_the_interpreter_prints_holds_no_password() -> None:
    script = (
        "import logging, threading\n"
        "from pghaul.model.redaction import guard, know\n"
        "guard(); know('S3cret-w0rt')\n"
        "logging.getLogger('x').warning('in S3cret-w0rt')\n"
        "def f(): raise ValueError('S3cret-w0rt')\n"
        "t = threading.Thread(target=f); t.start(); t.join()\n"
        "f()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("ValueError: ***") == 2
    assert "in ***" in done.stderr
    assert "S3cret" not in done.stderr.replace("raise ValueError('S3cret-w0rt')", "")


def test_an_endpoint_that_is_unpickled_is_known_when_it_says_so() -> None:
    sent = pickle.dumps(Endpoint(params=(("user", "u"),), password="S3cret-w0rt"))
    redaction.forget()
    got = pickle.loads(sent)  # noqa: S301
    got.keep_secret()
    assert redacted("S3cret-w0rt") == HIDDEN
