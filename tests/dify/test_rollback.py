"""A rollback on a Dify app: what is live, what is kept, and what is left as it was."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from dify.ground import PLAIN, SERVER, Ground, content, graph_with, ground, two, variables
from dify_server import Answer
from dify_server.world import ADMIN_KEY
from lastgood.db import tables as t
from lastgood.db.tx import Tx, parse_time, utc_now, utc_text
from lastgood.errors import NothingToHeal, PlanRefused
from lastgood.history import apps, channels, drafts, placements, versions, workflows
from lastgood.history.apps import Way
from lastgood.release import converging, operation, planning
from lastgood.release.placing import looking, redraft, standing
from lastgood.release.plan import Kind
from lastgood.release.planning import Wanted
from lastgood.targets.dify import AdminKey, learn, servers
from support.scene import ALICE, scene


@pytest.fixture(params=["1.13.0", "1.14.2"])
def here(request: pytest.FixtureRequest, sqlite_template: Path, home: Path) -> Iterator[Ground]:
    with ground(request.param, sqlite_template, home) as made:
        yield made


@pytest.mark.parametrize("way", ["publish", "restore"])
def test_a_rollback_serves_the_good_version_and_leaves_the_draft_as_it_was(here: Ground, way: Way) -> None:
    here.set_way(way)
    before, live = content(here.fake.draft), here.fake.live
    good = here.fake.versions[1]
    done = here.run()
    assert done.state == "succeeded", done.report
    assert here.channel.version == here.good
    assert here.channel.applying is None
    assert content(here.fake.live) == content(good)
    assert content(here.fake.draft) == before
    assert here.fake.live is not live
    assert here.placed(here.fake.live) == here.good
    assert here.app.live == here.good
    assert (here.fake.live.marked_comment if here.fake.live else "").startswith(f"lastgood {done.id} to ")
    undone = here.undo(done.id)
    assert undone.state == "undone", undone.report
    assert here.channel.version == here.bad
    assert content(here.fake.live) == content(live)
    assert content(here.fake.draft) == before


def test_the_draft_is_kept_before_it_is_written_over_with_its_secrets(here: Ground) -> None:
    done = here.run()
    kept = done.steps["keep-draft"].detail["draft"]
    with here.store.read() as tx:
        state = drafts.get(tx, kept)
        assert drafts.secrets_of(tx, state) == {"TOKEN": "three"}
        document = drafts.document_of(tx, state)
    assert here.fake.draft is not None
    assert document.graph == here.fake.draft.graph
    assert "three" not in str(done.as_data()) + done.report


def test_an_editor_who_saves_before_the_write_is_not_written_over(here: Ground) -> None:
    mine = two("theirs")
    here.dify.faults.before("POST /workflows/draft", lambda: here.dify.world.editor_saves(here.fake, mine))
    done = here.run()
    assert done.state == "failed"
    assert here.channel.version == here.bad
    assert here.channel.applying is None
    assert here.fake.draft is not None
    assert here.fake.draft.graph == mine
    assert here.placed(here.fake.live) == here.bad
    assert "was changed by Owner" in done.summary
    assert mine in here.graphs_kept()


@pytest.mark.parametrize("correct", [True, False])
def test_what_an_editor_saves_between_our_write_and_our_publish_is_told(here: Ground, correct: bool) -> None:
    """And kept, and published over once where the setting says so."""
    if not correct:
        here.forbid_correction()
    mine = two("theirs")
    here.dify.faults.before("POST /workflows/publish", lambda: here.dify.world.editor_saves(here.fake, mine))
    done = here.run()
    assert mine in here.graphs_kept()
    if not correct:
        assert done.state == "failed"
        assert here.channel.version == here.bad
        assert here.stands() in ("ahead", "drifted")
        assert "serves" in done.summary
        return
    assert done.state == "succeeded", done.report
    assert "kept as dr-" in done.report
    assert here.fake.live is not None
    assert here.fake.live.graph == two("total")
    assert here.placed(here.fake.live) == here.good
    assert here.stands() == "in step"


def test_variables_alone_saved_in_between_are_found_by_reading_back(here: Ground) -> None:
    """No hash of Dify's covers them."""
    here.dify.faults.before(
        "POST /workflows/publish",
        lambda: here.dify.world.editor_saves(here.fake, environment=variables("leaked", "asia")),
    )
    done = here.run()
    assert done.state == "succeeded", done.report
    assert here.fake.live is not None
    assert here.fake.live.environment_variables == here.fake.versions[-1].environment_variables
    assert "leaked" in here.secrets_kept()


def test_a_publish_by_somebody_while_it_runs_is_left_as_it_is(here: Ground) -> None:
    def publish() -> None:
        here.dify.world.editor_saves(here.fake, two("theirs"))
        here.dify.world.somebody_publishes(here.fake, "mine")

    here.dify.faults.after("POST /workflows/publish", publish)
    done = here.run()
    assert done.state == "failed"
    assert "published mine" in done.summary
    assert here.channel.version == here.bad
    assert here.channel.applying is None
    assert here.fake.live is not None
    assert here.fake.live.marked_name == "mine"
    assert here.stands() == "ahead"
    assert here.app.live == here.placed(here.fake.live)


def test_a_draft_that_was_changed_after_the_publish_is_left_and_told(here: Ground) -> None:
    mine = two("theirs")
    here.dify.faults.before("POST /workflows/draft", lambda: here.dify.world.editor_saves(here.fake, mine), nth=2)
    done = here.run()
    assert done.state == "succeeded", done.report
    assert here.fake.draft is not None
    assert here.fake.draft.graph == mine
    assert "changed the draft meanwhile" in done.report
    assert "lastgood draft restore invoices dr-" in done.report
    assert mine in here.graphs_kept()


@pytest.mark.parametrize("match", ["POST /workflows/draft", "POST /workflows/publish"])
@pytest.mark.parametrize("took_effect", [True, False])
def test_a_lost_reply_or_request_is_looked_after(here: Ground, match: str, took_effect: bool) -> None:
    before = content(here.fake.draft)
    here.dify.faults.drop(match, took_effect=took_effect)
    done = here.run()
    assert done.state == ("succeeded" if took_effect else "failed"), done.report
    assert here.channel.version == (here.good if took_effect else here.bad)
    assert here.channel.applying is None
    assert here.placed(here.fake.live) == here.channel.version
    assert content(here.fake.draft) == before


def test_a_server_that_goes_away_half_way_leaves_a_sentence_and_the_draft_in_history(here: Ground) -> None:
    work = content(here.fake.draft)[0]

    def cut() -> None:
        here.dify.faults.drop("", times=1000, took_effect=False)

    here.dify.faults.after("POST /workflows/publish", cut)
    done = here.run()
    assert done.state == "failed"
    assert here.channel.applying is None
    assert "is not known" in done.summary
    assert here.stands() == "unknown"
    assert work in here.graphs_kept()
    here.dify.faults.clear()
    looking.look(here.means, here.app)
    assert here.stands() == "ahead"
    assert here.app.live == here.good
    kept = done.steps["keep-draft"].detail["draft"]
    redraft.restore(here.means, ALICE, here.workflow, kept)
    assert here.fake.draft is not None
    assert here.fake.draft.graph == work


def test_it_goes_from_what_dify_really_serves(here: Ground) -> None:
    """Somebody published since: the channel's own version may be the last good one."""
    here.run()
    here.dify.world.editor_saves(here.fake, two("newer"))
    here.dify.world.somebody_publishes(here.fake, "newer")
    done = here.run()
    assert done.state == "succeeded", done.report
    assert here.channel.version == here.good
    with here.store.read() as tx:
        log = channels.moves(tx, workflows.find(tx, here.workflow), limit=2)
    assert [(one.kind, one.to_id == here.good) for one in log] == [("rollback", True), ("adopt", False)]
    (told,) = [one for one in done.plan.findings if one.subject.endswith("drift")]
    assert "published by Owner" in told.sentence
    undone = here.undo(done.id)
    assert undone.state == "undone"
    assert here.fake.live is not None
    assert here.fake.live.graph == two("newer")


def test_a_draft_that_still_holds_what_was_rolled_back_is_warned_of(here: Ground) -> None:
    live = here.fake.live
    assert live is not None
    here.dify.world.editor_saves(
        here.fake, live.graph, environment=live.environment_variables, conversation=live.conversation_variables
    )
    done = here.run()
    assert done.state == "succeeded"
    assert f"still holds {here.bad}" in done.report
    redraft.restore(here.means, ALICE, here.workflow, here.good)
    assert content(here.fake.draft) == content(here.fake.live)


def test_a_secret_that_nobody_knows_is_refused_before_anything_is_written(here: Ground) -> None:
    """The version has it, its value is not kept, and the draft has none of that name."""
    here.store.write(lambda tx: tx.connection.execute(t.secret.delete()))
    here.dify.world.editor_saves(here.fake, environment=[PLAIN[0]])
    asked = len(here.dify.requests)
    with pytest.raises(PlanRefused, match="TOKEN"):
        here.run(force=True)
    assert [one.method for one in here.dify.requests[asked:] if one.path.endswith(("/draft", "/publish"))].count(
        "POST"
    ) == 0


def test_a_secret_without_a_value_here_keeps_the_draft_s(here: Ground) -> None:
    here.store.write(lambda tx: tx.connection.execute(t.secret.delete()))
    done = here.run()
    assert done.state == "succeeded", done.report
    assert here.fake.live is not None
    assert "three" in [one["value"] for one in here.fake.live.environment_variables]
    assert any("TOKEN" in one.sentence and one.verdict == "warn" for one in done.plan.findings)


def test_a_server_that_cannot_be_asked_refuses_a_write(here: Ground) -> None:
    here.dify.faults.drop("", times=1000, took_effect=False)
    with pytest.raises(PlanRefused, match="cannot be asked"):
        here.run(force=True)
    here.set_way("route")
    done = here.run()
    assert done.state == "succeeded", done.report
    assert here.channel.version == here.good


def test_by_route_the_pointer_moves_at_once_and_the_app_follows(here: Ground) -> None:
    here.set_way("route")
    asked = here.dify.asked(f"/console/api/apps/{here.fake.id}/workflows/publish") + 1
    done = here.run()
    assert done.state == "succeeded"
    assert here.dify.asked(f"/console/api/apps/{here.fake.id}/workflows/publish") == asked
    assert here.channel.version == here.good
    assert here.stands() == "converging"
    with here.store.read() as tx:
        (app,) = standing.to_converge(tx)
    entered = converging.enter(here.means, ALICE, app, "converge")
    assert entered is not None
    generation = here.channel.generation
    given = operation.run(here.means, entered.id).operation
    assert given.state == "succeeded", given.report
    assert here.stands() == "in step"
    assert here.channel.generation == generation
    assert here.placed(here.fake.live) == here.good
    with here.store.read() as tx:
        assert standing.to_converge(tx) == []


def test_a_row_that_the_gateway_names_and_somebody_deletes_is_published_again(here: Ground) -> None:
    here.set_way("route")
    here.run()
    here.dify.world.somebody_deletes(here.fake, here.fake.versions[1])
    with here.store.read() as tx:
        version = versions.find(tx, here.good)
    assert looking.gone(here.means, here.app, here.means.dify(SERVER), version)
    with here.store.read() as tx:
        (app,) = standing.to_converge(tx)
    entered = converging.enter(here.means, ALICE, app, "converge")
    assert entered is not None
    assert operation.run(here.means, entered.id).operation.state == "succeeded"
    assert here.placed(here.fake.live) == here.good


def test_a_row_that_is_back_and_live_is_known_again_by_looking(here: Ground) -> None:
    row = here.fake.live
    assert row is not None
    with here.store.read() as tx:
        held = placements.find(tx, here.app, row.id)
    assert held is not None
    here.store.write(lambda tx: placements.set_gone(tx, ALICE, here.app, held))
    seen = looking.look(here.means, here.app)
    assert seen.version is not None and seen.version.id == here.bad
    with here.store.read() as tx:
        assert placements.current(tx, here.app, seen.version) is not None


def aged(here: Ground, id: str) -> str:
    """The operation `id`, accepted two minutes ago."""
    at = utc_text(parse_time(utc_now()) - timedelta(minutes=2))
    here.store.write(
        lambda tx: tx.connection.execute(update(t.operation).where(t.operation.c.id == id).values(created_at=at))
    )
    return id


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("kind", ["rollback", "publish"])
def test_an_old_plan_looks_at_dify_again_and_stops_where_it_cannot_be_asked(
    here: Ground, kind: Kind, force: bool
) -> None:
    id = aged(here, here.enter(kind, to=here.good, force=force))
    here.dify.faults.fail("GET /workflows/publish", 500, times=1)
    done = operation.run(here.means, id).operation
    assert done.state == "failed"
    assert "cannot be asked what it serves" in done.report
    assert set(done.steps) == {"plan", "preflight", "notify", "report"}
    assert here.channel.version == here.bad


def test_an_old_plan_by_route_stops_where_its_row_is_gone(here: Ground) -> None:
    here.set_way("route")
    id = aged(here, here.enter(to=here.good))
    here.dify.world.somebody_deletes(here.fake, here.fake.versions[1])
    with here.store.read() as tx:
        version = versions.find(tx, here.good)
    assert looking.gone(here.means, here.app, here.means.dify(SERVER), version)
    done = operation.run(here.means, id).operation
    assert done.state == "failed"
    assert "can no longer be moved to by `route`, only by `publish`" in done.report


def test_an_old_plan_tells_what_dify_serves_now(here: Ground) -> None:
    id = aged(here, here.enter(to=here.good))
    here.dify.world.editor_saves(here.fake, two("newer"))
    here.dify.world.somebody_publishes(here.fake, "newer")
    done = operation.run(here.means, id).operation
    found = [one["subject"] for one in done.steps["preflight"].detail["findings"] if one["verdict"] == "warn"]
    assert "invoices/live drift" in found


def test_healing_puts_ours_back(here: Ground) -> None:
    here.run()
    here.dify.world.editor_saves(here.fake, two("newer"))
    here.dify.world.somebody_publishes(here.fake, "newer")
    looking.look(here.means, here.app)
    assert here.stands() == "ahead"
    done = here.run("heal")
    assert done.state == "succeeded", done.report
    assert here.stands() == "in step"
    assert here.channel.version == here.good
    with pytest.raises(NothingToHeal):
        here.run("heal")


def test_several_move_together_by_route_only(here: Ground) -> None:
    other = scene(here.store, "beside")
    good, bad = other.versions("good", "bad")
    other.mark(good, "stable")
    other.move(bad)
    two_moves = [Wanted(here.workflow), Wanted("beside")]
    plan = planning.make(here.means, "rollback", two_moves, planning.draft(here.means.settings, verify=False))
    (refused,) = [one for one in plan.refusals() if one.check == "way"]
    assert refused.subject == "invoices/live together"
    assert "`lastgood bind invoices --way route`" in refused.sentence


def test_apps_on_dify_move_together_by_route_and_follow_each_by_itself(here: Ground) -> None:
    """With a workflow on the embedded engine among them: one operation, one transaction, one undo."""
    world = here.dify.world
    second = world.add_app("beside", graph=two("right"))
    rows = [world.somebody_publishes(second)]
    world.editor_saves(second, two("wrong"))
    rows.append(world.somebody_publishes(second))
    here.set_way("route")
    here.capture()
    engine = scene(here.store, "embedded")
    fine, worse = engine.versions("fine", "worse")
    engine.mark(fine, "stable")
    engine.move(worse)

    def beside() -> tuple[apps.App, channels.Channel]:
        with here.store.read() as tx:
            app = apps.find(tx, SERVER, second.id)
            assert app is not None
            return app, channels.get(tx, workflows.by_pk(tx, app.workflow_pk))

    with here.store.read() as tx:
        placed = [placements.find(tx, beside()[0], row.id) for row in rows]
    right, wrong = (one.version for one in placed if one is not None)

    def work(tx: Tx) -> None:
        apps.set_way(tx, ALICE, beside()[0], "route")
        versions.set_state(tx, ALICE, versions.find(tx, right), "stable", kind="mark", reason="it is good")

    here.store.write(work)
    wanted = [Wanted("invoices"), Wanted("beside"), Wanted("embedded")]
    choices = planning.draft(here.means.settings, verify=False, reason="all are wrong")
    plan = planning.make(here.means, "rollback", wanted, choices)
    assert [one.way for one in plan.moves] == ["route", "route", ""] and not plan.refusals()
    done = operation.run(here.means, planning.accept(here.means, ALICE, plan).id).operation
    assert done.state == "succeeded", done.report
    with here.store.read() as tx:
        moved = [
            channels.moves(tx, workflows.find(tx, name), limit=1)[0] for name in ("invoices", "beside", "embedded")
        ]
        waiting = standing.to_converge(tx)
    assert {one.operation for one in moved} == {done.id} and len({one.at for one in moved}) == 1
    assert [one.to_id for one in moved] == [here.good, right, fine.id]
    assert second.live is rows[1], "nothing in Dify is touched"
    assert {app.slug for app in waiting} == {"invoices", "beside"}
    for app in waiting:
        entered = converging.enter(here.means, ALICE, app, "converge")
        assert entered is not None
        assert operation.run(here.means, entered.id).operation.state == "succeeded"
    assert second.live is not None and second.live.graph == two("right")
    assert here.fake.live is not None and here.fake.live.graph == two("total")
    undone = here.undo(done.id)
    assert undone.state == "undone", undone.report
    assert beside()[1].version == wrong


def test_a_draft_that_was_saved_after_the_publish_is_left_and_kept(here: Ground) -> None:
    mine = two("theirs")
    here.dify.faults.after("POST /workflows/publish", lambda: here.dify.world.editor_saves(here.fake, mine))
    done = here.run()
    assert done.state == "succeeded", done.report
    assert here.fake.draft is not None
    assert here.fake.draft.graph == mine
    assert mine in here.graphs_kept()


TYPES = ["start", "end", "llm"]


def test_a_server_that_tells_its_node_types_is_asked_for_them(here: Ground) -> None:
    graph = graph_with({"id": "n", "data": {"type": "teleport", "title": "n"}}, "sum")
    graph["edges"] = [{"id": a + b, "source": a, "target": b} for a, b in (("start", "n"), ("n", "end"))]
    here.dify.world.editor_saves(here.fake, graph)
    strange = here.dify.world.somebody_publishes(here.fake)
    here.dify.world.editor_saves(here.fake, two("later"))
    here.dify.world.somebody_publishes(here.fake)
    here.capture()
    to = here.placed(strange)

    def said() -> tuple[str, str]:
        draft = planning.draft(here.means.settings, verify=False)
        plan = planning.make(here.means, "rollback", [Wanted(here.workflow, to=to)], draft)
        (found,) = [one for one in plan.findings if one.check == "nodes" and not one.subject.endswith("newer types")]
        return found.verdict, found.sentence

    verdict, sentence = said()
    assert (verdict, "Dify is not known to have" in sentence) == ("warn", True)

    def tell(request: object) -> Answer | None:
        return Answer(200, {"data": TYPES}) if getattr(request, "path", "") == "/openapi/v1/node-types" else None

    here.dify.hook = tell
    assert "does not know" not in said()[1], "it is not asked before it was learnt that it tells them"
    with here.store.read() as tx:
        server = servers.get(tx, SERVER)
    abilities = learn(here.means.dify(SERVER)).as_data()
    way = AdminKey(ADMIN_KEY, here.dify.world.workspace_id)
    here.store.write(lambda tx: servers.save(tx, ALICE, SERVER, server.url, way, facts={"abilities": abilities}))
    verdict, sentence = said()
    assert (
        verdict == "refuse" and f"{SERVER} says that it does not know the node types “teleport” of {to}" in sentence
    )
