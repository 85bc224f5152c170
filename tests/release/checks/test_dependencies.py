"""External dependencies, asked with the version's own credential, which is told to nobody else."""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from lastgood.db.store import Store
from lastgood.history import versions
from lastgood.release.checks import checklist, dependencies
from lastgood.release.checks.case import Case
from support.stores import on_sqlite

from .conftest import Web, only, serve, verdicts

SECRET = "sk-live-0123456789abcdef"


def takes(secret: str) -> Callable[[Mapping[str, str]], int]:
    return lambda headers: 200 if headers.get("authorization") == f"Bearer {secret}" else 401


def declared(url: str, **more: Any) -> dict[str, Any]:
    rates = {"url": url, "header": "Authorization: Bearer {secret}", "secret": "RATES_KEY", **more}
    return {"dependencies": {"rates": rates}}


def case(store: Store, url: str, **more: Any) -> Case:
    return serve(store, secrets={"RATES_KEY": SECRET}).case(settings=declared(url, **more))


def test_the_versions_own_credential_is_sent(store: Store, web: Web) -> None:
    web.judge = takes(SECRET)
    one = only(dependencies.check(case(store, web.url)))
    assert (one.verdict, one.subject, one.found) == ("pass", "rates", "it answered 200")
    assert one.expected == f"{web.url} answers to the secret RATES_KEY"
    assert [headers["authorization"] for _, headers in web.asked] == [f"Bearer {SECRET}"]


def test_it_is_that_of_the_version_and_not_of_a_newer_one(store: Store, web: Web) -> None:
    from support.documents import document

    served = serve(store, secrets={"RATES_KEY": SECRET})
    served.place.push(document("other", secrets={"RATES_KEY": "sk-the-new-one"}))
    web.judge = takes(SECRET)
    assert only(dependencies.check(served.case(settings=declared(web.url)))).verdict == "pass"


@on_sqlite
@pytest.mark.parametrize(
    ("status", "verdict", "found"),
    [
        (204, "pass", "it answered 204"),
        (301, "pass", "it answered 301"),
        (401, "fail", "it answered 401: it refuses the secret RATES_KEY"),
        (403, "fail", "it answered 403: it refuses the secret RATES_KEY"),
        (404, "unknown", "it answered 404"),
        (429, "unknown", "it answered 429"),
        (500, "fail", "it answered 500"),
    ],
)
def test_what_an_answer_means(store: Store, web: Web, status: int, verdict: str, found: str) -> None:
    web.answers["/"] = status
    one = only(dependencies.check(case(store, f"{web.url}/")))
    assert (one.verdict, one.found) == (verdict, found)
    assert len(web.asked) == 1, "a redirection must not carry the secret elsewhere"


@on_sqlite
def test_the_secret_is_told_nowhere(store: Store, web: Web, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told = []
    for status in (200, 302, 401, 500):
        web.answers["/"] = status
        told.append(checklist.run(case_of(store, web, f"greet-{status}"), only=("dependencies",)))
    bad = serve(store, slug="line", secrets={"RATES_KEY": f"{SECRET}\nX-More: 1"})
    told.append(checklist.run(bad.case(settings=declared(web.url)), only=("dependencies",)))
    late = serve(store, slug="late", secrets={"RATES_KEY": SECRET})
    web.wait = 1.0
    told.append(checklist.run(late.case(settings=declared(web.url, timeout=0.1)), only=("dependencies",)))
    assert [one.verdict for some in told for one in some] == ["pass", "pass", "fail", "fail", "fail", "fail"]
    said = json.dumps([one.as_data() for some in told for one in some]) + caplog.text
    assert SECRET not in said and "RATES_KEY" in said
    with store.read() as tx:
        kept = json.dumps(versions.evidence_of(tx, bad.version))
    assert SECRET not in kept and "RATES_KEY" in kept


def case_of(store: Store, web: Web, slug: str) -> Case:
    return serve(store, slug=slug, secrets={"RATES_KEY": SECRET}).case(settings=declared(f"{web.url}/"))


@on_sqlite
def test_a_secret_without_a_value_fails_by_name_and_nothing_is_sent(store: Store, web: Web) -> None:
    served = serve(store, secrets={"RATES_KEY": None})
    one = only(dependencies.check(served.case(settings=declared(web.url))))
    assert one.verdict == "fail"
    assert one.found == f"{served.version.id} has no value for the secret variable RATES_KEY"
    assert web.asked == []


@on_sqlite
def test_a_header_without_a_place_for_the_secret_proves_nothing(store: Store, web: Web) -> None:
    one = only(dependencies.check(case(store, web.url, header="X-Key: fixed")))
    assert one.verdict == "unknown" and web.asked == []


@on_sqlite
def test_one_that_is_away_fails(store: Store) -> None:
    one = only(dependencies.check(case(store, "http://127.0.0.1:9/")))
    assert (one.verdict, one.found) == ("fail", "it cannot be connected to")


@on_sqlite
def test_without_a_secret_the_dependency_must_only_answer(store: Store, web: Web) -> None:
    settings = {
        "dependencies": {
            "open": {"url": f"{web.url}/"},
            "shut": {"url": f"{web.url}/shut"},
            "theirs": {"url": "http://127.0.0.1:9/", "workflows": ["other"]},
        }
    }
    web.answers["/shut"] = 403
    found = list(dependencies.check(serve(store).case(settings=settings)))
    assert verdicts(found) == {"open": "pass", "shut": "fail"}
    assert found[1].found == "it answered 403: it refuses the request, which carries no secret"


@on_sqlite
def test_with_none_it_is_skipped(store: Store) -> None:
    assert only(dependencies.check(serve(store).case())).verdict == "skipped"
