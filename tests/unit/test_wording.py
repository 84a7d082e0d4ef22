"""What members of closed sets and complaints of others are called in words of ours."""

from __future__ import annotations

import typing
from typing import Any

import pytest
from pydantic import ValidationError

from pghaul.cli.app import run
from pghaul.cli.progress import TITLES
from pghaul.model.event import EventKind
from pghaul.model.plan import Plan
from pghaul.model.text import Text
from pghaul.model.wording import WORDED, worded
from pghaul.service.complaints import KNOWN, complaint, problem

Output: typing.TypeAlias = pytest.CaptureFixture[str]
PLAN: dict[str, Any] = {"source": "postgresql://old/a", "target": "postgresql://new/a", "tables": [{"name": "a"}]}


@pytest.mark.parametrize("names", WORDED, ids=lambda names: type(next(iter(names))).__name__)
def test_every_member_of_a_closed_set_has_words(names: typing.Mapping[Any, Text]) -> None:
    members = list(type(next(iter(names))))
    assert set(names) == set(members)
    assert all(worded(m) is names[m] for m in members)


def test_every_event_that_is_told_has_a_title() -> None:
    assert set(TITLES) == set(EventKind) - {EventKind.PROGRESS}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"options": {"workers": 0}}, "at least 1 is needed"),
        ({"options": {"workers": 65}}, "at most 64 is possible"),
        ({"options": {"workers": 1.5}}, "a whole number is needed"),
        ({"options": {"lock_timeout": "soon"}}, "a number is needed"),
        ({"options": {"create": "perhaps"}}, "true or false is needed"),
        ({"options": {"verify": "often"}}, "one of 'count' or 'checksum' is needed"),
        ({"options": {"only_between": "3"}}, "it is not written as needed: "),
        ({"options": 3}, "a table of keys is needed"),
        ({"options": {"wokers": 3}}, "there is no such key"),
        ({"source": None}, "text is needed"),
        ({"exclude": "x"}, "a list is needed"),
        ({"tables": [{"name": "a", "merge": {"watermark": "b", "lookback": ""}}]}, "it has fewer than 1 characters"),
        ({"tables": [{"name": "a", "columns": []}]}, "the list has fewer than 1 entries"),
        ({"tables": [{}]}, "a selection takes a name, or a query"),
    ],
)
def test_what_pydantic_says_of_a_plan_is_said_in_words_of_ours(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Plan.model_validate(PLAN | wrong)
    words = problem(caught.value.errors()[0])
    assert isinstance(words, Text)
    assert words.startswith(said)


def test_a_complaint_that_nobody_knows_is_shown_as_it_is() -> None:
    assert complaint("Quite odd") == "Quite odd"
    assert all(not pattern.fullmatch("Quite odd") for pattern, _ in KNOWN)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("run --workers 0", "--workers: at least 1 is needed [PGH-1068]"),
        ("run --workers abc", "--workers: a whole number is needed [PGH-1068]"),
        ("run --verify often", "--verify: 'often' is none of 'count', 'checksum' [PGH-1068]"),
        ("run --split-size big", "--split-size: a size is written 64MB or 1GB [PGH-1068]"),
        ("run --split-size", "--split-size: it needs a value [PGH-1068]"),
        ("run --json=3", "--json: it takes no value [PGH-1068]"),
        ("run --wokers 3", "there is no option --wokers [PGH-1065]"),
        ("migrate", "there is no command migrate [PGH-1066]"),
        ("statsu", "there is no command statsu [PGH-1066]"),
        ("show", "RUN is missing [PGH-1067]"),
        ("show a b", "too many words: b [PGH-1069]"),
    ],
)
def test_what_typer_says_of_words_is_an_error_of_ours(argv: str, said: str, capsys: Output) -> None:
    assert run(argv.split()) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"Wrong usage: {said}"
    assert "--help" in lines[1]


def test_a_language_that_we_do_not_speak_is_said_first(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setenv("PGHAUL_LANG", "fr")
    assert run(["--version"]) == 2
    assert "[PGH-1061]" in capsys.readouterr().err
