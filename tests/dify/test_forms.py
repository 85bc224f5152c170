"""The values of a server's answers: read from what real servers answered, and from anything without a surprise."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.targets.dify import hash_covers
from lastgood.targets.dify.fields import Misshapen
from lastgood.targets.dify.forms import Account, App, Imported, Page, Synced, Workflow, Workspace
from lastgood.targets.dify.integration import ApiKey, McpServer, ToolProvider, Trigger, Webhook, WorkflowTool
from lastgood.targets.dify.runs import LogEntry, Run
from lastgood.targets.dify.service import Finished, Info, Parameters
from support.shared import shared

Read = Callable[[Any], Any]
ID = "[0-9a-f-]{36}"


def each(name: str, read: Read) -> Read:
    return lambda data: Page.read(data, name, read)


def all_of(name: str, read: Read) -> Read:
    return lambda data: [read(item) for item in (data[name] if name else data)]


# (method, path, statuses), and what reads the answer
READERS: list[tuple[str, Read]] = [
    ("GET /console/api/account/profile 200", Account.read),
    ("POST /console/api/workspaces/current 200", Workspace.read),
    ("GET /console/api/workspaces 200", all_of("workspaces", Workspace.read)),
    ("GET /console/api/apps 200", each("data", App.read)),
    (f"GET /console/api/apps/{ID} 200", App.read),
    ("POST /console/api/apps 201", App.read),
    (f"GET /console/api/apps/{ID}/workflows 200", each("items", Workflow.read)),
    (f"GET /console/api/apps/{ID}/workflows/draft 200", Workflow.read),
    (f"POST /console/api/apps/{ID}/workflows/draft 200", Synced.read),
    (f"POST /console/api/apps/{ID}/workflows/{ID}/restore 200", Synced.read),
    ("POST /console/api/apps/imports (200|202)", Imported.read),
    (f"POST /console/api/apps/imports/{ID}/confirm 200", Imported.read),
    (f"GET /console/api/apps/{ID}/api-keys 200", all_of("data", ApiKey.read)),
    (f"GET /console/api/apps/{ID}/triggers 200", all_of("data", Trigger.read)),
    (f"GET /console/api/apps/{ID}/workflows/triggers/webhook 200", Webhook.read),
    (f"GET /console/api/apps/{ID}/server 200", McpServer.read),
    ("GET /console/api/workspaces/current/tool-provider/workflow/get 200", WorkflowTool.read),
    ("GET /console/api/workspaces/current/tools/workflow 200", all_of("", ToolProvider.read)),
    (f"GET /console/api/apps/{ID}/workflow-app-logs 200", each("data", LogEntry.read)),
    (f"GET /console/api/apps/{ID}/workflow-runs 200", each("data", Run.read)),
    (f"GET /console/api/apps/{ID}/workflow-runs/{ID} 200", Run.read),
    ("GET /v1/info 200", Info.read),
    ("GET /v1/parameters 200", Parameters.read),
    (f"POST /v1/workflows/({ID}/)?run 200", Finished.read),
    ("GET /openapi/v1/apps 200", each("data", App.read)),
    ("GET /openapi/v1/account 200", all_of("workspaces", Workspace.read)),
]
WORKFLOW = f"GET /console/api/apps/{ID}/workflows/(draft|publish) 200"


def answers(version: str) -> list[tuple[str, Any]]:
    """The JSON answers that were recorded, each under ``METHOD path status``."""
    found = []
    for file in sorted(shared("dify-recordings", version).glob("*.json")):
        for one in json.loads(file.read_text())["exchanges"]:
            if one.get("response_json") is not None and "method" in one:
                found.append((f"{one['method']} {one['path'].split('?')[0]} {one['status']}", one["response_json"]))
    return found


@pytest.mark.parametrize("version", ["1.13.0", "1.14.2"])
def test_what_real_servers_answered_is_read(version: str) -> None:
    read = set()
    for name, body in answers(version):
        for pattern, reader in READERS:
            if re.fullmatch(pattern, name):
                reader(body)
                read.add(pattern)
    most = {pattern for pattern, _ in READERS if "openapi" not in pattern and "restore" not in pattern}
    assert read >= most if version == "1.13.0" else len(read) > 12


@pytest.mark.parametrize(("version", "covers"), [("1.13.0", "graph and features"), ("1.14.2", "graph")])
def test_the_hashes_of_real_servers_are_understood(version: str, covers: str) -> None:
    found = [body for name, body in answers(version) if re.fullmatch(WORKFLOW, name) and body.get("hash")]
    assert len(found) > 50
    assert {hash_covers(Workflow.read(body)) for body in found} == {covers}


def test_times_and_people_of_a_version() -> None:
    row = Workflow.read(
        {
            "id": "i",
            "version": "2026-11-23 17:19:17.989201",
            "graph": {},
            "features": None,
            "created_by": {"id": None, "name": None, "email": None},
            "created_at": 1795454358,
            "novelty": 1,
        }
    )
    assert row.published_at is not None
    assert row.published_at.isoformat() == "2026-11-23T17:19:17.989201+00:00"
    assert row.created_at is not None
    assert row.created_at.isoformat() == "2026-11-23T17:19:18+00:00"
    assert (row.created_by, row.is_draft, row.raw["novelty"]) == (None, False, 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
WORDS = """id name mode version graph features hash created_by created_at data items status workflow_run token site
workflow_run_id page has_more trigger_type node_id email webhook_url workflow_tool_id workflow_app_id elapsed_time
total_steps environment_variables updated_at enable_api max_active_requests outputs"""
NAMES = st.sampled_from(WORDS.split())
ONES = [Account, App, ApiKey, Finished, Imported, Info, LogEntry, McpServer, Parameters, Run, Synced, ToolProvider]
ONES += [Trigger, Webhook, Workflow, WorkflowTool, Workspace]


@given(JSON | st.dictionaries(NAMES, JSON, max_size=12))
def test_any_answer_is_read_or_misshapen(data: Any) -> None:
    for one in ONES:
        try:
            value = one.read(data)  # type: ignore[attr-defined]  # each of them has it
        except Misshapen as error:
            assert len(str(error)) < 200
        else:
            assert isinstance(data, dict)
            repr(value)
