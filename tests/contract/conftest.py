"""Every module of tests/contract/engines is an engine to be tested: `place` is one of its databases."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from tests.contract.case import Place

from pghaul.sources.protocol import Source

ENGINES = Path(__file__).parent / "engines"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test that uses a place runs over all of them."""
    if "place" not in metafunc.fixturenames:
        return
    found = [
        pytest.param(maker, id=f"{module.name}-{maker.__name__}")
        for module in pkgutil.iter_modules([str(ENGINES)])
        for maker in import_module(f"tests.contract.engines.{module.name}").PLACES
    ]
    metafunc.parametrize("place", found, indirect=True, scope="session")


@pytest.fixture(scope="session")
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Made once for all tests."""
    with request.param(tmp_path_factory.mktemp("place")) as made:
        yield made


@pytest.fixture
def source(place: Place) -> Iterator[Source]:
    """Open, for one test."""
    with place.open() as opened:
        yield opened
