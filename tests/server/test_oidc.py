"""Signing in with an identity provider: one that is good, and all the ways in which one is not."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from lastgood.access import grants, oidc, people
from lastgood.access.grants import Grant
from lastgood.catalogue import Oidc
from lastgood.db.store import Store
from lastgood.errors import ProviderUnreachable
from lastgood.server.app import make_app
from support.scene import ALICE
from support.stores import on_sqlite

from .conftest import Client
from .provider import CLIENT, REDIRECT, SECRET, Provider, provider
from .test_doors import audited, is_problem

pytestmark = on_sqlite


@dataclass
class Place:
    """A server and its provider."""

    client: Client
    provider: Provider
    store: Store

    def go(self) -> tuple[str, str]:
        """Begin: where a browser is sent, and the cookie it gets."""
        answer = self.client.get("/v1/session/oidc")
        assert answer.status_code == 303, answer.text
        cookie = answer.headers["set-cookie"]
        for part in ("HttpOnly", "SameSite=lax", "Path=/v1/session/oidc", "Max-Age=600"):
            assert part in cookie
        return answer.headers["location"], cookie.partition(";")[0]

    def back(self, cookie: str, **query: str) -> httpx.Response:
        """Come back."""
        return self.client.get("/v1/session/oidc/callback", params=query, headers={"Cookie": cookie})

    def sign_in(self) -> httpx.Response:
        """There and back."""
        url, cookie = self.go()
        state, code = self.provider.authorize(url)
        return self.back(cookie, state=state, code=code)

    def session(self, answer: httpx.Response) -> dict[str, object]:
        """Who the browser is after `answer`."""
        cookies = answer.headers.get_list("set-cookie")
        (cookie,) = [one.partition(";")[0] for one in cookies if one.startswith("lastgood_session=")]
        found: dict[str, object] = self.client.get("/v1/session", headers={"Cookie": cookie}).json()
        return found


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    with provider() as one:
        yield one


@pytest.fixture
def place(store: Store, running: Provider, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("OIDC_SECRET", SECRET)
    fresh = Provider(running.url, key=running.key)
    for name, value in vars(fresh).items():
        setattr(running, name, value)
    oidc = Oidc(
        issuer=running.url,
        client_id=CLIENT,
        client_secret="env:OIDC_SECRET",
        redirect_url=REDIRECT,
        groups={"sre": "releaser", "board": "admin"},
    )
    store.settings = store.settings.model_copy(update={"oidc": oidc})
    return Place(Client(make_app(store)), running, store)


def test_a_person_comes_with_the_roles_of_their_groups(place: Place) -> None:
    answer = place.sign_in()
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"] == "/v1/session"
    told = place.session(answer)
    assert (told["name"], told["display"], told["roles"]) == ("ada", "Ada Lovelace", ["releaser"])
    (authorization, form), *_ = place.provider.asked
    assert authorization.startswith("Basic ") and SECRET not in str(form), "the secret goes in its own header"
    with place.store.read() as tx:
        person = people.find(tx, "ada")
    assert (person.issuer, person.issuer_subject, person.password) == (place.provider.url, "subject-7", None)
    assert [(who, what) for who, what, *_ in audited(place.store)] == [
        ("oidc", "person:create"),
        ("ada", "session:create"),
    ]
    # The role of a group is the session's alone, and goes with the next sign-in.
    place.provider.claims = {"groups": []}
    assert place.session(place.sign_in())["roles"] == []
    assert SECRET not in str(audited(place.store))


def test_the_roles_of_a_session_open_doors(place: Place) -> None:
    place.provider.claims = {"groups": "board"}
    answer = place.sign_in()
    (cookie,) = [one for one in answer.headers.get_list("set-cookie") if one.startswith("lastgood_session=")]
    headers = {"Cookie": cookie.partition(";")[0]}
    assert place.client.get("/v1/people", headers=headers).status_code == 200
    place.provider.claims = {"groups": ["sre"]}
    answer = place.sign_in()
    (cookie,) = [one for one in answer.headers.get_list("set-cookie") if one.startswith("lastgood_session=")]
    is_problem(place.client.get("/v1/people", headers={"Cookie": cookie.partition(";")[0]}), 403)


NOW = int(time.time())
# What the ID token says in place of what it should.
BAD_CLAIMS: dict[str, dict[str, object]] = {
    "another's nonce": {"nonce": "of-another-sign-in"},
    "no nonce": {"nonce": None},
    "for another client": {"aud": "somebody-else"},
    "for several, of another party": {"aud": [CLIENT, "somebody-else"], "azp": "somebody-else"},
    "for several, of no party": {"aud": [CLIENT, "somebody-else"]},
    "for nobody": {"aud": None},
    "of another issuer": {"iss": "https://evil.example"},
    "of no issuer": {"iss": None},
    "expired": {"exp": NOW - 3600},
    "without an end": {"exp": None},
    "ends in words": {"exp": "tomorrow"},
    "issued in the future": {"iat": NOW + 3600},
    "not valid yet": {"nbf": NOW + 3600},
    "of no subject": {"sub": None},
    "of an odd subject": {"sub": ["subject-7"]},
}


def test_an_id_token_that_says_the_wrong_thing_is_refused(place: Place) -> None:
    for wrong, claims in BAD_CLAIMS.items():
        place.provider.claims = claims
        answer = place.sign_in()
        assert answer.status_code == 401, (wrong, answer.text)
        told = is_problem(answer, 401)
        assert told["type"].endswith("provider-refused") and "ID token is not valid" in told["detail"]
        assert "set-cookie" not in answer.headers
    with place.store.read() as tx:
        assert people.listing(tx) == []


def by_none(one: Provider) -> None:
    one.algorithm = "none"


def by_everybody(one: Provider) -> None:
    one.algorithm = "HS256"


def by_another_key(one: Provider) -> None:
    one.published, one.key = one.key, rsa.generate_private_key(65537, 2048)


def test_an_id_token_that_is_not_signed_by_the_provider_is_refused(place: Place, running: Provider) -> None:
    key = running.key
    for spoil in (by_none, by_everybody, by_another_key):
        running.algorithm, running.key, running.published = "RS256", key, None
        spoil(running)
        is_problem(place.sign_in(), 401)
    running.key = key


def test_a_sign_in_that_this_browser_did_not_begin_is_refused(place: Place) -> None:
    url, cookie = place.go()
    state, code = place.provider.authorize(url)
    other_url, other_cookie = place.go()
    other_state, _ = place.provider.authorize(other_url)
    for brought, query in (
        (other_cookie, {"state": state, "code": code}),
        (cookie, {"state": other_state, "code": code}),
        (cookie, {"state": "", "code": code}),
        (cookie, {"code": code}),
        (cookie, {"state": state}),
        (cookie, {"state": state, "error": "access_denied"}),
        ("", {"state": state, "code": code}),
        ("lastgood_oidc=00", {"state": state, "code": code}),
        (cookie[:-2] + "00", {"state": state, "code": code}),
    ):
        is_problem(place.back(brought, **query), 401)
    assert place.provider.asked == [], "the code was shown to nobody"
    assert place.back(cookie, state=state, code=code).status_code == 303


def test_an_answer_counts_once(place: Place) -> None:
    url, cookie = place.go()
    state, code = place.provider.authorize(url)
    asked = place.provider.grants[code]
    assert place.back(cookie, state=state, code=code).status_code == 303
    told = is_problem(place.back(cookie, state=state, code=code), 401)
    assert "it does not take the code (invalid_grant)" in told["detail"] and SECRET not in told["detail"]
    place.provider.grants[code] = asked  # a provider that takes a code twice
    told = is_problem(place.back(cookie, state=state, code=code), 401)
    assert "was used already" in told["detail"]


def test_a_code_of_another_sign_in_is_of_no_use(place: Place) -> None:
    """PKCE: a code that was caught on the way is exchanged by nobody but who asked for it."""
    url, cookie = place.go()
    state, _ = place.provider.authorize(url)
    _, stolen = place.provider.authorize(place.go()[0])
    is_problem(place.back(cookie, state=state, code=stolen), 401)


def test_who_takes_too_long_begins_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    url, cookie = place.go()
    state, code = place.provider.authorize(url)
    now = time.time()
    monkeypatch.setattr("lastgood.access.oidc.time.time", lambda: now + 601)
    assert "took too long" in is_problem(place.back(cookie, state=state, code=code), 401)["detail"]


NAMES: list[tuple[dict[str, object], int, str]] = [
    ({"preferred_username": "grace"}, 409, "belongs to another person"),
    ({"preferred_username": "token:admin"}, 400, "colon"),
    ({"preferred_username": "local"}, 400, "means something else"),
    ({"preferred_username": "a\nb"}, 400, "control"),
    ({"preferred_username": None}, 401, "no name here"),
    ({"preferred_username": None, "email": "ada@example.com"}, 401, "no name here"),
    ({"preferred_username": None, "email": "ada@example.com", "email_verified": "true"}, 401, "no name here"),
    ({"preferred_username": None, "email": "ada@example.com", "email_verified": True}, 303, ""),
    ({"preferred_username": ["ada"]}, 401, "no name here"),
    ({"groups": {"sre": 1}}, 303, ""),
    ({"groups": ["sre", 7, None, ["board"]]}, 303, ""),
]


def test_a_name_is_taken_from_nobody(place: Place) -> None:
    place.store.write(lambda tx: people.create(tx, ALICE, "grace", password="x"))
    place.store.write(lambda tx: grants.put(tx, ALICE, Grant("grace", "admin")))
    for number, (claims, status, said) in enumerate(NAMES):
        place.provider.claims = {"sub": f"subject-{number}", **claims}
        answer = place.sign_in()
        assert answer.status_code == status, (claims, answer.text)
        if status == 303:
            assert "admin" not in str(place.session(answer)["roles"])
            place.store.write(lambda tx: tx.connection.exec_driver_sql("DELETE FROM session"))
            place.store.write(lambda tx: tx.connection.exec_driver_sql("DELETE FROM person WHERE issuer is not null"))
        else:
            assert said in is_problem(answer, status)["detail"]


def test_who_is_shut_out_here_is_shut_out(place: Place) -> None:
    assert place.sign_in().status_code == 303
    place.store.write(lambda tx: people.set_disabled(tx, ALICE, people.find(tx, "ada"), True))
    is_problem(place.sign_in(), 401)


def test_the_provider_may_change_its_keys(place: Place, running: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lastgood.access.oidc._LEAST_SECONDS", 0.0)
    assert place.sign_in().status_code == 303
    place.provider.kid, place.provider.key = "k2", rsa.generate_private_key(65537, 2048)
    assert place.sign_in().status_code == 303


def test_what_is_not_the_provider_is_not_believed(place: Place) -> None:
    place.provider.issuer = "https://evil.example"
    told = is_problem(place.client.get("/v1/session/oidc"), 502)
    assert "another issuer" in told["detail"]


def test_a_provider_that_is_away_or_speaks_plainly_is_refused(store: Store) -> None:
    for issuer, reason in (("http://127.0.0.1:9", "ConnectError"), ("http://login.example.com", "not https")):
        oidc = Oidc(issuer=issuer, client_id=CLIENT, redirect_url=REDIRECT)
        store.settings = store.settings.model_copy(update={"oidc": oidc})
        assert reason in is_problem(Client(make_app(store)).get("/v1/session/oidc"), 502)["detail"]


def test_many_who_ask_for_a_provider_that_is_away_wait_for_one_look(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []

    def away(url: str) -> dict[str, object]:
        looks.append(url)
        raise ProviderUnreachable(issuer="https://login", reason="ConnectTimeout")

    one = oidc.Provider(Oidc(issuer="https://login", client_id=CLIENT, redirect_url=REDIRECT))
    monkeypatch.setattr(one, "_ask", away)
    for wait, looked in ((0, 1), (0, 1), (11, 2)):
        now = time.monotonic() + wait
        monkeypatch.setattr("lastgood.access.oidc.time.monotonic", lambda now=now: now)
        with pytest.raises(ProviderUnreachable, match="ConnectTimeout"):
            one.way_there(store.ring)
        assert len(looks) == looked


def test_without_a_provider_the_doors_say_so(store: Store) -> None:
    client = Client(make_app(store))
    for path in ("/v1/session/oidc", "/v1/session/oidc/callback?state=a&code=b"):
        assert "[oidc]" in is_problem(client.get(path), 404)["detail"]
