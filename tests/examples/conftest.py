"""The examples in service: an engine process that runs their files, the rate service, and a stand-in for a model."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

EXAMPLES = Path(__file__).parents[2] / "examples"
RATES_URL = yaml.safe_load((EXAMPLES / "invoice-intake" / "history.yml").read_text())["rates_url"]
NOBODY = "http://127.0.0.1:9"

type Ask = Callable[[str, dict[str, Any]], dict[str, Any]]


@contextmanager
def service(*command: str | Path, **environment: str) -> Iterator[str]:
    """A process while it runs; gives the first line that it prints."""
    with subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def start_rates() -> Iterator[Callable[..., str]]:
    """Starts a rate service with more options, and gives its address; all end with the session."""
    with ExitStack() as running:
        program = EXAMPLES / "invoice-intake" / "rates.py"
        yield lambda *options: running.enter_context(service(program, "--port", "0", *options))


@pytest.fixture(scope="session")
def rates(start_rates: Callable[..., str]) -> str:
    """The address of a rate service that takes the example's keys."""
    return start_rates()


class Model(BaseHTTPRequestHandler):
    """An OpenAI-compatible endpoint that answers with the messages it was sent, as JSON."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content = json.dumps([[message["role"], message["content"]] for message in asked["messages"]])
        chunk = {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": "stop"}]}
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="session")
def model() -> Iterator[str]:
    """The base URL of the stand-in for a model."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Model) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


@pytest.fixture(scope="session")
def engine(
    tmp_path_factory: pytest.TempPathFactory, rates: str, start_rates: Callable[..., str], model: str
) -> Iterator[httpx.Client]:
    """An engine that runs every file. The key of a support chat is ``app-STEM``; that of an invoice is
    ``app-STEM.live`` with the rate service, ``app-STEM.alone`` without it, ``app-STEM.october`` where it takes only
    the key of October."""
    home = tmp_path_factory.mktemp("engine")
    files = home / "files"
    files.mkdir()
    services = {"live": rates, "alone": NOBODY, "october": start_rates("--key", "rates-demo-key-october")}
    for path in (EXAMPLES / "invoice-intake").glob("[0-9]*.yml"):
        for name, address in services.items():
            (files / f"{path.stem}.{name}.yml").write_text(path.read_text().replace(RATES_URL, address))
    for path in (EXAMPLES / "support-chat").glob("[0-9]*.yml"):
        (files / path.name).write_text(path.read_text())
    with (
        service(
            *("-m", "lastgood.targets.engine", "--files", files),
            LASTGOOD_HOME=str(home),
            LASTGOOD_HTTP_ALLOW_PRIVATE="true",
            LASTGOOD_LLM_BASE_URL=model,
        ) as ready,
        httpx.Client(base_url=f"http://{json.loads(ready)['address']}/v1", timeout=30) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def run(engine: httpx.Client) -> Ask:
    """Runs the workflow of a key's name with inputs; gives the run's `data`."""

    def ask(name: str, inputs: dict[str, Any]) -> dict[str, Any]:
        body = {"inputs": inputs, "user": "u1", "response_mode": "blocking"}
        answer = engine.post("/workflows/run", json=body, headers={"Authorization": f"Bearer app-{name}"})
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["data"])

    return ask
