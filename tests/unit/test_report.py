"""What a report says of a run: its verdict, its proofs, and data that can be compared years later."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.recorded import (
    ATTEMPT,
    DIFFERING,
    HOSTILE,
    ORDERS,
    RUN,
    SERVER,
    VERIFICATION,
    after,
    compared,
    event,
    failed,
    receipt,
    record,
    samples,
    verification,
)

from pghaul.cli.app import run as command
from pghaul.model.chunk import Chunk, ChunkKind, ChunkState
from pghaul.model.errors import NotFoundError
from pghaul.model.event import EventKind
from pghaul.model.receipt import Proof
from pghaul.model.run import RunState
from pghaul.model.table import Name, Unsupported
from pghaul.model.text import say
from pghaul.model.verification import Method
from pghaul.service.report.contents import Outcome, Report, Story
from pghaul.service.report.data import MADE, SEAL, as_data, seal
from pghaul.service.report.gather import gather
from pghaul.store.repository import Store

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs/reference/report.md"
BIG = Name("public", "big")
RANGES = [
    Chunk(table=BIG, kind=ChunkKind.CTID, first_page=0, end_page=10),
    Chunk(table=BIG, kind=ChunkKind.CTID, first_page=10),
]


def reported(store: Store, identifier: str = RUN) -> Report:
    found = gather(store, identifier)
    store.close()
    return found


def story(store: Store) -> Story:
    found = reported(store).story
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        (RunState.DONE, Outcome.DONE),
        (RunState.DIFFERENT, Outcome.DIFFERENT),
        (RunState.FAILED, Outcome.FAILED),
        (RunState.STOPPED, Outcome.STOPPED),
        (RunState.RUNNING, Outcome.RUNNING),
        (RunState.PAUSED, Outcome.PAUSED),
    ],
)
def test_a_run_s_state_is_its_verdict(tmp_path: Path, state: RunState, outcome: Outcome) -> None:
    error = say("the disk is full") if state is RunState.FAILED else None
    verdict = reported(record(tmp_path, state, error=error)).verdict
    assert verdict.outcome is outcome
    assert any("the disk is full" in r for r in verdict.reasons) == (state is RunState.FAILED)
    assert any("pghaul resume" in r for r in verdict.reasons) == (state in {RunState.FAILED, RunState.STOPPED})


def test_a_table_whose_hashes_differ_is_named_in_the_verdict(tmp_path: Path) -> None:
    store = record(tmp_path, RunState.DIFFERENT, receipts=[receipt(ORDERS, target_hash="cd" * 16)])
    found = reported(store)
    assert found.story
    assert found.story.tables[0].agrees is False
    assert [r for r in found.verdict.reasons if "public.orders" in r]


def test_a_difference_that_no_receipt_shows_leads_to_the_warnings(tmp_path: Path) -> None:
    verdict = reported(record(tmp_path, RunState.DIFFERENT)).verdict
    assert ["warnings" in r for r in verdict.reasons] == [True]


def test_rows_that_were_set_aside_are_named_in_the_verdict(tmp_path: Path) -> None:
    store = record(tmp_path, RunState.DIFFERENT, receipts=[receipt(ORDERS, rejected=2)])
    (reason,) = reported(store).verdict.reasons
    assert f"public.orders: 2 rows were set aside: pghaul quarantine show --run {RUN}" in reason


def test_a_later_verification_that_differs_overrules_the_run(tmp_path: Path) -> None:
    store = record(tmp_path)
    store.save_verification(verification(compared(agrees=False)))
    verdict = reported(store).verdict
    assert verdict.outcome is Outcome.DIFFERENT
    assert [r for r in verdict.reasons if VERIFICATION in r and "public.orders" in r]


@pytest.mark.parametrize(("method", "outcome"), [(Method.CHECKSUM, Outcome.DONE), (Method.COUNT, Outcome.DIFFERENT)])
def test_only_a_verification_as_strong_takes_a_difference_back(
    tmp_path: Path, method: Method, outcome: Outcome
) -> None:
    store = record(tmp_path)
    store.save_verification(verification(compared(agrees=False)))
    again = verification(compared(), identifier="cc" * 6, method=method)
    store.save_verification(replace(again, started=after(7200), finished=after(7300)))
    found = reported(store)
    assert [v.id for v in found.verifications] == [VERIFICATION, "cc" * 6]
    assert found.verdict.outcome is outcome


@pytest.mark.parametrize(
    ("agrees", "outcome"), [(True, Outcome.DONE), (False, Outcome.DIFFERENT), (None, Outcome.INCOMPLETE)]
)
def test_a_verification_has_a_report_of_its_own(tmp_path: Path, agrees: bool | None, outcome: Outcome) -> None:
    store = record(tmp_path)
    store.save_verification(verification(compared(agrees=agrees, why=say("no way to hash it")), run=None))
    found = reported(store, VERIFICATION)
    assert (found.kind, found.story, found.verdict.outcome) == ("verification", None, outcome)
    assert len(found.verdict.reasons) == (agrees is not True)


def test_an_id_that_is_neither_is_refused(tmp_path: Path) -> None:
    store = record(tmp_path)
    with pytest.raises(NotFoundError, match="neither a run nor a verification") as caught:
        gather(store, "ffffffffffff")
    store.close()
    assert caught.value.code == "PGH-5280"


def test_a_split_table_rests_on_its_comparison_as_a_whole(tmp_path: Path) -> None:
    counted = [receipt(BIG, c.key, proof=Proof.COUNT, target_hash="") for c in RANGES]
    facts: dict[str, Any] = {"step": "verify", "proof": "rows", "source_hash": "99", "target_hash": "99"}
    compared_whole = event(EventKind.VERIFIED, 50, table=str(BIG), agrees=True, **facts)
    found = story(record(tmp_path, names=[BIG], chunks=RANGES, receipts=counted, events=[compared_whole])).tables[0]
    assert (found.proofs, found.agrees, found.source_hash, found.done) == ((Proof.ROWS,), True, "99", 2)


def test_of_a_table_that_is_not_done_nobody_says_that_it_agrees(tmp_path: Path) -> None:
    store = record(tmp_path, RunState.FAILED, names=[BIG], chunks=RANGES, receipts=[receipt(BIG, RANGES[0].key)])
    store.save_chunk(RUN, BIG, RANGES[1].key, ChunkState.FAILED, error=say("row too wide"), attempts=3)
    found = story(store)
    assert (found.tables[0].agrees, found.tables[0].done) == (None, 1)
    assert [c.error for c in found.failed] == ["row too wide"]


def test_what_differs_is_seen_before_what_is_big(tmp_path: Path) -> None:
    names = [Name("public", f"t{i:03}") for i in range(30)]
    receipts = [receipt(n, bytes=1000 - i) for i, n in enumerate(names)]
    receipts[29] = replace(receipts[29], target_hash="cd" * 16)
    found = story(record(tmp_path, names=names, receipts=receipts))
    assert [t.name for t in found.seen(3)] == ["public.t029", "public.t000", "public.t001"]


def test_a_pause_lasts_from_its_first_word_to_its_end(tmp_path: Path) -> None:
    held = [event(EventKind.PAUSED, 10, say("asked for")), event(EventKind.PAUSED, 20, say("let go"), freed=True)]
    ended = [event(EventKind.RESUMED, 40, say("goes on")), event(EventKind.PAUSED, 50, say("again"))]
    pauses = story(record(tmp_path, RunState.PAUSED, events=[*held, *ended])).pauses
    assert [(p.why, p.seconds) for p in pauses] == [("asked for", 30.0), ("again", None)]


def test_who_made_which_attempt_is_told_of_each(tmp_path: Path) -> None:
    store = record(tmp_path, events=[event(EventKind.ATTEMPT, 60, epoch=2, snapshot="2")])
    store.save_facts(RUN, ATTEMPT | {"epoch": 3, "who": "other@night", "at": after(80).isoformat()}, {})
    attempts = story(store).attempts
    assert [(a.epoch, a.facts.get("who")) for a in attempts] == [
        (1, "reader@desk.example"),
        (2, None),  # of an older version
        (3, "other@night"),  # got no further than to its facts
    ]


def test_a_notice_of_what_is_not_carried_is_told_once(tmp_path: Path) -> None:
    left = Unsupported(kind="TRIGGER", name="t", why=say("it is disabled"))
    notices = [
        event(EventKind.NOTICE, 1, say("TRIGGER t"), kind="TRIGGER", name="t"),
        event(EventKind.NOTICE, 2, say("PROOF u"), kind="PROOF", name="u"),
    ]
    found = story(record(tmp_path, events=notices, not_carried=(left,)))
    assert [n.message for n in found.notes] == ["PROOF u"]
    assert list(found.not_carried) == [left]


def test_a_cutover_tells_its_downtime(tmp_path: Path) -> None:
    began, ended = after(0).isoformat(), after(12.5).isoformat()
    steps = [
        event(EventKind.CUTOVER, 0, say("begun"), step="begun"),
        event(EventKind.CUTOVER, 13, say("ok"), step="verified", downtime=12.5, since=began, until=ended),
    ]
    found = story(record(tmp_path, events=steps)).downtime
    assert found is not None
    assert (found.seconds, found.since, len(found.steps)) == (12.5, began, 2)


# --- as data ---


def whole(folder: Path) -> Report:
    """A run with something of everything."""
    events = [
        event(EventKind.WARNING, 5, say("look")),
        event(EventKind.CHUNK_RETRY, 6, say("lost"), table="public.orders", attempt=1, sqlstate="08006"),
        event(EventKind.CHUNK_REDO, 7, say("changed"), table="public.orders"),
        event(EventKind.NOTICE, 8, say("PROOF u"), kind="PROOF", name="u"),
        event(EventKind.PAUSED, 9, say("asked")),
        event(EventKind.RESUMED, 11, say("on")),
        event(EventKind.CUTOVER, 12, say("begun"), step="begun"),
    ]
    store = record(
        folder,
        names=(ORDERS, HOSTILE),
        events=events,
        taken=samples((0, 0), (1, 100)),
        not_carried=(Unsupported(kind="RULE", name="r", why=say("of a view")),),
    )
    failed(store, HOSTILE, say("too wide"))
    store.save_verification(verification(compared(agrees=False, rows=DIFFERING)))
    return reported(store)


def keys(value: Any, path: str = "") -> set[str]:
    """`tables[].chunks[].receipt.rows` and the like; of the plan and of what a server says, the name alone."""
    if isinstance(value, dict):
        if path in {"plan", "source.settings", "target.settings"} or path.endswith(".data"):
            return {path}
        inner = (keys(v, f"{path}.{k}" if path else k) for k, v in value.items())
        return set().union(*inner) | ({path} if path else set())
    if isinstance(value, list):
        return set().union(*(keys(v, f"{path}[]") for v in value), {path})
    return {path}


def test_every_key_of_the_data_is_documented_and_no_other(tmp_path: Path) -> None:
    documented = set(re.findall(r"^\| `([\w.\[\]]+)` \|", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE))
    found = {k for k in keys(as_data(whole(tmp_path))) if not k.endswith("[]")}
    for server in ("source", "target"):  # more of them are read than these tests record
        found |= {f"{server}.{k}" for k in ("collation", "character_type", "database", "user", "standby", "encrypted")}
    assert found - documented == set()
    assert documented - found == set()


def test_the_data_of_a_run_is_plain_json_and_the_same_each_time(tmp_path: Path) -> None:
    found = whole(tmp_path)
    first, second = as_data(found), as_data(found)
    assert json.loads(json.dumps(first)) == first
    assert {k: v for k, v in first.items() if k != MADE} == {k: v for k, v in second.items() if k != MADE}
    assert first[SEAL] == seal(json.loads(json.dumps(first)))


def test_the_hash_changes_with_any_figure(tmp_path: Path) -> None:
    data = as_data(whole(tmp_path))
    before = seal(data)
    data["tables"][0]["chunks"][0]["receipt"]["rows"] += 1
    assert seal(data) != before


def test_the_recipe_of_the_reference_computes_the_hash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = re.search(r"```python\n(.*?)```", REFERENCE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    data = as_data(whole(tmp_path))
    (tmp_path / "report.json").write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    code = found[1].replace("report.json", (tmp_path / "report.json").as_posix())
    exec(compile(code, "report.md", "exec"), {})  # noqa: S102 -- our own page
    assert capsys.readouterr().out.strip() == data[SEAL]


# --- the command ---


@pytest.fixture
def recorded(tmp_path: Path, state: str) -> Path:
    """PGHAUL_STATE names the store of `whole`."""
    whole(tmp_path)
    assert state.endswith("state.db")
    return tmp_path


def test_text_says_verdict_figures_and_differing_rows(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["report", RUN]) == 0
    out = capsys.readouterr().out
    for words in ("Done, with differences", SERVER["version"], "reader@desk.example", "hash of the stream", "id=17"):
        assert str(words) in out
    assert "+0000" in out or re.search(r"[+-]\d{4}", out)
    assert str(recorded) not in out


def test_a_file_s_name_says_its_form_and_only_its_owner_may_read_it(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, begins in {"r.html": "<!DOCTYPE html>", "r.json": "{", "r.txt": "Report of run"}.items():
        path = recorded / name
        assert command(["report", RUN, "--output", str(path)]) == 0
        assert path.read_text(encoding="utf-8").startswith(begins)
        assert path.stat().st_mode & 0o777 == 0o600
    assert capsys.readouterr().out == ""
    assert not list(recorded.glob(".r.*"))


@pytest.mark.parametrize(
    ("place", "code", "exit_code"),
    [("", "PGH-1080", 2), ("absent/r.html", "PGH-5281", 1), ("state.db/r", "PGH-5281", 1)],
)
def test_a_place_where_no_report_can_be_written_is_named(
    recorded: Path, capsys: pytest.CaptureFixture[str], place: str, code: str, exit_code: int
) -> None:
    assert command(["report", RUN, "-o", str(recorded / place)]) == exit_code
    assert code in capsys.readouterr().err


def test_a_full_disk_is_no_traceback(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (recorded / "old.html").write_text("kept", encoding="utf-8")

    draft = recorded / f".old.html.{os.getpid()}"
    draft.symlink_to("/dev/full")
    assert command(["report", RUN, "-o", str(recorded / "old.html")]) == 1
    assert "PGH-6080" in capsys.readouterr().err
    assert (recorded / "old.html").read_text(encoding="utf-8") == "kept"
    assert not draft.is_symlink()


@pytest.mark.parametrize("opens", [True, False])
def test_open_shows_the_page_or_says_where_it_is(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], opens: bool
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: asked.append(url) or opens)
    page = recorded / "page.html"
    assert command(["report", RUN, "--open", "-o", str(page)]) == 0
    assert asked == [page.as_uri()]
    assert ("No browser" in capsys.readouterr().err) is not opens


def test_a_terminal_that_knows_ascii_only_gets_what_it_can_show(recorded: Path) -> None:
    said = [sys.executable, "-m", "pghaul", "report", RUN]
    for form in ("text", "html"):
        env = os.environ | {"PYTHONIOENCODING": "ascii"}
        done = subprocess.run([*said, "--format", form], env=env, capture_output=True, check=True)
        assert done.stdout.isascii() == (form == "text")
        assert done.stderr == b""
    assert recorded.exists()


def test_json_on_stdout_is_one_document(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["report", RUN, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert command(["report", RUN, "--json", "--format", "html"]) == 2
    assert "PGH-1081" in capsys.readouterr().err
    assert command(["report", RUN, "--output", "report.PDF"]) == 2
    assert "PGH-1082" in capsys.readouterr().err
    assert (data["format"], data["id"], data["verdict"]["outcome"]) == (1, RUN, "different")


def test_no_other_command_waits_for_what_only_a_report_needs() -> None:
    listed = "import sys, pghaul.cli.app; print(*(m for m in sys.modules if m.startswith('pghaul.service.report')))"
    done = subprocess.run([sys.executable, "-c", listed], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
