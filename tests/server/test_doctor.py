"""What the doctor says of the connected Dify servers."""

from typing import Any

import pytest

from dify_server import FakeDify
from dify_server.graphs import graph
from dify_server.world import ADMIN_KEY
from lastgood.db.audit import Principal
from lastgood.server.watching import Watched
from lastgood.targets.dify import AdminKey, servers

from .conftest import Api

SINCE = "2026-11-30T06:40:00.000000Z"


def connected(api: Api, url: str = "https://dify.example", **facts: Any) -> None:
    way = AdminKey(ADMIN_KEY, "w")
    api.store.write(lambda tx: servers.save(tx, Principal("alice"), "prod", url, way, facts=facts))


def said(api: Api) -> list[tuple[str, str, str]]:
    found = api.get("/v1/doctor")["findings"]
    return [(one["verdict"], one["detail"], one["todo"]) for one in found if one["check"] == "dify prod"]


@pytest.mark.parametrize(
    ("facts", "watched", "verdict", "detail", "todo"),
    [
        ({}, None, "warn", "is not captured yet", "lastgood capture prod"),
        ({}, Watched("prod", SINCE, "3 apps"), "warn", "is not captured yet", "lastgood capture prod"),
        ({"captured_at": SINCE}, None, "ok", "has not looked at it yet", ""),
        (
            {"captured_at": SINCE},
            Watched("prod", SINCE, "3 apps: 1 drafts kept"),
            "ok",
            "looked at 2026-11-30 06:40:00 UTC: 3 apps: 1 drafts kept",
            "",
        ),
        (
            {},
            Watched("prod", failing_since=SINCE, problem="It does not answer.", fails=4),
            "warn",
            "fails since 2026-11-30 06:40:00 UTC (4 times): It does not answer.",
            "lastgood watch prod --once",
        ),
        ({"way": "bearer"}, None, "warn", "shows no versions", "lastgood connect https://dify.example --name prod"),
    ],
)
def test_one_line_for_each_server(
    api: Api, facts: dict[str, Any], watched: Watched | None, verdict: str, detail: str, todo: str
) -> None:
    assert said(api) == []
    connected(api, **facts)
    if watched is not None:
        api.app.state.context.watching._watched["prod"] = watched
    ((found, told, what),) = said(api)
    assert found == verdict
    assert detail in told
    assert (todo in what) if todo else what == ""


def test_a_ring_that_is_away_is_told(api: Api) -> None:
    api.store.ring.path.unlink()
    found = {one["check"]: one for one in api.get("/v1/doctor")["findings"]}
    assert (found["key ring"]["verdict"], found["audit"]["verdict"]) == ("fail", "fail")
    assert "is away" in found["key ring"]["detail"] and not api.store.ring.path.exists()


def test_a_watch_that_fails_and_goes_on(api: Api) -> None:
    """The watch itself, against a server that breaks off and comes back."""
    watching = api.app.state.context.watching
    with FakeDify("1.14.2") as dify:
        dify.world.somebody_publishes(dify.world.add_app("Invoice", graph=graph("x")))
        way = AdminKey(ADMIN_KEY, dify.world.workspace_id)
        api.store.write(
            lambda tx: servers.save(
                tx, Principal("alice"), "prod", dify.url, way, facts={"captured_at": SINCE, "abilities": {}}
            )
        )
        api.store.settings = api.store.settings.model_copy(update={"watch_seconds": 0.01})
        dify.faults.fail("GET /console/api/apps", 403, {"code": "forbidden", "message": "no", "status": 403}, times=9)
        waits: list[str] = []

        def wait(seconds: float) -> bool:
            """In place of the pause: note what the doctor says, mend the server, and end after the second look."""
            waits.append(said(api)[0][0])
            dify.faults.clear()
            return len(waits) == 2

        stopping = type("Stopping", (), {"wait": staticmethod(wait), "is_set": staticmethod(lambda: len(waits) == 2)})
        watching._stopping = stopping()
        watching._watch("prod")
    assert waits == ["warn", "ok"]
    assert "1 apps" in said(api)[0][1]
