"""What a test makes go wrong on the stand-in, and when."""

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from dify_server import FakeDify
from dify_server.graphs import graph

from .asking import Client, live, publish, until


def test_an_editor_saves_between_two_requests(dify: FakeDify) -> None:
    app = dify.world.add_app("a")
    client, world = Client(dify, app), dify.world
    dify.faults.before("POST /workflows/publish", lambda: world.editor_saves(app, graph("intruder")), nth=2)
    assert publish(client).status_code == publish(client).status_code == 200
    assert [one.graph == graph("intruder") for one in app.versions] == [True, False]


def test_a_reply_is_lost_after_it_took_effect_or_before(dify: FakeDify) -> None:
    app = dify.world.add_app("a")
    client = Client(dify, app)
    dify.faults.drop("POST /workflows/publish")
    with pytest.raises(httpx.RemoteProtocolError):
        publish(client)
    assert len(app.versions) == 1
    dify.faults.clear()
    dify.faults.drop("POST /workflows/publish", took_effect=False)
    with pytest.raises(httpx.RemoteProtocolError):
        publish(client)
    assert len(app.versions) == 1
    assert publish(client).status_code == 200


def test_a_request_fails_before_or_after_it_took_effect(dify: FakeDify) -> None:
    app = dify.world.add_app("a")
    client = Client(dify, app)
    dify.faults.fail("/publish", 502, took_effect=True)
    dify.faults.fail("/publish", 500, nth=2, times=2)
    assert [publish(client).status_code for _ in range(4)] == [502, 500, 500, 200]
    assert len(app.versions) == 2


def test_a_request_hangs(dify: FakeDify) -> None:
    app = dify.world.add_app("a")
    client = Client(dify, app)
    dify.faults.hang("/publish", took_effect=True)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(publish, client)
        until(lambda: len(app.versions) == 1)
        assert not asked.done()
        dify.unhang()
        with pytest.raises(httpx.RemoteProtocolError):
            asked.result()


def test_somebody_acts_once_a_request_took_effect(dify: FakeDify) -> None:
    app, seen = dify.world.add_app("a"), []
    dify.faults.after(lambda one: one.method == "POST", lambda: seen.append(len(app.versions)))
    assert publish(Client(dify, app)).status_code == 200
    assert seen == [1]


def test_a_late_answer(dify: FakeDify) -> None:
    app, gone = dify.world.add_app("a"), threading.Event()
    dify.faults.slow("/publish", 0.1)
    dify.faults.after("/publish", gone.set)
    assert publish(Client(dify, app)).status_code == 200
    assert gone.is_set()


def test_what_the_stand_in_trips_over_is_kept(dify: FakeDify) -> None:
    answer = Client(dify, live(dify)).console("POST", "/api-enable", {})
    assert answer.status_code == 500
    assert [type(one) for one in dify.broken] == [KeyError]
