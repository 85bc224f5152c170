"""Signing in: the ways, the forms of a password, and sessions that go stale under many threads."""

import base64
import threading
from collections.abc import Callable

import pytest

from dify_server import Answer, FakeDify, Request
from dify_server.world import EMAIL, PASSWORD
from lastgood.errors import DifyFailed, DifyRefused, DifySignInRefused, InvalidSetting
from lastgood.targets.dify import AdminKey, Bearer, Client, Password

from .conftest import Connect, admin

LOGIN = "/console/api/login"
REFRESH = "/console/api/refresh-token"


def test_a_password_travels_in_base64(dify: FakeDify, client_of: Connect) -> None:
    client_of(dify).console.account()
    sent = next(one for one in dify.requests if one.path == LOGIN).json["password"]
    assert base64.b64decode(sent).decode() == PASSWORD
    assert dify.asked(LOGIN) == 1


@pytest.mark.parametrize(("version", "plain"), [("1.9.0", True), ("1.11.1", True), ("1.11.2", True), ("fork", True)])
def test_older_servers_take_it_as_it_is(client_of: Connect, version: str, plain: bool) -> None:
    with FakeDify() as dify:
        dify.world.version, dify.world.plain_passwords = version, plain
        client_of(dify).console.account()
    assert dify.world.wrong_passwords == 0
    assert dify.asked(LOGIN) == 1


@pytest.mark.parametrize("version", ["1.9.0", "1.11.3", "fork", ""])
def test_the_other_form_is_tried_where_the_server_could_not_read_the_first(client_of: Connect, version: str) -> None:
    with FakeDify() as dify:
        dify.world.version = version
        client_of(dify).console.account()
    assert dify.world.wrong_passwords == 0
    assert dify.asked(LOGIN) == 2


def test_tokens_in_the_body_of_the_oldest_servers(client_of: Connect) -> None:
    with FakeDify() as dify:
        dify.world.version, dify.world.plain_passwords, dify.world.tokens_in_body = "1.9.0", True, True
        client = client_of(dify)
        client.console.account()
        dify.world.access.clear()
        client.console.account()
    assert (dify.asked(LOGIN), dify.asked(REFRESH)) == (1, 1)


def test_a_wrong_password_is_tried_once_for_ever(dify: FakeDify, client_of: Connect) -> None:
    client = client_of(dify, Password(EMAIL, "wrong password"))
    for _ in range(10):
        with pytest.raises(DifySignInRefused, match="Invalid email or password"):
            client.console.account()
    assert dify.world.wrong_passwords == 1
    assert dify.asked(LOGIN) == 1


def test_a_locked_account_is_left_alone(dify: FakeDify, client_of: Connect, waits: list[float]) -> None:
    dify.world.wrong_passwords = 6
    client = client_of(dify)
    for _ in range(2):
        with pytest.raises(DifySignInRefused, match="Too many"):
            client.console.account()
    assert (dify.asked(LOGIN), waits) == (1, [])


def test_a_server_in_trouble_refuses_nobody(older: FakeDify, client_of: Connect) -> None:
    broken = [Answer(500, {"message": "Internal Server Error", "code": "unknown", "status": 500})]
    older.hook = lambda request: broken.pop() if request.path == LOGIN and broken else None
    client = client_of(older)
    with pytest.raises(DifyFailed):
        client.console.account()
    assert client.console.account().email == EMAIL


def test_a_server_that_is_not_set_up_says_so(older: FakeDify, client_of: Connect) -> None:
    body = {"code": "not_setup", "message": "Dify has not been installed yet.", "status": 401}
    older.hook = lambda request: Answer(401, body) if "system-features" not in request.path else None
    for way in (None, admin(older)):
        with pytest.raises(DifyRefused, match="not been installed"):
            client_of(older, way).console.account()
    assert older.asked(REFRESH) == 0


def cookies(*pairs: tuple[str, str], rest: str = "Path=/") -> Answer:
    return Answer(200, {"result": "success"}, [("Set-Cookie", f"{name}={value}; {rest}") for name, value in pairs])


def test_a_session_without_the_csrf_cookie(older: FakeDify, client_of: Connect) -> None:
    older.hook = lambda request: (
        cookies(("access_token", "a"), ("refresh_token", "r")) if request.path == LOGIN else None
    )
    client = client_of(older)
    for _ in range(2):
        with pytest.raises(DifySignInRefused, match="csrf_token"):
            client.console.account()
    assert older.asked(LOGIN) == 1


def test_what_is_not_dify_gives_no_session(older: FakeDify, client_of: Connect) -> None:
    older.hook = lambda request: Answer(200, b"<html>welcome to the intranet</html>")
    with pytest.raises(DifySignInRefused, match="is this Dify"):
        client_of(older).console.account()


def test_cookies_with_a_prefix_and_a_date_long_gone(older: FakeDify, client_of: Connect) -> None:
    """Behind https they have a prefix; with another clock they look dead, which only the server can know."""
    seen: list[Request] = []

    def hook(request: Request) -> Answer | None:
        if request.path == LOGIN:
            old = "Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; Path=/"
            names = ("__Host-access_token", "__Host-refresh_token", "__Host-csrf_token")
            return cookies(*((name, name[7:10]) for name in names), rest=old)
        if request.path.endswith("/profile"):
            seen.append(request)
            return Answer(200, {"id": "i", "name": "n", "email": "e"})
        return None

    older.hook = hook
    client_of(older).console.account()
    assert seen[0].headers["x-csrf-token"] == "csr"
    assert "__Host-access_token=acc" in seen[0].headers["cookie"]


def test_a_401_in_the_middle_is_one_refresh(dify: FakeDify, client_of: Connect) -> None:
    client = client_of(dify)
    client.console.account()
    for _ in range(3):
        dify.world.access.clear()
        client.console.account()
    assert (dify.asked(REFRESH), dify.asked(LOGIN)) == (3, 1)


def test_a_write_is_sent_again_after_a_refresh_because_it_was_not_done(dify: FakeDify, client_of: Connect) -> None:
    app = dify.world.add_app("a")
    client = client_of(dify)
    client.console.account()
    dify.world.access.clear()
    client.console.publish(app.id)
    assert len(app.versions) == 1


def test_a_dead_refresh_token_is_one_sign_in(dify: FakeDify, client_of: Connect) -> None:
    client = client_of(dify)
    client.console.account()
    dify.world.access.clear()
    dify.world.refresh.clear()
    client.console.account()
    assert (dify.asked(REFRESH), dify.asked(LOGIN)) == (1, 2)


def test_a_csrf_token_that_is_gone_is_renewed(dify: FakeDify, client_of: Connect) -> None:
    client = client_of(dify)
    client.console.account()
    dify.world.csrf.clear()
    client.console.account()
    assert dify.asked(REFRESH) == 1


def test_a_session_that_is_never_taken_ends(older: FakeDify, client_of: Connect) -> None:
    client = client_of(older)
    refused = Answer(401, {"code": "unauthorized", "message": "Token has expired.", "status": 401})
    older.hook = lambda request: refused if request.path.endswith("/profile") else None
    for _ in range(3):
        with pytest.raises(DifySignInRefused, match="expired"):
            client.console.account()
    assert (older.asked("/console/api/account/profile"), older.asked(LOGIN), older.asked(REFRESH)) == (2, 1, 1)


def together(number: int, work: Callable[[], object]) -> list[BaseException]:
    """Runs `work` in that many threads at once; gives what they raised."""
    raised: list[BaseException] = []
    barrier = threading.Barrier(number, timeout=30)

    def run() -> None:
        barrier.wait()
        try:
            work()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return raised


def test_threads_that_find_the_session_stale_refresh_it_once(dify: FakeDify, client_of: Connect) -> None:
    client = client_of(dify)
    assert together(8, client.console.account) == []
    assert dify.asked(LOGIN) == 1
    for turn in range(1, 6):
        dify.world.access.clear()
        assert together(8, client.console.account) == []
        assert dify.asked(REFRESH) == turn
    assert dify.asked(LOGIN) == 1


def test_threads_with_a_wrong_password_try_it_once(older: FakeDify, client_of: Connect) -> None:
    client: Client = client_of(older, Password(EMAIL, "wrong"))
    raised = together(8, client.console.account)
    assert [type(error) for error in raised] == [DifySignInRefused] * 8
    assert older.world.wrong_passwords == 1


@pytest.mark.parametrize(
    "way",
    [
        Password("", "x"),
        Password("a@b.c", ""),
        AdminKey("", "w"),
        AdminKey("key", ""),
        Bearer(""),
        Bearer("to\r\nken"),
        AdminKey("schlüssel", "w"),
    ],
)
def test_a_way_that_cannot_be_used_is_told_before_anything_is_sent(
    older: FakeDify, client_of: Connect, way: Password | AdminKey | Bearer
) -> None:
    with pytest.raises(InvalidSetting) as told:
        client_of(older, way)
    assert "ken" not in str(told.value).replace("token", "")
    assert "schlüssel" not in str(told.value)
    assert older.requests == []


def test_no_way_shows_its_secret() -> None:
    shown = repr([Password("a@b.c", "s3cret"), AdminKey("s3cret", "w"), Bearer("s3cret")])
    assert "s3cret" not in shown
