"""Signing in and out over HTTP: cookies, forged requests, and what a session opens."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from argon2.profiles import CHEAPEST

from lastgood.access import grants, passwords, people
from lastgood.access.grants import Grant
from lastgood.server.app import make_app
from lastgood.server.doorstep import Way
from support.scene import ALICE, Clock
from support.stores import on_sqlite

from .conftest import LOCAL, Api, Client
from .test_doors import audited, is_problem

pytestmark = on_sqlite

GOOD = "correct horse battery"
ORIGIN = "http://api"


@dataclass
class Browser:
    """Keeps a cookie, as a browser does, and sends what it is told to."""

    client: Client
    cookie: str = ""
    csrf: str = ""

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Cookie": self.cookie, **more.pop("headers", {})} if self.cookie else more.pop("headers", {})
        return self.client.request(method, path, headers=headers, **more)

    def sign_in(self, name: str = "ada", password: str = GOOD, **headers: str) -> httpx.Response:
        answer = self.ask("POST", "/v1/session", json={"name": name, "password": password}, headers=headers)
        if answer.status_code == 200:
            self.cookie = answer.headers["set-cookie"].partition(";")[0]
            self.csrf = answer.json()["csrf_token"]
        return answer

    @property
    def own(self) -> dict[str, str]:
        """The headers that the session's own pages send."""
        return {"X-CSRF-Token": self.csrf, "Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def browser(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    """Before a server that knows ada, an editor, and bob, who may do nothing."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher.from_parameters(CHEAPEST))
    kept = passwords.hashed(GOOD)
    for name in ("ada", "bob"):
        api.store.write(lambda tx, name=name: people.create(tx, ALICE, name, password=kept))  # type: ignore[misc]
    api.store.write(lambda tx: grants.put(tx, ALICE, Grant("ada", "editor")))
    yield Browser(api.client)


def test_a_session_opens_what_its_person_may(api: Api, browser: Browser) -> None:
    answer = browser.sign_in()
    assert answer.status_code == 200, answer.text
    told = browser.ask("GET", "/v1/session").json()
    assert (told["name"], told["kind"], told["subject"], told["csrf_token"]) == ("ada", "person", "ada", browser.csrf)
    assert browser.ask("GET", "/v1/workflows").status_code == 200
    body: dict[str, Any] = {"document": {"app": {}}}
    pushed = browser.ask("POST", "/v1/workflows/greet/versions", json=body, headers=browser.own)
    assert pushed.status_code == 400  # through the door, and no document
    denied = browser.ask("POST", "/v1/people", json={"name": "eve"}, headers=browser.own)
    assert "ada may not person:admin" in is_problem(denied, 403)["detail"]
    stranger = Browser(api.client)
    stranger.sign_in("bob")
    is_problem(stranger.ask("GET", "/v1/workflows"), 403)


def test_the_cookie_is_for_this_server_and_no_script(api: Api, browser: Browser) -> None:
    cookie = browser.sign_in().headers["set-cookie"]
    assert cookie.startswith("lastgood_session=")
    for part in ("HttpOnly", "SameSite=lax", "Path=/", "Max-Age=43200"):
        assert part in cookie
    assert "Secure" not in cookie and "Domain" not in cookie


def test_behind_tls_the_cookie_is_kept_to_tls_and_to_this_host(api: Api, browser: Browser) -> None:
    way = Way.of(("127.0.0.0/8",), only=False)
    secure = Browser(Client(make_app(api.store, local_token=LOCAL, way=way)))
    proxied = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.9", "Origin": "https://api"}
    cookie = secure.sign_in(**proxied).headers["set-cookie"]
    assert cookie.startswith("__Host-lastgood_session=")
    for part in ("HttpOnly", "SameSite=lax", "Path=/", "Secure"):
        assert part in cookie
    assert secure.ask("GET", "/v1/session", headers=proxied).json()["name"] == "ada"
    # The same value under the name of plain HTTP is not looked at.
    plain = cookie.partition(";")[0].removeprefix("__Host-")
    is_problem(secure.client.get("/v1/session", headers={**proxied, "Cookie": plain}), 401)


def test_a_value_that_a_client_brings_is_never_a_session(api: Api, browser: Browser) -> None:
    """Session fixation: whatever came before, the value after a sign-in is new and ours."""
    browser.cookie = "lastgood_session=chosen-by-somebody-else"
    is_problem(browser.ask("GET", "/v1/session"), 401)
    first = browser.sign_in().headers["set-cookie"].partition(";")[0]
    assert "chosen" not in first
    again = browser.sign_in().headers["set-cookie"].partition(";")[0]
    assert again != first
    is_problem(api.client.get("/v1/session", headers={"Cookie": first}), 401)  # it ended with the new one
    is_problem(api.client.get("/v1/session", headers={"Cookie": "lastgood_session=chosen-by-somebody-else"}), 401)


FORGED: list[tuple[dict[str, str | None], str]] = [
    ({"X-CSRF-Token": None}, "X-CSRF-Token"),
    ({"X-CSRF-Token": ""}, "X-CSRF-Token"),
    ({"X-CSRF-Token": "0" * 64}, "X-CSRF-Token"),
    ({"X-CSRF-Token": "{other}"}, "X-CSRF-Token"),
    ({"X-CSRF-Token": "{cookie}"}, "X-CSRF-Token"),
    ({"Origin": "https://evil.example"}, "Origin"),
    ({"Origin": "http://api.evil.example"}, "Origin"),
    ({"Origin": "http://api:8080"}, "Origin"),
    ({"Origin": "https://api"}, "Origin"),
    ({"Origin": "null"}, "Origin"),
    ({"Sec-Fetch-Site": "cross-site"}, "Sec-Fetch-Site"),
    ({"Sec-Fetch-Site": "same-site"}, "Sec-Fetch-Site"),
]


def test_a_page_of_somebody_elses_can_do_nothing_with_the_cookie(api: Api, browser: Browser) -> None:
    api.push()
    api.store.write(lambda tx: grants.put(tx, ALICE, Grant("ada", "admin")))
    other = Browser(api.client)
    other.sign_in("bob")
    browser.sign_in()
    changes: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/v1/people", {"json": {"name": "eve", "password": GOOD}}),
        ("POST", "/v1/workflows/greet/keys", {"json": {"name": "eve"}}),
        ("DELETE", "/v1/tokens/admin", {}),
        ("DELETE", "/v1/session", {}),
    ]
    before = audited(api.store)
    for forged, word in FORGED:
        headers = {**browser.own, **forged}
        sent = {
            name: value.format(other=other.csrf, cookie=browser.cookie.partition("=")[2])
            for name, value in headers.items()
            if value is not None
        }
        for method, path, more in changes:
            told = is_problem(browser.ask(method, path, headers=sent, **more), 403)
            assert word in told["detail"] and "Nothing was changed" in told["detail"], (forged, path)
    assert audited(api.store) == before
    assert browser.ask("GET", "/v1/session", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200  # a link
    eve = {"name": "eve", "password": GOOD}
    assert browser.ask("POST", "/v1/people", json=eve, headers=browser.own).status_code == 201
    # Without any of the browser's own words the token alone is enough: not every client says where it stands.
    again = browser.ask("POST", "/v1/people", json={"name": "bo"}, headers={"X-CSRF-Token": browser.csrf})
    assert again.status_code == 201


def test_nobody_is_signed_in_by_another_sites_page(api: Api, browser: Browser) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = browser.sign_in(**headers)
        assert is_problem(answer, 403) and "set-cookie" not in answer.headers
    # A form can send no JSON without asking first.
    form = {"Content-Type": "text/plain"}
    answer = browser.ask("POST", "/v1/session", content=f'{{"name": "ada", "password": "{GOOD}"}}', headers=form)
    assert answer.status_code == 400 and "set-cookie" not in answer.headers


def test_a_shown_token_counts_alone(api: Api, browser: Browser) -> None:
    browser.sign_in()
    is_problem(browser.ask("GET", "/v1/session", headers={"Authorization": "Bearer lg_wrong"}), 401)
    is_problem(browser.ask("GET", "/v1/session", headers={"Authorization": "Basic x"}), 401)
    told = browser.ask("GET", "/v1/session", headers={"Authorization": f"Bearer {api.token}"}).json()
    assert told == {"name": "admin", "kind": "token", "subject": "token:admin"}


def test_who_signs_out_is_out(api: Api, browser: Browser) -> None:
    browser.sign_in()
    answer = browser.ask("DELETE", "/v1/session", headers=browser.own)
    assert answer.status_code == 204 and 'lastgood_session=""' in answer.headers["set-cookie"]
    told = is_problem(browser.ask("GET", "/v1/session"), 401)
    assert told["type"].endswith("session-over")
    assert [row[1] for row in audited(api.store)[-2:]] == ["session:create", "session:end"]


@pytest.mark.parametrize("how", ["password", "disable", "own"])
def test_a_changed_password_and_being_shut_out_end_all_sessions(api: Api, browser: Browser, how: str) -> None:
    elsewhere = Browser(api.client)
    for one in (browser, elsewhere):
        one.sign_in()
    if how == "own":
        wrong = {"former": "not it at all", "password": "another horse battery"}
        is_problem(browser.ask("POST", "/v1/session/password", json=wrong, headers=browser.own), 401)
        assert elsewhere.ask("GET", "/v1/session").status_code == 200
        right = {**wrong, "former": GOOD}
        assert browser.ask("POST", "/v1/session/password", json=right, headers=browser.own).status_code == 204
    elif how == "password":
        api.post("/v1/people/ada/password", {"password": "another horse battery"})
    else:
        assert api.post("/v1/people/ada/disable", None)["disabled_at"]
    for one in (browser, elsewhere):
        is_problem(one.ask("GET", "/v1/session"), 401)
    is_problem(browser.sign_in(), 401)
    if how == "disable":
        api.post("/v1/people/ada/enable", None)
        assert browser.sign_in().status_code == 200
    else:
        assert browser.sign_in(password="another horse battery").status_code == 200


def test_too_many_wrong_passwords_say_how_long(api: Api, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, "2026-11-30T09:00:00.000000Z")
    for name in ("ada", "nobody"):
        told = [browser.sign_in(name, "wrong") for _ in range(7)]
        assert [one.status_code for one in told] == [401] * 5 + [429] * 2
        assert len({one.text for one in told[:5]}) == 1
        assert told[5].headers["retry-after"] == "30" and "30 s" in told[5].json()["detail"]
    assert [row[0] for row in audited(api.store) if row[3] == "denied"] == ["ada"] * 5 + ["unknown"] * 5
    clock.set("2026-11-30 09:01")
    assert browser.sign_in().status_code == 200


def test_people_are_kept_by_api_and_no_password_comes_back(api: Api) -> None:
    made = api.post("/v1/people", {"name": "u1002", "password": GOOD, "display": "Ada"}, status=201)
    assert (made["name"], made["has_password"]) == ("u1002", True)
    body = {"name": "u1002", "password": GOOD}
    assert "belongs to another person" in api.post("/v1/people", body, status=409)["detail"]
    for refused in ({"name": "token:ci"}, {"name": "x", "password": "short"}, {"name": "a\nb"}, {"name": ""}):
        told = api.post("/v1/people", refused, status=400)
        assert "short" not in str(told).replace("too short", "")
    api.post("/v1/people", {"name": "u1003"}, status=201)
    found = api.get("/v1/people?limit=1")
    assert ([one["name"] for one in found["items"]], found["next"]) == (["u1002"], "u1002")
    assert [one["name"] for one in api.get("/v1/people?before=u1002")["items"]] == ["u1003"]
    assert "argon2" not in str(found) and GOOD not in str(found)
    # Whoever is a person can be granted something, and is one under each way to write the name.
    two_ways = ("Am\u00e9lie Lovelace", "Ame\u0301lie Lovelace")
    api.post("/v1/people", {"name": two_ways[0]}, status=201)
    for number, name in enumerate(two_ways):
        made = api.post("/v1/grants", {"subject": name, "role": "viewer"}, status=200)
        assert (made["subject"], made["changed"]) == (two_ways[0], number == 0)
        assert api.post(f"/v1/people/{name}/enable", None, status=200)["name"] == two_ways[0]
    params = {"subject": two_ways[1], "role": "viewer"}
    assert api.ask("DELETE", "/v1/grants", params=params).status_code == 204
    assert api.post("/v1/people/nobody/disable", None, status=404)


def test_tokens_are_scoped_end_and_are_refused_at_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.push()
    api.push(workflow="prod-invoice")
    body = {"name": "ci", "role": "viewer", "workflows": ["prod-*"], "expires": "90d"}
    made = api.post("/v1/tokens", body, status=201)
    assert made["grants"] == [{"role": "viewer", "resource": "workflow:prod-*"}] and made["expires_at"]
    value = made["token"]
    assert api.ask("GET", "/v1/workflows/prod-invoice", token=value).status_code == 200
    is_problem(api.ask("GET", "/v1/workflows/greet", token=value), 403)
    is_problem(api.ask("POST", "/v1/tokens", token=value, json=body), 403)
    listed = {one["name"]: one for one in api.get("/v1/tokens")["items"]}
    assert listed["ci"]["used_at"] and value not in str(listed)
    assert api.post("/v1/tokens", body, status=409)
    for wrong in ({"role": "emperor"}, {"workflows": ["a b"]}, {"expires": "soon"}, {"expires": "2020-01-01"}):
        answer = api.ask("POST", "/v1/tokens", json={**body, "name": "other", **wrong})
        assert answer.status_code in (400, 404), answer.text
    assert api.ask("DELETE", "/v1/tokens/ci").status_code == 204
    is_problem(api.ask("GET", "/v1/workflows", token=value), 401)
    api.post("/v1/tokens", body, status=201)


def test_an_expired_token_says_so(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    made = api.post("/v1/tokens", {"name": "ci", "role": "viewer", "expires": "1h"}, status=201)
    Clock(monkeypatch, "2099-01-01T00:00:00.000000Z")
    told = is_problem(api.ask("GET", "/v1/workflows", token=made["token"]), 401)
    assert told["detail"].startswith("The token ci ended at ") and told["type"].endswith("token-expired")
