"""Triggers from end to end: a real engine and gateway worker, a webhook and a slot, before and after a move."""

import json
import time
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import text, update

from lastgood.db import tables as t
from lastgood.db.store import Store, open_runs, open_store
from lastgood.history import triggers
from lastgood.release import moves
from lastgood.release.means import Means
from lastgood.release.verification import Upstream
from lastgood.server.children import Children, listen
from lastgood.server.firing import Firing
from support.scene import ALICE, Scene, scene
from support.stores import clean_settings
from support.triggered import triggered

TOKEN = "the-engines-token"


def publish(place: Scene, says: str, generation: int) -> str:
    version = place.push(triggered(says, answer=json.dumps({"from": says}))).version
    place.store.write(lambda tx: moves.publish(tx, ALICE, place.workflow, version.id, expected=generation))
    return version.id


def runs(store: Store, wanted: int) -> list[tuple[str, str, str, Any]]:
    """What is recorded of the runs, once so many have ended: version, who, outcome, outputs."""
    engine = open_runs(store.settings)
    until = time.monotonic() + 30
    while True:
        with engine.connect() as connection:
            rows = connection.execute(text('SELECT version_id, "user", status, outputs FROM run ORDER BY created_at'))
            found = [(row[0], row[1], row[2], json.loads(row[3])) for row in rows if row[2] != "running"]
        if len(found) >= wanted or time.monotonic() > until:
            engine.dispose()
            return found
        time.sleep(0.05)


def test_webhooks_and_slots_run_on_the_engine_and_follow_a_move(home: Path) -> None:
    settings = clean_settings(home)
    store = open_store(settings)
    place = scene(store, target="engine")
    one = publish(place, "v1", 0)
    with store.read() as tx:
        (hook,) = (bound.token for bound in triggers.of_workflow(tx, place.workflow) if bound.token)
    with Children(settings, engine_token=TOKEN, gateway=listen("127.0.0.1", 0), engine_workers=1) as children:
        jobs = Firing(Means(store, lambda: Upstream(children.engines[0], TOKEN)))
        address = children.gateway + triggers.path_of(hook)

        def start() -> Any:
            slot = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(time.time() - 1))
            due = update(t.trigger).where(t.trigger.c.kind == "schedule").values(next_slot=slot)
            store.write(lambda tx: tx.connection.execute(due))
            jobs.look()
            jobs.wait(30)
            answer = httpx.post(address, json={"name": "ada"}, trust_env=False)
            assert answer.status_code == 200, answer.text
            return answer.json()

        assert start() == {"from": "v1"}
        assert len(runs(store, 2)) == 2
        time.sleep(1.0)  # the next slot is another second's
        two = publish(place, "v2", 1)
        assert start() == {"from": "v2"}
        found = runs(store, 4)
    store.close()
    assert found == [
        (one, "schedule", "succeeded", {"said": "v1", "name": None}),
        (one, "webhook", "succeeded", {"said": "v1", "name": "ada"}),
        (two, "schedule", "succeeded", {"said": "v2", "name": None}),
        (two, "webhook", "succeeded", {"said": "v2", "name": "ada"}),
    ]
