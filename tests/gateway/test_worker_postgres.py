"""Several workers on PostgreSQL, one of them cut off: an acknowledged move is never contradicted."""

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from lastgood.db import process
from support.stores import Postgres, clean_settings

from .scene import KEY, Process, Scene, scene, worker
from .test_worker import Clients, placement
from .wire import Client, upstream

AUTH = ("Authorization", f"Bearer {KEY}")
LEASE = 1.5


@pytest.fixture
def url(postgres: Postgres, postgres_template: str) -> Iterator[str]:
    with postgres.database(postgres_template) as made:
        yield made


@pytest.fixture
def play(url: str, tmp_path: Path) -> Iterator[Scene]:
    with scene(clean_settings(tmp_path / "home", url, lease_seconds=LEASE)) as running:
        yield running


def generation(client: Client) -> int | None:
    """The generation that served a request, None for a refusal (503)."""
    answer = client.ask("POST", "/v1/workflows/run", [AUTH], b"{}")
    assert answer.status in {200, 503}, answer
    return int(answer.one("x-lastgood-generation") or -1) if answer.status == 200 else None


def until_served(port: int, wanted: int) -> None:
    """Wait until the worker at `port` serves again, and then exactly `wanted`."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with Client(port) as client:
            found = generation(client)
        if found is not None:
            assert found == wanted
            return
        time.sleep(0.02)
    pytest.fail("the worker never came back")


def test_moves_are_acknowledged_once_every_worker_follows_even_with_one_cut_off(play: Scene) -> None:
    with (
        upstream(placement) as up,
        worker(play.settings, "--engine", up.url) as one,
        worker(play.settings, "--engine", up.url) as two,
    ):
        with Clients([one.port, two.port], 8) as clients:
            time.sleep(0.2)
            for n in range(60):
                confirmed = play.move(play.versions[(n + 1) % 2])
                clients.acknowledged = play.generation
                assert confirmed.unconfirmed == ()
                time.sleep(0.01)
        assert (clients.failed, clients.wrong) == ([], [])
        assert clients.served > 100
        _cut_off(play, one, two)


def _cut_off(play: Scene, cut: Process, other: Process) -> None:
    """Stop one worker for a while: the move waits for the end of its lease, and it never serves the old version to
    what began afterwards."""
    with contextlib.ExitStack() as stack:
        before = [stack.enter_context(Client(cut.port)) for _ in range(8)]
        for client in before:
            assert generation(client) == play.generation
        cut.signal(signal.SIGSTOP)
        old = play.generation
        confirmed = play.move(play.versions[old % 2])
        assert confirmed.waited_ms > 200
        with play.store.read() as tx:
            leases = {str(row["address"]): row["live"] for row in process.listing(tx)}
        assert leases == {f"127.0.0.1:{cut.port}": False, f"127.0.0.1:{other.port}": True}
        with Client(other.port) as client:
            assert generation(client) == play.generation
        # These begin after the acknowledgement, on old connections and on new ones, while the worker sleeps.
        after = [*before, *(stack.enter_context(Client(cut.port)) for _ in range(8))]
        for client in after:
            client.send("POST", "/v1/workflows/run", [AUTH], b"{}")
        cut.signal(signal.SIGCONT)
        for client in after:
            answer = client.answer("POST")
            assert answer.status in {200, 503}
            if answer.status == 200:
                assert answer.one("x-lastgood-generation") == str(play.generation)
            else:
                assert answer.json()["code"] == "live_version_unknown"
    until_served(cut.port, play.generation)
    assert play.move(play.versions[play.generation % 2]).waited_ms < LEASE * 1000
    with Client(cut.port) as client:
        assert generation(client) == play.generation


@contextlib.contextmanager
def unreachable(postgres: Postgres, url: str) -> Iterator[None]:
    """The database of `url` takes no connection, and those it had are gone."""
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield
        finally:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def test_without_the_store_a_worker_stops_or_serves_by_its_setting(play: Scene, postgres: Postgres, url: str) -> None:
    with (
        upstream(placement) as up,
        worker(play.settings, "--engine", up.url) as stops,
        worker(play.settings, "--engine", up.url, on_store_loss="serve") as serves,
    ):
        with unreachable(postgres, url):
            with Client(stops.port) as client:
                assert generation(client) == play.generation  # its lease still runs
            time.sleep(LEASE + 0.1)
            with Client(stops.port) as client, Client(serves.port) as other:
                assert generation(client) is None
                assert client.ask("GET", "/readyz").status == 503
                assert generation(other) == play.generation
        play.store.engine.dispose()
        until_served(stops.port, play.generation)
        confirmed = play.move(play.versions[1])
        until_served(stops.port, play.generation)
        if not confirmed.unconfirmed:
            with Client(serves.port) as client:
                assert generation(client) == play.generation


def test_a_worker_that_ends_is_waited_for_no_longer(play: Scene) -> None:
    with upstream(placement) as up, worker(play.settings, "--engine", up.url) as running:
        with play.store.read() as tx:
            assert [row["role"] for row in process.listing(tx)] == ["gateway"]
        running.signal(signal.SIGTERM)
        assert running.ended() == 0
        with play.store.read() as tx:
            assert process.listing(tx) == []


def test_a_worker_whose_row_was_struck_enters_again(play: Scene) -> None:
    with upstream(placement) as up, worker(play.settings, "--engine", up.url) as running:
        with play.store.read() as tx:
            (row,) = process.listing(tx)
        play.store.write(lambda tx: process.leave(tx, str(row["id"])))
        time.sleep(LEASE)
        with play.store.read() as tx:
            (again,) = process.listing(tx)
        assert again["id"] != row["id"]
        play.move(play.versions[1])
        with Client(running.port) as client:
            assert generation(client) == play.generation
