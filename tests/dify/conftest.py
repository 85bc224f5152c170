"""A fake Dify of each version, and a client of it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from dify_server import FakeDify
from dify_server.world import ADMIN_KEY, EMAIL, PASSWORD
from lastgood.targets.dify import AdminKey, Client, Clock, Limits, Password, Way, connect

QUICK = Limits(per_second=100_000, whole_seconds=5, connect_seconds=2)
Connect = Callable[..., Client]


@pytest.fixture(params=["1.13.0", "1.14.2"])
def dify(request: pytest.FixtureRequest) -> Iterator[FakeDify]:
    """A fake of each recorded version."""
    with FakeDify(request.param) as fake:
        yield fake


@pytest.fixture
def older() -> Iterator[FakeDify]:
    """1.13.0 alone, where versions make no difference."""
    with FakeDify("1.13.0") as fake:
        yield fake


@pytest.fixture
def newer() -> Iterator[FakeDify]:
    """1.14.2 alone."""
    with FakeDify("1.14.2") as fake:
        yield fake


@pytest.fixture
def waits() -> list[float]:
    """The seconds that clients of this test would have slept."""
    return []


@pytest.fixture
def client_of(waits: list[float]) -> Iterator[Connect]:
    """Connects to a fake (by password, unless another way is given) and sleeps for nothing."""
    with ExitStack() as stack:

        def make(dify: FakeDify | str, way: Way | None = None, limits: Limits = QUICK) -> Client:
            url = dify if isinstance(dify, str) else dify.url
            chosen = way or Password(EMAIL, PASSWORD)
            return stack.enter_context(connect(url, chosen, limits, clock=Clock(sleep=waits.append)))

        yield make


def admin(dify: FakeDify) -> AdminKey:
    """The way in by the fake's admin key."""
    return AdminKey(ADMIN_KEY, dify.world.workspace_id)
