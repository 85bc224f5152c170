"""A run of a version, and the parts its nodes have in it."""

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from dify_server.rows import FakeApp, Row

STARTS = ("start", "trigger-webhook", "trigger-schedule", "trigger-plugin")


@dataclass
class Run:
    """One run of a version, while it goes and afterwards in the log."""

    app: FakeApp
    row: Row
    inputs: dict[str, Any]
    user: str
    triggered_from: str
    created_from: str
    created_at: int
    user_kind: str = "service-api"
    sys: dict[str, Any] = field(default_factory=dict)
    talk: Any = None  # the conversation of a chatflow
    id: str = field(default_factory=lambda: str(uuid4()))
    task_id: str = field(default_factory=lambda: str(uuid4()))
    status: str = "running"
    error: str | None = None
    outputs: dict[str, Any] = field(default_factory=dict)
    nodes: list[dict[str, Any]] = field(default_factory=list)
    answer: str = ""
    stopped: bool = False
    elapsed: float = 0.0

    @property
    def given(self) -> dict[str, Any]:
        """The inputs with Dify's own beside them."""
        own = {
            "sys.files": [], "sys.user_id": self.user, "sys.app_id": self.app.id, "sys.workflow_id": self.row.id,
            "sys.workflow_run_id": self.id,
        }  # fmt: skip
        return {**self.inputs, **own, **self.sys}


class NodeRun:
    """A node's part of a run, as its events and its record tell it."""

    def __init__(self, node: dict[str, Any], number: int, moment: int) -> None:
        data = node["data"]
        self.data: dict[str, Any] = {
            "id": str(uuid4()), "node_id": node["id"], "node_type": data.get("type"),
            "title": data.get("title", ""), "number": number, "inputs": None, "process_data": {}, "outputs": {},
            "status": "succeeded", "error": None, "created_at": moment,
        }  # fmt: skip
        if data.get("type") in STARTS:
            self.data["inputs"] = {}

    def started(self) -> dict[str, Any]:
        data = self.data
        return {
            "id": data["id"], "node_id": data["node_id"], "node_type": data["node_type"], "title": data["title"],
            "index": 1, "predecessor_node_id": None, "inputs": None, "inputs_truncated": False,
            "created_at": data["created_at"], "extras": {}, "iteration_id": None, "loop_id": None,
            "agent_strategy": None,
        }  # fmt: skip

    def finished(self) -> dict[str, Any]:
        data = self.data
        return {
            "id": data["id"], "node_id": data["node_id"], "node_type": data["node_type"], "title": data["title"],
            "index": 1, "predecessor_node_id": None, "inputs": data["inputs"] or {}, "inputs_truncated": False,
            "process_data": data["process_data"], "process_data_truncated": False, "outputs": data["outputs"],
            "outputs_truncated": False, "status": data["status"], "error": data["error"], "elapsed_time": 0.001,
            "execution_metadata": None, "created_at": data["created_at"], "finished_at": data["created_at"],
            "files": [], "iteration_id": None, "loop_id": None,
        }  # fmt: skip
