"""Replays recordings of real servers against the stand-in. Ids, tokens and times of a recording are taken for the
stand-in's own as they appear in answers: wherever the recorded one is sent or answered again, its own must be."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import httpx

from dify_server import FakeDify, Timing
from dify_server.people import Account
from dify_server.world import ADMIN_KEY, PASSWORD, FakeApp

from .besides import BEFORE, HEADERS, NOTES, PASSWORDS, PREPARE, nothing, unchanged

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
VERSION = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
EMAIL = re.compile(r"[a-z]+\d{10}@example\.com")
HOST = re.compile(r"http://127\.0\.0\.1:(?!8900)\d+")
FORMS = (UUID, VERSION, EMAIL)
# Fields that are ids and tokens of other forms: they are mapped too.
_TOKENS = frozenset({"webhook_id", "server_code", "code", "access_token", "user_code", "device_code", "token"})
# Fields that differ from run to run and tell nothing.
_TIMES = frozenset(
    {"created_at", "updated_at", "finished_at", "elapsed_time", "last_login_at", "last_active_at", "last_used_at"}
    | {"sys.timestamp", "pid", "expires_at", "setup_at", "time_to_first_token", "latency", "date", "content-length"}
    | {"traceparent", "time_to_generate", "server", "interface_theme"}
)


@dataclass
class Exchange:
    """One recorded request and answer."""

    file: str
    label: str
    occurrence: int
    data: dict[str, Any]

    @property
    def name(self) -> tuple[str, str, int]:
        return self.file, self.label, self.occurrence

    @property
    def path(self) -> str:
        return str(self.data["path"])

    @property
    def headers(self) -> list[str]:
        return list(self.data.get("request_header_names") or [])

    @property
    def events(self) -> list[Any]:
        """The recorded events of a stream, ``"ping"`` for a ping; its silent end is not one."""
        return [one for one in map(event_of, (line for _, line in self.data["sse_lines_ms"])) if one is not None]

    @property
    def streams(self) -> bool:
        return bool(self.data.get("sse_lines_ms")) and self.data["status"] == 200


def event_of(line: str) -> Any:
    if line.startswith("data: "):
        return json.loads(line[6:])
    return "ping" if line == "event: ping" else None


@dataclass
class Outcome:
    """What became of one exchange; `why` is empty where the stand-in answered alike."""

    exchange: Exchange
    why: str


class Replay:
    """One server of one version, and the recordings that are replayed against it in the order they were made."""

    def __init__(self, dify: FakeDify, files: list[dict[str, Any]]) -> None:
        self.dify, self.world, self.files = dify, dify.world, files
        self.file: dict[str, Any] = {}
        self.own: dict[str, str] = {}  # recorded id or token -> the stand-in's
        self.keys: list[tuple[FakeApp, str]] = []  # in this file
        self.sessions: dict[str, tuple[str, str, str]] = {}
        self.token = ""  # of /openapi/v1
        self.early: dict[tuple[str, str, int], Future[tuple[int, Any]]] = {}  # sent already
        self.outcomes: list[Outcome] = []
        self.http = httpx.Client(base_url=dify.url, trust_env=False, timeout=20)
        world, people = dify.world, dify.world.people
        world.owner.name, world.owner.email = "Admin", "admin@example.com"
        people.workspaces[world.workspace_id] = "Admin's Workspace"
        people.tokens.clear()
        other = people.add_workspace("Other's Workspace")
        self.people: dict[str, Account] = {"": world.owner, "other tenant": people.add("Other", "other@x.org", other)}

    # sending

    def everything(self) -> list[Outcome]:
        for file in self.files:
            self.keys, self.file = [], file
            PREPARE.get(file["name"], nothing)(self)
            for (kind, label), group in groupby(exchanges_of(file), key=_together):
                found = list(group)
                if kind == "concurrent" and label:
                    self._at_once([one for one in found if isinstance(one, Exchange)])
                    continue
                for one in found:
                    if isinstance(one, Exchange):
                        self._one(one)
                    else:
                        self._note(file["name"], one)
        self.http.close()
        return self.outcomes

    def _note(self, file: str, note: dict[str, Any]) -> None:
        name = note.get("note") or note.get("command") or ""
        for start, act in NOTES.get(file, {}).items():
            if name.startswith(start):
                act(self, note)

    def _one(self, exchange: Exchange) -> None:
        BEFORE.get((exchange.file, exchange.label), nothing)(self, exchange)
        try:
            early = self.early.pop(exchange.name, None)
            answer = early.result() if early else self.send(exchange)
        except httpx.HTTPError as error:
            self.outcomes.append(Outcome(exchange, f"no answer: {error!r}"))
            return
        self._judge(exchange, *answer)

    def _at_once(self, exchanges: list[Exchange]) -> None:
        """Sends them together; which of them was let in is the server's affair, how many is not."""
        timing = self.world.timing
        timing.nap, timing.ping = 0.25, 5.0
        with ThreadPoolExecutor(len(exchanges)) as pool:
            answers = list(pool.map(self.send, exchanges))
        timing.nap, timing.ping = 0.01, 0.1
        for exchange in exchanges:
            fitting = next((one for one in answers if one[0] == exchange.data["status"]), answers[0])
            answers.remove(fitting)
            self._judge(exchange, *fitting)

    def send(self, exchange: Exchange) -> tuple[int, Any]:
        """Status and body: a list of events where the recording is a stream."""
        data, path = exchange.data, self.mine(unquote(exchange.path))
        headers, body = self._headers(exchange), data.get("request_json")
        content = b""
        if isinstance(body, str):
            content = self.mine(body).encode()
        elif body is not None:
            content = json.dumps(self._body(exchange, body)).encode()
        events: list[Any] = []
        self.http.cookies.clear()
        with self.http.stream(data["method"], path, headers=headers, content=content) as answer:
            kind = answer.headers["content-type"]
            if "event-stream" not in kind:
                given = answer.read()
                return answer.status_code, json.loads(given) if "json" in kind and given else given.decode()
            for line in answer.iter_lines():
                if (event := event_of(line)) is not None:
                    events.append(event)
        return answer.status_code, events

    def _body(self, exchange: Exchange, body: Any) -> Any:
        sent = json.loads(self.mine(json.dumps(body)))
        if isinstance(sent, dict) and sent.get("password") == "<redacted>":
            sent["password"] = PASSWORDS.get(exchange.label, PASSWORD)
        if isinstance(sent, dict) and sent.get("device_code") == "<redacted>":
            known = self.world.people.devices
            sent["device_code"] = known[-1]["device_code"] if "unknown" not in exchange.label else "unknown"
        return sent

    def _headers(self, exchange: Exchange) -> dict[str, str]:
        names, label = exchange.headers, exchange.label
        access, refresh, csrf = self.session(label)
        sent: dict[str, str] = {}
        if "content-type" in names:
            sent["Content-Type"] = "text/plain" if "beacon" in label else "application/json"
        if "cookie" in names:
            jar = {"access_token": access, "refresh_token": refresh, "csrf_token": csrf}
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in jar.items())
        if "x-csrf-token" in names:
            sent["X-CSRF-Token"] = csrf
        if "x-workspace-id" in names:
            sent["X-WORKSPACE-ID"] = str(uuid4()) if "wrong workspace" in label else self.world.workspace_id
        if "authorization" in names:
            sent["Authorization"] = f"Bearer {self._bearer(exchange, access)}"
        if "x-app-code" in names:
            app = self.keys[-1][0]
            sent["X-App-Code"] = app.site["code"]
        for name, value in HEADERS.get((exchange.file, label), unchanged)(self).items():
            sent[name] = value
        return sent

    def session(self, label: str) -> tuple[str, str, str]:
        who = next((one for one in self.people if one and label.startswith(f"{one}:")), "")
        if who not in self.sessions:
            self.sessions[who] = self.world.people.open(self.people[who])
        return self.sessions[who]

    def _bearer(self, exchange: Exchange, access: str) -> str:
        path, label = exchange.path, exchange.label
        if "ADMIN_API_KEY" in label or "x-workspace-id" in exchange.headers:
            return ADMIN_KEY
        if path.startswith("/openapi") or "oauth token" in label:
            return self.token
        if path.startswith("/v1"):
            return self._key(path)
        return access

    def _key(self, path: str) -> str:
        """The key that was in use: the last made, of an app that fits the route."""
        alive = [(app, key) for app, key in self.keys if any(one["token"] == key for one in app.keys)] or self.keys
        chats = [key for app, key in alive if app.mode == "advanced-chat"]
        flows = [key for app, key in alive if app.mode == "workflow"]
        if "/chat-messages" in path and chats:
            return chats[-1]
        if "/workflows" in path and flows:
            return flows[-1]
        return alive[-1][1] if alive else "app-none"

    # judging

    def mine(self, text: str) -> str:
        """A recorded text with the stand-in's own ids and tokens."""
        for form in FORMS:
            text = form.sub(lambda found: self.own.get(found[0], found[0]), text)
        for known, own in self.own.items():
            if known in text and not UUID.fullmatch(known):
                text = text.replace(known, own)
        return text

    def _judge(self, exchange: Exchange, status: int, body: Any) -> None:
        data = exchange.data
        if status != data["status"]:
            why = f"status {status} in place of {data['status']}: {str(body)[:200]}"
        elif exchange.streams and isinstance(body, list):
            why = self._streams(exchange.events, body)
        elif data.get("response_json") is not None or isinstance(body, dict | list):
            why = self._fits(data.get("response_json"), body, "")
        else:
            why = self._fits(data.get("response_text") or "", body or "", "")
        self.outcomes.append(Outcome(exchange, why))
        self._keep(exchange, body)

    def _keep(self, exchange: Exchange, body: Any) -> None:
        """Tokens that the recording does not show."""
        if not isinstance(body, dict) or exchange.data["status"] >= 300:
            return
        if exchange.path.endswith("/api-keys") and body.get("token"):
            app = next(one for one in self.world.apps.values() if any(k["token"] == body["token"] for k in one.keys))
            self.keys.append((app, body["token"]))
        if str(body.get("token", "")).startswith("dfoa_"):
            self.token = body["token"]
        if exchange.path.endswith("/activate"):
            account = self.world.people.accounts[-1]
            self.people[account.name] = account

    def _streams(self, recorded: list[Any], own: list[Any]) -> str:
        """After the end of a run the stand-in may say more: recording stopped there."""
        names = [[one if isinstance(one, str) else one["event"] for one in events] for events in (recorded, own)]
        if names[1][: len(names[0])] != names[0]:
            return f"events {names[1]} in place of {names[0]}"
        if len(own) > len(recorded) and names[0][-1] != "workflow_finished":
            return f"more events: {names[1][len(names[0]) :]}"
        reasons = (self._fits(*pair, "") for pair in zip(recorded, own, strict=False))
        return next((why for why in reasons if why), "")

    def _fits(self, recorded: Any, own: Any, name: str) -> str:
        """Why two answers differ; empty where they do not. Learns ids on the way."""
        if isinstance(recorded, dict) and isinstance(own, dict):
            if recorded.keys() != own.keys():
                return f"{name or 'answer'}: {sorted(recorded.keys() ^ own.keys())} on one side only"
            return next((why for key in recorded if (why := self._fits(recorded[key], own[key], key))), "")
        if isinstance(recorded, list) and isinstance(own, list):
            if len(recorded) != len(own):
                return f"{name or 'answer'}: {len(own)} items in place of {len(recorded)}"
            return next((why for pair in zip(recorded, own, strict=True) if (why := self._fits(*pair, name))), "")
        if name in _TIMES:
            return "" if _kind(recorded) == _kind(own) or None in (recorded, own) else f"{name}: kind of value"
        if isinstance(recorded, str) and isinstance(own, str):
            return self._text(recorded, own, name)
        return (
            "" if recorded == own and _kind(recorded) == _kind(own) else f"{name}: {own!r} in place of {recorded!r}"
        )

    def _text(self, recorded: str, own: str, name: str) -> str:
        identity = any(form.fullmatch(recorded) and form.fullmatch(own) for form in FORMS)
        if identity or name in _TOKENS:
            if "<" in recorded:  # redacted
                return ""
            known = self.own.setdefault(recorded, own)
            return "" if known == own else f"{name}: {own} where {known} was known for {recorded}"
        if MOMENT.match(recorded) and MOMENT.match(own):
            return ""
        if _echoed(recorded) is not None:
            return "" if _echoed(recorded) == _echoed(own) else f"{name}: {own!r} in place of {recorded!r}"
        if name == "data" and recorded.startswith("app:"):
            import yaml

            return self._fits(yaml.safe_load(recorded), yaml.safe_load(own), "document")
        for form in FORMS:
            for known, mine in zip(form.findall(recorded), form.findall(own), strict=False):
                self.own.setdefault(known, mine)
        left, right = _plain(self.mine(recorded)), _plain(own)
        if left == right:
            return ""
        return f"{name or 'text'}: {right[:300]!r} in place of {left[:300]!r}"


def _plain(text: str) -> str:
    """Without hosts, what a validator was given, and the order in which it lists modes."""
    text = re.sub(r"input_value=.*?, input_type=\w+", "", HOST.sub("http://host", text), flags=re.DOTALL)
    text = re.sub(r" but did you mean .*? \?", "", text)  # a guess, and not the same each time
    text = re.sub(r"\"sys\.timestamp\": \d+", "", text)
    text = re.sub(r"Error extracting attribute: .*? \[type", "[type", text, flags=re.DOTALL)
    text = re.sub(r"\n    For further information visit \S+", "", text)
    return re.sub(r"\{('[^{}]*')\}", lambda found: ", ".join(sorted(found[1].split(", "))), text).strip()


def _kind(value: Any) -> type:
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)


def _echoed(text: str) -> Any:
    """What an echo says was asked of it, its headers left out; ``None`` for any other text."""
    if not text.startswith('{"method"'):
        return None
    read = json.loads(text)
    return read["method"], read["path"], read["query"]


def _together(one: Exchange | dict[str, Any]) -> tuple[str, str]:
    if isinstance(one, Exchange) and one.label.startswith("concurrent "):
        return "concurrent", " ".join(one.label.split()[:2])
    return "alone", ""


def exchanges_of(file: dict[str, Any]) -> Iterator[Exchange | dict[str, Any]]:
    """The exchanges of a file, and its notes between them as they are."""
    seen: Counter[str] = Counter()
    for one in file["exchanges"]:
        if "method" not in one:
            yield one
            continue
        seen[one["label"]] += 1
        yield Exchange(file["name"], one["label"], seen[one["label"]], one)


def replay(version: str, files: list[dict[str, Any]]) -> list[Outcome]:
    """Replays the recordings of one version, the earliest first."""
    timing = Timing(linger=0.0, nap=0.01, ping=0.1, hang=0.1)
    with FakeDify(version, timing=timing, slots=100) as dify:
        return Replay(dify, sorted(files, key=lambda one: str(one["recorded_at"]))).everything()
