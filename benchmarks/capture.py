"""Capture of a Dify server, measured against the stand-in: how fast a first capture is, and what a second pass costs.

    uv run python -m benchmarks.capture --apps 100 --versions 50

The stand-in runs in a process of its own on this machine. `floor` is the same requests by plain httpx, as many at
once, answers thrown away. The limit on requests per second that a real server is treated with is lifted here; how
long the same requests take under it is said."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx

from lastgood.db.audit import Principal
from lastgood.db.store import Store, open_store
from lastgood.history import apps
from lastgood.settings import Settings
from lastgood.targets.dify import AdminKey, Client, Limits, connect, servers
from lastgood.targets.dify.capture import Captured, capture, is_changed, listed
from lastgood.targets.dify.source import Source
from lastgood.targets.dify.wire import Call, Reply

_TESTS = Path(__file__).parents[1] / "tests"
_AT_ONCE = 3
_SERVER = "prod"


@contextmanager
def standin(count: int, versions: int) -> Iterator[tuple[str, AdminKey]]:
    """The stand-in with so many apps (and two more), in a process of its own."""
    command = [sys.executable, "-m", "dify_server", "--port", "0", "--apps", str(count), "--versions", str(versions)]
    process = subprocess.Popen(command, cwd=_TESTS, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[0]
        told = process.stdout.readline()
        key = told.partition("admin key: ")[2].partition(";")[0]
        yield url, AdminKey(key, told.rpartition("workspace: ")[2].strip())
    finally:
        process.kill()
        process.wait()


class Recorded:
    """A client whose requests are written down."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.calls: list[Call] = []
        send = client.wire.send

        def noted(call: Call, headers: Any = None) -> Reply:
            self.calls.append(call)
            return send(call, headers)

        client.wire.send = noted  # type: ignore[method-assign]

    def take(self) -> list[Call]:
        """The requests since this was asked last."""
        taken, self.calls = self.calls, []
        return taken


def one_pass(source: Source) -> tuple[float, list[Captured]]:
    """Capture what changed: seconds, and what became of each app."""
    told: list[Captured] = []
    began = perf_counter()
    found = list(listed(source))
    with source.store.read() as tx:
        held = {one.app_id: one for one in apps.of_target(tx, _SERVER)}
    chosen = [one for one in found if one.id not in held or is_changed(one, held[one.id])]
    capture(source, reversed(chosen), told.append)
    return perf_counter() - began, told


def floor(url: str, way: AdminKey, calls: list[Call]) -> float:
    """The seconds that the same requests take without any of us."""
    headers = {"Authorization": f"Bearer {way.key}", "X-WORKSPACE-ID": way.workspace_id}
    with (
        httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=60) as http,
        ThreadPoolExecutor(_AT_ONCE) as pool,
    ):
        began = perf_counter()
        list(pool.map(lambda call: http.request(call.method, call.path, params=dict(call.params)).content, calls))
        return perf_counter() - began


def publish_some(url: str, way: AdminKey, ids: list[str]) -> None:
    """A publish of each of these apps, as somebody else makes it."""
    with connect(url, way, Limits(per_second=1e6)) as client:
        for id in ids:
            client.console.publish(id, name="later")


def measure(url: str, way: AdminKey, store: Store) -> None:
    """Two passes, and a third after a few publishes."""
    who = Principal("benchmark")
    store.write(lambda tx: servers.save(tx, who, _SERVER, url, way, facts={}))
    with store.read() as tx:
        server = servers.get(tx, _SERVER)
    with connect(url, way, Limits(per_second=1e6)) as client:
        recorded = Recorded(client)
        source = Source(store, client, server, who)
        polite = Limits().per_second
        for name in ("first", "second, nothing changed"):
            seconds, told = one_pass(source)
            calls = recorded.take()
            versions = sum(one.versions + one.again for one in told)
            least = floor(url, way, calls)
            print(f"{name}: {len(told)} apps, {versions} versions, {len(calls)} requests in {seconds:.1f} s")
            print(f"  floor {least:.1f} s; at {polite:g} requests a second {len(calls) / polite:.0f} s")
            if versions:
                print(f"  {versions / seconds:.0f} versions/s, {seconds / least:.1f} times the floor")
        changed = [one.id for one in listed(source)][:10]
        publish_some(url, way, changed)
        recorded.take()
        seconds, told = one_pass(source)
        calls = recorded.take()
        lists = sum(call.path == "/console/api/apps" for call in calls)
        each = (len(calls) - lists) / len(changed)
        print(f"third, {len(changed)} published: {lists} requests for the list, {each:.1f} for each, {seconds:.2f} s")
    if not store.postgres:
        size = sum(file.stat().st_size for file in store.settings.home.glob("lastgood.db*"))
        print(f"store: {size / 2**20:.1f} MB")


def main() -> None:
    """Measure what was asked for."""
    asked = argparse.ArgumentParser(prog="python -m benchmarks.capture", description=__doc__)
    asked.add_argument("--apps", type=int, default=100)
    asked.add_argument("--versions", type=int, default=50)
    asked.add_argument("--database", default="", help="PostgreSQL URL; a fresh SQLite file when left out")
    given = asked.parse_args()
    print(json.dumps(vars(given)))
    with tempfile.TemporaryDirectory() as folder, standin(given.apps, given.versions) as (url, way):
        store = open_store(Settings(home=Path(folder) / "home", database=given.database))
        try:
            measure(url, way, store)
        finally:
            store.close()


if __name__ == "__main__":
    main()
