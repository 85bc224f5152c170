"""A real store with one workflow, two versions of it and an app key; and real worker processes on it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lastgood import dsl
from lastgood.db import process
from lastgood.db.audit import Principal
from lastgood.db.store import Store, open_store
from lastgood.db.tx import Tx
from lastgood.history import channels, keys, versions, workflows
from lastgood.settings import Settings

WHO = Principal("test")
KEY = "app-0123456789abcdef"
DOCUMENT = """
version: 0.6.0
kind: app
app: {{name: scene, mode: workflow}}
workflow:
  graph:
    nodes:
    - id: start
      data: {{type: start, title: s, variables: [{{variable: {name}, label: n, type: text-input}}]}}
    - {{id: end, data: {{type: end, title: end, outputs: []}}}}
    edges:
    - {{id: e, source: start, target: end, sourceHandle: source, targetHandle: target}}
"""


@dataclass
class Scene:
    """An open store. `versions` are the ids of the two versions; the channel points to the first at generation 1."""

    settings: Settings
    store: Store
    workflow: workflows.Workflow
    versions: tuple[str, str]
    generation: int = 1

    def move(self, to: str) -> process.Confirmation:
        """Point the channel to the version `to`; comes back when that is acknowledged."""
        revision = 0

        def work(tx: Tx) -> None:
            nonlocal revision
            channel = channels.get(tx, self.workflow)
            target = versions.find(tx, to)
            channels.move(tx, WHO, self.workflow, channel, target, expected=self.generation, kind="publish")
            revision = tx.revision

        self.store.write(work)
        self.generation += 1
        return process.confirm(self.store, revision)


@contextlib.contextmanager
def scene(settings: Settings) -> Iterator[Scene]:
    """A new store by `settings`."""
    store = open_store(settings)

    def work(tx: Tx) -> Scene:
        workflow = workflows.create(tx, WHO, "scene", name="", mode="workflow")
        one, two = (
            versions.push(tx, WHO, workflow, dsl.parse(DOCUMENT.format(name=name))).version for name in ("one", "two")
        )
        channel = channels.ensure(tx, workflow)
        channels.move(tx, WHO, workflow, channel, one, expected=channel.generation, kind="publish")
        keys.create(tx, WHO, workflow, name="test", key=KEY)
        return Scene(settings, store, workflow, (one.id, two.id), channel.generation + 1)

    try:
        yield store.write(work)
    finally:
        store.close()


@dataclass
class Process:
    """A running gateway worker."""

    popen: "subprocess.Popen[bytes]"
    port: int

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def ended(self, timeout: float = 10.0) -> int:
        return self.popen.wait(timeout)


@contextlib.contextmanager
def worker(settings: Settings, *options: str, fds: tuple[int, ...] = (), **environment: Any) -> Iterator[Process]:
    """A gateway worker process on the store of `settings`."""
    env = {
        **os.environ,
        "LASTGOOD_HOME": str(settings.home),
        "LASTGOOD_DATABASE": settings.database,
        "LASTGOOD_LEASE_SECONDS": str(settings.lease_seconds),
        **{f"LASTGOOD_{name.upper()}": str(value) for name, value in environment.items()},
    }
    where = () if fds else ("--port", "0")
    command = [sys.executable, "-m", "lastgood.gateway", *where, *options]
    popen = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=fds)
    assert popen.stdout is not None
    assert popen.stdin is not None
    try:
        line = json.loads(popen.stdout.readline())
        assert line["ready"] is True
        assert line["pid"] == popen.pid
        yield Process(popen, int(line["address"].rpartition(":")[2]))
    finally:
        if popen.poll() is None:
            popen.send_signal(signal.SIGCONT)
            popen.kill()
        popen.wait(10)
        popen.stdin.close()
        popen.stdout.close()
