"""Whether the channel points where it should, and its target is switched on."""

import socket
from dataclasses import replace
from typing import Any

import pytest

from lastgood.db.store import Store
from lastgood.errors import EngineMissing
from lastgood.release.checks import pointer
from lastgood.release.verification import Upstream
from support.scene import ALICE
from support.stores import on_sqlite

from .conftest import TOKEN, Served, Web, serve, verdicts


def at(url: str) -> Any:
    return lambda: Upstream(url, TOKEN)


def free_url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_the_version_and_generation_are_the_intended_ones(store: Store, web: Web) -> None:
    served = serve(store)
    found = list(pointer.check(served.case(engine=at(web.url))))
    assert [(one.subject, one.verdict) for one in found] == [("live", "pass"), ("engine", "pass")]
    assert found[0].expected == f"want {served.version.id} at generation 1"
    assert found[0].found == f"got {served.version.id} at generation 1"
    assert found[1].found == "active"


@pytest.mark.parametrize("what", ["another version", "another generation", "nothing", "no channel"])
def test_got_and_want(store: Store, web: Web, what: str) -> None:
    served = serve(store)
    case = served.case(engine=at(web.url))
    if what == "another version":
        case = replace(case, version=served.publish("other").version, generation=2)
        case = replace(case, version=served.version)
    elif what == "another generation":
        case = replace(case, generation=7)
    elif what == "nothing":
        (version,) = served.place.versions("b")
        served.place.move(version, name="staging")
        case = replace(case, channel="staging")
    else:
        case = replace(case, channel="nowhere")
    first = next(iter(pointer.check(case)))
    assert first.verdict == "fail" and first.check == "pointer"
    assert first.expected.startswith(f"want {served.version.id} at generation")
    if what == "no channel":
        assert "has no channel 'nowhere'" in first.found
    else:
        assert first.found.startswith("got v-") and first.found != first.expected.replace("want", "got")


@on_sqlite
def test_a_target_that_is_switched_off_is_not_active(store: Store, web: Web) -> None:
    served = serve(store)
    web.answers["/healthz"] = 503
    off = list(pointer.check(served.case(engine=at(web.url))))[1]
    assert (off.verdict, off.found) == ("fail", "not active: it answered 503")
    away = list(pointer.check(served.case(engine=at(free_url()))))[1]
    assert (away.verdict, away.found) == ("fail", "not active: it cannot be connected to")


@on_sqlite
def test_an_engine_that_is_not_installed_is_not_active_and_one_out_of_sight_is_unknown(store: Store) -> None:
    def missing() -> Upstream:
        raise EngineMissing()

    served = serve(store)
    assert verdicts(pointer.check(served.case(engine=missing)))["engine"] == "fail"
    unseen = list(pointer.check(served.case()))[1]
    assert (unseen.verdict, unseen.found) == ("unknown", "No engine runs here.")


def elsewhere(store: Store, base_url: str) -> Served:
    from lastgood.history import workflows

    served = serve(store, target="dify")
    store.write(lambda tx: workflows.set_target(tx, ALICE, "dify", base_url))
    return served


@on_sqlite
@pytest.mark.parametrize("end", ["", "/v1", "/v1/"])
@pytest.mark.parametrize(("status", "verdict"), [(200, "pass"), (401, "pass"), (500, "fail"), (503, "fail")])
def test_another_target_answers_or_not(store: Store, web: Web, status: int, verdict: str, end: str) -> None:
    web.answers["/v1/info"] = status
    found = list(pointer.check(elsewhere(store, web.url + end).case()))
    assert [one.verdict for one in found] == ["pass", verdict]
    assert found[1].expected == "active: the target dify answers"
    assert [path for path, _ in web.asked] == ["/v1/info"]


@on_sqlite
def test_every_address_of_another_target_counts(store: Store, web: Web) -> None:
    web.answers["/v1/info"] = 401
    gone = free_url()
    found = verdicts(pointer.check(elsewhere(store, f"{web.url}/v1 {gone}").case()))
    assert found == {"live": "pass", f"{web.url}/v1": "pass", gone: "fail"}
