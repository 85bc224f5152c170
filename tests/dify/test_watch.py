"""The watch against the stand-in: what happens in Dify while nobody asks is noticed, kept, and told once."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from dify_server.graphs import graph
from lastgood.db import tables as t
from lastgood.db.tx import Tx, parse_time, utc_text
from lastgood.errors import DifyUnreachable
from lastgood.gateway.knowledge import StoreKnowledge
from lastgood.history import apps, channels, drafts, placements, versions, workflows
from lastgood.history.routes import Route
from lastgood.release.placing import standing
from lastgood.targets.dify.watch import share

from .capturing import WHO, Scene, secret
from .test_capture import published

# Both versions and both stores, not all four ways to put them together.
pytestmark = pytest.mark.parametrize(
    ("dify", "settings"), [("1.13.0", "postgres"), ("1.14.2", "sqlite")], indirect=True
)


def test_a_publish_is_in_history_at_the_next_look(scene: Scene) -> None:
    app = published(scene)
    scene.look()
    editor = scene.dify.world.add_account("bob")
    scene.dify.world.editor_saves(app, graph("new"), by=editor)
    scene.dify.world.somebody_publishes(app, "by bob", by=editor)
    found = scene.look()
    assert [one.versions for one in found.captured] == [1]
    held = scene.app(app)
    assert (held.live, held.live_by) == (scene.history(app)[-1].id, "bob")
    assert held.live_since is not None and held.live_since[:26] == app.versions[0].version.replace(" ", "T")
    assert scene.channel(app).version == scene.history(app)[2].id
    (event,) = scene.events("app.serves")
    assert (event["after"], event["by"]) == (held.live, "bob")
    assert scene.look().captured == ()


def test_a_pointer_that_was_moved_in_dify_s_database_is_seen(scene: Scene) -> None:
    app = published(scene)
    scene.look()
    scene.dify.world.point(app, app.versions[2])
    scene.look()
    assert scene.app(app).live == scene.history(app)[0].id


def test_drafts_are_kept_as_they_change_and_only_then(scene: Scene) -> None:
    app = published(scene)
    scene.look()
    assert scene.look().drafts == 0
    editor = scene.dify.world.add_account("bob")
    for output in ("a", "b", "b", "a"):
        scene.dify.world.editor_saves(app, graph(output), by=editor)
        scene.look()
    with scene.store.read() as tx:
        kept = drafts.listing(tx, workflows.by_pk(tx, scene.app(app).workflow_pk))
    assert len(kept) == 4 and [one.author for one in kept] == ["bob", "bob", "bob", "Owner"]
    assert kept[0].digest == kept[2].digest != kept[1].digest
    assert all(one.why == "seen" and one.changed_at for one in kept)


def test_a_secret_that_is_saved_twice_within_a_second_is_not_missed(scene: Scene) -> None:
    """Neither hash nor time tells of the second save; the look after a change looks at secrets once more."""
    app = published(scene)
    scene.dify.world.editor_saves(app, environment=[secret("KEY", "first")])
    scene.look()
    assert app.draft is not None
    app.draft.environment_variables[0]["value"] = "second"
    scene.look()
    with scene.store.read() as tx:
        kept = drafts.latest(tx, scene.app(app))
        assert kept is not None and drafts.secrets_of(tx, kept) == {"KEY": "second"}
    scene.asked()
    scene.look()
    assert not [one for one in scene.asked() if one.endswith("/export")]


def test_variables_alone_are_a_change(scene: Scene) -> None:
    app = published(scene)
    scene.look()
    plain = {"id": "e1", "name": "PLACE", "value": "Bern", "value_type": "string", "description": ""}
    scene.dify.world.editor_saves(app, environment=[plain])
    assert scene.look().drafts == 1


def test_drafts_go_when_they_are_old_and_many(scene: Scene) -> None:
    app = published(scene)
    for number in range(6):
        scene.dify.world.editor_saves(app, graph(f"d{number}"))
        scene.look()
    held = scene.app(app)

    def prune(days_on: float, keep: int) -> int:
        def work(tx: object) -> int:
            tx.now = utc_text(parse_time(tx.now) + timedelta(days=days_on))  # type: ignore[attr-defined]
            return drafts.prune(tx, held, keep=keep, days=30)  # type: ignore[arg-type]

        return scene.store.write(work)

    assert prune(29, 2) == 0  # many, and not old
    assert prune(31, 6) == 0  # old, and not many
    assert prune(31, 2) == 4
    with scene.store.read() as tx:
        assert [one.digest for one in drafts.listing(tx, workflows.by_pk(tx, held.workflow_pk))] == [
            one.digest for one in [drafts.latest(tx, held)] if one
        ] + [drafts.listing(tx, workflows.by_pk(tx, held.workflow_pk))[1].digest]


def test_a_deleted_version_is_told_once_and_stays_in_history(scene: Scene) -> None:
    app = published(scene)
    scene.look()
    assert scene.look().rows_gone == ()
    scene.dify.world.somebody_deletes(app, app.versions[1])
    found = scene.look()
    gone = scene.history(app)[1]
    assert found.rows_gone == (gone.id,)
    (event,) = scene.events("placement.gone")
    assert (event["version"], event["pinned"], event["should_be_live"]) == (gone.id, False, False)
    assert scene.look().rows_gone == () and len(scene.events("placement.gone")) == 1
    with scene.store.read() as tx:
        assert versions.document_of(tx, gone).nodes
        assert placements.current(tx, scene.app(app), gone) is None


@pytest.mark.parametrize("place", [1, 2])
def test_a_deleted_version_that_is_back_counts_again_and_is_told_once(scene: Scene, place: int) -> None:
    """As after a restore of Dify's own backup: the newest but one, which quick looks see, and the oldest."""
    app = published(scene)
    scene.look()
    row = app.versions[place]
    scene.dify.world.somebody_deletes(app, row)
    (gone,) = scene.look().rows_gone
    before = len(scene.history(app))
    app.versions.insert(place, row)
    assert scene.look().rows_gone == () and scene.look().rows_gone == ()
    (event,) = scene.events("placement.back")
    assert (event["version"], event["placed_id"]) == (gone, row.id) and event["gone_since"]
    with scene.store.read() as tx:
        placed = placements.current(tx, scene.app(app), versions.find(tx, gone))
    assert placed is not None and placed.placed_id == row.id and placed.gone_at is None
    assert len(scene.history(app)) == before and len(scene.events("placement.gone")) == 1
    scene.dify.world.somebody_deletes(app, row)
    assert scene.look().rows_gone == (gone,), "it may go once more"


def test_all_versions_of_an_app_may_go_and_come_back(scene: Scene) -> None:
    app = published(scene)
    scene.look()
    rows = list(app.versions)
    app.versions.clear()
    assert len(scene.look().rows_gone) == len(rows)
    app.versions.extend(rows)
    scene.look()
    assert [one.gone_at for one in scene.placed(app)] == [None] * len(rows)
    assert len(scene.events("placement.back")) == len(rows)


def test_the_gateway_that_learns_of_it_first_tells_of_it_and_nobody_tells_again(scene: Scene) -> None:
    app = published(scene)
    scene.look()
    held = scene.store.write(lambda tx: apps.set_way(tx, WHO, scene.app(app), "route"))
    row, gone = app.versions[0], scene.history(app)[2]
    scene.dify.world.point(app, app.versions[1])  # Dify refuses to delete the live one
    scene.dify.world.somebody_deletes(app, row)
    route = Route(
        held.workflow_id, held.slug, "workflow", "live", gone.id, 1, row.id, "prod", (), "k", app=held.app_id
    )
    for _ in range(2):
        StoreKnowledge(scene.store).deleted(route, row.id)
    scene.look()
    (event,) = scene.events("placement.gone")
    assert (event["version"], event["should_be_live"], event["placed_id"]) == (gone.id, True, row.id)
    with scene.store.read() as tx:
        audited = select(t.audit.c.actor, t.audit.c.resource).where(t.audit.c.action == "placement:gone")
        assert [tuple(one) for one in tx.connection.execute(audited)] == [
            ("gateway", f"workflow/{held.workflow_id}/version/{gone.id}")
        ]
        assert [one.app_id for one in standing.to_converge(tx)] == [held.app_id]


def test_a_version_that_the_gateway_pins_is_looked_at_more_often(scene: Scene) -> None:
    app, other = published(scene, "pinned"), published(scene, "other")
    scene.look()
    scene.store.write(lambda tx: apps.set_way(tx, WHO, scene.app(app), "route"))
    held = scene.history(app)

    def go_back(tx: object) -> None:
        workflow = workflows.by_pk(tx, scene.app(app).workflow_pk)  # type: ignore[arg-type]
        pointer = channels.get(tx, workflow, "live")  # type: ignore[arg-type]
        channels.move(tx, WHO, workflow, pointer, held[0], expected=1, kind="rollback")  # type: ignore[arg-type]

    scene.store.write(go_back)
    scene.dify.world.somebody_deletes(app, app.versions[2])
    scene.dify.world.somebody_deletes(other, other.versions[2])
    assert scene.look(later=70).rows_gone == (held[0].id,)
    (event,) = scene.events("placement.gone")
    assert event["pinned"] is True and event["elsewhere"] is None
    assert len(scene.look(later=300).rows_gone) == 1


def test_a_failed_version_that_is_published_again_is_an_alarm(scene: Scene) -> None:
    app = published(scene)
    scene.look()
    bad = scene.history(app)[1]
    scene.store.write(lambda tx: versions.set_state(tx, WHO, bad, "failed", kind="mark", reason="wrong totals"))
    assert scene.events("version.failed-again") == []
    moved = graph("name_1")
    moved["nodes"][0]["position"] = {"x": 5, "y": 6}  # another content, the same workflow
    scene.dify.world.editor_saves(app, moved, by=scene.dify.world.add_account("bob"))
    scene.dify.world.somebody_publishes(app)
    scene.look()
    (event,) = scene.events("version.failed-again")
    assert (event["failed"], event["version"]) == (bad.id, scene.history(app)[-1].id)
    assert event["version"] != bad.id


def test_an_app_that_is_gone_is_told_once_and_may_come_back(scene: Scene) -> None:
    app = published(scene)
    scene.look()
    taken = scene.dify.world.apps.pop(app.id)
    assert scene.look().apps_gone == ("Invoice intake",)
    assert scene.app(app).gone_at is not None
    assert scene.look().apps_gone == () and len(scene.events("app.gone")) == 1
    scene.dify.world.apps[app.id] = taken
    scene.look()
    assert scene.app(app).gone_at is None


def test_an_app_that_only_moved_between_pages_is_not_gone(scene: Scene) -> None:
    app = published(scene)
    scene.look()

    def without(request: object) -> object:
        from dify_server import Answer

        if getattr(request, "path", "") == "/console/api/apps":
            return Answer(200, {"data": [], "page": 1, "limit": 100, "total": 1, "has_more": False})
        return None

    scene.dify.hook = without  # type: ignore[assignment]
    assert scene.look().apps_gone == ()
    assert scene.app(app).gone_at is None


def test_what_an_operation_of_ours_moves_is_left_to_it(scene: Scene) -> None:
    from sqlalchemy import update

    from lastgood.db import tables as t

    app = published(scene)
    scene.look()
    held = scene.app(app)

    def applying(value: str | None) -> None:
        scene.store.write(
            lambda tx: tx.connection.execute(
                update(t.channel).where(t.channel.c.pk == held.channel_pk).values(applying=value)
            )
        )

    applying("op-abcdefghij")
    scene.dify.world.editor_saves(app, graph("ours"))
    scene.dify.world.somebody_publishes(app)
    scene.asked()
    found = scene.look()
    assert (found.captured, found.drafts) == ((), 0)
    assert scene.asked() == ["GET /console/api/apps"]
    applying(None)
    assert [one.versions for one in scene.look().captured] == [1]


def test_a_look_takes_no_more_requests_than_it_may_and_reaches_all_in_turn(scene: Scene) -> None:
    several = [published(scene, f"app {number}", 1) for number in range(6)]
    scene.look()
    assert share(20, 20) == 200
    seen: set[str] = set()
    for _ in range(8):
        scene.asked()
        scene.look(requests=3, later=20)
        asked = scene.asked()
        assert len(asked) <= 4
        seen |= {one for one in asked if one.endswith("/workflows")}
    assert seen == {f"GET /console/api/apps/{app.id}/workflows" for app in several}


def test_a_dead_server_ends_the_look_with_its_reason(scene: Scene) -> None:
    published(scene)
    scene.look()
    scene.dify.faults.drop("", times=1000, took_effect=False)
    with pytest.raises(DifyUnreachable):
        scene.look()
    scene.dify.faults.clear()
    scene.dify.world.people.expired.clear()
    scene.look()


# what Dify's logs prove


def test_enough_good_runs_prove_a_version(scene: Scene) -> None:
    app = published(scene)
    world = scene.dify.world
    for row, fine, broken in ((app.versions[2], 60, 0), (app.versions[1], 20, 0), (app.versions[0], 40, 20)):
        for number in range(fine + broken):
            world.record(app, row, "webhook" if number % 2 else "app-run", "succeeded" if number < fine else "failed")
    scene.capture()
    first, thin, worse = scene.history(app)
    assert [one.state for one in (first, thin, worse)] == ["stable", "candidate", "candidate"]
    with scene.store.read() as tx:
        (piece,) = versions.evidence_of(tx, first)
        workflow = workflows.by_pk(tx, scene.app(app).workflow_pk)
        good = channels.last_good(tx, workflow, channels.get(tx, workflow))
    assert piece["kind"] == "served"
    assert piece["detail"]["reason"] == (
        "served 60 requests, 0.0 % failed (at most 6.0 %, 95 % sure) by Dify's own logs"
    )
    assert piece["detail"]["origins"] == {"service-api": 30, "webhook": 30}
    assert good is not None and good.id == first.id


def test_no_run_is_counted_twice_and_none_is_left_out(scene: Scene) -> None:
    from lastgood.history import served

    app = published(scene, times=1)
    world = scene.dify.world
    total = 0
    for number in (3, 0, 150, 1, 250, 7):
        for _ in range(number):
            world.record(app, app.versions[0])
        total += number
        scene.look()
        scene.look()
        with scene.store.read() as tx:
            found = served.total(tx, scene.history(app)[0])
        assert found is not None and found.runs == total


def test_runs_that_go_on_and_versions_that_come_late_are_counted_when_they_can_be(scene: Scene) -> None:
    from lastgood.history import served

    app = published(scene, times=1)
    world = scene.dify.world
    scene.look()
    going = world.record(app, app.versions[0], status="running")
    world.record(app, app.versions[0])
    scene.look()
    going["run"].status = going["status"] = "succeeded"
    world.record(app, app.versions[0], status="stopped")
    scene.look()
    with scene.store.read() as tx:
        found = served.total(tx, scene.history(app)[0])
    assert found is not None and (found.runs, found.failed) == (2, 0)


def test_evidence_condemns_nobody_and_lifts_no_verdict(scene: Scene) -> None:
    app = published(scene, times=1)
    scene.look()
    bad = scene.history(app)[0]
    scene.store.write(lambda tx: versions.set_state(tx, WHO, bad, "failed", kind="mark", reason="wrong totals"))
    for _ in range(100):
        scene.dify.world.record(app, app.versions[0])
    scene.look()
    assert scene.history(app)[0].state == "failed"


def test_an_app_that_the_server_cannot_answer_for_hinders_no_other(scene: Scene) -> None:
    bad, good = published(scene, "bad"), published(scene, "good")
    scene.look()
    scene.dify.faults.drop(lambda request: bad.id in request.path, times=1000, took_effect=False)
    scene.dify.world.editor_saves(good, graph("more"))
    found = scene.look(later=30)
    assert found.drafts == 1 and any(problem.startswith("bad: ") for problem in found.problems)
    assert scene.look(later=30).drafts == 0


def test_a_server_that_does_not_tell_what_is_live_is_asked_for_it(scene: Scene) -> None:
    """As a newer server may: the list of apps tells the same of every app, and the draft's look finds publishes."""
    from dify_server import shapes

    told = shapes.listed
    app = published(scene)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "listed", lambda *args: {**told(*args), "workflow": None, "updated_at": 1})
        scene.look()
        assert scene.app(app).live_id == app.versions[0].id
        scene.asked()
        scene.look(later=20)
        assert len(scene.asked()) == 2
        scene.dify.world.somebody_publishes(app)
        scene.look(later=20)
    assert scene.app(app).live_id == app.versions[0].id and len(scene.placed(app)) == 4


def test_an_operation_that_begins_while_an_app_is_read_keeps_its_own_rows(scene: Scene) -> None:
    from sqlalchemy import update

    from lastgood.db import tables as t

    app = published(scene)
    scene.look()
    held = scene.app(app)
    mine = update(t.channel).where(t.channel.c.pk == held.channel_pk)

    def begin() -> None:
        scene.store.write(lambda tx: tx.connection.execute(mine.values(applying="op-abcdefghij")))
        scene.dify.world.editor_saves(app, graph("ours"))
        scene.dify.world.somebody_publishes(app)

    scene.dify.world.somebody_publishes(app)
    scene.dify.faults.before("GET /workflows", begin)
    scene.look()
    assert len(scene.placed(app)) == 3 and scene.app(app).live_id == held.live_id

    def end(tx: Tx) -> None:
        version = versions.by_pk(tx, scene.placed(app)[0].version_pk)
        placements.add(
            tx, held, version, app.versions[0].id, label=app.versions[0].version, hash="h", operation="op-a"
        )
        apps.saw_live(tx, held, app.versions[0].id, version, since=None, by="us")
        tx.connection.execute(mine.values(applying=None))

    scene.store.write(end)
    scene.look()
    rows = scene.placed(app)
    assert len(rows) == 5 and [one.operation for one in rows] == [None] * 4 + ["op-a"]
    assert scene.app(app).live_by == "us"
