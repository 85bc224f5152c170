"""Documents made of a few nodes, and a source that holds them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import count, pairwise
from typing import Any

import httpx

from lastgood.targets.engine.service import Service
from lastgood.targets.engine.source import Runnable


def node(node_id: str, kind: str, *, parent: str = "", **data: Any) -> dict[str, Any]:
    """A node; `parent` is the loop or iteration that it lies in."""
    made: dict[str, Any] = {"id": node_id, "type": "custom", "data": {"type": kind, "title": node_id, **data}}
    return made | ({"parentId": parent} if parent else {})


def start(*variables: Mapping[str, Any] | str) -> dict[str, Any]:
    """A start node; a bare name is an optional text input."""
    fields = [{"variable": v, "label": v, "type": "text-input"} if isinstance(v, str) else dict(v) for v in variables]
    return node("start", "start", variables=fields)


def end(**outputs: Sequence[str]) -> dict[str, Any]:
    """An end node: output name → selector."""
    return node("end", "end", outputs=[{"variable": n, "value_selector": list(s)} for n, s in outputs.items()])


def answer(text: str, node_id: str = "answer") -> dict[str, Any]:
    return node(node_id, "answer", answer=text, variables=[])


def code(node_id: str, source: str, outputs: Mapping[str, str], **variables: Sequence[str]) -> dict[str, Any]:
    """A Python node: `outputs` name → type, `variables` name → selector."""
    return node(
        node_id,
        "code",
        code_language="python3",
        code=source,
        outputs={name: {"type": kind} for name, kind in outputs.items()},
        variables=[{"variable": name, "value_selector": list(selector)} for name, selector in variables.items()],
    )


def template(node_id: str, text: str, **variables: Sequence[str]) -> dict[str, Any]:
    given = [{"variable": name, "value_selector": list(selector)} for name, selector in variables.items()]
    return node(node_id, "template-transform", template=text, variables=given)


def web(node_id: str, url: str, method: str = "get", **more: Any) -> dict[str, Any]:
    data = {"authorization": {"type": "no-auth"}, "headers": "", "params": "", "body": {"type": "none"}, **more}
    return node(node_id, "http-request", url=url, method=method, **data)


def llm(node_id: str, prompt: str, **more: Any) -> dict[str, Any]:
    """A model node with one user message."""
    data: dict[str, Any] = {
        "model": {"provider": "openai", "name": "gpt", "mode": "chat", "completion_params": {"temperature": 0.5}},
        "prompt_template": [{"role": "user", "text": prompt}],
        "context": {"enabled": False, "variable_selector": []},
        "vision": {"enabled": False},
    }
    return node(node_id, "llm", **(data | more))


def flow(
    *nodes: dict[str, Any],
    edges: Iterable[Sequence[str]] | None = None,
    mode: str = "workflow",
    environment: Sequence[Mapping[str, Any]] = (),
    conversation: Sequence[Mapping[str, Any]] = (),
    features: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A document. `edges` are (source, target) or (source, target, handle); without any, the nodes make a chain."""
    pairs = [(a["id"], b["id"]) for a, b in pairwise(nodes)] if edges is None else edges
    return {
        "kind": "app",
        "version": "0.6.0",
        "app": {"name": "a flow", "mode": mode},
        "workflow": {
            "graph": {
                "nodes": list(nodes),
                "edges": [
                    {
                        "id": f"{source}-{target}",
                        "source": source,
                        "target": target,
                        "sourceHandle": handle[0] if handle else "source",
                        "targetHandle": "target",
                    }
                    for source, target, *handle in pairs
                ],
            },
            "features": dict(features or {}),
            "environment_variables": [dict(item) for item in environment],
            "conversation_variables": [dict(item) for item in conversation],
        },
    }


class Shelf:
    """A source that holds what a test put into it."""

    def __init__(self) -> None:
        self.versions: dict[str, Runnable] = {}
        self.live: dict[str, str] = {}
        self._numbers = count(1)

    def put(self, document: dict[str, Any], workflow: str = "") -> str:
        """Keep a new version of `workflow` (a new one), in service; gives the version's id."""
        number = next(self._numbers)
        workflow_id = workflow or f"wf-{number:06d}"
        runnable = Runnable(
            workflow_id,
            f"v-20240401-{number:02d}",
            document["app"].get("name", ""),
            document["app"]["mode"],
            document,
        )
        self.versions[runnable.version_id] = runnable
        self.live[workflow_id] = runnable.version_id
        return runnable.version_id

    def workflow_for_key(self, key: str) -> str | None:
        workflow_id = key.removeprefix("app-")
        return workflow_id if any(v.workflow_id == workflow_id for v in self.versions.values()) else None

    def live_version(self, workflow_id: str) -> str | None:
        return self.live.get(workflow_id)

    def load(self, version_id: str) -> Runnable | None:
        return self.versions.get(version_id)


class Bench:
    """An engine with a shelf to put documents on, and a client."""

    def __init__(self, base_url: str, service: Service, shelf: Shelf) -> None:
        self.base_url = base_url
        self.service = service
        self.shelf = shelf
        self.client = httpx.Client(base_url=base_url, timeout=30)

    def key(self, document: dict[str, Any] | str) -> dict[str, str]:
        """The headers that call `document` (put on the shelf) or the workflow of that id."""
        workflow_id = document
        if isinstance(document, dict):
            workflow_id = self.shelf.versions[self.shelf.put(document)].workflow_id
        return {"Authorization": f"Bearer app-{workflow_id}"}

    def post(self, path: str, headers: Mapping[str, str], **body: Any) -> httpx.Response:
        return self.client.post(path, headers=dict(headers), json={"user": "u1", **body})

    def run(self, document: dict[str, Any], **inputs: Any) -> dict[str, Any]:
        """The ``data`` of a blocking run of a workflow."""
        answer = self.post("/v1/workflows/run", self.key(document), inputs=inputs)
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    def outputs(self, document: dict[str, Any], **inputs: Any) -> dict[str, Any]:
        """The outputs of a run that succeeds."""
        data = self.run(document, **inputs)
        assert data["status"] == "succeeded", data["error"]
        outputs: dict[str, Any] = data["outputs"]
        return outputs

    def stream(self, document: Mapping[str, Any], path: str = "", **body: Any) -> list[dict[str, Any]]:
        """Every event of a streamed run (of a chatflow where the body has a query)."""
        headers = self.key(dict(document)) if "app" in document else document
        path = path or ("/v1/chat-messages" if "query" in body else "/v1/workflows/run")
        body = {"user": "u1", "inputs": {}, "response_mode": "streaming", **body}
        with self.client.stream("POST", path, headers=dict(headers), json=body) as answer:
            assert answer.status_code == 200, answer.read()
            return [json.loads(line[5:]) for line in answer.iter_lines() if line.startswith("data:")]


def named(events: Iterable[Mapping[str, Any]], name: str) -> list[dict[str, Any]]:
    """The events of that name."""
    return [dict(event) for event in events if event["event"] == name]
