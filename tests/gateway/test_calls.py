"""What the gateway records of runs: through a real worker, and piece by piece."""

import json
import re
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.db.store import open_runs
from lastgood.dsl.shapes import shape_of
from lastgood.gateway import recorder as recorder_module
from lastgood.gateway.call import LIMIT, Call
from lastgood.gateway.ending import Ending
from lastgood.gateway.observation import observe, user_agent
from lastgood.gateway.recorder import Recorder
from lastgood.gateway.tally import Tally
from lastgood.history import calls, keys
from lastgood.history.calls import OTHERS
from lastgood.settings import Settings, load
from support.shared import shared
from support.stores import Postgres, on_sqlite

from .conftest import route
from .scene import KEY, Scene, scene, worker
from .wire import SSE, Client, Fields, Line, Seen, chunk, reply, upstream

AUTH = ("Authorization", f"Bearer {KEY}")
JSON = ("Content-Type", "application/json")
SECRET = "planted-4111-1111-1111-1111"
FILE = {"type": "image", "transfer_method": "remote_url", "url": f"https://files.example/{SECRET}.png"}
SINCE = timedelta(hours=1)

Handler = Callable[[Seen, Line], None]


def finished(status: str = "succeeded", **outputs: Any) -> dict[str, Any]:
    return {"workflow_run_id": "r", "task_id": "t", "data": {"id": "r", "status": status, "outputs": outputs}}


def event(name: str, **more: Any) -> bytes:
    return b"data: " + json.dumps({"event": name, **more}).encode() + b"\n\n"


def answering(seen: Seen, line: Line) -> None:
    """An upstream that does what the request's `user` asks for."""
    body = json.loads(seen.body or b"{}")
    user = body.get("user")
    if body.get("response_mode") == "streaming":
        end = event("workflow_finished", **finished(said=SECRET, files=[FILE]))
        whole = event("workflow_started") + event("text_chunk", data={"text": SECRET * 50}) + end
        line.sock.sendall(SSE)
        for start in range(0, len(whole), 700):
            line.sock.sendall(chunk(whole[start : start + 700]))
            time.sleep(0.002)
        line.sock.sendall(b"0\r\n\r\n")
    elif user == "bad":
        line.sock.sendall(reply(400, b'{"code":"invalid_param"}', reason="Bad Request"))
    elif user == "ill":
        line.sock.sendall(reply(500, b"{}", reason="Internal Server Error"))
    elif user == "fails":
        line.sock.sendall(reply(200, json.dumps(finished("failed")).encode()))
    else:
        line.sock.sendall(reply(200, json.dumps(finished(total=42, note=SECRET)).encode()))


def run(client: Client, inputs: Any, *more: tuple[str, str], path: str = "/v1/workflows/run", **body: Any) -> Seen:
    fields: Fields = [AUTH, JSON, *more]
    return client.ask("POST", path, fields, json.dumps({"inputs": inputs, "user": "u", **body}).encode())


def recorded(settings: Settings, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What a function of `history.calls` reads now."""
    engine = open_runs(settings)
    try:
        with engine.connect() as connection:
            return function(connection, *arguments, **options)
    finally:
        engine.dispose()


def until_recorded(settings: Settings, workflow: str, count: int, seconds: float = 10.0) -> calls.Usage:
    """The usage once `count` requests are in it."""
    until = time.monotonic() + seconds
    while True:
        usage: calls.Usage = recorded(settings, calls.usage, workflow, since=datetime.now(UTC) - SINCE)
        if usage.requests >= count or time.monotonic() > until:
            return usage
        time.sleep(0.1)


@pytest.fixture
def play(settings: Settings) -> Iterator[Scene]:
    with scene(settings) as running:
        yield running


def test_counts_and_shapes_arrive_and_values_do_not(play: Scene) -> None:
    settings, flow = play.settings, play.workflow.id
    web, batch = ("User-Agent", "web/1.0"), ("User-Agent", "batch " + "x" * 200)
    with upstream(answering) as up, worker(settings, "--engine", up.url) as running, Client(running.port) as client:
        for _ in range(3):
            assert run(client, {"one": SECRET, "amount": 4111.5}, web).status == 200
        streamed = run(client, {"one": SECRET, "photo": FILE}, web, response_mode="streaming")
        assert (streamed.status, SECRET in streamed.body.decode()) == (200, True)
        assert run(client, {"one": 7}, web, user="bad").status == 400
        assert run(client, {"one": SECRET}, web, user="ill").status == 500
        assert run(client, {"one": SECRET}, web, user="fails").status == 200
        pinned = f"/v1/workflows/{play.versions[1]}/run"
        assert run(client, {"two": None}, batch, path=pinned).one("x-lastgood-version") == play.versions[1]
        assert client.ask("GET", "/v1/parameters", [AUTH]).status == 200  # no run, so not counted
        assert run(client, "not an object", batch).status == 200
        assert run(client, {"one": SECRET * 20_000}, batch).status == 200  # larger than what is looked at
        usage = until_recorded(settings, flow, 10)
        running.signal(signal.SIGTERM)
        assert running.ended() == 0
    assert (usage.requests, usage.errors, usage.refused, usage.unseen, usage.lost) == (10, 2, 1, 0, 0)
    assert usage.p50_ms is not None
    assert usage.max_ms is not None
    assert 0 < usage.p50_ms <= usage.max_ms < 60_000
    with play.store.read() as tx:
        (key,) = keys.listing(tx, play.workflow)
    since = datetime.now(UTC) - SINCE
    first, second = recorded(settings, calls.callers, flow, since=since, key_names={key["id"]: key["name"]})
    assert (first.key_id, first.key_name, first.user_agent) == (key["id"], "test", "web/1.0")
    assert (first.requests, first.errors, first.refused, first.pins_itself) == (7, 2, 1, False)
    assert first.versions == (play.versions[0],)
    assert (second.user_agent, second.requests) == ("batch " + "x" * 114, 3)
    assert (second.pins_itself, second.pinned) == (True, (play.versions[1],))
    seen = recorded(settings, calls.shapes, flow, 100)
    assert summed(seen, "inputs") == {
        '{"amount": "number", "one": "string"}': 3,
        '{"one": "string", "photo": "file"}': 1,
        '{"one": "number"}': 1,
        '{"one": "string"}': 2,
        '{"two": "null"}': 1,
        "null": 2,
    }
    assert summed(seen, "outputs") == {
        '{"note": "string", "total": "number"}': 6,
        '{"files": "array<file>", "said": "string"}': 1,
    }
    assert SECRET not in everything_kept(settings)
    assert KEY not in everything_kept(settings)


def summed(seen: list[calls.SeenShape], kind: str) -> dict[str, int]:
    """How many requests each shape had, over all callers."""
    total: Counter[str] = Counter()
    for one in seen:
        if one.kind == kind:
            total[json.dumps(one.shape, sort_keys=True)] += one.requests
    return dict(total)


def everything_kept(settings: Settings) -> str:
    """All the bytes that the stores hold, as text."""
    if not settings.database:
        files = [path for path in settings.home.iterdir() if path.is_file()]
        assert {"lastgood.db", "runs.db"} <= {path.name for path in files}
        return "\n".join(path.read_bytes().decode("latin-1") for path in files)
    with psycopg.connect(settings.database) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        return "\n".join(str(connection.execute(f'TABLE "{name}"'.encode()).fetchall()) for (name,) in tables)


def test_what_was_counted_last_is_kept_when_the_worker_ends(play: Scene) -> None:
    with upstream(answering) as up, worker(play.settings, "--engine", up.url) as running:
        with Client(running.port) as client:
            run(client, {"one": "x"})
        running.signal(signal.SIGTERM)
        assert running.ended() == 0
    usage = recorded(play.settings, calls.usage, play.workflow.id, since=datetime.now(UTC) - SINCE)
    assert usage.requests == 1


@on_sqlite
def test_a_worker_that_shall_not_record_does_not(play: Scene) -> None:
    options = ("--engine", "http://127.0.0.1:9")
    with worker(play.settings, *options, record_calls=False) as running, Client(running.port) as client:
        assert run(client, {"one": "x"}).status == 502
        running.signal(signal.SIGTERM)
        assert running.ended() == 0
    assert recorded(play.settings, calls.usage, play.workflow.id, since=datetime.now(UTC) - SINCE).requests == 0


@on_sqlite
def test_what_the_gateway_answers_itself_counts_too(play: Scene) -> None:
    with worker(play.settings, "--engine", "http://127.0.0.1:9") as running, Client(running.port) as client:
        assert run(client, {"one": "x"}).status == 502
        running.signal(signal.SIGTERM)
        assert running.ended() == 0
    usage = recorded(play.settings, calls.usage, play.workflow.id, since=datetime.now(UTC) - SINCE)
    assert (usage.requests, usage.errors, usage.error_rate) == (1, 1, 1.0)


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[Scene]:
    with scene(load(home=tmp_path)) as running:
        yield running


def test_a_store_that_is_no_database_harms_no_request(on_disk: Scene) -> None:
    (on_disk.settings.home / "runs.db").write_bytes(b"this is no database" * 1000)
    with upstream(answering) as up, worker(on_disk.settings, "--engine", up.url) as running:
        with Client(running.port) as client:
            for _ in range(20):
                assert run(client, {"one": "x"}).status == 200
                time.sleep(0.1)
            (on_disk.settings.home / "runs.db").unlink()
            usage = until_recorded(on_disk.settings, on_disk.workflow.id, 20)  # it was only waiting
            assert usage.requests == 20
        running.signal(signal.SIGTERM)
        assert running.ended() == 0


def test_a_store_that_is_locked_harms_no_request_and_gets_what_waited(on_disk: Scene) -> None:
    with (
        upstream(answering) as up,
        worker(on_disk.settings, "--engine", up.url) as running,
        Client(running.port) as client,
    ):
        assert run(client, {"one": "x"}).status == 200
        until_recorded(on_disk.settings, on_disk.workflow.id, 1)
        held = sqlite3.connect(on_disk.settings.home / "runs.db", isolation_level=None)
        held.execute("BEGIN IMMEDIATE")
        for _ in range(20):
            assert run(client, {"one": "x"}).status == 200
            time.sleep(0.1)
        held.close()
        assert until_recorded(on_disk.settings, on_disk.workflow.id, 21).requests == 21


def test_a_dead_postgresql_harms_no_request(postgres: Postgres, postgres_template: str, tmp_path: Path) -> None:
    with postgres.database(postgres_template) as url, scene(load(home=tmp_path, database=url)) as play:
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        with upstream(answering) as up, worker(play.settings, "--engine", up.url, on_store_loss="serve") as running:
            with Client(running.port) as client, psycopg.connect(postgres.url, autocommit=True) as admin:
                assert run(client, {"one": "x"}).status == 200
                until_recorded(play.settings, play.workflow.id, 1)
                admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
                for _ in range(20):
                    assert run(client, {"one": "x"}).status == 200
                    time.sleep(0.1)
                admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
                play.store.engine.dispose()
                assert until_recorded(play.settings, play.workflow.id, 21, 20).requests == 21
            running.signal(signal.SIGTERM)
            assert running.ended() == 0


# Piece by piece.

STREAM = (
    event("workflow_started", data={"error": None})
    + event("node_finished", data={"outputs": {"event": "workflow_finished", "data": {"status": "failed"}}})
    + event("workflow_finished", data={"status": "succeeded", "outputs": {"a": 1}})
    + b"event: ping\n\n"
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_the_ending_of_a_stream_is_found_however_it_is_cut(cuts: list[int]) -> None:
    ending, edges = Ending(LIMIT), [0, *sorted(cuts), len(STREAM)]
    for start, stop in pairwise(edges):
        ending.feed(STREAM[start:stop])
    assert set(ending.lines) == {b"workflow_finished"}
    assert json.loads(ending.lines[b"workflow_finished"][5:])["data"]["outputs"] == {"a": 1}
    assert not ending.missed


@pytest.mark.parametrize("size", [1, 7, 64, 4096])
def test_a_line_that_is_too_long_is_passed_over_and_told(size: int) -> None:
    stream = event("text_chunk", text="x" * 500) + event("message_end")
    ending = Ending(100)
    for start in range(0, len(stream), size):
        ending.feed(stream[start : start + size])
    assert set(ending.lines) == {b"message_end"}
    assert ending.missed is (size < 500)  # a line that came whole was looked through
    late = Ending(100)
    late.feed(event("workflow_finished", text="x" * 500))
    assert (late.lines, late.missed) == ({}, True)


WORKFLOW, CHAT = {"mode": "workflow"}, {"mode": "advanced-chat"}
OK_BODY = json.dumps(finished(total=42)).encode()
FINISHED = event("workflow_finished", **finished(total=42))
OBSERVED: list[tuple[dict[str, Any], int, bytes, bool, tuple[str, str]]] = [
    (WORKFLOW, 200, OK_BODY, False, ("ok", '{"total":"number"}')),
    (WORKFLOW, 200, json.dumps(finished("partial-succeeded", a="x")).encode(), False, ("ok", '{"a":"string"}')),
    (WORKFLOW, 200, b'{"data":{"status":"succeeded","outputs":null}}', False, ("ok", "{}")),
    (WORKFLOW, 200, json.dumps(finished("failed")).encode(), False, ("error", "")),
    (WORKFLOW, 200, json.dumps(finished("stopped")).encode(), False, ("ok", "")),
    (WORKFLOW, 200, json.dumps(finished("paused")).encode(), False, ("ok", "")),
    (WORKFLOW, 200, json.dumps(finished("from the future")).encode(), False, ("unseen", "null")),
    (WORKFLOW, 200, b"not json", False, ("unseen", "null")),
    (WORKFLOW, 200, b"[1]", False, ("unseen", "null")),
    (WORKFLOW, 200, b'{"data":[]}', False, ("unseen", "null")),
    (WORKFLOW, 200, b'{"x":"' + b"x" * LIMIT + b'"}', False, ("unseen", "null")),
    (WORKFLOW, 204, b"", False, ("unseen", "")),
    (WORKFLOW, 302, b"", False, ("unseen", "")),
    (WORKFLOW, 400, OK_BODY, False, ("refused", "")),
    (WORKFLOW, 429, b"", False, ("refused", "")),
    (WORKFLOW, 502, b"", False, ("error", "")),
    (WORKFLOW, 0, b"", False, ("unseen", "")),
    (CHAT, 200, b'{"event":"message","answer":"hello"}', False, ("ok", '{"answer":"string"}')),
    (CHAT, 200, b"{}", False, ("unseen", "null")),
    (WORKFLOW, 200, FINISHED, True, ("ok", '{"total":"number"}')),
    (WORKFLOW, 200, FINISHED.rstrip(), True, ("ok", '{"total":"number"}')),
    (CHAT, 200, FINISHED + event("message_end"), True, ("ok", '{"answer":"string"}')),
    (CHAT, 200, event("message", answer="x") + event("message_end"), True, ("ok", '{"answer":"string"}')),
    (WORKFLOW, 200, event("workflow_finished", **finished("failed")), True, ("error", "")),
    (CHAT, 200, event("workflow_finished", **finished("failed")), True, ("error", "")),
    (CHAT, 200, event("workflow_finished", **finished("odd")), True, ("unseen", "null")),
    (CHAT, 200, event("error", code="x"), True, ("error", "")),
    (WORKFLOW, 200, event("ping"), True, ("unseen", "")),
    (WORKFLOW, 200, event("node_finished", data={"event": "error"}), True, ("unseen", "")),
    (WORKFLOW, 200, b'{"event":"workflow_finished"}\n', True, ("unseen", "")),
    (WORKFLOW, 200, event("workflow_finished", x="x" * LIMIT), True, ("unseen", "null")),
]


def call(
    status: int = 200,
    answer: bytes = OK_BODY,
    *,
    streamed: bool = False,
    body: bytes = b'{"inputs":{}}',
    fields: tuple[tuple[bytes, bytes], ...] = (),
    **changes: Any,
) -> Call:
    """A call that is over."""
    made = Call(route(**changes), fields, body)
    made.status = status
    made.answered([(b"content-type", b"text/event-stream; charset=utf-8" if streamed else b"application/json")])
    for start in range(0, len(answer), 50_000):
        made.heard(answer[start : start + 50_000])
    made.heard(b"")
    made.whole = True
    made.ended = made.began + 0.25
    return made


@pytest.mark.parametrize(("changes", "status", "answer", "streamed", "told"), OBSERVED)
def test_how_a_call_ended_and_what_came_of_it(
    changes: dict[str, Any], status: int, answer: bytes, streamed: bool, told: tuple[str, str]
) -> None:
    seen = observe(call(status, answer, streamed=streamed, **changes))
    assert (seen.outcome, seen.outputs) == told
    assert seen.ms == pytest.approx(250)


def test_runs_on_dify_servers_as_they_were_recorded() -> None:
    seen: Counter[tuple[str, bool, str]] = Counter()
    for path in sorted(shared("dify-recordings").glob("*/*.json")):
        for exchange in json.loads(path.read_text())["exchanges"]:
            target, status = exchange.get("path", ""), exchange.get("status")
            chat = target == "/v1/chat-messages"
            if exchange.get("method") != "POST" or not (chat or re.fullmatch(r"/v1/workflows/([^/]+/)?run", target)):
                continue
            if not isinstance(status, int):
                continue
            text = exchange.get("response_text") or json.dumps(exchange.get("response_json"))
            streamed = bool(exchange.get("sse_lines_ms"))
            mode = "advanced-chat" if chat else "workflow"
            body = json.dumps(exchange.get("request_json")).encode()
            told = observe(call(status, text.encode(), streamed=streamed, body=body, mode=mode))
            finished = [json.loads(line[5:]) for line in text.split("\n") if '"event":"workflow_finished"' in line]
            ends = finished[-1]["data"] if finished else exchange.get("response_json") or {}
            ends = ends if finished or chat else ends.get("data") or {}
            if status == 200 and ends.get("status") == "succeeded":
                wanted = shape_of({"answer": "…"} if chat else ends["outputs"])
                assert (told.outcome, json.loads(told.outputs)) == ("ok", wanted), f"{path.name}: {exchange['label']}"
            seen[mode, streamed, told.outcome] += 1
    for kind in (("workflow", False), ("workflow", True), ("advanced-chat", False), ("advanced-chat", True)):
        assert seen[*kind, "ok"] >= 5
    assert sum(count for (*_, outcome), count in seen.items() if outcome == "error") >= 10
    assert sum(count for (*_, outcome), count in seen.items() if outcome == "unseen") <= 2  # nothing came but pings


def test_an_answer_that_broke_off_is_an_error_and_one_that_the_client_left_is_not_known() -> None:
    broken, left = call(answer=OK_BODY[:20]), call(answer=OK_BODY[:20])
    broken.broken, broken.whole, left.whole = True, False, False
    assert (observe(broken).outcome, observe(left).outcome) == ("error", "unseen")


@pytest.mark.parametrize(
    ("body", "mode", "shape"),
    [
        (b'{"inputs":{"b":1,"a":"x"}}', "workflow", '{"a":"string","b":"number"}'),
        (b'{"inputs":{},"query":"hi","files":[]}', "advanced-chat", '{"sys.query":"string"}'),
        (b"{", "workflow", "null"),
        (b"", "workflow", "null"),
        (b"\xff", "workflow", "null"),
        (b'{"inputs":' + b"[" * 2000 + b"]" * 2000 + b"}", "workflow", "null"),
        (b'{"inputs":{"a":"' + b"x" * LIMIT + b'"}}', "workflow", "null"),
    ],
)
def test_the_shape_of_what_was_sent(body: bytes, mode: str, shape: str) -> None:
    assert observe(call(body=body, mode=mode)).inputs == shape


def test_who_called() -> None:
    one = call(fields=((b"accept", b"*/*"), (b"user-agent", b"web/1\x00\x1b[2J\xe9" + b"y" * 500)))
    seen = observe(one)
    assert seen.user_agent == "web/1[2Jé" + "y" * 111
    assert (seen.key_id, seen.workflow_id, seen.version_id, seen.pins) == (
        "key-12345678",
        "wf-abc123",
        "v-20261123-01",
        False,
    )
    assert user_agent([]) == ""


def test_a_version_that_the_client_names_counts_where_it_is_one() -> None:
    ran, refused = call(), call(404)
    ran.own = refused.own = "v-other"
    assert (observe(ran).version_id, observe(ran).pins) == ("v-other", True)
    assert (observe(refused).version_id, observe(refused).pins) == ("", True)


class Books:
    """Books in memory, which can be told to fail or to stall."""

    def __init__(self) -> None:
        self.pages: list[Tally] = []
        self.failing = False
        self.stalled = threading.Event()
        self.stalled.set()
        self.tried = 0

    def write(self, tally: Tally) -> None:
        self.tried += 1
        self.stalled.wait(10)
        if self.failing:
            raise OSError("no space left")
        self.pages.append(tally)

    def tidy(self, now: float) -> None:
        raise OSError("cannot be tidied")  # which must not count twice what is written

    def close(self) -> None:
        pass

    def total(self, name: str) -> int:
        return sum(getattr(rate, name) for page in self.pages for rate in page.rates.values())


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
def recorder(books: Books, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    monkeypatch.setattr(recorder_module, "_WAKE_SECONDS", 0.01)
    monkeypatch.setattr(recorder_module, "_FLUSH_SECONDS", 0.02)
    made = Recorder(lambda: books)
    yield made
    made.close()


def test_what_comes_in_is_kept_once(recorder: Recorder, books: Books) -> None:
    recorder.start()
    for n in range(500):
        recorder.add(call())
        if n % 100 == 0:
            time.sleep(0.03)
    recorder.close()
    assert books.total("requests") == 500
    assert len(books.pages) > 1


def test_what_cannot_be_kept_now_is_kept_later(recorder: Recorder, books: Books) -> None:
    books.failing = True
    recorder.start()
    for _ in range(100):
        recorder.add(call())
    while books.tried < 3:
        time.sleep(0.01)
    books.failing = False
    recorder.close()
    assert (books.total("requests"), len(books.pages)) == (100, 1)


def test_a_queue_that_is_full_drops_and_counts(
    recorder: Recorder, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "_MOST_CALLS", 50)
    for _ in range(80):  # nobody takes them out yet
        recorder.add(call())
    recorder.start()
    recorder.close()
    assert (books.total("requests"), books.total("lost")) == (50, 30)


def test_a_queue_keeps_within_its_bytes_and_has_room_again_when_they_are_read(
    recorder: Recorder, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "_MOST_BYTES", 1_000_000)
    big = b'{"inputs":{"a":"' + b"x" * 200_000 + b'"}}'
    for _ in range(10):
        recorder.add(call(body=big))
    recorder.start()
    while books.total("requests") < 4:
        time.sleep(0.01)
    recorder.add(call(body=big))
    recorder.close()
    assert (books.total("requests"), books.total("lost")) == (5, 6)


def test_a_stalled_store_holds_up_neither_requests_nor_the_end(
    recorder: Recorder, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "_CLOSE_SECONDS", 0.1)
    books.stalled.clear()
    recorder.start()
    for _ in range(10):
        recorder.add(call())
    recorder.close()
    assert books.pages == []
    books.stalled.set()


def test_a_call_that_cannot_be_read_is_lost_and_counted(
    recorder: Recorder, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Call) -> None:
        raise ValueError("odd")

    monkeypatch.setattr(recorder_module, "observe", fail)
    recorder.start()
    recorder.add(call())
    recorder.close()
    assert (books.total("requests"), books.total("lost")) == (0, 1)


def test_a_tally_stays_within_bounds_whatever_clients_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lastgood.gateway.tally._MOST_ROWS", 20)
    tally = Tally()
    for n in range(200):
        fields = ((b"user-agent", b"random %d" % n),)
        tally.add(observe(call(fields=fields, body=b'{"inputs":{"k%d":1}}' % n)), 60.0 * n)
    assert len(tally.rates) <= 40
    assert len(tally.shapes) <= 22
    assert {key.user_agent for key in tally.rates} > {OTHERS}
