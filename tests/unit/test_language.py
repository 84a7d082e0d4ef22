"""Korean: a catalogue without holes, chosen as a locale is, and nothing else on the screen."""

from __future__ import annotations

import gettext
import io
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TypeAlias

import pytest
import typer.main
import typer.rich_utils
from babel.messages.catalog import Message
from babel.messages.pofile import read_po
from rich.cells import cell_len
from tests.korean import still_english
from tools import messages
from tools.reference import commands

from pghaul.cli import helptexts, words
from pghaul.cli.app import app, run
from pghaul.cli.progress import JsonLines, PlainView, lanes, sentence
from pghaul.model.chunk import Chunk, ChunkKind, ChunkState
from pghaul.model.event import Event, EventKind
from pghaul.model.manifest import Manifest
from pghaul.model.plan import Plan, Selection
from pghaul.model.receipt import Proof, Receipt
from pghaul.model.run import Run, RunState
from pghaul.model.table import Name, Unsupported
from pghaul.model.text import say, saying
from pghaul.service import language
from pghaul.service.language import chosen, speaking
from pghaul.store.repository import Store

Output: TypeAlias = pytest.CaptureFixture[str]
ROOT = Path(__file__).resolve().parents[2]
RUN = "0123456789ab"
LEAF = Name("public", "leaf")
ASKED = saying("Run {run} is paused: {why}").format(run=RUN, why=say("stopped as asked"))
HANGUL = re.compile(r"[가-힣]")
KOREAN = messages.read("ko")
ENTRIES: list[Message] = [m for m in KOREAN if m.id]
wanted = cache(messages.wanted)  # all modules are parsed for it
# A name may end in any letter: a particle that depends on it has no place behind a placeholder.
PARTICLE = re.compile(r"\{[^{}]+\}[`'\")]*(은|는|이|가|을|를|과|와|으로|로|라고|이며|이고)(?=[\s,.:;?!]|$)")


@pytest.fixture(autouse=True)
def english_afterwards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process speaks one language; this one has others to test."""
    for name in helptexts.FIXED:
        monkeypatch.setattr(typer.rich_utils, name, getattr(typer.rich_utils, name))
    words.language.cache_clear()
    yield
    words.language.cache_clear()


@pytest.fixture
def korean(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line speaks Korean."""
    monkeypatch.setenv("PGHAUL_LANG", "ko")


@pytest.fixture
def record(state: str) -> Callable[[RunState], None]:
    """Puts a run with one chunk and something of everything to tell into the store."""

    def put(ended: RunState) -> None:
        store = Store(state)
        plan = Plan(source="host=old", target="host=new", tables=[Selection(name="public.*")])
        chunk = Chunk(table=LEAF, kind=ChunkKind.LEAF)
        lost = Unsupported(kind="VIEW", name="seen", why=say("it was not selected"))
        begun = datetime(2026, 1, 2, tzinfo=UTC)
        run_ = Run(
            id=RUN, state=ended, source="old/db", target="new/db", started=begun, finished=begun, epoch=2, rows=9
        )
        manifest = Manifest(tables=(), placements=(), chunks=(chunk,), identities=("a", "b"), not_carried=(lost,))
        store.create_run(run_, plan, manifest)
        receipt = Receipt(table=LEAF, chunk="leaf", rows=9, bytes=1, seconds=2, epoch=1, proof=Proof.STREAM)
        store.save_chunk(RUN, LEAF, "leaf", ChunkState.DONE, receipt=receipt)
        away = say("{error}; a new attempt in {seconds:.1f} s", error=say("The server is busy"), seconds=2.5)
        for kind, words_ in ((EventKind.CHUNK_RETRY, away), (EventKind.ATTEMPT, ""), (EventKind.PAUSED, ASKED)):
            store.save_event(Event(kind=kind, run=RUN, table=str(LEAF), message=words_, data={"epoch": 2}))
        store.close()

    return put


# --- the catalogue ----------------------------------------------------------------------------------------------------


def test_words_are_collected_from_code_and_help() -> None:
    """A wrong path would make every other test here pass."""
    assert len(wanted()) > 1000
    assert {
        "there is no run {run}",
        "Copy tables from any source into PostgreSQL.",
        "Show this message and exit.",
    } <= set(wanted())


def test_every_entry_has_its_korean() -> None:
    translated = {str(m.id) for m in ENTRIES if m.string}
    assert sorted(set(wanted()) - translated) == []


def test_no_entry_is_a_guess_or_left_over() -> None:
    assert [m.id for m in ENTRIES if m.fuzzy] == []
    assert sorted({str(m.id) for m in ENTRIES} - set(wanted())) == []
    assert KOREAN.obsolete == {}


def test_the_template_is_that_of_the_code() -> None:
    with messages.TEMPLATE.open("rb") as file:
        template = read_po(file)
    assert {str(m.id) for m in template if m.id} == set(wanted())


@pytest.mark.parametrize("code", [c for c in language.LANGUAGES if c != language.ENGLISH])
def test_what_is_compiled_is_what_is_written(code: str) -> None:
    with messages.po_of(code).with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    assert {k: v for k, v in compiled.items() if k} == {
        m.id: m.string for m in messages.read(code) if m.id and m.string
    }


def test_placeholders_are_those_of_the_english() -> None:
    def holes(text: object) -> list[str]:
        return sorted(messages.PLACEHOLDER.findall(re.sub(r"\{\{|\}\}", "", str(text))))

    assert [m.id for m in ENTRIES if m.string and holes(m.id) != holes(m.string)] == []


def test_space_around_words_is_kept() -> None:
    def around(text: object) -> tuple[str, str]:
        return re.match(r"\s*", str(text))[0], re.search(r"\s*$", str(text))[0]  # type: ignore[index]

    assert [m.id for m in ENTRIES if m.string and around(m.id) != around(m.string)] == []


def test_no_particle_depends_on_what_a_placeholder_holds() -> None:
    assert [m.string for m in ENTRIES if PARTICLE.search(str(m.string))] == []


def test_commands_and_options_are_named_alike() -> None:
    """A translated word of the command line would be a command that is not there."""

    def named(text: object) -> set[str]:
        return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+|PGHAUL_\w+|`?pghaul [a-z]+ [A-Z{-]", str(text), re.ASCII))

    assert [m.id for m in ENTRIES if m.string and named(m.id) != named(m.string)] == []


def test_a_word_has_one_translation() -> None:
    """docs/korean-glossary.md, first table."""
    table = (ROOT / "docs/korean-glossary.md").read_text(encoding="utf-8").split("\n\n")[2]
    glossary = dict(re.findall(r"^\| ([a-z ]+) \| (\S.*?) \|$", table, re.MULTILINE))
    assert len(glossary) > 20
    wrong = [
        f"{english} is {ours}: {m.id} => {m.string}"
        for english, ours in glossary.items()
        for m in ENTRIES
        if re.search(rf"(?<![-\w.{{/]){english}s?(?![-\w.}}/=])", without_code(str(m.id)).lower())
        and ours not in str(m.string)
    ]
    assert wrong == []


def without_code(text: str) -> str:
    """What is typed, or is SQL, is the same in every language."""
    return re.sub(
        r"`[^`]*`|'[^']*'|pghaul [a-z]+|--[\w-]+ ?[a-z]*|timestamp with(?:out)? time zone|\b[A-Z]{2,}[A-Z ]+\b.*|\{[^{}]*\}|\w+://\S*",
        " ",
        text,
    )


def test_both_readmes_show_the_same_commands_and_lead_to_the_same_pages() -> None:
    ours, theirs = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.ko.md", "README.md"))
    for said in (_code, _links, _headings):
        assert said(ours) == said(theirs)
    assert "(README.ko.md)" in theirs


def _code(text: str) -> list[str]:
    """Lines of code, without their comments, and what stands in backticks between."""
    blocks = "\n".join(re.findall(r"^```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    return [line.partition(" # ")[0].rstrip() for line in blocks.splitlines()]


def _links(text: str) -> list[str]:
    return sorted(set(re.findall(r"\]\((?!README)([^)]+)\)", text)))


def _headings(text: str) -> list[str]:
    return re.findall(r"^#+", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)


# --- which language ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "code"),
    [
        ({"PGHAUL_LANG": "ko"}, "ko"),
        ({"PGHAUL_LANG": "ko_KR.UTF-8"}, "ko"),
        ({"PGHAUL_LANG": "ko-KR"}, "ko"),
        ({"PGHAUL_LANG": "en", "LC_ALL": "ko_KR.UTF-8"}, "en"),
        ({"PGHAUL_LANG": "", "LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LC_ALL": "ko_KR.UTF-8", "LANG": "en_US.UTF-8"}, "ko"),
        ({"LC_ALL": "en_US.UTF-8", "LANG": "ko_KR.UTF-8"}, "en"),
        ({"LC_MESSAGES": "ko_KR.eucKR", "LANG": "C"}, "ko"),
        ({"LC_ALL": "", "LANG": "ko_KR"}, "ko"),
        ({"LANG": "fr_FR.UTF-8"}, "en"),
        ({"LANG": "C"}, "en"),
        ({"LANG": "POSIX"}, "en"),
    ],
)
def test_the_language_is_chosen_as_a_locale_is(environ: dict[str, str], code: str) -> None:
    assert chosen(environ) == code


@pytest.mark.parametrize(
    ("said", "code"), [("Korean_Korea", "ko"), ("ko_KR", "ko"), ("English_Canada", "en"), (None, "en")]
)
def test_where_the_environment_says_nothing_the_system_does(
    said: str | None, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("locale.getlocale", lambda: (said, "cp949"))
    assert chosen({}) == code


def test_a_locale_that_cannot_be_read_is_english(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ValueError("unknown locale")

    monkeypatch.setattr("locale.getlocale", fail)
    assert chosen({}) == "en"


def test_what_has_no_translation_is_said_in_english() -> None:
    assert speaking("ko").say(say("never {said} anywhere", said=say("done"))) == "never 완료 anywhere"


# --- what is on the screen --------------------------------------------------------------------------------------------

PATHS = [name for name, _ in commands()]


@pytest.mark.usefixtures("korean")
@pytest.mark.parametrize("path", ["", *PATHS])
def test_help_is_korean_throughout(path: str, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setenv("COLUMNS", "220")
    assert run([*path.split(), "--help"]) == 0
    out = capsys.readouterr().out
    assert "사용법: pghaul" in out
    assert "이 도움말을 봅니다." in out
    for word in ("Usage", "Options", "Arguments", "Commands", "[default:", "[required]", "OPTIONS", "COMMAND"):
        assert word not in out
    assert still_english(out, choices=True) == []


@pytest.mark.usefixtures("korean")
@pytest.mark.parametrize("path", ["", *PATHS])
def test_no_word_of_help_is_cut_at_the_end_of_a_line(
    path: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run([*path.split(), "--help"]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if re.search("… *│$", line)] == []


@pytest.mark.usefixtures("korean")
def test_help_keeps_its_short_option_and_its_frames_in_line(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    """Hangul is two columns wide."""
    monkeypatch.setenv("COLUMNS", "100")
    assert run(["run", "-h"]) == 0
    framed = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("│", "╭", "╰"))]
    assert {cell_len(line) for line in framed} == {100}


def test_english_help_is_typer_s_own(capsys: Output) -> None:
    assert run(["run", "--help"]) == 0
    assert "Usage: pghaul run [OPTIONS] [PLAN.toml]" in capsys.readouterr().out


@pytest.mark.usefixtures("korean")
@pytest.mark.parametrize(
    "argv",
    [
        "run",
        "run --workers 0",
        "run --workers abc",
        "run --verify often",
        "run --split-size big",
        "run --split-size",
        "run --json=3",
        "run --wokers 3",
        "migrate",
        "show",
        "show a b",
        "show nothing",
        "resume",
        "run no-such-plan.toml",
        "run --from a --to b --table t --run-id XYZ",
        "run --from a --to b --table t --on-conflict update --recipe copy",
        "cutover x --end-sessions",
        "inspect nosuch://me@host/db",
    ],
)
def test_errors_are_korean_with_title_code_and_advice(
    argv: str,
    state: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
) -> None:
    assert run(argv.split()) in {1, 2}
    err = capsys.readouterr().err
    assert still_english(err) == []
    assert re.search(r"\[PGH-\d{4}\]\n", err)
    assert all(HANGUL.search(line) for line in err.splitlines())
    assert "조치: " in err


@pytest.mark.usefixtures("korean")
def test_runs_status_and_show_are_korean(
    record: Callable[[RunState], None],
    capsys: Output,
) -> None:
    record(RunState.FAILED)
    for argv in (["runs"], ["status"], ["show", RUN], ["logs", RUN]):
        assert run(argv) == 0
        told = capsys.readouterr()
        assert HANGUL.search(told.out)
        assert still_english(told.out + told.err) == []
    assert run(["status"]) == 0
    assert re.search(r"상태 +실패", capsys.readouterr().out)


@pytest.mark.usefixtures("korean")
def test_titles_stand_above_their_columns(record: Callable[[RunState], None], capsys: Output) -> None:
    record(RunState.DONE)
    assert run(["runs"]) == 0
    title, line = capsys.readouterr().out.splitlines()[:2]
    place = cell_len(title[: title.index("상태")])
    assert cell_len(line[: line.index("완료")]) == place


@pytest.mark.usefixtures("korean")
def test_json_stays_english(record: Callable[[RunState], None], capsys: Output) -> None:
    record(RunState.DONE)
    assert run(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["state"] == "done"
    assert run(["show", RUN, "--json"]) == 0
    assert not HANGUL.search(capsys.readouterr().out)


@pytest.mark.usefixtures("korean")
@pytest.mark.parametrize("kind", [k for k in EventKind if k is not EventKind.PROGRESS])
def test_every_event_without_words_has_a_korean_sentence(kind: EventKind) -> None:
    told = words.tell(sentence(Event(kind=kind, run=RUN, data={"step": "create", "epoch": 2, "objects": ["a"]})))
    assert HANGUL.search(told)
    assert still_english(told) == []


@pytest.mark.usefixtures("korean")
def test_progress_off_a_terminal_is_korean(capsys: Output) -> None:
    from rich.console import Console  # noqa: PLC0415 -- after capsys has put its own stdout

    view = PlainView(Console(width=200, stderr=True), verbose=False, every=0)
    view(Event(kind=EventKind.PROGRESS, run=RUN, data={"rows": 5, "bytes": 9, "cpu": 0.5, "memory": 1 << 20}))
    told = capsys.readouterr().err
    assert "5행" in told
    assert "클라이언트 CPU 50%" in told
    assert still_english(told) == []
    assert "복사" in lanes([{"table": "a.b", "chunk": "leaf", "doing": "copy", "bytes": 0, "rate": 0}])


@pytest.mark.usefixtures("korean")
def test_completion_tells_commands_in_korean() -> None:
    command = typer.main.get_command(app)
    helptexts.translate(command)
    shown = {name: below.help for name, below in command.commands.items()}  # type: ignore[attr-defined]
    assert all(HANGUL.search(text) for text in shown.values())


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("utf-8", "찾을 수 없습니다"), ("cp949", "찾을 수 없습니다"), ("cp437", "Not found"), ("ascii", "Not found")],
)
def test_where_hangul_cannot_be_shown_english_is(
    encoding: str, said: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHAUL_LANG", "ko")
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    monkeypatch.setattr("sys.stdout", streams[0])
    monkeypatch.setattr("sys.stderr", streams[1])
    assert run(["show", "nothing"]) == 1
    assert run(["run", "--help"]) == 0  # its dots and frames are in no old code page
    told = [_told(stream, encoding) for stream in streams]
    assert said in told[1]
    assert "postgresql://" in told[0]


def _told(stream: io.TextIOWrapper, encoding: str) -> str:
    stream.flush()
    raw = stream.buffer.getvalue()  # type: ignore[attr-defined]
    return bytes(raw).decode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "cp949", "ascii"])
def test_json_is_json_in_every_encoding(encoding: str) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
    JsonLines(out)(Event(kind=EventKind.NOTICE, run=RUN, message="한글 é 𝄞"))
    assert json.loads(_told(out, encoding))["message"] == "한글 é 𝄞"
