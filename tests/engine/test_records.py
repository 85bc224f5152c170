"""What the engine keeps, on both stores."""

import json
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import func, select

from lastgood.db.runs import conversation, message, run, stop
from lastgood.settings import Settings
from lastgood.targets.engine import records as module
from lastgood.targets.engine.__main__ import open_records
from lastgood.targets.engine.records import Records


@pytest.fixture
def records(settings: Settings) -> Iterator[Records]:
    made = open_records(settings)
    yield made
    made.close()


def row(workflow: str = "wf-1", **more: Any) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "task_id": str(uuid.uuid4()),
        "workflow_id": workflow,
        "version_id": "v-20240401-01",
        "user": "u",
        "status": "running",
        "inputs": "{}",
        "outputs": "{}",
        "error": None,
        "total_steps": 0,
        "total_tokens": 0,
        "exceptions_count": 0,
        "created_at": time.time(),
        "finished_at": None,
        "elapsed_time": 0.0,
    } | more


def ended(status: str = "succeeded") -> dict[str, Any]:
    return {"status": status, "finished_at": time.time(), "outputs": '{"a": 1}'}


def turn(records: Records, talk: str, query: str, *, user: str = "u", n: int = 1, at: float = 0.0) -> str:
    begun = row()
    records.run_started(begun)
    now = at or time.time()
    said = {"id": str(uuid.uuid4()), "conversation_id": talk, "run_id": begun["id"], "inputs": "{}", "query": query}
    records.turn_finished(
        begun["id"],
        ended(),
        {
            "id": talk,
            "workflow_id": "wf-1",
            "user": user,
            "name": query,
            "inputs": "{}",
            "introduction": "",
            "dialogue_count": n,
            "created_at": now,
            "updated_at": now,
        },
        said | {"answer": f"re {query}", "status": "normal", "error": None, "created_at": now},
        [{"name": "v", "value_type": "number", "description": "", "value": json.dumps(n)}],
    )
    return str(said["id"])


def test_a_short_run_is_written_once_and_a_long_one_is_seen_running(records: Records) -> None:
    short, long = row(), row()
    records.run_started(short)
    records.run_started(long)
    records.run_finished(short["id"], ended())
    kept = records.run(short["id"])
    assert kept is not None
    assert (kept.status, json.loads(kept.outputs)) == ("succeeded", {"a": 1})
    deadline = time.monotonic() + 5
    while records.run(long["id"]) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    seen = records.run(long["id"])
    assert seen is not None
    assert seen.status == "running"
    records.run_finished(long["id"], ended("failed"))
    done = records.run(long["id"])
    assert done is not None
    assert done.status == "failed"


def test_runs_are_paged_by_workflow_and_status(records: Records) -> None:
    for number in range(5):
        begun = row("wf-1" if number else "wf-2")
        records.run_started(begun)
        records.run_finished(begun["id"], ended("failed" if number == 4 else "succeeded"))
    total, page = records.runs("wf-1", status=None, page=2, limit=3)
    assert (total, len(page)) == (4, 1)
    assert records.runs("wf-1", status="failed", page=1, limit=9)[0] == 1
    assert records.runs(None, status=None, page=1, limit=9)[0] == 5
    newest = records.runs(None, status=None, page=1, limit=1)[1][0]
    assert newest.status == "failed"


def test_a_conversation_holds_its_turns_in_order(records: Records) -> None:
    talk = str(uuid.uuid4())
    ids = [turn(records, talk, f"q{n}", n=n) for n in range(1, 5)]
    found = records.conversation(talk, "wf-1", "u")
    assert found is not None
    assert (found.dialogue_count, found.variables) == (4, {"v": 4})
    assert list(found.turns) == [(f"q{n}", f"re q{n}") for n in range(1, 5)]
    assert records.conversation(talk, "wf-2", "u") is None
    assert records.conversation(talk, "wf-1", "another") is None
    more, page = records.messages(talk, limit=2, first_id=None)
    assert (more, [item.query for item in page]) == (True, ["q3", "q4"])
    more, page = records.messages(talk, limit=2, first_id=ids[2])
    assert (more, [item.query for item in page]) == (False, ["q1", "q2"])


def test_conversations_are_paged_by_their_last_word(records: Records) -> None:
    talks = [str(uuid.uuid4()) for _ in range(3)]
    for number, talk in enumerate(talks):
        turn(records, talk, f"t{number}", at=100.0)  # all at the same moment: the order must hold nevertheless
    turn(records, talks[0], "again", n=2, at=200.0)
    turn(records, str(uuid.uuid4()), "foreign", user="another", at=300.0)
    more, page = records.conversations("wf-1", "u", limit=2, last_id=None)
    assert (more, [item.id for item in page]) == (True, [talks[0], talks[2]])
    more, page = records.conversations("wf-1", "u", limit=2, last_id=talks[2])
    assert (more, [item.id for item in page]) == (False, [talks[1]])


def test_a_stop_is_heard_once_by_each(records: Records, settings: Settings) -> None:
    other = open_records(settings)
    other.ask_stop("task", "wf-1", "u")
    for listener in (records, other):
        assert [item.task_id for item in listener.new_stops()] == ["task"]
        assert list(listener.new_stops()) == []
    late = open_records(settings)
    assert list(late.new_stops()) == []
    for opened in (other, late):
        opened.close()


def test_old_things_go(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT_RUNS", 5)
    monkeypatch.setattr(module, "_KEPT_CONVERSATIONS", 2)
    monkeypatch.setattr(module, "_PRUNE_EVERY", 1)
    monkeypatch.setattr(module, "_STOP_SECONDS", -1.0)
    records.ask_stop("task", "wf-1", "u")
    for number in range(8):
        turn(records, str(uuid.uuid4()), f"q{number}", at=number + 1.0)
    with records._engine.connect() as connection:
        count = [
            connection.execute(select(func.count()).select_from(t)).scalar()
            for t in (run, conversation, message, stop)
        ]
        left = connection.execute(select(message.c.query).order_by(message.c.pk)).scalars().all()
    assert count == [5, 2, 2, 0]
    assert left == ["q6", "q7"]


def test_a_record_that_cannot_be_written_spoils_no_other(records: Records) -> None:
    good, bad = row(), row()
    records.run_started(good)
    records.run_started(bad | {"version_id": None})
    threads = [threading.Thread(target=records.run_finished, args=(begun["id"], ended())) for begun in (bad, good)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    kept = records.run(good["id"])
    assert kept is not None
    assert kept.status == "succeeded"
    assert records.run(bad["id"]) is None


def test_what_waits_is_written_before_it_closes(settings: Settings) -> None:
    made = open_records(settings)
    begun = row()
    made.run_started(begun)
    made.close()
    again = open_records(settings)
    assert again.run(begun["id"]) is not None
    again.close()
