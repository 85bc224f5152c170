"""Engines for these tests. The stand-ins are the benchmarks'."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.local import on_thread
from benchmarks.standins import EchoStandIn, EchoWeb, ModelStandIn, serving

from engine.flows import Bench, Shelf
from support.stores import clean_settings

TOKEN = "the-engines-own-token"


@pytest.fixture(scope="session")
def model() -> Iterator[str]:
    """The address of a model endpoint."""
    with serving(ModelStandIn) as address:
        yield address


@pytest.fixture(scope="session")
def echo() -> Iterator[str]:
    """The address of a web service."""
    with serving(EchoStandIn) as address:
        yield address


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory, model: str, echo: str) -> Iterator[Bench]:
    """An engine whose nodes reach the stand-ins, whatever host they name."""
    settings = clean_settings(tmp_path_factory.mktemp("engine"), llm_base_url=f"http://{model}/v1", code_timeout=2.0)
    shelf = Shelf()
    with on_thread(shelf, settings, token=TOKEN, web=lambda cancel: EchoWeb(cancel, echo)) as (base_url, service):
        yield Bench(base_url, service, shelf)
