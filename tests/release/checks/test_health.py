"""Health endpoints, declared and our own."""

from collections.abc import Callable

import pytest

from lastgood.db.store import Store
from lastgood.release.checks import health
from support.stores import on_sqlite

from .conftest import Web, only, serve, verdicts

pytestmark = on_sqlite


@pytest.mark.parametrize(
    ("status", "verdict", "found"),
    [
        (200, "pass", "it answered 200"),
        (204, "fail", "it answered 204"),
        (302, "fail", "it answered 302"),
        (404, "fail", "it answered 404"),
        (503, "fail", "it answered 503"),
    ],
)
def test_only_200_is_well(store: Store, web: Web, status: int, verdict: str, found: str) -> None:
    web.answers["/up"] = status
    one = only(health.check(serve(store).case(settings={"health": {"shop": {"url": f"{web.url}/up"}}})))
    assert (one.verdict, one.found, one.subject) == (verdict, found, "shop")
    assert one.expected == f"{web.url}/up answers 200"


def test_only_the_workflows_own_endpoints_are_asked(store: Store, web: Web) -> None:
    declared = {
        "mine": {"url": f"{web.url}/", "workflows": ["gr*"]},
        "theirs": {"url": f"{web.url}/", "workflows": ["prod-*"]},
    }
    assert verdicts(health.check(serve(store).case(settings={"health": declared}))) == {"mine": "pass"}


def test_the_gateway_and_the_engine_are_asked_too(store: Store, start_web: Callable[[], Web]) -> None:
    gateway, one, two = start_web(), start_web(), start_web()
    two.answers["/healthz"] = 500
    facts = {"gateway": gateway.url, "engine": f"{one.url} {two.url}", "pid": 1}
    found = [(item.subject, item.verdict) for item in health.check(serve(store).case(facts=facts))]
    assert found == [("gateway", "pass"), ("engine", "pass"), ("engine", "fail")]


def test_one_that_never_answers_is_late_and_the_others_are_not(store: Store, start_web: Callable[[], Web]) -> None:
    slow, quick = start_web(), start_web()
    slow.wait = 2.0
    declared = {"slow": {"url": slow.url, "timeout": 0.1}, "quick": {"url": quick.url}}
    found = {one.subject: one for one in health.check(serve(store).case(settings={"health": declared}))}
    assert (found["slow"].verdict, found["slow"].found) == ("fail", "no answer within 0.1 s")
    assert found["quick"].verdict == "pass"


def test_a_password_in_an_address_is_not_told(store: Store, web: Web) -> None:
    url = web.url.replace("://", "://admin:hunter22@") + "/?key=hunter22"
    one = only(health.check(serve(store).case(settings={"health": {"shop": {"url": url}}})))
    assert "hunter22" not in str(one.as_data())
    assert one.expected == f"{web.url}/ answers 200"


@pytest.mark.parametrize(
    "url", ["not an address", "http://", "http://[::1", "gopher://there/", "http://127.0.0.1:99999/"]
)
def test_an_address_that_cannot_be_asked_fails_and_says_so(store: Store, url: str) -> None:
    one = only(health.check(serve(store).case(settings={"health": {"shop": {"url": url}}})))
    assert one.verdict == "fail" and one.found.startswith("it cannot be")


def test_with_none_it_is_skipped(store: Store) -> None:
    assert only(health.check(serve(store).case())).verdict == "skipped"
