"""What a person reads can be translated: literal templates, placeholders with names, a value for each."""

from __future__ import annotations

import pickle
from functools import cache
from pathlib import Path

import pytest
from tools.words import Module, Said, modules

from pghaul.model.text import Text, joined, listed, revive, say, saying, storable, told_in, words_of

# Templates that are no literals, and why. By file.
FROM_ELSEWHERE = {"cli/helptexts.py": "help texts of commands, which are literals where they stand"}


@cache
def said_in_code() -> list[Said]:
    """Every call of all modules."""
    return [said for module in modules() for said in module.said()]


def _complaints(text: str, folder: Path) -> list[str]:
    (folder / "words.py").write_text(text, encoding="utf-8")
    return [said.complaint for said in Module(folder / "words.py", folder).said() if said.complaint]


def test_the_code_is_read() -> None:
    """A wrong path would make every other test here pass."""
    assert len(said_in_code()) > 700


def test_every_template_is_a_literal_with_a_value_for_each_name() -> None:
    wrong = [
        said.complaint for said in said_in_code() if said.complaint and said.place.split(":")[0] not in FROM_ELSEWHERE
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('say(f"no {x}")', "no literal"),
        ('say("no " + x)', "no literal"),
        ('say("no {}", x=1)', "without a name"),
        ('say("no {0}", x=1)', "without a name"),
        ('say("no {x.y}", x=1)', "without a name"),
        ('say("no {x")', "words.py:1"),
        ('say("no {x}")', "['x']"),
        ('say("no {x}", x=1, y=2)', "['y']"),
        ('saying("no {}")', "without a name"),
        ('NO = saying("no {x}")\nNO.format(y=1)', "['x', 'y']"),
        ('NO = saying("no {x}")\nNO.format(1)', "['positions', 'x']"),
    ],
)
def test_what_a_translator_would_stumble_over_is_found(text: str, complaint: str, tmp_path: Path) -> None:
    (found,) = _complaints(text, tmp_path)
    assert complaint in found


def test_no_words_for_a_person_are_left_unsaid() -> None:
    assert [place for module in modules() for place in module.unsaid()] == []


@pytest.mark.parametrize(
    ("text", "unsaid"),
    [
        ('Unsupported(why=f"no {x}")', "words.py:1: f'no {x}'"),
        ('Finding(what="no table", advice=say("look"))', "words.py:1: 'no table'"),
        ('Finding(what="no " + x)', "words.py:1: 'no ' + x"),
        ('exc.add_note("and more")', "words.py:1: 'and more'"),
        ('report.notice("PROOF", "t", f"by {x}")', "words.py:1: f'by {x}'"),
        ('report.warn("look " + x)', "words.py:1: 'look ' + x"),
        ('GONE = "it is gone"\nEvent(message=GONE)', "words.py:2: GONE"),
        ('GONE = say("it is gone")\nEvent(message=GONE)', None),
        ('Finding(what=say("no {why}", why="none at all"), advice=x or say("look"))', None),
    ],
)
def test_words_that_are_not_said_are_found(text: str, unsaid: str | None, tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text(text, encoding="utf-8")
    assert list(Module(tmp_path / "words.py", tmp_path).unsaid()) == ([unsaid] if unsaid else [])


@pytest.mark.parametrize(
    "text",
    [
        'say("no {x}", x=1)',
        'say("{{}} {x:.1f} {y!r}", x=1, y="")',
        'say("no {x}", **named)',
        'NO = saying("no {x}")\nNO.format(x=1)',
        'NO = {1: saying("no {x}"), 2: saying("none")}\nNO[1].format(x=1)',
        '"{}".format(1)',
    ],
)
def test_what_can_be_translated_is_let_through(text: str, tmp_path: Path) -> None:
    assert _complaints(text, tmp_path) == []


def test_names_in_a_row_say_how_many_more_there_are() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed([1, 2, 3], most=2) == "1, 2 and 1 more"
    assert isinstance(listed([1, 2, 3], most=2), Text)


def test_words_of_an_exception_keep_their_template() -> None:
    assert words_of(ValueError(say("no {x}", x=1))) == "no 1"
    assert isinstance(words_of(ValueError(say("no {x}", x=1))), Text)
    assert words_of(ValueError("plain")) == "plain"
    assert words_of(ValueError()) == ""


def test_words_are_translated_from_inside_out_after_any_journey() -> None:
    german = {"{a} of {b}": "von {b} {a}", "two": "zwei", "{part0}; {part1}": "{part0}; {part1}"}
    words = joined("; ", [say("{a} of {b}", a=1, b=say("two")), "data"])
    for travelled in (words, pickle.loads(pickle.dumps(words)), revive(storable(words))):  # noqa: S301
        assert travelled == "1 of two; data"
        assert told_in(lambda text: german.get(text, text), travelled) == "von zwei 1; data"


def test_a_constant_waits_for_its_values() -> None:
    waiting = saying("no {x}")
    assert (waiting, waiting.format(x=1)) == ("no {x}", "no 1")
    assert pickle.loads(pickle.dumps(waiting)) == waiting  # noqa: S301
