"""Capabilities follow the version, and can be lowered but not raised."""

from __future__ import annotations

import dataclasses

import pytest

from pghaul.model.errors import UsageError
from pghaul.postgres.settings import settings
from pghaul.postgres.versions import ASSUME_VERSION, SINCE, Capabilities, capabilities, parse_version


@pytest.mark.parametrize("feature", sorted(SINCE))
def test_a_feature_begins_with_its_version(feature: str) -> None:
    assert getattr(capabilities(SINCE[feature], environ={}), feature) is True
    assert getattr(capabilities(SINCE[feature] - 1, environ={}), feature) is False


def test_every_capability_has_a_version() -> None:
    assert {f.name for f in dataclasses.fields(Capabilities)} == {"version_num", *SINCE}


def test_an_assumed_version_lowers() -> None:
    assert capabilities(180000, environ={ASSUME_VERSION: "9.3"}) == capabilities(90300, environ={})


def test_an_assumed_version_never_raises() -> None:
    assert capabilities(90300, environ={ASSUME_VERSION: "18"}) == capabilities(90300, environ={})


@pytest.mark.parametrize(
    ("text", "source", "target"),
    [
        ("9.3", 90300, 90300),
        ("source=9.3", 90300, 180000),
        ("target=9.6", 180000, 90600),
        ("source=9.3, target=16", 90300, 160000),
        ("", 180000, 180000),
    ],
)
def test_each_side_may_be_assumed_old_for_itself(text: str, source: int, target: int) -> None:
    environ = {ASSUME_VERSION: text}
    assert capabilities(180000, "source", environ=environ) == capabilities(source, environ={})
    assert capabilities(180000, "target", environ=environ) == capabilities(target, environ={})


@pytest.mark.parametrize(("text", "number"), [("9.3", 90300), ("9.3.10", 90310), ("16", 160000), ("16.2", 160002)])
def test_versions_are_numbered_as_the_server_does(text: str, number: int) -> None:
    assert parse_version(text) == number


@pytest.mark.parametrize("text", ["latest", "9,3", "-1", "160002", "origin=9.3", "source=9.3,", "source="])
def test_a_malformed_assumed_version_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match=ASSUME_VERSION):
        capabilities(160000, environ={ASSUME_VERSION: text})


def test_an_old_server_is_not_sent_settings_it_lacks() -> None:
    old = dict(settings(capabilities(90300, environ={}), "source", lock_timeout=1))
    new = dict(settings(capabilities(180000, environ={}), "source", lock_timeout=1))
    late = {"row_security", "idle_in_transaction_session_timeout", "max_parallel_workers_per_gather", "jit"}
    assert set(new) - set(old) == late | {"idle_session_timeout", "transaction_timeout"}


def test_a_small_lock_timeout_does_not_become_none_at_all() -> None:
    assert dict(settings(capabilities(90300, environ={}), "target", lock_timeout=0.0001))["lock_timeout"] == "1ms"
