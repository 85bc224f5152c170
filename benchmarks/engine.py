"""How fast the engine runs a workflow that does next to nothing: ``python -m benchmarks.engine [--seconds S]``."""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.table import Table

from benchmarks.local import as_process

_TRIVIAL = """
kind: app
version: 0.6.0
app: {name: trivial, mode: workflow}
workflow:
  graph:
    nodes:
    - {id: start, data: {type: start, title: start, variables: [{variable: name, label: name, type: text-input}]}}
    - {id: end, data: {type: end, title: end, outputs: [{variable: name, value_selector: [start, name]}]}}
    edges: [{id: e, source: start, target: end, sourceHandle: source}]
"""
_CODE = """
kind: app
version: 0.6.0
app: {name: code, mode: workflow}
workflow:
  graph:
    nodes:
    - {id: start, data: {type: start, title: start, variables: [{variable: name, label: name, type: text-input}]}}
    - id: code
      data:
        type: code
        title: code
        code_language: python3
        code: "def main(name): return {'said': name.upper()}"
        variables: [{variable: name, value_selector: [start, name]}]
        outputs: {said: {type: string}}
    - {id: end, data: {type: end, title: end, outputs: [{variable: said, value_selector: [code, said]}]}}
    edges:
    - {id: a, source: start, target: code, sourceHandle: source}
    - {id: b, source: code, target: end, sourceHandle: source}
"""


async def measure(base_url: str, key: str, clients: int, seconds: float, mode: str) -> list[float]:
    """The seconds that each of the runs took which `clients` callers made one after the other for `seconds`."""
    taken: list[float] = []
    headers = {"Authorization": f"Bearer {key}"}
    body = {"inputs": {"name": "you"}, "user": "bench", "response_mode": mode}
    until = time.perf_counter() + seconds

    async def caller(session: aiohttp.ClientSession) -> None:
        while (began := time.perf_counter()) < until:
            async with session.post(f"{base_url}/v1/workflows/run", json=body, headers=headers) as answer:
                told = await answer.read()
                assert answer.status == 200 and b'"succeeded"' in told
            taken.append(time.perf_counter() - began)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(caller(session) for _ in range(clients)))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    flags = parser.parse_args()
    table = Table("workflow", "mode", "clients", "runs/s", "p50 ms", "p99 ms")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "documents"
        folder.mkdir()
        (folder / "trivial.yml").write_text(_TRIVIAL)
        (folder / "code.yml").write_text(_CODE)
        with as_process(folder, Path(name)) as engine:
            asyncio.run(measure(engine.base_url, "app-code", 2, 1, "blocking"))
            for flow, mode, clients in (
                ("trivial", "blocking", 1),
                ("trivial", "blocking", 8),
                ("trivial", "blocking", 32),
                ("trivial", "streaming", 8),
                ("code", "blocking", 1),
                ("code", "blocking", 8),
            ):
                taken = asyncio.run(measure(engine.base_url, f"app-{flow}", clients, flags.seconds, mode))
                cuts = statistics.quantiles(taken, n=100)
                rate = len(taken) / flags.seconds
                table.add_row(
                    flow, mode, str(clients), f"{rate:.0f}", f"{cuts[49] * 1e3:.1f}", f"{cuts[98] * 1e3:.1f}"
                )
    Console().print(table)


if __name__ == "__main__":
    main()
