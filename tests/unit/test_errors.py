"""Errors and findings have numbers that stay, and the page of errors says what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools import errors as catalogue
from tools.errors import AGAIN, BY_FAMILY, CLASSES, PAGE, Made, collect, page, problems, reworded

from pghaul.model.errors import BUG, NotFoundError, PghaulError, UsageError, naming
from pghaul.model.text import say
from pghaul.postgres.dsn import resolve

MADE = tuple(collect())
SAID = PAGE.read_text(encoding="utf-8")
NOT_FOUND = """
from pghaul.model.errors import NotFoundError
from pghaul.model.text import say, saying

NO_TABLE = saying("there is no table {table}")

def look(name):
    raise NotFoundError(NO_TABLE.format(table=name), code=5203, advice=_advice(name))

def _advice(name):
    return say("did you mean {name}?", name=name) if name else say("look again")
"""


def _one(code: int | None = 5203, sentence: str = "there is no run {run}", place: str = "a.py:1") -> Made:
    return Made(place=place, home="a.py:f", kind="NotFoundError", code=code, sentences=(sentence,), advices=("look",))


def _collected(folder: Path, text: str) -> list[Made]:
    (folder / "look.py").write_text(text, encoding="utf-8")
    return list(collect(folder))


def test_the_code_is_read() -> None:
    """A wrong path would make every other test here pass."""
    assert len({m.code for m in MADE}) > 150


def test_every_error_and_finding_has_a_number_of_its_own_in_its_class() -> None:
    assert problems(MADE, SAID) == []


def test_no_number_says_something_else_than_it_did() -> None:
    """Where a new sentence means the same: python -m tools.errors --reworded."""
    assert reworded(MADE, SAID) == []


def test_the_page_is_as_the_code_makes_it() -> None:
    """`make reference` mends it."""
    assert page(MADE, SAID) == SAID


def test_what_has_no_number_is_still_there_to_be_excused() -> None:
    assert {m.home for m in MADE if m.code is None} == set(AGAIN)


def test_every_class_has_a_hundred_a_title_and_advice_of_its_own() -> None:
    assert len(BY_FAMILY) == len(CLASSES)
    assert {k.__name__ for k in CLASSES.values() if not k.title or k.counsel is BUG} == {PghaulError.__name__}
    assert all(family % 100 == 0 for family in BY_FAMILY if family > 1)


def test_a_sentence_is_found_behind_a_constant_and_advice_behind_a_function(tmp_path: Path) -> None:
    (made,) = _collected(tmp_path, NOT_FOUND)
    assert (made.kind, made.code, made.home) == ("NotFoundError", 5203, "look.py:look")
    assert made.sentences == ("there is no table {table}",)
    assert made.advices == ("did you mean {name}?", "look again")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('NotFoundError(say("gone"))', "without a number"),
        ('NotFoundError(f"no {x}", code=5203)', "does not say a template"),
        ('NotFoundError(say("gone"), code=5301)', "not of NotFoundError"),
        ('NotFoundError(say("gone") if x else say("away"), code=5203)', "several sentences"),
        ('Finding(kind=Kind.ROLE, what=say("gone"), code=5301)', "not of NotFoundError"),
        ('[NotFoundError(say("gone"), code=5203), NotFoundError(say("gone"), code=5204)]', "several numbers"),
    ],
)
def test_what_cannot_be_listed_is_refused(text: str, complaint: str, tmp_path: Path) -> None:
    (found,) = problems(_collected(tmp_path, text))
    assert complaint in found


def test_a_number_that_is_gone_stays_on_the_page_and_never_comes_back() -> None:
    old = page([_one(), _one(5204, "there is no table {table}")])
    new = page([_one()], old)
    assert "| PGH-5204 | there is no table {table} |" in new.partition(catalogue.RETIRED)[2]
    assert page([_one()], new) == new
    assert problems([_one(), _one(5204, "another")], new) == ["5204 was retired and may not mean anything else"]


def test_a_number_with_another_sentence_is_refused() -> None:
    (found,) = reworded([_one(sentence="no run {run}")], page([_one()]))
    assert found.startswith("PGH-5203 was “there is no run {run}”, is “no run {run}”")
    assert reworded([_one()], page([_one()])) == []


def test_of_two_urls_an_error_says_which_one() -> None:
    with pytest.raises(UsageError) as caught, naming(say("target")):
        resolve("mysql://here/db")
    assert caught.value.where == "target"
    assert str(caught.value) == "Wrong usage: the URL does not begin with postgresql:// (target)"


def test_an_error_that_knows_its_place_keeps_it() -> None:
    with pytest.raises(NotFoundError) as caught, naming(say("target")):
        raise NotFoundError(say("gone"), where="plant", code=5203)
    assert caught.value.where == "plant"
