"""Runs every document of the corpus that the embedded engine takes, through its HTTP API, with stand-ins for the
model and for the services that are called: ``python -m benchmarks.corpus [--shared DIR] [--gateway] [--json FILE]``.
With ``--gateway`` each document is pushed, published and asked for through a gateway worker, as its clients would."""

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks import standins
from benchmarks.local import on_thread
from benchmarks.shapes import shape_of
from benchmarks.standins import EchoStandIn, EchoWeb, ModelStandIn, serving
from lastgood.db.audit import Principal
from lastgood.db.store import open_store
from lastgood.db.tx import Tx
from lastgood.dsl.document import Document, node_data
from lastgood.dsl.interface import InputField, inputs, node_types
from lastgood.dsl.reader import parse
from lastgood.errors import InvalidDocument
from lastgood.history import channels, keys, versions, workflows
from lastgood.server.children import Child, listen, url_of
from lastgood.settings import Settings
from lastgood.targets.engine.nodes import KINDS
from lastgood.targets.engine.plan import unrunnable
from lastgood.targets.engine.source import FolderSource
from lastgood.targets.engine.stored import StoreSource

_GOAL = 95
_WHO = Principal("corpus", "local")
_WELL = {"succeeded", "partial-succeeded"}  # the latter: a node failed and its error strategy caught it


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one document: ``succeeded``, ``failed``, ``refused`` (never run; the reason says why) or
    ``foreign`` (uses node types that are Dify's alone)."""

    name: str
    mode: str
    status: str
    reason: str
    seconds: float = 0.0
    stream_events: int = 0


@dataclass(frozen=True, slots=True)
class Item:
    """A document of the corpus, by its file's stem."""

    name: str
    document: Document


type Where = Callable[[Item], tuple[str, str]]
"""An item → (base URL, key) of where to run it; what an engine serves, or a gateway before it."""


def corpus(shared: Path) -> Iterator[Item | Result]:
    """Every file of the corpus: an item to run, or the result where it cannot be read or has no graph."""
    for path in sorted((shared / "corpus" / "files").glob("*.yml")):
        try:
            document = parse(path.read_bytes(), source=path.name)
        except InvalidDocument as error:
            yield Result(path.stem, "", "foreign", f"not read: {error}")
            continue
        foreign = set(node_types(document)) - set(KINDS)
        if not document.has_graph:
            yield Result(path.stem, document.mode, "foreign", f"a {document.mode} app has no graph")
        elif foreign:
            yield Result(path.stem, document.mode, "foreign", f"uses {', '.join(sorted(foreign))}")
        else:
            yield Item(path.stem, document)


def run_all(items: list[Item], where: Where, heard: Callable[[Result], None] = lambda _: None) -> list[Result]:
    """Run every item, blocking and streamed. `heard` is told each result as it comes."""
    results = []
    with httpx.Client(timeout=40) as client:
        for item in items:
            reasons = unrunnable(item.document.data)
            if reasons:
                result = Result(item.name, item.document.mode, "refused", "; ".join(reasons))
            else:
                try:
                    result = _run(client, item, *where(item))
                except httpx.TransportError as error:
                    result = Result(item.name, item.document.mode, "failed", f"no answer: {type(error).__name__}")
            heard(result)
            results.append(result)
    return results


def _run(client: httpx.Client, item: Item, base_url: str, key: str) -> Result:
    chat = item.document.mode == "advanced-chat"
    path = "/v1/chat-messages" if chat else "/v1/workflows/run"
    body: dict[str, Any] = {"inputs": generated(item.document), "user": "corpus"} | (
        {"query": "hello"} if chat else {}
    )
    headers = {"Authorization": f"Bearer {key}"}
    standins.wanted.clear()
    standins.wanted |= shape_of([str(node_data(node).get("code", "")) for node in item.document.nodes])
    began = time.perf_counter()
    answer = client.post(base_url + path, json=body, headers=headers)
    seconds = time.perf_counter() - began
    told = answer.json()
    data = told.get("data") or {}
    if answer.status_code != 200 or data.get("status", "succeeded") not in _WELL:
        reason = str(data.get("error") or told.get("message") or answer.status_code)
        return Result(item.name, item.document.mode, "failed", reason, seconds)
    events = []
    with client.stream(
        "POST", base_url + path, json=body | {"response_mode": "streaming"}, headers=headers
    ) as stream:
        events = [json.loads(line[5:]) for line in stream.iter_lines() if line.startswith("data:")]
    finished = [event["data"]["status"] for event in events if event["event"] == "workflow_finished"]
    if len(finished) != 1 or finished[0] not in _WELL:
        return Result(item.name, item.document.mode, "failed", f"the stream ended with {finished}", seconds)
    return Result(item.name, item.document.mode, "succeeded", "", seconds, len(events))


def generated(document: Document) -> dict[str, Any]:
    """Inputs that the document's form takes."""
    return {field.name: _value(field) for field in inputs(document)}


def _value(field: InputField) -> Any:
    if field.default not in (None, "") and field.type not in {"file", "file-list"}:
        return field.default
    file = {"type": "image", "transfer_method": "remote_url", "url": "https://files.example/picture.png"}
    values: dict[str, Any] = {
        "number": 3,
        "select": field.options[0] if field.options else "",
        "checkbox": True,
        "file": file,
        "file-list": [file],
        "json_object": {"name": "value"},
    }
    if field.type in values:
        return values[field.type]
    name = field.name.lower()
    text = "https://site.example/page" if "url" in name else f"some {field.name}"
    text = "3f2504e0-4f89-41d3-9a0c-0305e82c3301" if name.endswith("_id") else text
    return text[: field.max_length] if field.max_length else text


@contextmanager
def engine(folder: Path) -> Iterator[str]:
    """The embedded engine on the documents of `folder` with the stand-ins, on a thread; gives its base URL. The
    model stand-in is set as its endpoint, and every request of a node goes to the echo."""
    with tempfile.TemporaryDirectory() as home, serving(ModelStandIn) as model, serving(EchoStandIn) as echo:
        settings = Settings(home=Path(home), llm_base_url=f"http://{model}/v1", llm_model="stand-in")
        with on_thread(FolderSource(folder), settings, web=lambda cancel: EchoWeb(cancel, echo)) as (base_url, _):
            yield base_url


@contextmanager
def gateway(items: list[Item]) -> Iterator[str]:
    """A store with every item pushed and published under the key ``app-NAME``, its engine with the stand-ins, and a
    gateway worker before it; gives the gateway's base URL."""
    with tempfile.TemporaryDirectory() as home, serving(ModelStandIn) as model, serving(EchoStandIn) as echo:
        settings = Settings(home=Path(home), llm_base_url=f"http://{model}/v1", llm_model="stand-in")
        store = open_store(settings)
        for item in items:
            store.write(lambda tx, item=item: _publish(tx, item))  # type: ignore[misc]
        sock = listen("127.0.0.1", 0)
        with on_thread(StoreSource(store), settings, web=lambda cancel: EchoWeb(cancel, echo)) as (base_url, _):
            worker = Child("gateway", "lastgood.gateway", sock, settings, args=["--engine", base_url])
            try:
                worker.wait_ready()
                yield url_of(sock)
            finally:
                worker.stop()
                store.close()


def _publish(tx: Tx, item: Item) -> None:
    document = item.document
    workflow = workflows.create(tx, _WHO, f"c-{item.name}", name=document.name, mode=document.mode)
    version = versions.push(tx, _WHO, workflow, document).version
    keys.create(tx, _WHO, workflow, name="corpus", key=f"app-{item.name}")
    channels.move(tx, _WHO, workflow, channels.get(tx, workflow), version, expected=0, kind="publish")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(os.environ.get("LASTGOOD_SHARED", Path(__file__).parents[2] / "shared"))
    parser.add_argument("--shared", type=Path, default=default, help="the folder that holds corpus/files")
    parser.add_argument("--gateway", action="store_true", help="through a gateway worker, from a store")
    parser.add_argument("--json", type=Path, help="write the results there, too")
    parser.add_argument("--only", default="", help="run only the documents whose name begins so")
    flags = parser.parse_args()
    console = Console()
    found = [item for item in corpus(flags.shared) if item.name.startswith(flags.only)]
    items = [item for item in found if isinstance(item, Item)]
    served = gateway(items) if flags.gateway else engine(flags.shared / "corpus" / "files")
    with served as base_url, console.status("running") as status:
        results = run_all(
            items, lambda item: (base_url, f"app-{item.name}"), lambda result: status.update(f"{result.name} ran")
        )
    everything = results + [result for result in found if isinstance(result, Result)]
    _print(console, everything)
    if flags.json:
        flags.json.write_text(json.dumps([asdict(result) for result in everything], indent=1))
    if not flags.only and sum(result.status == "succeeded" for result in results) < _GOAL:
        raise SystemExit(f"fewer than {_GOAL} documents ran")


def _print(console: Console, results: list[Result]) -> None:
    table = Table("document", "mode", "result", "seconds", "reason")
    for result in sorted(results, key=lambda result: (result.status, result.name)):
        if result.status != "foreign":
            seconds = f"{result.seconds:.3f}" if result.seconds else ""
            table.add_row(result.name, result.mode, result.status, seconds, result.reason)
    console.print(table)
    count = Counter(result.status for result in results)
    mine = len(results) - count["foreign"]
    console.print(
        f"{len(results)} documents; {mine} use only node types of this engine: {count['succeeded']} succeeded, "
        f"{count['failed']} failed, {count['refused']} refused; {count['foreign']} are for Dify alone"
    )


if __name__ == "__main__":
    main()
