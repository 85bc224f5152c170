"""What the gateway adds to a request: latency at one connection, throughput at 32, beside nginx and no gateway.

``uv run python -m benchmarks.gateway [--seconds 3] [--rounds 5]``. The upstream is a small fast stand-in in a process
of its own; the gateway is one real worker on a real SQLite store with 200 app keys, and another one that does not
record calls. All are measured in turns within one run, so only the ratios mean something."""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import uvloop
from rich.console import Console
from rich.table import Table

from lastgood import dsl
from lastgood.db.audit import Principal
from lastgood.db.store import open_store
from lastgood.db.tx import Tx
from lastgood.history import channels, keys, versions, workflows
from lastgood.settings import load

_KEYS = 200
_CONNECTIONS = 32
_BODY = json.dumps({"inputs": {"text": "x" * 380}, "response_mode": "blocking", "user": "benchmark"}).encode()
_ANSWER = json.dumps(
    {"task_id": "t", "workflow_run_id": "r", "data": {"status": "succeeded", "outputs": {"total": 42}}}
)
_DOCUMENT = """
version: 0.6.0
kind: app
app: {name: benchmark, mode: workflow}
workflow:
  graph:
    nodes:
    - {id: start, data: {type: start, title: start, variables: []}}
    - {id: end, data: {type: end, title: end, outputs: []}}
    edges:
    - {id: e, source: start, target: end, sourceHandle: source, targetHandle: target}
"""
_NGINX = """
worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log; daemon off;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; keepalive_requests 100000000;
  upstream one {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://one; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""


class _Upstream(asyncio.Protocol):
    """Answers every whole request at once with the same small JSON."""

    _REPLY = (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_ANSWER)
        + _ANSWER.encode()
    )

    def __init__(self) -> None:
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        held = self._held + data
        while (end := held.find(b"\r\n\r\n")) >= 0:
            head = held[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(held) < end + 4 + length:
                break
            held = held[end + 4 + length :]
            self._transport.write(self._REPLY)
        self._held = held


def _serve_upstream(port: int) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(_Upstream, "127.0.0.1", port)
        await server.serve_forever()

    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(run())


def _request(port: int, key: str) -> bytes:
    return (
        f"POST /v1/workflows/run HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nAccept: */*\r\nUser-Agent: benchmark\r\n"
        f"Content-Length: {len(_BODY)}\r\n\r\n"
    ).encode() + _BODY


def _whole(sock: socket.socket) -> None:
    """Read one answer with a Content-Length; raises when it is not a 200."""
    held = b""
    while (end := held.find(b"\r\n\r\n")) < 0:
        held += _more(sock)
    if not held.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(held.decode(errors="replace"))
    head = held[:end].lower()
    length = int(head[head.index(b"content-length:") + 15 :].split(b"\r\n", 1)[0])
    while len(held) < end + 4 + length:
        held += _more(sock)


def _more(sock: socket.socket) -> bytes:
    data = sock.recv(65536)
    if not data:
        raise RuntimeError("the connection was closed")
    return data


def latencies(port: int, key: str, count: int) -> list[float]:
    """Milliseconds of `count` requests, one after the other on one connection."""
    request = _request(port, key)
    taken = []
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            began = time.perf_counter()
            sock.sendall(request)
            _whole(sock)
            taken.append((time.perf_counter() - began) * 1000)
    return taken


class _Load(asyncio.Protocol):
    """One connection that sends its request again as soon as the answer is whole."""

    def __init__(self, request: bytes, counter: list[int]) -> None:
        self._request = request
        self._counter = counter
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._held += data
        end = self._held.find(b"\r\n\r\n")
        if end >= 0 and len(self._held) >= end + 4 + len(_ANSWER):
            self._counter[0 if self._held.startswith(b"HTTP/1.1 200") else 1] += 1
            self._held = b""
            self._transport.write(self._request)


def throughput(port: int, key: str, seconds: float) -> float:
    """Requests per second over 32 connections. Raises when one fails."""
    counter = [0, 0]

    async def run() -> None:
        loop = asyncio.get_running_loop()
        request = _request(port, key)
        opened = [
            await loop.create_connection(lambda: _Load(request, counter), "127.0.0.1", port)
            for _ in range(_CONNECTIONS)
        ]
        await asyncio.sleep(seconds)
        for transport, _ in opened:
            transport.abort()

    began = time.perf_counter()
    uvloop.run(run())
    if counter[1]:
        raise RuntimeError(f"{counter[1]} requests failed")
    return counter[0] / (time.perf_counter() - began)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _await_port(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on {port}")


@contextlib.contextmanager
def _process(command: list[str], env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def _seed(home: Path) -> str:
    """A store with many keys, each of a workflow with a published version. Gives one key."""
    store = open_store(load(home=home))
    who = Principal("benchmark")
    document = dsl.parse(_DOCUMENT, source="benchmark.yml")

    def work(tx: Tx) -> str:
        made = []
        for n in range(_KEYS):
            workflow = workflows.create(tx, who, f"benchmark-{n}", name="", mode="workflow")
            version = versions.push(tx, who, workflow, document).version
            channel = channels.ensure(tx, workflow)
            channels.move(tx, who, workflow, channel, version, expected=0, kind="publish")
            made.append(str(keys.create(tx, who, workflow, name="benchmark")["key"]))
        return made[_KEYS // 2]

    try:
        return store.write(work)
    finally:
        store.close()


@dataclass
class _Row:
    name: str
    port: int
    pid: int | None = None
    taken: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # microseconds per request


def measure(rows: list[_Row], key: str, *, rounds: int, count: int, seconds: float) -> None:
    """Fill `rows`, in turns."""
    for row in rows:
        latencies(row.port, key, 300)
    for _ in range(rounds):
        for row in rows:
            row.taken += latencies(row.port, key, count)
    for _ in range(rounds):
        for row in rows:
            before = _cpu(row.pid)
            rate = throughput(row.port, key, seconds / rounds)
            row.rates.append(rate)
            row.cpu.append((_cpu(row.pid) - before) / (rate * seconds / rounds) * 1e6)


def _cpu(pid: int | None) -> float:
    """The seconds of CPU that a process has had, its threads included."""
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def report(rows: list[_Row]) -> Table:
    """The table: latency at one connection, throughput at 32, both beside no gateway."""
    table = Table(title=f"POST /v1/workflows/run, {len(_BODY)} bytes; {os.cpu_count()} cores shared by all")
    for heading in (
        "",
        "p50 ms",
        "p99 ms",
        "added p50",
        "added p99",
        "requests/s at 32",
        "CPU µs",
        "of direct",
        "of nginx",
    ):
        table.add_column(heading, justify="left" if not heading else "right")
    direct = rows[0]
    base = statistics.quantiles(direct.taken, n=100)
    rates = {row.name: statistics.median(row.rates) for row in rows}
    for row in rows:
        cuts = statistics.quantiles(row.taken, n=100)
        rate = rates[row.name]
        table.add_row(
            row.name,
            f"{cuts[49]:.3f}",
            f"{cuts[98]:.3f}",
            "" if row is direct else f"{cuts[49] - base[49]:.3f}",
            "" if row is direct else f"{cuts[98] - base[98]:.3f}",
            f"{rate:,.0f}",
            f"{statistics.median(row.cpu):.0f}" if row.pid else "",
            f"{rate / rates[direct.name]:.3f}",
            f"{rate / rates['nginx']:.3f}" if "nginx" in rates else "–",
        )
    return table


def main() -> int:
    """Measure and print. Exit code 1 when the goal (added p50 ≤ 0.3 ms) is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=1000, help="requests per round for latency")
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds of load per row")
    parser.add_argument("--upstream", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.upstream:
        _serve_upstream(arguments.upstream)
        return 0
    console = Console()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        key = _seed(folder / "home")
        upstream, proxy = _free_port(), _free_port()
        stack.enter_context(_process([sys.executable, "-m", "benchmarks.gateway", "--upstream", str(upstream)]))
        _await_port(upstream)
        rows = [_Row("direct", upstream)]
        nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if nginx:
            (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, upstream=upstream, port=proxy))
            stack.enter_context(_process([nginx, "-c", str(folder / "nginx.conf"), "-p", name]))
            _await_port(proxy)
            rows.append(_Row("nginx", proxy))
        else:
            console.print("nginx is not installed: its row is left out.")
        for label, records in (("lastgood, recording off", "false"), ("lastgood", "true")):
            command = [sys.executable, "-m", "lastgood.gateway", "--port", "0"]
            home = {"LASTGOOD_HOME": str(folder / "home"), "LASTGOOD_DATABASE": "", "LASTGOOD_RECORD_CALLS": records}
            gateway = stack.enter_context(
                _process([*command, "--engine", f"http://127.0.0.1:{upstream}"], {**os.environ, **home})
            )
            assert gateway.stdout is not None
            ready = json.loads(gateway.stdout.readline())
            rows.append(_Row(label, int(ready["address"].rpartition(":")[2]), ready["pid"]))
        measure(rows, key, rounds=arguments.rounds, count=arguments.count, seconds=arguments.seconds)
    console.print(report(rows))
    added = statistics.median(rows[-1].taken) - statistics.median(rows[0].taken)
    console.print(f"Goal: added p50 ≤ 0.3 ms at one connection. Measured: {added:.3f} ms.")
    return 0 if added <= 0.3 else 1


if __name__ == "__main__":
    sys.exit(main())
