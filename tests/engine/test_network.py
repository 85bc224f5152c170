"""Where http-request nodes may not go, whatever way the address is written or reached."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lastgood.targets.engine.cancel import Cancel
from lastgood.targets.engine.network import anywhere, client, public_only, refused
from lastgood.targets.engine.web import MAX_RESPONSE, Web, WebRefused


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.9.1", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "192.0.0.192", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254",
        "ff02::1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::", "2001:db8::1", "::127.0.0.1",
    ],
)  # fmt: skip
def test_addresses_of_the_inside_are_refused(address: str) -> None:
    assert refused(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "172.32.0.1", "192.169.0.1", "2606:4700::1111", "::ffff:8.8.8.8"]
)
def test_addresses_of_the_world_are_not(address: str) -> None:
    assert not refused(address)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "LOCALHOST", "localhost.", "[::1]", "0.0.0.0", "2130706433", "0x7f000001",
        "0177.0.0.1", "127.1", "0", "127.0.0.1.", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "１２７.0.0.1",
        "ⓛocalhost",
    ],
)  # fmt: skip
def test_no_spelling_of_loopback_gets_through(host: str, echo: str) -> None:
    """Either the address is refused or the host does not exist; the service on it is never reached."""
    web = Web(public_only, Cancel(10))
    with pytest.raises(WebRefused) as refusal:
        web.get(f"http://{host}:{echo.rpartition(':')[2]}/secret")
    assert (
        "may not reach" in str(refusal.value) or "not found" in str(refusal.value) or "Invalid" in str(refusal.value)
    )


def test_the_refusal_says_what_to_do(echo: str) -> None:
    with pytest.raises(WebRefused, match=r"localhost is .*LASTGOOD_HTTP_ALLOW_PRIVATE=true"):
        Web(public_only, Cancel(10)).get("http://localhost/")


def _outside_first(host: str, port: int) -> tuple[str, int]:
    """The real policy, but for one host that stands for the outside and is the echo here."""
    if host == "outside.example":
        return "127.0.0.1", port
    return public_only(host, port)


@pytest.mark.parametrize(
    "there", ["http://127.0.0.1:{port}/x", "http://localhost:{port}/", "http://[::1]:{port}/", "//127.0.0.1:{port}/"]
)
def test_a_redirect_to_the_inside_is_refused(echo: str, there: str) -> None:
    port = echo.rpartition(":")[2]
    web = Web(_outside_first, Cancel(10))
    assert web.get(f"http://outside.example:{port}/").status_code == 200
    with pytest.raises(WebRefused, match="may not reach"):
        web.get(f"http://outside.example:{port}/", params=[("to", there.format(port=port))])


def test_redirects_do_not_go_round_for_ever(echo: str) -> None:
    url = f"http://outside.example:{echo.rpartition(':')[2]}/around"
    with pytest.raises(WebRefused, match=r"[Rr]edirect"):
        Web(_outside_first, Cancel(10)).get(url)


def test_a_name_is_resolved_once_and_its_address_used(monkeypatch: pytest.MonkeyPatch, echo: str) -> None:
    """DNS rebinding: a name that is public when asked first and loopback afterwards."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: str, port: int, *args: object, **more: object) -> list[object]:
        if host != "rebind.example":
            return real(host, port, *args, **more)  # type: ignore[arg-type, return-value]
        asked.append(host)
        address = "192.0.2.7" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    monkeypatch.setattr("lastgood.targets.engine.network.refused", lambda address: address == "127.0.0.1")
    with pytest.raises(WebRefused):
        Web(public_only, Cancel(10)).get(f"http://rebind.example:{echo.rpartition(':')[2]}/", timeout=(0.3, 0.3, 0.3))
    assert asked == ["rebind.example"]


def test_one_bad_address_among_good_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, 80)) for a in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: found)
    with pytest.raises(OSError, match=r"10\.0\.0\.1"):
        public_only("both.example", 80)


def test_private_addresses_can_be_allowed(echo: str) -> None:
    assert Web(anywhere, Cancel(10)).get(f"http://{echo}/x").status_code == 200


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "gopher://x/", "http://", "http:///x", "http://[", "not a url"]
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(WebRefused):
        Web(anywhere, Cancel(5)).get(url)


def test_an_answer_that_is_too_large_is_not_read_to_its_end(echo: str) -> None:
    with pytest.raises(WebRefused, match="larger than 10 MiB"):
        Web(anywhere, Cancel(20)).get(f"http://{echo}/?size={MAX_RESPONSE + 1}")


def test_waiting_has_an_end(echo: str) -> None:
    began = time.monotonic()
    with pytest.raises(WebRefused, match="in time"):
        Web(anywhere, Cancel(20)).get(f"http://{echo}/?sleep=5", timeout=(1, 0.2, 1))
    assert time.monotonic() - began < 2


def test_a_stopped_run_breaks_its_requests_off(echo: str) -> None:
    cancel = Cancel(20)
    web = Web(anywhere, cancel)
    with ThreadPoolExecutor(3) as threads:
        jobs = [threads.submit(web.get, f"http://{echo}/?sleep=20") for _ in range(3)]
        time.sleep(0.3)
        began = time.monotonic()
        cancel.cancel()
        for job in jobs:
            with pytest.raises(WebRefused, match="stopped"):
                job.result(5)
    assert time.monotonic() - began < 1


def test_a_run_that_was_stopped_opens_nothing_more(echo: str) -> None:
    cancel = Cancel(20)
    cancel.cancel()
    with pytest.raises(WebRefused, match="stopped"):
        Web(anywhere, cancel).get(f"http://{echo}/")


def test_the_environments_proxies_are_not_used(monkeypatch: pytest.MonkeyPatch, echo: str) -> None:
    reached = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(2)
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        with client(anywhere, Cancel(5)) as http:
            assert http.get(f"http://{echo}/").status_code == 200
        assert not reached.is_set()
