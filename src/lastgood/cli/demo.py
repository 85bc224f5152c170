"""`lastgood demo`: the main job on this machine, with the real server, in under a minute."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
import yaml
from rich.console import Console
from rich.table import Table

from lastgood.cli.client import server_notice
from lastgood.errors import Unavailable

_CLIENTS = 6
_START_SECONDS = 60.0
_GOOD, _BAD = "05-new-rates-key", "06-vat-node"
_WORKFLOW = "prod-invoice"


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server running and print its addresses.")] = False,
) -> None:
    """Show the main job: a bad publish, seen, rolled back, and nothing wrong served after it.

    Starts the real server on free ports with a fresh data directory, pushes the example history, sends traffic
    through the gateway, publishes a version that returns wrong totals, and goes back. Needs no key and no network.

    \b
    Examples:
      lastgood demo
      lastgood demo --keep
    """
    console = Console(highlight=False)
    history = yaml.safe_load((examples() / "history.yml").read_text(encoding="utf-8"))
    text = history["samples"][history["smoke"]["sample"]]["inputs"]["text"]
    with ExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="lastgood-demo-"))
        story = Story(console)
        with story.step("starting the server"):
            if not keep:
                stack.enter_context(_rates(history["rates_url"]))
            server, notice = _start(home)
        if not keep:
            stack.callback(_stop, server, home)
        story.tell("server started", f"API {notice['api']}, gateway {notice['gateway']}, SQLite in {home}")
        wrong = _play(console, story, notice, history, text)
        if keep:
            console.print(f"\nThe server goes on (process {server.pid}; `kill {server.pid}` ends it):")
            console.print(f"  export LASTGOOD_HOME={home}", soft_wrap=True)
            console.print(f"  lastgood status      # API {notice['api']}, gateway {notice['gateway']}")
    if wrong:
        raise typer.Exit(1)


@dataclass(slots=True)
class Story:
    """What happens, shown while it does, and told at the end as a timeline."""

    console: Console
    began: float = field(default_factory=time.perf_counter)
    lines: list[tuple[float, str, str]] = field(default_factory=list)

    @contextmanager
    def step(self, doing: str) -> Iterator[None]:
        """Show that `doing` goes on: a spinner in a terminal, a line elsewhere."""
        if self.console.is_terminal:
            with self.console.status(doing):
                yield
        else:
            self.console.print(f"{doing} …", soft_wrap=True)
            yield

    def tell(self, what: str, detail: str = "") -> None:
        """Add a line to the timeline."""
        self.lines.append((time.perf_counter() - self.began, what, detail))

    def timeline(self) -> None:
        """Print all of it."""
        self.console.print("[bold]Timeline[/]")
        for at, what, detail in self.lines:
            self.console.print(f"[dim]{at:6.1f} s[/]  [bold]{what:15}[/]{detail}", soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Served:
    """One request through the gateway: when it began and ended (seconds), which version answered, and the total."""

    began: float
    ended: float
    version: str
    status: int
    total: Any


class Traffic:
    """Clients that keep asking the gateway, and what they were answered."""

    def __init__(self, gateway: str, key: str, text: str) -> None:
        self._url = f"{gateway}/v1/workflows/run"
        self._body = {"inputs": {"text": text}, "user": "demo", "response_mode": "blocking"}
        self._key = key
        self._over = threading.Event()
        self.served: list[Served] = []
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(_CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        headers = {"Authorization": f"Bearer {self._key}"}
        with httpx.Client(timeout=30, trust_env=False, headers=headers) as client:
            while not self._over.is_set():
                began = time.perf_counter()
                answer = client.post(self._url, json=self._body)
                outputs = (answer.json().get("data") or {}).get("outputs") or {}
                version = answer.headers.get("X-Lastgood-Version", "")
                ended = time.perf_counter()
                self.served.append(Served(began, ended, version, answer.status_code, outputs.get("total")))

    def stop(self) -> None:
        """Let the requests in flight finish."""
        self._over.set()
        for thread in self._threads:
            thread.join()


def _play(console: Console, story: Story, notice: dict[str, Any], history: dict[str, Any], text: str) -> int:
    """Act the story out; gives the number of requests that a wrong version served after the acknowledgement."""
    api = httpx.Client(
        base_url=notice["api"],
        headers={"Authorization": f"Bearer {notice['token']}", "X-Lastgood-Actor": "demo"},
        timeout=60,
        trust_env=False,
    )
    channel = f"/v1/workflows/{_WORKFLOW}/channels/live"
    expectation = history["smoke"]["expect"]
    want = history["samples"][history["smoke"]["sample"]]["outputs"]["total"]

    ids = {}
    with story.step("pushing the example history"):
        for version in history["versions"]:
            name = Path(version["file"]).stem
            ids[name] = _push(api, version)
            if name == _BAD:
                break
    story.tell("history pushed", f"{len(ids)} versions of {_WORKFLOW}")
    _ask(api, "POST", f"/v1/workflows/{_WORKFLOW}/smokes", json={"inputs": {"text": text}, "expect": [expectation]})
    key = _ask(api, "POST", f"/v1/workflows/{_WORKFLOW}/keys", json={"name": "demo"})["key"]

    with story.step("publishing the good version"):
        good = _move(api, f"{channel}/publish", 0, version=ids[_GOOD], reason="checked totals, new key")
    story.tell(
        "published", f"{ids[_GOOD]}: smoke request {good['verification']['verdict']}, so it is {_proven(good)}"
    )

    traffic = Traffic(notice["gateway"], key, text)
    try:
        with story.step(f"{_CLIENTS} clients send invoices through the gateway"):
            _wait_for(traffic, ids[_GOOD], 60)
        story.tell("traffic", f"{len(traffic.served)} invoices, each with total {traffic.served[-1].total}")

        with story.step("publishing a version that breaks"):
            bad = _move(api, f"{channel}/publish", 1, version=ids[_BAD], reason="VAT gets a node of its own")
        check = bad["verification"]["checks"][0]["detail"]
        story.tell("published", f"[red]{ids[_BAD]}: smoke request failed[/]: {check}")
        with story.step("it is live, and wrong"):
            _wait_for(traffic, ids[_BAD], 40)
        wrong = [one for one in traffic.served if one.total != want]
        story.tell("wrong answers", f"[red]total {wrong[-1].total} instead of {want}[/], {len(wrong)} times so far")

        commanded = time.perf_counter()
        back = _move(api, f"{channel}/rollback", 2, reason="wrong totals", verify=False)
        acknowledged = time.perf_counter()
        story.tell("rolled back", f"to {back['move']['to']}, {back['move']['why']}")
        with story.step("watching what is served now"):
            _wait_for(traffic, ids[_GOOD], 60, since=acknowledged)
    finally:
        traffic.stop()

    after = [one for one in traffic.served if one.began >= acknowledged]
    late = [one for one in after if one.version != back["move"]["to"] or one.total != want]
    first = min((o for o in traffic.served if o.began >= commanded and o.total == want), key=lambda o: o.ended)
    story.tell("good again", f"{len(after)} invoices begun after the acknowledgement, each with total {want}")

    story.timeline()
    console.print()
    figures = Table(box=None, show_header=False, pad_edge=False, title="Figures", title_justify="left")
    failed = sum(1 for one in traffic.served if one.status != 200)
    wrong = [one for one in traffic.served if one.total != want]
    for name, value in (
        ("requests served", str(len(traffic.served))),
        ("failed", str(failed)),
        (f"wrong totals (all from {ids[_BAD]})", str(len(wrong))),
        ("wrong version after acknowledgement", str(len(late))),
        ("rollback acknowledged after", f"{(acknowledged - commanded) * 1000:.1f} ms"),
        ("command to first good response", f"{(first.ended - commanded) * 1000:.1f} ms"),
    ):
        figures.add_row(name, value)
    console.print(figures)
    return len(late) + failed


def examples() -> Path:
    """The folder of the example history: in the package, or beside it in a checkout."""
    inside = Path(__file__).parent.parent / "examples" / "invoice-intake"
    return inside if inside.exists() else Path(__file__).parents[3] / "examples" / "invoice-intake"


def _push(api: httpx.Client, version: dict[str, Any]) -> str:
    body = {
        "document": (examples() / version["file"]).read_text(encoding="utf-8"),
        "source": version["file"],
        "note": version["note"],
        "author": version["author"],
        "authored_at": str(version["authored"]),
    }
    answer = _ask(api, "POST", f"/v1/workflows/{_WORKFLOW}/versions", json=body)
    return str(answer["version"]["id"])


def _move(api: httpx.Client, path: str, generation: int, **body: Any) -> dict[str, Any]:
    return _ask(api, "POST", path, json=body, headers={"If-Match": f'"{generation}"'})


def _ask(api: httpx.Client, method: str, path: str, **request: Any) -> dict[str, Any]:
    answer = api.request(method, path, **request)
    body: dict[str, Any] = answer.json()
    if answer.is_error:
        raise Unavailable(detail=body["detail"])
    return body


def _proven(moved: dict[str, Any]) -> str:
    return str(moved["version"]["proven"])


def _wait_for(traffic: Traffic, version: str, count: int, since: float = 0.0) -> None:
    """Wait until `count` requests begun after `since` were answered by `version`, at most 15 s."""
    until = time.perf_counter() + 15
    while time.perf_counter() < until:
        if sum(1 for one in traffic.served if one.version == version and one.began >= since) >= count:
            return
        time.sleep(0.05)
    raise Unavailable(detail=f"The gateway answered too few requests with {version}; look at `lastgood doctor`.")


def _start(home: Path) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
    """Start `lastgood serve` on free ports and wait until it answers."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("LASTGOOD_")}
    env |= {"LASTGOOD_HOME": str(home), "LASTGOOD_HTTP_ALLOW_PRIVATE": "true"}
    command = [sys.executable, "-m", "lastgood", "serve", "--api-port", "0", "--gateway-port", "0"]
    server = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, start_new_session=True)  # noqa: S603 - ours
    until = time.perf_counter() + _START_SECONDS
    while time.perf_counter() < until and server.poll() is None:
        notice = server_notice(home)
        if notice is not None:
            with suppress(httpx.TransportError):
                if httpx.get(f"{notice['api']}/readyz", trust_env=False).status_code == 200:
                    return server, notice
        time.sleep(0.05)
    server.kill()
    raise Unavailable(detail="The demo's server did not start; its messages stand above.")


def _stop(server: subprocess.Popen[bytes], home: Path) -> None:
    import shutil

    server.terminate()
    server.wait(30)
    shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _rates(url: str) -> Iterator[None]:
    """The rate service that the example asks; without it the lookup's fail branch answers."""
    script = examples() / "rates.py"
    command = [sys.executable, str(script), "--port", url.rsplit(":", 1)[1]]
    service = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - ours
    try:
        yield
    finally:
        service.terminate()
        service.wait()
