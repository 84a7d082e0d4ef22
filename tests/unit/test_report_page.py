"""The page of a report: well-formed, alone in the world, safe with hostile names, readable by everybody."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
from tests.pages import Page
from tests.recorded import (
    DIFFERING,
    EVENT_WORDS,
    HOSTILE,
    ORDERS,
    RUN,
    SOURCE,
    VERIFICATION,
    after,
    compared,
    event,
    receipt,
    record,
    samples,
    verification,
)

from pghaul.model.event import EventKind
from pghaul.model.run import RunState
from pghaul.model.table import Name, Unsupported
from pghaul.model.text import Text, say
from pghaul.service.language import Language
from pghaul.service.report import chart, page, words
from pghaul.service.report.contents import Outcome, Report
from pghaul.service.report.data import SEAL, as_data
from pghaul.service.report.gather import gather
from pghaul.store.repository import Store

ENGLISH = Language()
SHOUTING = Language(code="ko", lookup=lambda words: f"«{words}»")


def source_of(store: Store, identifier: str = RUN, language: Language = ENGLISH) -> str:
    found = gather(store, identifier)
    store.close()
    return page.html(found, as_data(found), language)


def page_of(store: Store, identifier: str = RUN, language: Language = ENGLISH) -> Page:
    return Page(source_of(store, identifier, language))


def full(folder: Path, state: RunState = RunState.DIFFERENT) -> Store:
    """Hostile names and values wherever a database can put them."""
    name = str(HOSTILE)
    events = [
        event(EventKind.WARNING, 5, EVENT_WORDS, table=name),
        event(EventKind.CHUNK_RETRY, 6, "</td></table><script>retry()</script>", table=name),
        event(EventKind.PAUSED, 7, say("asked by {who}", who="<b>somebody</b>")),
        event(EventKind.RESUMED, 20, say("on")),
        event(EventKind.CUTOVER, 30, say("begun"), step="begun"),
        event(EventKind.NOTICE, 8, say("PROOF {name}", name=name), kind="PROOF", name=name),
    ]
    left = tuple(Unsupported(kind="<KIND>", name=f"{name}{i}", why=say("it is &lt;odd&gt;")) for i in range(5))
    store = record(
        folder, state, names=(ORDERS, HOSTILE), events=events, taken=samples((0, 0), (30, 90_000)), not_carried=left
    )
    store.save_verification(
        verification(
            compared(HOSTILE, agrees=False, rows=DIFFERING, complete=False),
            compared(Name("public", "geo"), agrees=None, why="type <point> has no hash"),
            compared(),
        )
    )
    return store


def test_a_page_is_well_formed_and_asks_for_nothing(tmp_path: Path) -> None:
    found = page_of(full(tmp_path))
    assert found.errors == []
    assert found.asks_for() == []
    policy = [a["content"] for t, a in found.tags if t == "meta" and a.get("http-equiv")]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


@pytest.mark.parametrize("state", list(RunState))
def test_the_verdict_is_said_in_words_and_by_a_symbol(tmp_path: Path, state: RunState) -> None:
    found = page_of(record(tmp_path, state))
    outcome = Outcome(state.value)
    assert found.errors == []
    assert words.OUTCOME[outcome] in found.text
    assert words.SYMBOL[outcome] in found.text
    assert f"verdict {outcome.value}" in [a.get("class") for _, a in found.tags]


def test_what_a_database_says_is_text_and_nothing_else(tmp_path: Path) -> None:
    found = page_of(full(tmp_path))
    assert found.names & {"script", "img"} == set()
    assert '<script>alert(""1"")</script>' in found.text
    assert "<img src=x onerror=alert(1)>" in found.text
    assert "</td></table><script>retry()</script>" in found.text
    assert "t & u is <i>odd</i>" in found.text
    assert "it is &lt;odd&gt;" in found.text


def test_control_and_direction_characters_are_shown_not_obeyed(tmp_path: Path) -> None:
    source = source_of(full(tmp_path))
    assert "\\u202e\\u001b[31m" in source
    assert not {"\u202e", "\x1b"} & set(source)


def test_long_values_are_cut_and_say_so(tmp_path: Path) -> None:
    source = source_of(full(tmp_path))
    assert "a" * page.LONGEST in source
    assert "a" * (page.LONGEST + 1) not in source
    assert "(1,000 characters)" in source


def test_hashes_are_short_on_the_page_and_whole_behind_it(tmp_path: Path) -> None:
    whole = "0123456789abcdef" * 8
    source = source_of(record(tmp_path, receipts=[receipt(ORDERS, source_hash=whole, target_hash=whole)]))
    assert f">{whole[: page.HASH_SHOWN]}…<" in source
    assert source.count(f'title="{whole}"') == 1


def test_a_verification_alone_is_a_page_too(tmp_path: Path) -> None:
    store = record(tmp_path)
    store.save_verification(verification(compared(), run=None))
    found = page_of(store, VERIFICATION)
    assert found.errors == []
    assert words.EQUAL in found.text
    assert SOURCE in found.text
    assert words.OUTCOME[Outcome.DONE] not in found.text.split()


def test_of_many_verifications_the_last_are_told_with_their_tables(tmp_path: Path) -> None:
    store = record(tmp_path)
    for number in range(50):
        one = verification(compared(agrees=number > 5), identifier=f"{number:012x}")
        store.save_verification(replace(one, started=after(3600 + number)))
    source = source_of(store)
    assert Page(source).errors == []
    assert "Earlier verifications: 47" in source
    assert source.count(words.SOURCE_ROWS) == page.RECENT
    assert source.count("<code>000000000") == 47


def test_every_word_comes_from_the_reader_s_catalogue(tmp_path: Path) -> None:
    """A translation that puts marks around each template leaves nothing outside of marks but data."""
    found = page_of(full(tmp_path), language=SHOUTING)
    assert [a["lang"] for t, a in found.tags if t == "html"] == ["ko"]
    for word in (words.AT_A_GLANCE, words.HOW_TO_READ, words.NOT_CARRIED, words.READ[0][1], words.CHART_TITLE):
        assert f"«{word}»" in found.text
    assert found.text.count("«") > 60


def test_every_word_of_the_report_is_a_text() -> None:
    plain = {k for k, v in vars(words).items() if k.isupper() and isinstance(v, str) and not isinstance(v, Text)}
    assert plain == set()
    assert {o for o in Outcome if o not in words.OUTCOME or o not in words.SYMBOL} == set()


def test_the_page_prints_the_hash_of_its_data(tmp_path: Path) -> None:
    store = full(tmp_path)
    found = gather(store, RUN)
    store.close()
    data = as_data(found)
    assert data[SEAL] in Page(page.html(found, data, ENGLISH)).text


def test_five_thousand_tables_are_seen_as_twenty_and_kept_as_all(tmp_path: Path) -> None:
    root = Name("public", "history")
    leaves = [Name("public", f"history_{i:04}") for i in range(5000)]
    store = record(
        tmp_path,
        names=[root, *leaves],
        parents=dict.fromkeys(leaves, root),
        receipts=[receipt(n, bytes=i) for i, n in enumerate([root, *leaves])],
    )
    began = time.process_time()
    source = source_of(store)
    assert time.process_time() - began < 15
    assert len(source) < 6_000_000
    found = Page(source)
    assert found.errors == []
    first = source.partition("<details")[0]
    assert first.count('<th scope="row"><code>public.') == page.BIGGEST
    assert source.count("public.history_2500") == 1
    assert "5,001" in found.text


# --- the chart ---


def drawn(folder: Path, *taken: tuple[float, int], **facts: object) -> chart.Chart | None:
    store = record(folder, taken=samples(*taken), **facts)  # type: ignore[arg-type]
    story = gather(store, RUN).story
    store.close()
    assert story is not None
    return chart.draw(story)


def test_a_chart_has_axes_that_hold_its_highest_rate(tmp_path: Path) -> None:
    found = drawn(tmp_path, (0, 0), (10, 10 << 20), (20, 40 << 20), (30, 40 << 20))
    assert found is not None
    assert found.most == pytest.approx(3 << 20)
    assert found.mean == pytest.approx((40 << 20) / 30)
    assert [m.label for m in found.y_ticks] == ["0 B/s", "1.0 MB/s", "2.0 MB/s", "3.0 MB/s"]
    assert [m.label for m in found.x_ticks] == ["0:00", "0:05", "0:10", "0:15", "0:20", "0:25", "0:30"]
    assert found.outline.startswith(f"M{found.left}")


@pytest.mark.parametrize("taken", [(), ((0, 0),), ((0, 0), (5, 0)), ((0, 5), (0, 9))])
def test_where_nothing_moved_nothing_is_drawn(tmp_path: Path, taken: tuple[tuple[float, int], ...]) -> None:
    assert drawn(tmp_path, *taken) is None


def test_a_weekend_between_two_attempts_is_a_gap_not_an_axis(tmp_path: Path) -> None:
    weekend = timedelta(days=2).total_seconds()
    attempts = [event(EventKind.ATTEMPT, weekend, epoch=2, snapshot="2")]
    steps = [(s, s * 1000) for s in range(0, 100, 5)]
    taken = [*steps, *((weekend + s, 100_000 + moved) for s, moved in steps)]
    found = drawn(tmp_path, *taken, events=attempts)
    assert found is not None
    assert [g.label for g in found.gaps] == ["47:58:25"]
    assert found.seconds == pytest.approx(190)
    assert [m.at for m in found.attempts] == [found.left, round(found.gaps[0].begin + chart.GAP, 1)]
    assert found.most < 2000


def test_a_pause_is_marked_where_it_was(tmp_path: Path) -> None:
    held = [event(EventKind.PAUSED, 10, say("asked")), event(EventKind.RESUMED, 20, say("on"))]
    found = drawn(tmp_path, (0, 0), (10, 1000), (20, 1000), (40, 3000), events=held)
    assert found is not None
    room = found.right - found.left
    assert [(p.begin, p.width) for p in found.pauses] == [(found.left + room / 4, room / 4)]


@pytest.mark.parametrize("most", [1, 900, 1024, 5000, 123_456, 3 << 20, 700 << 20, 5 << 30, 9 << 40])
def test_a_scale_of_few_round_figures_holds_any_rate(most: float) -> None:
    found = chart._scale(most)
    assert 2 <= len(found) <= 6
    assert found[-2] < most <= found[-1]


def test_jinja_is_not_loaded_for_text(tmp_path: Path) -> None:
    store = record(tmp_path)
    found: Report = gather(store, RUN)
    store.close()
    with patch.dict("sys.modules", {"jinja2": None}):
        assert as_data(found)["id"] == RUN
    assert found.story is not None
    assert after(0) == found.story.attempts[0].at
