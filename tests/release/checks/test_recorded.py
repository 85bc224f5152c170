"""Smoke requests taken from real runs."""

import json
import time
from typing import Any

import pytest
from sqlalchemy import Engine, insert

from lastgood.db.runs import conversation, message, run
from lastgood.db.store import Store
from lastgood.dsl.mask import MASK
from lastgood.errors import InvalidRequest, UnknownRun
from lastgood.release.checks.recorded import request_of
from support.stores import on_sqlite

from .conftest import Served, serve

pytestmark = on_sqlite


def ran(runs: Engine, served: Served, inputs: dict[str, Any], query: str | None = None) -> None:
    """A run with the id ``run-1``; with a `query` a chat's."""
    now = time.time()
    workflow = served.place.workflow.id
    counts = {"total_steps": 0, "total_tokens": 0, "exceptions_count": 0, "elapsed_time": 0.0}
    row = {"id": "run-1", "task_id": "t", "version_id": served.version.id, "user": "u", "status": "succeeded"}
    with runs.connect().execution_options(writes=True) as connection, connection.begin():
        values = {**row, **counts, "workflow_id": workflow, "inputs": json.dumps(inputs), "outputs": "{}"}
        connection.execute(insert(run).values(**values, created_at=now))
        if query is not None:
            common = {"inputs": "{}", "created_at": now}
            talk = {"id": "c", "workflow_id": workflow, "user": "u", "name": "n", "dialogue_count": 1}
            connection.execute(insert(conversation).values(**talk, **common, updated_at=now))
            said = {"id": "m", "conversation_id": "c", "run_id": "run-1", "answer": "a", "status": "normal"}
            connection.execute(insert(message).values(**said, **common, query=query))


def test_what_was_sent_is_taken_without_what_the_system_added(store: Store, runs: Engine) -> None:
    served = serve(store)
    ran(runs, served, {"text": "2 cups", "n": 3, "sys.user_id": "u", "sys.workflow_id": "w"})
    found = request_of(runs, served.place.workflow, "run-1")
    assert (found.inputs, found.query) == ({"text": "2 cups", "n": 3}, "")


def test_the_message_of_a_chat_is_taken(store: Store, runs: Engine) -> None:
    served = serve(store)
    ran(runs, served, {"sys.query": "open?"}, "open?")
    found = request_of(runs, served.place.workflow, "run-1")
    assert (found.inputs, found.query) == ({}, "open?")


def test_runs_of_others_are_not_taken(store: Store, runs: Engine) -> None:
    served, other = serve(store), serve(store, slug="other")
    ran(runs, served, {"text": "mine"})
    for workflow, id in ((other.place.workflow, "run-1"), (served.place.workflow, "run-2")):
        with pytest.raises(UnknownRun):
            request_of(runs, workflow, id)


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ({"text": f"my key is {MASK}"}, "masked"),
        ({"deep": {"a": [MASK]}}, "masked"),
        ({"file": {"type": "image", "transfer_method": "local_file"}}, "files"),
        ({"files": [{"type": "image", "transfer_method": "remote_url", "url": "https://x"}]}, "files"),
    ],
)
def test_what_cannot_be_sent_again_is_refused(
    store: Store,
    runs: Engine,
    inputs: dict[str, Any],
    why: str,
) -> None:
    served = serve(store)
    ran(runs, served, inputs)
    with pytest.raises(InvalidRequest, match=why):
        request_of(runs, served.place.workflow, "run-1")
