"""The http listener and the alert webhook: what they send, when they try again, and what they never do."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from lastgood.catalogue import Listener
from lastgood.release import listeners
from lastgood.release.listeners import alerts, http
from lastgood.release.means import Told
from release.listeners.conftest import Receiver
from release.notices import NOTICE, OLD, notice

SECRET = "lg_" + "q8Zr" * 8


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_PAUSE", 0.01)


def tell(url: str, **more: Any) -> Told:
    told = more.pop("notice", NOTICE)
    return listeners.tell("hook", Listener(kind="http", url=url, **more), told, secrets=[SECRET])


@pytest.mark.parametrize("status", [200, 201, 204])
def test_a_move_is_posted_with_its_key(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status]
    told = tell(receiver.url + "/moves/{version}?in={workflow}")
    assert (told.outcome, told.detail) == ("acknowledged", f"{receiver.url[7:]} answered {status}")
    assert receiver.asked == [(f"/moves/{OLD}?in=prod-invoice", NOTICE.key, NOTICE.as_data())]


@pytest.mark.parametrize(
    ("statuses", "outcome", "said", "times"),
    [
        ([500, 503, 200], "acknowledged", "answered 200", 3),
        ([500], "failed", "answered 500, 3 times", 3),
        ([404], "failed", "answered 404: no such thing", 1),
        ([429], "failed", "answered 429: no such thing", 1),
        ([302, 200], "failed", "answered 302; redirects are not followed", 1),
        ([307, 200], "failed", "answered 307; redirects are not followed", 1),
    ],
)
def test_only_what_may_pass_is_tried_again(
    receiver: Receiver, statuses: list[int], outcome: str, said: str, times: int
) -> None:
    receiver.statuses, receiver.body = statuses, b"no such\n thing"
    told = tell(receiver.url)
    assert (told.outcome, told.detail) == (outcome, f"{receiver.url[7:]} {said}")
    assert [(path, key) for path, key, _ in receiver.asked] == [("/", NOTICE.key)] * times


def test_a_refusal_is_quoted_shortly_and_without_secrets(receiver: Receiver) -> None:
    receiver.statuses, receiver.body = [400], f"bad token {SECRET} and password=hunter2 {'x' * 9000}".encode()
    told = tell(receiver.url)
    assert "bad token ******************** and password=(hidden)" in told.detail
    assert len(told.detail) < 260


def test_nobody_there_is_tried_three_times() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told = tell(f"http://127.0.0.1:{port}/")
    assert (told.outcome, told.detail) == ("failed", f"127.0.0.1:{port} was not reached (ConnectError), 3 times")


def test_an_answer_that_does_not_come_has_timed_out(receiver: Receiver) -> None:
    receiver.statuses = [0]
    told = tell(receiver.url, timeout=0.3)
    assert (told.outcome, told.detail) == ("timed out", f"{receiver.url[7:]} gave no answer in time")


@pytest.fixture
def dripping() -> Iterator[str]:
    """A server whose answer comes byte by byte and never ends."""
    over = threading.Event()

    def drip(server: socket.socket) -> None:
        with suppress(OSError):
            client, _ = server.accept()
            with client:
                client.sendall(b"HTTP/1.1 200 OK\r\nx: ")
                while not over.wait(0.02):
                    client.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,), daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        over.set()
        thread.join(5)


def test_an_answer_that_comes_byte_by_byte_has_timed_out(dripping: str) -> None:
    told = tell(f"http://{dripping}/", timeout=0.4)
    assert (told.outcome, told.detail) == ("timed out", f"{dripping} gave no answer in time")


@pytest.mark.parametrize(
    "url", ["ftp://x.example/", "file:///etc/passwd", "x.example", "http://", "http://x:port/", "-"]
)
def test_what_is_no_web_address_is_not_called(url: str) -> None:
    told = tell(url)
    assert (told.outcome, told.detail) == (
        "failed",
        "its url is not an http:// or https:// address; see lastgood.toml",
    )


def test_the_address_is_quoted_nowhere_beyond_its_host() -> None:
    for url in (f"http://127.0.0.1:9/{SECRET}?token=abc", f"http://bob:{SECRET}@127.0.0.1:9/"):
        detail = tell(url).detail
        assert "127.0.0.1:9 was not reached" in detail and "q8Zr" not in detail and "abc" not in detail


@pytest.mark.parametrize(
    ("kind", "direction", "text"),
    [
        ("rollback", "forward", f"Rollback executed to {OLD}"),
        ("publish", "forward", f"Publish executed to {OLD}"),
        ("rollback", "undo", f"Rollback undone, back to {OLD}"),
        ("publish", "undo", f"Publish undone, back to {OLD}"),
    ],
)
def test_an_alert_says_what_was_done(receiver: Receiver, kind: str, direction: str, text: str) -> None:
    told = listeners.alert(receiver.url + "/T0/B0", notice(kind=kind, direction=direction))
    assert (told.name, told.outcome, told.required) == ("alert", "acknowledged", False)
    assert receiver.asked == [("/T0/B0", NOTICE.key, {"text": text, "content": text})]


def test_an_alert_that_fails_never_counts(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver.statuses = [500]
    for url in (receiver.url, "no address", "http://127.0.0.1:9/services/T000/B000"):
        told = listeners.alert(url, NOTICE)
        assert (told.outcome, told.good) == ("failed", True) and "B000" not in told.detail
    monkeypatch.setattr(alerts, "_SECONDS", 0.2)
    receiver.statuses = [0]
    assert listeners.alert(receiver.url, NOTICE).outcome == "timed out"
    monkeypatch.setattr(http, "post", lambda *_: 1 / 0)
    assert listeners.alert(receiver.url, NOTICE).detail == "the alert could not be sent (ZeroDivisionError)"
    assert listeners.alert("", NOTICE).outcome == "skipped"
