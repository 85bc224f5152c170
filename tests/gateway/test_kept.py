"""What the gateway keeps in, and asks of, a real store: conversations, and moves that left a version."""

import asyncio

from lastgood import dsl
from lastgood.db.store import Store, open_runs
from lastgood.db.tx import Tx
from lastgood.gateway.conversations import Conversations, Pin
from lastgood.gateway.knowledge import StoreKnowledge
from lastgood.history import channels, versions, workflows

from .conftest import route
from .scene import DOCUMENT, WHO


def test_conversations_are_shared_and_the_later_decision_counts(store: Store) -> None:
    async def run() -> None:
        one, other = (Conversations(lambda: open_runs(store.settings)) for _ in range(2))
        try:
            assert await one.find("app", "c", live="v-1") is None
            await one.keep("app", "c", Pin("row-1", "v-1", 3))
            found = await other.find("app", "c", live="v-2")
            assert found is not None
            assert found[:3] == ("row-1", "v-1", 3)
            assert not other.due(found)
            assert await other.find("another", "c", live="v-2") is None
            await other.keep("app", "c", Pin("row-2", "v-2", 5))
            await other.keep("app", "c", Pin("row-1", "v-1", 4))  # a worker that is behind
            later = await one.find("app", "c", live="v-2")
            assert later is not None
            assert later[:3] == ("row-2", "v-2", 5)
        finally:
            one.close()
            other.close()

    asyncio.run(run())


def test_a_rollback_leaves_a_version_and_a_publish_does_not(store: Store) -> None:
    def work(tx: Tx) -> tuple[str, str, str, int]:
        workflow = workflows.create(tx, WHO, "left", name="", mode="workflow")
        one, two = (
            versions.push(tx, WHO, workflow, dsl.parse(DOCUMENT.format(name=name))).version for name in ("one", "two")
        )
        generation = channels.ensure(tx, workflow).generation
        kinds: tuple[channels.Kind, ...] = ("publish", "publish", "rollback", "publish")
        for to, kind in zip((one, two, one, two), kinds, strict=True):
            channel = channels.get(tx, workflow)
            channels.move(tx, WHO, workflow, channel, to, expected=channel.generation, kind=kind)
        assert channels.get(tx, workflow).generation == generation + 4
        return one.id, two.id, workflow.id, generation

    one, two, workflow, start = store.write(work)
    ask = StoreKnowledge(store)
    here = route(workflow_id=workflow, app="a")
    assert [ask.left(here, two, start + since) for since in (2, 3, 4)] == [True, False, False]
    assert [ask.left(here, one, start + since) for since in (1, 4)] == [False, False]
    assert not ask.left(route(workflow_id=workflow, app="a", channel="staging"), two, 0)
