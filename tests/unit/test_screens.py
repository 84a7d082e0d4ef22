"""The pictures of the documentation: drawn from what a terminal shows, and without this or any machine in them."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.pages import Page

from pghaul.service.report.data import SEAL, seal

IMAGES = Path(__file__).resolve().parents[2] / "docs/images"
PICTURES = sorted(IMAGES.glob("*.svg"))
TEXTS = [*PICTURES, *IMAGES.glob("*.html"), *IMAGES.glob("*.json")]
# Addresses of this machine, homes of its users, where things are installed or checked out.
PRIVATE = re.compile(r"127\.0\.0\.|/root\b|root@|/home/(?!reader)|/tmp/\w|site-packages|/work/|Traceback|PGH-\d")
# What an SVG names without fetching it.
NAMES = {"http://www.w3.org/2000/svg", "https://www.textualize.io"}  # the latter in a comment: who has drawn it


@pytest.fixture
def terminal() -> object:
    """POSIX only, as pseudo-terminals are."""
    if os.name != "posix":
        pytest.skip("there are no pseudo-terminals here")
    from tools import terminal  # noqa: PLC0415

    return terminal


def test_there_are_pictures_of_every_step() -> None:
    steps = {"inspect", "plan", "run", "resume", "report"}
    assert steps <= {p.stem for p in PICTURES}
    assert (IMAGES / "report.html").exists()


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: p.name)
def test_no_picture_shows_whose_machine_it_was(path: Path) -> None:
    assert PRIVATE.findall(path.read_text(encoding="utf-8").replace("&#160;", " ")) == []


@pytest.mark.parametrize("path", PICTURES, ids=lambda p: p.name)
def test_a_picture_is_an_image_that_fetches_nothing(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 -- our own file
    assert set(re.findall(r"https?://[^\s\"')<]+", text)) <= NAMES
    assert "@import" not in text


def test_the_example_s_page_has_the_hash_of_the_example_s_data() -> None:
    page = Page((IMAGES / "report.html").read_text(encoding="utf-8"))
    data = json.loads((IMAGES / "report.json").read_text(encoding="utf-8"))
    assert (page.errors, page.asks_for()) == ([], [])
    assert data[SEAL] == seal(data)
    assert data[SEAL] in page.text
    assert data["id"] in page.text


def test_a_screen_holds_what_stands_on_it_in_the_end(terminal: object) -> None:
    screen = terminal.Screen()  # type: ignore[attr-defined]
    screen.feed("one\r\ntwo 10%\r\n  worker\r\n")
    screen.feed("\x1b[1A\x1b[2K\x1b[1A\x1b[2K\x1b[?25ltwo \x1b[31m90%\x1b[0m\r\n")
    screen.feed("line\rLINE\x1b[0m")
    assert screen.text == "one\ntwo \x1b[31m90%\x1b[0m\nLINE\x1b[0m"


def test_a_character_that_is_cut_in_two_waits_for_its_other_half(terminal: object) -> None:
    half = "점\x1b[3".encode()
    assert terminal._decodable(half) == ("점", b"\x1b[3")  # type: ignore[attr-defined]
    assert terminal._decodable("점".encode()[:2]) == ("", "점".encode()[:2])  # type: ignore[attr-defined]


def test_a_program_that_asks_unseen_is_answered(terminal: object, tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "LINES"}}
    ask = "import getpass, shutil; print(len(getpass.getpass('Word: ')), shutil.get_terminal_size().columns)"
    screen = terminal.play([sys.executable, "-c", ask], env=env, folder=tmp_path, answer="secret")  # type: ignore[attr-defined]
    assert screen.text.splitlines()[-1] == f"6 {terminal.COLUMNS}"  # type: ignore[attr-defined]
    assert "secret" not in screen.text
