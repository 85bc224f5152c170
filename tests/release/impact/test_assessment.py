"""The impact of moves from what the stores hold, on both databases."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Engine, insert, text, update

from dsl.documents import edge, graph, node
from lastgood.catalogue import Middleware, Service
from lastgood.db import tables
from lastgood.db.runs import LATENCY_BUCKETS, caller, calls
from lastgood.db.store import Store, open_runs
from lastgood.dsl import Document
from lastgood.errors import NothingLive, StoreUnreachable, UnknownChannel, UnknownVersion, UnknownWorkflow
from lastgood.history import keys
from lastgood.release.impact import Impact, assess, of_workflow
from lastgood.release.impact.services import NOBODY
from lastgood.release.means import Means
from lastgood.release.plan import PlannedMove
from lastgood.release.verification import Upstream
from lastgood.settings import Settings
from support.scene import ALICE, Scene, scene
from support.stores import on_sqlite


def no_engine() -> Upstream:
    raise AssertionError("an impact runs nothing")


@dataclass
class Place:
    """A store with workflows in it, and the requests that a gateway counted."""

    store: Store
    runs: Engine | None
    declared: Settings

    def workflow(self, slug: str, **more: Any) -> Scene:
        return scene(self.store, slug, **more)

    def key(self, of: Scene, name: str, channel: str = "live") -> str:
        made = self.store.write(lambda tx: keys.create(tx, ALICE, of.workflow, name=name, channel=channel))
        return str(made["id"])

    def called(self, of: Scene, key: str, agent: str, **ages: int) -> None:
        """Requests by how long ago (``hours_3=5``: five, three hours ago)."""
        assert self.runs is not None
        with self.runs.begin() as connection:
            made = insert(caller).values(workflow_id=of.workflow.id, key_id=key, user_agent=agent)
            pk = connection.execute(made.returning(caller.c.pk)).scalar_one()
            for age, count in ages.items():
                at = time.time() - 3600 * int(age.removeprefix("hours_"))
                names = ("errors", "refused", "unseen", "lost", "total_ms", "max_ms", "generation")
                zero = dict.fromkeys((*names, *(f"bucket_{n}" for n in range(LATENCY_BUCKETS))), 0)
                minute = int(at // 60 * 60)
                row = {"caller_pk": pk, "at": minute, "span": 60, "channel": "live", "version_id": "v", "pins": False}
                connection.execute(insert(calls).values(**row, **zero, requests=count, last_at=at))

    @property
    def means(self) -> Means:
        runs = self.runs
        return Means(_with(self.store, self.declared), no_engine, lambda: runs)

    def declare(self, **catalogue: Any) -> None:
        self.declared = self.declared.model_copy(update=catalogue)


def _with(store: Store, settings: Settings) -> Store:
    store.settings = settings
    return store


@pytest.fixture
def place(store: Store) -> Iterator[Place]:
    runs = open_runs(store.settings)
    yield Place(store, runs, store.settings)
    runs.dispose()


def web(says: str, *, host: str = "x.test", out: str = "said") -> Document:
    """start → template → request → end, whose template says `says` and whose output is called `out`."""
    given = [{"variable": out, "value_selector": ["say", "output"]}]
    body = {"type": "raw-text", "data": [{"type": "text", "value": "{{#say.output#}}"}]}
    parts = [
        node("begin", "start", variables=[]),
        node("say", "template-transform", title="Say", template=says, variables=[]),
        node("ask", "http-request", title="Ask", method="post", url=f"https://{host}/v1", body=body),
        node("done", "end", outputs=given),
    ]
    return graph(*parts, edge("begin", "say"), edge("say", "ask"), edge("ask", "done"))


def using(name: str) -> Document:
    """A workflow that uses the tool `name`."""
    tool = {"provider_type": "workflow", "provider_id": "0c1f5d9e-uuid", "provider_name": name, "tool_name": name}
    parts = [
        node("begin", "start", variables=[]),
        node("use", "tool", title="Use", **tool),
        node("done", "end", outputs=[]),
    ]
    return graph(*parts, edge("begin", "use"), edge("use", "done"))


def live(of: Scene, document: Document) -> str:
    version = of.push(document).version
    of.move(version)
    return version.id


def affected(impact: Impact) -> dict[str, tuple[str, str]]:
    return {one.name: (one.risk, one.responsible) for one in impact.services}


def test_callers_of_a_day_and_of_a_week(place: Place) -> None:
    pay = place.workflow("pay")
    old = pay.push(web("one")).version
    live(pay, web("two"))
    busy, quiet = place.key(pay, "web"), place.key(pay, "batch")
    place.key(pay, "idle")
    place.called(pay, busy, "shop/1.2", hours_1=150, hours_30=4, hours_200=1000)
    place.called(pay, busy, "curl/8", hours_2=1)
    place.called(pay, quiet, "cron", hours_200=7)
    found = of_workflow(place.means, "pay", to=old.id)
    assert [(one.name, one.user_agent, one.day, one.week) for one in found.parts[0].callers] == [
        ("web", "shop/1.2", 150, 154),
        ("web", "curl/8", 1, 1),
        ("batch", "", 0, 0),
        ("idle", "", 0, 0),
    ]
    assert found.parts[0].effect == "changed"
    assert affected(found) == {
        "web": ("medium", NOBODY),
        "batch": ("low", NOBODY),
        "idle": ("low", NOBODY),
        "x.test": ("medium", NOBODY),  # each request to pay goes on to it
    }


def test_a_break_of_callers_is_told_with_its_proof(place: Place) -> None:
    pay = place.workflow("pay")
    old = pay.push(web("one", out="other")).version
    live(pay, web("one"))
    place.called(pay, place.key(pay, "web"), "shop/1.2", hours_1=5)
    place.declare(services={"shop": Service(owner="Ada", criticality="high", keys=("web",), module="orders")})
    found = of_workflow(place.means, "pay", to=old.id)
    assert found.parts[0].effect == "breaking"
    assert "Output “said” is called “other” now" in found.parts[0].sentence
    [shop] = found.services
    assert (shop.name, shop.module, shop.risk, shop.responsible) == ("shop", "orders", "critical", "Ada")
    assert "callers break (Output “said” is called “other” now)" in shop.reason


def test_the_last_good_version_is_the_default(place: Place) -> None:
    pay = place.workflow("pay")
    good, _ = pay.versions("good", "candidate")
    pay.move(good)
    good = pay.mark(good, "stable")
    now = live(pay, web("now"))
    [part] = of_workflow(place.means, "pay").parts
    assert (part.from_version, part.to_version) == (now, good.id)


def test_where_no_version_is_good_any_change_is_meant(place: Place) -> None:
    pay = place.workflow("pay")
    now = live(pay, web("now"))
    found = of_workflow(place.means, "pay")
    [part] = found.parts
    assert (part.from_version, part.to_version, part.effect) == (now, None, "unknown")
    assert [(one.name, one.how, one.side) for one in part.touched] == [("x.test", "any", "before")]
    assert found.services[0].reason.startswith("It is called at x.test by the node “Ask”;")


def test_a_channel_that_is_new(place: Place) -> None:
    pay = place.workflow("pay")
    first = pay.push(web("one")).version
    [part] = of_workflow(place.means, "pay", channel="staging", to=first.id).parts
    assert (part.from_version, part.to_version, part.effect) == (None, first.id, "changed")


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"workflow": "nope"}, UnknownWorkflow),
        ({"workflow": "pay", "channel": "nope"}, UnknownChannel),
        ({"workflow": "pay", "channel": "empty"}, NothingLive),
        ({"workflow": "pay", "to": "v-20200101-01"}, UnknownVersion),
    ],
)
@on_sqlite
def test_what_is_not_there_is_said(place: Place, asked: dict[str, str], error: type[Exception]) -> None:
    pay = place.workflow("pay")
    live(pay, web("one"))
    place.key(pay, "web", channel="empty")
    with pytest.raises(error):
        of_workflow(place.means, **asked)


def test_a_move_of_the_canvas_touches_nothing_and_risks_nothing(place: Place) -> None:
    pay = place.workflow("pay")
    moved = web("one").data
    moved["workflow"]["graph"]["nodes"][1]["position"] = {"x": 500, "y": 9}
    old = pay.push(Document(moved)).version
    live(pay, web("one"))
    place.key(pay, "web")
    found = of_workflow(place.means, "pay", to=old.id)
    assert (found.parts[0].effect, found.parts[0].touched) == ("same", ())
    assert affected(found) == {"web": ("low", NOBODY)}


def test_who_uses_it_as_a_tool_over_others_and_in_circles(place: Place) -> None:
    pay, report, top = (place.workflow(slug) for slug in ("pay", "report", "top"))
    old = pay.push(web("one", out="other")).version
    live(report, using("Pay"))
    live(top, using("report"))
    live(pay, graph(*web("two").nodes, using("top").nodes[1], *web("two").edges, edge("say", "use")))
    unused = place.workflow("unused")
    unused.push(using("pay"))  # kept, and live nowhere
    place.called(top, place.key(top, "crm"), "crm/2", hours_1=5)
    place.declare(services={"board": Service(owner="Cy", workflows=("top",), criticality="critical")})
    found = of_workflow(place.means, "pay", to=old.id)
    assert [(one.slug, one.steps, one.through) for one in found.parts[0].dependants] == [
        ("report", 1, ("report",)),
        ("top", 2, ("report", "top")),
    ]
    assert {name: risk for name, (risk, _) in affected(found).items()} == {
        "board": "critical",
        "report": "medium",
        "top": "medium",
        "crm": "medium",
        "x.test": "low",
    }
    assert [one.name for one in found.parts[0].callers] == ["crm"]
    assert any("stays on the version of pay" in note for note in found.parts[0].notes)
    assert of_workflow(place.means, "pay", channel="staging", to=old.id).parts[0].dependants == ()


def test_a_tool_that_may_be_anything_is_a_note(place: Place) -> None:
    pay, report = place.workflow("pay"), place.workflow("report")
    live(report, using("get_assets"))
    live(pay, web("one"))
    assert any("“get_assets”" in note for note in of_workflow(place.means, "pay").parts[0].notes)


def test_middleware_by_its_hosts_and_what_cannot_be_known(place: Place) -> None:
    pay = place.workflow("pay")
    old = pay.push(web("one")).version
    live(pay, web("one", host="mq.internal"))
    place.declare(
        middleware={
            "orders-bus": Middleware(hosts=("mq.internal",)),
            "cache": Middleware(kind="redis"),
            "others": Middleware(workflows=("nobody-*",)),
        }
    )
    found = of_workflow(place.means, "pay", to=old.id)
    assert set(affected(found)) == {"x.test", "orders-bus"}
    [note] = found.parts[0].notes
    assert note.startswith("Whether a changed node touches cache is not known")


def planned(of: Scene, start: str | None, to: str) -> PlannedMove:
    return PlannedMove(of.workflow.id, of.workflow.slug, "live", start, to, 1)


def test_several_moves_are_one_impact(place: Place) -> None:
    pay, bill = place.workflow("pay"), place.workflow("bill")
    moves = []
    for one, out in ((pay, "said"), (bill, "other")):
        old = one.push(web("old", out=out)).version
        moves.append(planned(one, live(one, web("new")), old.id))
        place.key(one, "web")
    found = assess(place.means, moves)
    assert [one.workflow for one in found.parts] == ["pay", "bill"]
    assert [(one.name, one.risk) for one in found.services] == [("web", "medium"), ("x.test", "low")]
    assert "callers break" in found.services[0].reason  # the worse of the two
    assert assess(place.means, []).services == ()


def test_two_readings_of_the_same_are_equal(place: Place) -> None:
    pay, report = place.workflow("pay"), place.workflow("report")
    live(report, using("pay"))
    old = pay.push(web("one", out="other")).version
    move = planned(pay, live(pay, web("two")), old.id)
    place.called(pay, place.key(pay, "web"), "shop/1.2", hours_1=5)
    assert assess(place.means, [move]) == assess(place.means, [move])


@on_sqlite
def test_without_records_of_requests_it_is_said_so(place: Place) -> None:
    pay = place.workflow("pay")
    old = pay.push(web("one")).version
    live(pay, web("two"))
    place.key(pay, "web")
    assert place.runs is not None

    def broken() -> Engine | None:
        raise StoreUnreachable(url="runs.db", reason="locked")

    def tables_gone() -> Engine | None:
        assert place.runs is not None
        with place.runs.begin() as connection:
            connection.execute(text("DROP TABLE IF EXISTS calls"))
        return place.runs

    ways: list[Callable[[], Engine | None]] = [lambda: None, broken, tables_gone]
    for runs in ways:
        means = Means(place.store, no_engine, runs)
        found = of_workflow(means, "pay", to=old.id)
        assert not found.parts[0].counted
        assert [(one.name, one.day, one.week) for one in found.parts[0].callers] == [("web", None, None)]
        assert "its requests are not counted" in next(one for one in found.services if one.name == "web").reason


def test_a_version_that_cannot_be_read_keeps_nobody_from_looking(place: Place) -> None:
    pay, report = place.workflow("pay"), place.workflow("report")
    live(report, using("damaged-before-it-was-read"))
    old = pay.push(web("one")).version
    now = live(pay, web("damaged too"))
    place.key(pay, "web")
    place.store.write(lambda tx: tx.connection.execute(update(tables.blob).values(body=b"none of it")))
    found = of_workflow(place.means, "pay", to=old.id)
    assert found.parts[0].effect == "unknown"
    assert found.parts[0].sentence.startswith(f"{now} cannot be read")
    assert found.parts[0].notes == (
        "The live version of pay cannot be read, so what it uses is not known.",
        "The live version of report cannot be read, so what it uses is not known.",
    )
    assert affected(found)["web"][0] == "medium"  # no request, and nobody knows what changes
