"""Which services a move reaches, over whom, with how many requests; and what is said of each."""

from typing import Any

import pytest

from lastgood.catalogue import Middleware, Service
from lastgood.release.impact.dependants import Dependant
from lastgood.release.impact.reached import Caller, Edge, Reach, Scene, parts_of, reached
from lastgood.release.impact.risk import BUSY
from lastgood.release.impact.services import NOBODY, service_of
from lastgood.release.impact.touched import Touched


def caller(
    name: str, day: int = 3, week: int = 9, *, workflow: str = "pay", channel: str = "live", **more: Any
) -> Caller:
    return Caller(workflow, channel, more.pop("key", f"key-{name}"), name, "curl/8", day, week, **more)


def scene(*callers: Caller, **more: Any) -> Scene:
    given: dict[str, list[Caller]] = {}
    for one in callers:
        given.setdefault(one.workflow, []).append(one)
    return Scene(**{"workflow": "pay", "channel": "live", "callers": given, "counted": True, **more})


def ways(of: Scene) -> list[tuple[str, int, int | None, int | None]]:
    """Service, steps and requests of each way."""
    return [(one.service, one.steps, one.day, one.week) for one in reached(of)[0]]


def host(name: str, **more: Any) -> Touched:
    return Touched("host", name, ("Ask",), **more)


CASES: dict[str, tuple[Scene, list[tuple[str, int, int | None, int | None]]]] = {
    "nobody": (scene(), []),
    "a caller that nothing declares": (scene(caller("web")), [("web", 1, 3, 9)]),
    "two clients with one key": (scene(caller("web"), caller("web", 1, 2)), [("web", 1, 4, 11)]),
    "two keys": (scene(caller("web"), caller("batch", 0, 0)), [("web", 1, 3, 9), ("batch", 1, 0, 0)]),
    "nobody counts": (scene(caller("web"), counted=False), [("web", 1, None, None)]),
    "another channel's key": (scene(caller("web", channel="staging")), []),
    "the moved channel's key": (scene(caller("web", channel="staging"), channel="staging"), [("web", 1, 3, 9)]),
    "a revoked key": (scene(caller("web", revoked=True)), []),
    "a key that was renewed": (
        scene(caller("web", revoked=True), caller("web", 0, 0, key="key-new")),
        [("web", 1, 3, 9)],
    ),
    "a declared key": (scene(caller("web"), services={"shop": Service(keys=("web",))}), [("shop", 1, 3, 9)]),
    "a declared key by its id": (
        scene(caller("web"), services={"shop": Service(keys=("key-web",))}),
        [("shop", 1, 3, 9)],
    ),
    "keys by a pattern": (
        scene(caller("web-de"), caller("web-at"), services={"shop": Service(keys=("web-*",))}),
        [("shop", 1, 6, 18)],
    ),
    "a key of two services": (
        scene(caller("web"), services={"shop": Service(keys=("web",)), "app": Service(keys=("w*",))}),
        [("shop", 1, 3, 9), ("app", 1, 3, 9)],
    ),
    "a service named like its key": (
        scene(caller("web"), services={"web": Service(owner="Ada")}),
        [("web", 1, 3, 9)],
    ),
    "a declared workflow": (
        scene(caller("web"), services={"books": Service(workflows=("p*",))}),
        [("web", 1, 3, 9), ("books", 1, None, None)],
    ),
    "a declared workflow that nobody called": (
        scene(caller("web", 0, 0), services={"books": Service(workflows=("pay",))}),
        [("web", 1, 0, 0), ("books", 1, 0, 0)],
    ),
    "a declared workflow and key": (
        scene(caller("web"), services={"books": Service(workflows=("pay",), keys=("web",))}),
        [("books", 1, 3, 9)],
    ),
    "what is declared is live": (scene(channel="staging", services={"books": Service(workflows=("pay",))}), []),
    "a workflow that uses it": (
        scene(
            caller("web"),
            caller("crm", 5, 6, workflow="report"),
            dependants=[Dependant("wf-report", "report", 1, ("report",))],
        ),
        [("web", 1, 3, 9), ("report", 1, 5, 6), ("crm", 2, 5, 6)],
    ),
    "over another workflow": (
        scene(
            caller("crm", 1, 1, workflow="top"),
            dependants=[
                Dependant("wf-report", "report", 1, ("report",)),
                Dependant("wf-top000", "top", 2, ("report", "top")),
            ],
            services={"board": Service(workflows=("top",))},
        ),
        [("report", 1, 0, 0), ("top", 2, 1, 1), ("crm", 3, 1, 1), ("board", 3, None, None)],
    ),
    "a host that nothing declares": (
        scene(caller("web"), touched=[host("x.test")]),
        [("web", 1, 3, 9), ("x.test", 1, 3, 9)],
    ),
    "a declared host": (
        scene(touched=[host("x.test")], services={"x": Service(hosts=("x.test",))}),
        [("x", 1, 0, 0)],
    ),
    "a declared host with a port": (
        scene(touched=[host("api.x.test:8443")], services={"x": Service(hosts=("*.X.test",))}),
        [("x", 1, 0, 0)],
    ),
    "another port": (
        scene(touched=[host("x.test:1")], services={"x": Service(hosts=("x.test:2",))}),
        [("x.test:1", 1, 0, 0)],
    ),
    "a host after a changed node": (scene(touched=[host("x.test", how="fed")]), [("x.test", 2, 0, 0)]),
    "a model is nobody's service": (scene(touched=[Touched("model", "gpt of openai", ("Ask",))]), []),
    "a declared database": (
        scene(
            touched=[Touched("database", "db.internal:5432", ("Store",))],
            middleware={"orders-db": Middleware(hosts=("db.internal",)), "cache": Middleware(hosts=("redis",))},
        ),
        [("orders-db", 1, 0, 0)],
    ),
    "a declared database of a service": (
        scene(
            touched=[Touched("database", "db.internal:5432", ("Store",))],
            services={"orders": Service(hosts=("db.*",))},
            middleware={"orders-db": Middleware(hosts=("db.internal",))},
        ),
        [("orders", 1, 0, 0)],
    ),
    "who depends on it, over another": (
        scene(
            caller("web"),
            services={
                "shop": Service(keys=("web",)),
                "portal": Service(depends_on=("shop",)),
                "app": Service(depends_on=("portal", "unknown")),
                "else": Service(depends_on=("other",)),
            },
        ),
        [("shop", 1, 3, 9), ("portal", 2, None, None), ("app", 3, None, None)],
    ),
    "circles end": (
        scene(
            caller("web"),
            services={"web": Service(depends_on=("app",)), "app": Service(depends_on=("web",))},
        ),
        [("web", 1, 3, 9), ("app", 2, None, None)],
    ),
    "the nearer way is followed": (
        scene(
            caller("web"),
            touched=[host("x.test", how="fed")],
            services={"web": Service(hosts=("x.test",)), "app": Service(depends_on=("web",))},
        ),
        [("web", 1, 3, 9), ("web", 2, 3, 9), ("app", 2, None, None)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_way_to_a_service(name: str) -> None:
    given, expected = CASES[name]
    assert ways(given) == expected


def test_the_graph_has_a_line_for_each_fact() -> None:
    given = scene(
        caller("web"),
        dependants=[
            Dependant("wf-report", "report", 1, ("report",)),
            Dependant("wf-top000", "top", 2, ("report", "top")),
        ],
        touched=[host("x.test"), Touched("model", "gpt of openai", ("Ask",))],
        services={
            "shop": Service(keys=("web",)),
            "app": Service(depends_on=("shop",)),
            "x": Service(hosts=("x.test",)),
        },
    )
    assert reached(given)[1] == [
        Edge("web", "is part of", "shop"),
        Edge("web", "calls", "pay"),
        Edge("report", "uses as a tool", "pay"),
        Edge("top", "uses as a tool", "report"),
        Edge("pay", "touches", "x.test"),
        Edge("x.test", "is part of", "x"),
        Edge("pay", "touches", "gpt of openai"),
        Edge("app", "depends on", "shop"),
    ]


@pytest.mark.parametrize(
    ("name", "services"),
    [
        ("web", ("shop",)),
        ("db.internal:5432", ("orders",)),
        ("mq.internal", ("bus",)),
        ("x.test", ()),
        ("shop", ()),
        ("nobody", ()),
    ],
)
def test_what_a_caller_or_an_address_is_part_of(name: str, services: tuple[str, ...]) -> None:
    middleware = {"orders-db": Middleware(hosts=("db.internal",)), "bus": Middleware(hosts=("mq.*",))}
    given = scene(
        caller("web"),
        touched=[
            Touched("database", "db.internal:5432", ("A",)),
            Touched("queue", "mq.internal", ("A",)),
            host("x.test"),
        ],
        services={
            "shop": Service(keys=("web",)),
            "orders": Service(hosts=("db.*",)),
            "x.test": Service(hosts=("x.*",)),
        },
        middleware=middleware,
    )
    assert parts_of(name, reached(given)[1], middleware) == services


@pytest.mark.parametrize(
    ("services", "modules"),
    [
        ({}, {"web": "pay"}),  # what nobody named is of the workflow's own module
        ({"shop": Service(keys=("web",), module="orders")}, {"shop": "orders"}),
        ({"shop": Service(keys=("web",)), "app": Service(depends_on=("shop",))}, {"shop": "pay", "app": "pay"}),
    ],
)
def test_the_module_of_a_service(services: dict[str, Service], modules: dict[str, str]) -> None:
    assert {one.service: one.module for one in reached(scene(caller("web"), services=services))[0]} == modules


HOWS = [
    (scene(caller("web")), "calls pay"),
    (scene(touched=[host("x.test")]), "is called at x.test by the changed node “Ask”"),
    (scene(touched=[host("x.test", how="any")]), "is called at x.test by the node “Ask”"),
    (scene(touched=[host("x.test", how="fed")]), "is called at x.test by the node “Ask”, after a changed node"),
    (scene(touched=[Touched("host", "x", ("A", "B"))]), "is called at x by the changed nodes “A”, “B”"),
    (scene(dependants=[Dependant("wf-r", "r", 1, ("r",))]), "uses pay as a tool"),
    (scene(dependants=[Dependant("wf-t", "t", 2, ("r", "t"))]), "uses r as a tool, which comes to pay"),
    (
        scene(caller("web", workflow="r"), dependants=[Dependant("wf-r", "r", 1, ("r",))]),
        "calls r, which uses pay as a tool",
    ),
    (
        scene(caller("web", workflow="u"), dependants=[Dependant("wf-u", "u", 3, ("r", "t", "u"))]),
        "calls u, which comes to pay over t and r",
    ),
]


@pytest.mark.parametrize(("given", "how"), HOWS, ids=[how for _, how in HOWS])
def test_how_it_comes_there_in_words(given: Scene, how: str) -> None:
    assert reached(given)[0][-1].how == how


def way(**more: Any) -> Reach:
    return Reach(**{"service": "shop", "calls": True, "steps": 1, "how": "calls pay", "module": "orders", **more})


SHOP = {"shop": Service(owner="Ada", criticality="high")}


@pytest.mark.parametrize(
    ("given", "effect", "catalogue", "risk", "reason"),
    [
        (
            way(day=3, week=9),
            "breaking",
            SHOP,
            "critical",
            f"It calls pay; fewer than {BUSY} requests in 24 h; callers break (Output “x” is gone); its criticality "
            "is high.",
        ),
        (
            way(day=BUSY, week=BUSY),
            "changed",
            SHOP,
            "high",
            f"It calls pay; at least {BUSY} requests in 24 h; callers need not change; its criticality is high.",
        ),
        (
            way(day=0, week=0),
            "changed",
            {},
            "low",
            "It calls pay; it made no request in 7 days; callers need not change; the catalogue does not know it.",
        ),
        (
            way(steps=2, how="depends on x"),
            "breaking",
            {},
            "medium",
            "It depends on x (2 steps away); its requests are not counted; callers break (Output “x” is gone); the "
            "catalogue does not know it.",
        ),
        (
            way(calls=False, how="is called", day=0, week=0),
            "breaking",
            SHOP,
            "low",
            "It is called; there was no request in 7 days; what it is sent may be another; its criticality is high.",
        ),
        (
            way(day=3, week=9),
            "same",
            SHOP,
            "low",
            f"It calls pay; fewer than {BUSY} requests in 24 h; both versions do the same; its criticality is high.",
        ),
        (
            way(day=3, week=9),
            "unknown",
            SHOP,
            "critical",
            f"It calls pay; fewer than {BUSY} requests in 24 h; what changes is not known; its criticality is high.",
        ),
    ],
)
def test_the_reason_says_what_the_risk_comes_from(
    given: Reach, effect: Any, catalogue: dict[str, Service], risk: str, reason: str
) -> None:
    found = service_of(given, effect, "Output “x” is gone.", catalogue)
    assert (found.risk, found.reason) == (risk, reason)
    assert found.responsible == ("Ada" if catalogue else NOBODY)
    assert (found.name, found.module) == ("shop", "orders")


def test_one_request_more_does_not_change_the_reason() -> None:
    """A plan that was seen is held against what is true when it is done."""
    before, after = (service_of(way(day=day, week=day), "breaking", "", SHOP) for day in (7, 8))
    assert before == after
