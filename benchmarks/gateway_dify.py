"""What the gateway adds before Dify: runs of 40 ms on the small Dify of the tests, beside direct calls, in one run.

``uv run python -m benchmarks.gateway_dify [--seconds 3] [--cap 128]``. Blocking and streaming, 1, 8 and 64 clients;
each sends its next call as soon as the last one has ended, a stream being read to its last event. The server, the
worker and the load are processes of their own; only the ratios mean something. The cap and the server's own places
are raised to 128 for the comparison; `--cap 8` shows the queue of the default."""

import argparse
import asyncio
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

_RUN_SECONDS = 0.04
_CLIENTS = (1, 8, 64)


def _dify(pipe: Connection, home: str) -> None:
    """The server, with one app, and a store that knows it."""
    from dify_server.server import FakeDify, Timing
    from gateway.test_dify_server import beside

    with (
        FakeDify("1.14.2", slots=128, timing=Timing(latency=_RUN_SECONDS)) as dify,
        beside(dify, Path(home)) as scene,
    ):
        dify.keep_requests = False
        pipe.send((dify.port, scene.key))
        pipe.recv()


async def _call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bool:
    """One call, read to the end of its answer. Whether it went well."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    well = head.startswith(b"http/1.1 200")
    if b"chunked" not in head:
        length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        return b'"succeeded"' in await reader.readexactly(length) and well
    while size := int((await reader.readuntil(b"\r\n"))[:-2], 16):
        part = await reader.readexactly(size + 2)
        if b'"workflow_finished"' in part:
            return well  # the client of a stream is content
    return False


async def _client(port: int, request: bytes, until: float, taken: list[float], bad: list[int]) -> None:
    connection = None
    while time.perf_counter() < until:
        # A stream's connection is given up at its last event: direct, it would be held a while longer.
        if connection is None:
            connection = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        began = time.perf_counter()
        well = await _call(*connection, request)
        taken.append((time.perf_counter() - began) * 1000)
        bad[0] += not well
        if b'"streaming"' in request:
            connection[1].close()
            connection = None
    if connection is not None:
        connection[1].close()


def _load(port: int, key: str, mode: str, clients: int, seconds: float) -> tuple[float, float, int]:
    """Calls a second, the median in milliseconds, and how many went badly."""
    body = json.dumps({"inputs": {"name": "n"}, "response_mode": mode, "user": "benchmark"}).encode()
    request = (
        f"POST /v1/workflows/run HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    taken: list[float] = []
    bad = [0]

    async def run() -> None:
        until = time.perf_counter() + seconds
        await asyncio.gather(*(_client(port, request, until, taken, bad) for _ in range(clients)))

    began = time.perf_counter()
    asyncio.run(run())
    return len(taken) / (time.perf_counter() - began), statistics.median(taken), bad[0]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--cap", type=int, default=128, help="upstream_calls of the gateway")
    options = parser.parse_args()
    from gateway.scene import worker
    from lastgood.settings import load

    table = Table(
        "clients", "answers", "direct p50", "gateway p50", "ratio", "direct /s", "gateway /s", "ratio", "bad"
    )
    with tempfile.TemporaryDirectory() as home:
        ours, theirs = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(target=_dify, args=(theirs, home))
        server.start()
        port, key = ours.recv()
        with worker(
            load(home=Path(home)), upstream_calls=options.cap, queue_calls=256, queue_seconds=60.0
        ) as gateway:
            for mode in ("blocking", "streaming"):
                for clients in _CLIENTS:
                    for warm in (port, gateway.port):
                        _load(warm, key, mode, 1, 0.3)
                    direct = _load(port, key, mode, clients, options.seconds)
                    through = _load(gateway.port, key, mode, clients, options.seconds)
                    table.add_row(
                        str(clients),
                        mode,
                        f"{direct[1]:.1f} ms",
                        f"{through[1]:.1f} ms",
                        f"{through[1] / direct[1]:.2f}",
                        f"{direct[0]:.0f}",
                        f"{through[0]:.0f}",
                        f"{through[0] / direct[0]:.2f}",
                        str(direct[2] + through[2]),
                    )
        ours.send(None)
        server.join(10)
    Console(width=120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
