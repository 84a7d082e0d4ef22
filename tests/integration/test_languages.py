"""What a run said in English is read in another language later: the store keeps templates and values, not sentences."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from tests.databases import DatabasePair
from tests.moving import move

from pghaul.model.errors import RowError
from pghaul.model.event import EventKind
from pghaul.model.plan import OnExisting
from pghaul.model.run import RunState
from pghaul.model.text import Text, told_in
from pghaul.service.migration import MigrationService, RunReport

SOURCE = """
    CREATE TABLE held (id int); INSERT INTO held VALUES (1);
    CREATE TABLE narrow (id int, body text); INSERT INTO narrow VALUES (1, 'four');
"""
TARGET = "CREATE TABLE held (id int); INSERT INTO held VALUES (2); CREATE TABLE narrow (id int, body varchar(3))"


@dataclass
class Northern:
    """A made-up language: every sentence of ours stands in « », so what has none was not translated."""

    asked: list[str] = field(default_factory=list)

    def __call__(self, template: str) -> str:
        self.asked.append(template)
        return f"«{template}»"


def northern(words: str | None) -> str:
    assert isinstance(words, Text), words
    return told_in(Northern(), words)


def the_run() -> RunReport:
    """As somebody finds it later: another service, and so another store."""
    service = MigrationService()
    return service.show(service.status().id)


@pytest.mark.template(source=SOURCE, target=TARGET)
def test_a_run_that_failed_is_read_in_another_language(db_pair: DatabasePair, state: str) -> None:
    """The row is refused in a worker, which knows nothing of languages."""
    with pytest.raises(RowError):
        move(db_pair, on_existing=OnExisting.SKIP)
    told = the_run()
    assert told.run.state is RunState.FAILED
    error = northern(told.run.error)
    assert error.startswith("««The target cannot hold a row»: ")
    assert "too long for type character varying(3)" in error  # the server's own words stay
    assert "(public.narrow leaf) [PGH-3001]" in error
    (failed,) = [c for c in told.chunks if c.error]
    assert northern(failed.error) == error
    (left,) = [u for u in told.not_carried if u.name == "public.held"]
    assert northern(left.why) == "«it has rows on the target: on_existing = skip»"
    said = {e.kind: northern(e.message) for e in told.events if e.message}
    assert said[EventKind.CHUNK_FAILED] == said[EventKind.RUN_FINISHED] == error
    assert said[EventKind.NOTICE] == "«TABLE public.held: «it has rows on the target: on_existing = skip»»"
    assert all("«" not in str(e.data) for e in told.events)  # data is for programs


@pytest.mark.template(source=SOURCE, target=TARGET)
def test_what_programs_read_is_english(db_pair: DatabasePair, state: str) -> None:
    with pytest.raises(RowError):
        move(db_pair, on_existing=OnExisting.SKIP)
    (notice,) = [e for e in the_run().events if e.kind is EventKind.NOTICE]
    assert notice.as_json()["message"] == "TABLE public.held: it has rows on the target: on_existing = skip"
    assert notice.data["why"] == "it has rows on the target: on_existing = skip"
    assert type(notice.data["why"]) is str
