"""Servers, proxies and networks that misbehave: one of our errors, and nothing lost or told."""

import gzip
import logging
import socket
import ssl
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from dify_server import Answer, FakeDify, Request
from dify_server.world import ADMIN_KEY, EMAIL, PASSWORD
from lastgood.errors import (
    DifyBusy,
    DifyElsewhere,
    DifyError,
    DifyFailed,
    DifyRefused,
    DifyTimeout,
    DifyUnreachable,
    DifyUnreadable,
    InvalidSetting,
)
from lastgood.targets.dify import Client, Clock, Limits, Password, connect
from lastgood.targets.dify.wire import address
from support.certificates import self_signed

from .conftest import QUICK, Connect, admin

HTML = b"<html><head><title>502 Bad Gateway</title></head></html>"
PROFILE = "/console/api/account/profile"


def only(path: str, *answers: Answer, then: Answer | None = None) -> Any:
    """A hook that gives `answers` one after another for paths that end so, and `then` afterwards."""
    left = list(answers)

    def hook(request: Request) -> Answer | None:
        if not request.path.endswith(path):
            return None
        return left.pop(0) if left else then

    return hook


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def drip(head: bytes, slowly: bytes, pause: float) -> Iterator[str]:
    """A server that answers each connection with `head` at once and then `slowly` byte by byte."""
    ended = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)

    def serve() -> None:
        while not ended.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection:
                connection.recv(65536)
                try:
                    connection.sendall(head)
                    for byte in slowly:
                        if ended.wait(pause):
                            return
                        connection.sendall(bytes([byte]))
                except OSError:
                    pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        ended.set()
        thread.join()
        listener.close()


def test_a_dead_server(client_of: Connect, waits: list[float]) -> None:
    client = client_of(f"http://127.0.0.1:{free_port()}", Password(EMAIL, PASSWORD))
    with pytest.raises(DifyUnreachable, match="refused") as told:
        client.console.account()
    assert told.value.data["done"] == "no"
    key = client_of(f"http://127.0.0.1:{free_port()}").service("app-x")
    with pytest.raises(DifyUnreachable):
        key.info()
    assert waits == [0.5, 1.0]  # sign-in is not tried again, a read is


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_server_that_drips(client_of: Connect, part: str) -> None:
    """Each byte comes soon enough for a timeout of reads; the answer as a whole does not."""
    body = b'{"name": "app", "mode": "workflow"}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    first, slowly = (b"", head[:40] + head[40:] + body) if part == "head" else (head, body)
    with drip(first, slowly, 0.06) as url:
        limits = Limits(whole_seconds=0.4, per_second=1000)
        with pytest.raises(DifyTimeout) as told:
            client_of(url, limits=limits).service("app-x").info()
    assert told.value.data["done"] == "no"


def test_a_proxys_error_page_is_tried_again_only_for_what_changes_nothing(
    dify: FakeDify, client_of: Connect, waits: list[float]
) -> None:
    app = dify.world.add_app("a")
    client = client_of(dify)
    dify.hook = only("/profile", Answer(502, HTML), Answer(504, HTML))
    assert client.console.account().email == EMAIL
    assert waits == [0.5, 1.0]
    dify.hook = only("/publish", Answer(502, HTML))
    with pytest.raises(DifyFailed, match="not known") as told:
        client.console.publish(app.id)
    assert told.value.data["done"] == "unknown"
    assert dify.asked(f"/console/api/apps/{app.id}/workflows/publish") == 1
    assert "<html>" not in str(told.value)


def test_an_error_page_for_ever_is_given_up(older: FakeDify, client_of: Connect) -> None:
    older.hook = only("/profile", then=Answer(502, HTML))
    with pytest.raises(DifyFailed, match="HTTP 502"):
        client_of(older).console.account()
    assert older.asked(PROFILE) == 3


def test_credentials_do_not_follow_to_another_host(client_of: Connect) -> None:
    with FakeDify() as dify, FakeDify() as other:
        secret = "user:s3cret@"
        for status in (301, 302, 303, 307, 308):
            target = other.url.replace("http://", f"http://{secret}") + "/console/api/account/profile?token=s3cret"
            dify.hook = only("/profile", then=Answer(status, b"", [("Location", target)]))
            with pytest.raises(DifyElsewhere) as told:
                client_of(dify, admin(dify)).console.account()
            assert other.url in str(told.value)
            assert "s3cret" not in str(told.value)
        dify.hook = only("/login", then=Answer(307, b"", [("Location", f"{other.url}/console/api/login")]))
        with pytest.raises(DifyElsewhere):
            client_of(dify).console.account()
        assert other.requests == []


def test_cookies_of_the_server_are_not_kept_for_others(older: FakeDify, client_of: Connect) -> None:
    older.hook = only("/profile", Answer(503, HTML, [("Set-Cookie", "lb=1; Path=/"), ("Retry-After", "1")]))
    client_of(older, admin(older)).console.account()
    assert all("lb=1" not in request.headers.get("cookie", "") for request in older.requests)


def test_a_retry_after_is_kept_to(dify: FakeDify, client_of: Connect, waits: list[float]) -> None:
    app = dify.world.add_app("a")
    client = client_of(dify)
    busy = Answer(429, {"code": "too_many", "message": "Slow down."}, [("Retry-After", "7")])
    dify.hook = only("/publish", busy)
    client.console.publish(app.id)  # 429 was not done, so even a write is sent again
    assert waits == [7.0]
    assert len(app.versions) == 1


def test_a_retry_after_by_date_is_held_against_the_servers_own_clock(
    older: FakeDify, client_of: Connect, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = [("Retry-After", "Tue, 01 Jan 2030 00:00:12 GMT"), ("Date", "Tue, 01 Jan 2030 00:00:00 GMT")]
    older.hook = only("/profile", Answer(429, {}, headers))
    client = client_of(older)
    seen = client.wire.send

    def one_date(call: Any, given: Any = None) -> Any:
        reply = seen(call, given)
        if reply.status == 429:
            reply.headers["Date"] = headers[1][1]
        return reply

    # http.server sends a Date of its own, so the other clock is put into the answer here.
    monkeypatch.setattr(client.wire, "send", one_date)
    client.console.account()
    assert waits == [12.0]


@pytest.mark.parametrize("asked", ["3600", "86400"])
def test_a_long_wait_is_told_at_once(older: FakeDify, client_of: Connect, waits: list[float], asked: str) -> None:
    older.hook = only("/profile", then=Answer(429, {"message": "later"}, [("Retry-After", asked)]))
    with pytest.raises(DifyBusy, match=f"{int(asked)} s") as told:
        client_of(older).console.account()
    assert (told.value.data["retry_after"], waits) == (float(asked), [])


@pytest.mark.parametrize("asked", ["-5", "soon", "", "1e9", "Tue, 99 Jan 2030"])
def test_a_retry_after_that_makes_no_sense(
    older: FakeDify, client_of: Connect, waits: list[float], asked: str
) -> None:
    older.hook = only("/profile", Answer(429, {}, [("Retry-After", asked)]))
    client_of(older).console.account()
    assert waits == [0.5]


@pytest.mark.parametrize("packed", [False, True])
def test_a_huge_answer(older: FakeDify, client_of: Connect, packed: bool) -> None:
    body = b'{"id": "' + b"x" * 3_000_000 + b'"}'
    headers = [("Content-Encoding", "gzip")] if packed else []
    older.hook = only("/profile", then=Answer(200, gzip.compress(body) if packed else body, headers))
    limits = Limits(most_bytes=1_000_000, per_second=1000)
    with pytest.raises(DifyUnreadable, match="larger than 1000000"):
        client_of(older, limits=limits).console.account()
    older.hook = only("/profile", then=Answer(200, b"not gzip", [("Content-Encoding", "gzip")]))
    with pytest.raises(DifyUnreadable, match="unpacked"):
        client_of(older).console.account()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the account is missing"),
        (b"<html>signed out</html>", "not JSON but text/html"),
        (b'{"id": ', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ([], "the kind list, not an object"),
        ({"name": "n"}, "id of the account is missing"),
        ({"id": 7}, "id of the account is of the kind int"),
        ("a token perhaps: s3cret", "the kind str"),
    ],
)
def test_an_answer_that_is_not_dify_s(older: FakeDify, client_of: Connect, body: Any, said: str) -> None:
    older.hook = only("/profile", then=Answer(200, body))
    with pytest.raises(DifyUnreadable, match=said) as told:
        client_of(older).console.account()
    assert "s3cret" not in str(told.value)


def test_a_broken_write_may_have_been_done(older: FakeDify, client_of: Connect) -> None:
    app = older.world.add_app("a")
    older.hook = only("/publish", then=Answer(200, b"<html>ok</html>"))
    with pytest.raises(DifyUnreadable, match="not known"):
        client_of(older).console.publish(app.id)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, {"message": "No such thing."}, "No such thing"),
        (400, {"error": {"type": "validation_error", "message": "Bad.", "status": 400}}, "Bad"),
        (400, {"error": "unsupported_client"}, "unsupported_client"),
        (422, {"result": "fail", "message": "Nope"}, "Nope"),
        (418, b"<html><script>s3cret</script></html>", "HTTP 418"),
        (400, {"message": {"nested": "s3cret"}}, "HTTP 400"),
        (400, {"message": "x" * 5000}, "x{300}…"),
        (400, {"message": "bad\n[type=missing, input_value={'key': 's3cret'}, input_type=dict]"}, "bad"),
    ],
)
def test_every_shape_of_an_error_is_a_sentence(
    older: FakeDify, client_of: Connect, status: int, body: Any, said: str
) -> None:
    older.hook = only("/profile", then=Answer(status, body))
    with pytest.raises(DifyRefused, match=said) as told:
        client_of(older).console.account()
    assert "s3cret" not in str(told.value) + str(told.value.data)
    assert "\n" not in str(told.value)


def test_a_secret_that_dify_quotes_back_is_not_told(older: FakeDify, client_of: Connect) -> None:
    app = older.world.add_app("a")
    secret = {"id": "e", "name": "K", "value_type": "secret", "value": "s3cret-value"}
    older.hook = only("/draft", then=Answer(400, {"code": "s3cret-value", "message": "cannot store s3cret-value"}))
    with pytest.raises(DifyRefused) as told:
        client_of(older).console.sync_draft(
            app.id, graph={}, features={}, hash="h", environment_variables=[secret], conversation_variables=[]
        )
    assert "s3cret-value" not in str(told.value) + repr(told.value.data)


def test_nothing_secret_is_logged_or_in_a_traceback(older: FakeDify, caplog: pytest.LogCaptureFixture) -> None:
    texts: list[str] = []
    with caplog.at_level(logging.DEBUG), connect(older.url, Password(EMAIL, PASSWORD), QUICK) as client:
        client.console.account()
        older.world.access.clear()
        client.console.account()
        for answer in (Answer(500, {"message": PASSWORD}), Answer(200, b"<html>"), Answer(302, b"")):
            older.hook = only("/profile", then=answer)
            with pytest.raises(DifyError) as told:
                client.console.account()
            texts.append("".join(traceback.format_exception(told.value)))
    everything = "\n".join(texts) + caplog.text
    assert caplog.text  # httpcore did log
    secrets = {*older.world.access, *older.world.refresh, *older.world.csrf, PASSWORD}
    assert not [secret for secret in secrets if secret in everything]


def test_proxies_of_the_environment_are_not_asked(
    older: FakeDify, client_of: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert client_of(older).console.account().email == EMAIL


def test_no_more_calls_at_once_than_allowed(older: FakeDify, client_of: Connect) -> None:
    at_once, most, lock = 0, 0, threading.Lock()
    full = threading.Event()

    def hook(request: Request) -> Answer | None:
        nonlocal at_once, most
        if not request.path.endswith("/profile"):
            return None
        with lock:
            at_once += 1
            most = max(most, at_once)
            if at_once == 2:
                full.set()
        full.wait(5)
        with lock:
            at_once -= 1
        return Answer(200, {"id": "i"})

    older.hook = hook
    client = client_of(older, limits=Limits(concurrency=2, per_second=100_000))
    threads = [threading.Thread(target=client.console.account) for _ in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (most, older.asked(PROFILE)) == (2, 9)


def test_calls_keep_their_distance(older: FakeDify) -> None:
    waits: list[float] = []
    limits = Limits(per_second=4)
    clock = Clock(now=lambda: 100.0, sleep=waits.append)
    with connect(older.url, admin(older), limits, clock=clock) as client:
        for _ in range(4):
            client.console.account()
    assert waits == [0.25, 0.5, 0.75]


# TLS


def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    pem = self_signed(tmp_path / "both.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with FakeDify(tls=context) as dify:
        url = dify.url.replace("http://127.0.0.1", "https://localhost")
        refused = pytest.raises(DifyUnreachable, match="certificate is not accepted: self-signed")
        with connect(url, Password(EMAIL, PASSWORD), QUICK) as client, refused:
            client.console.account()
        with connect(url, Password(EMAIL, PASSWORD), QUICK, ca_file=str(pem)) as client:
            assert client.console.account().email == EMAIL
        elsewhere = url.replace("localhost", "127.0.0.1")
        refused = pytest.raises(DifyUnreachable, match="certificate is not accepted")
        with connect(elsewhere, Password(EMAIL, PASSWORD), QUICK, ca_file=str(pem)) as client, refused:
            client.console.account()
    assert {one.headers["host"].split(":")[0] for one in dify.requests} == {"localhost"}


def test_https_asked_of_a_server_without(older: FakeDify) -> None:
    refused = pytest.raises(DifyUnreachable, match="TLS failed")
    with connect(older.url.replace("http:", "https:"), admin(older), QUICK) as client, refused:
        client.console.account()


# streams


def chat(dify: FakeDify, client: Client, *lines: str) -> Any:
    app = dify.world.add_app("c", mode="advanced-chat")
    app.keys.append({"id": "k", "token": f"app-{uuid4()}"})
    dify.hook = only("/chat-messages", then=Answer(200, None, [], lines))
    return client.service(app.keys[0]["token"]).chat("q", "u", idle_seconds=20)


def test_a_stream_of_pings_alone_is_dead(older: FakeDify) -> None:
    moments = iter(range(0, 100_000, 10))
    clock = Clock(now=lambda: float(next(moments)), sleep=lambda seconds: None)
    dead = pytest.raises(DifyTimeout, match="may go on")
    with connect(older.url, admin(older), QUICK, clock=clock) as client, dead:
        chat(older, client, *["event: ping\n\n"] * 50)


def test_a_stream_that_falls_silent_is_dead(client_of: Connect) -> None:
    """1.13.0 does so for inputs that do not fit: one ping, then nothing for five minutes."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\nevent: ping\n\n"
    with drip(head, b"..", 1.0) as url, pytest.raises(DifyTimeout):
        client_of(url, Password(EMAIL, PASSWORD)).service("app-x").chat("q", "u", idle_seconds=0.3)


def test_a_stream_s_error_is_its_end(older: FakeDify, client_of: Connect) -> None:
    event = 'data: {"event": "error", "message": "must is required", "status": 500}\n\n'
    with pytest.raises(DifyFailed, match="must is required"):
        chat(older, client_of(older), "event: ping\n\n", event)


@pytest.mark.parametrize("lines", [("event: ping\n\n",), ('data: {"event": "message", "answer": "half"}\n\n',)])
def test_a_stream_that_breaks_off_is_no_answer(older: FakeDify, client_of: Connect, lines: tuple[str, ...]) -> None:
    with pytest.raises(DifyUnreadable, match="ended before"):
        chat(older, client_of(older), *lines)


def test_a_stream_of_something_else(older: FakeDify, client_of: Connect) -> None:
    with pytest.raises(DifyUnreadable, match="not JSON"):
        chat(older, client_of(older), "data: {nonsense\n\n")


# addresses


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://dify.example", "https://dify.example"),
        (" https://dify.example/ ", "https://dify.example"),
        ("https://dify.example/console/api", "https://dify.example"),
        ("https://dify.example/v1/", "https://dify.example"),
        ("https://dify.example/apps", "https://dify.example"),
        ("http://10.0.0.1:5001/dify", "http://10.0.0.1:5001/dify"),
        ("http://[::1]:5001", "http://[::1]:5001"),
        ("https://dify.example/?token=s3cret#x", "https://dify.example"),
    ],
)
def test_addresses(given: str, expected: str) -> None:
    assert address(given) == expected


@pytest.mark.parametrize(
    "given",
    [
        "",
        "dify.example",
        "ftp://dify.example",
        "https://",
        "https://u:s3cret@dify.example",
        "http://[::1",
        "file:///x",
    ],
)
def test_what_is_no_address(given: str) -> None:
    with pytest.raises(InvalidSetting) as told:
        address(given)
    assert "s3cret" not in str(told.value)


def test_a_service_elsewhere_gets_the_key_of_its_app_alone(client_of: Connect) -> None:
    with FakeDify() as dify, FakeDify() as api:
        app = api.world.add_app("a")
        app.keys.append({"id": "k", "token": "app-1"})
        service = client_of(dify, admin(dify)).service("app-1", f"{api.url}/v1")
        assert service.info().name == "a"
        assert {one.headers["authorization"] for one in api.requests} == {"Bearer app-1"}
        assert ADMIN_KEY not in str([one.headers for one in api.requests])
