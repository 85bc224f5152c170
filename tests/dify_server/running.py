"""Running a stored graph: what each node answers, which way the run goes, and the events that tell of it."""

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from dify_server.rows import Row
from dify_server.runs import STARTS, NodeRun, Run

if TYPE_CHECKING:
    from dify_server.world import World

REFERENCE = re.compile(r"\{\{#([^#{}]+)#\}\}")
KNOWN = frozenset(
    {*STARTS, "end", "answer", "if-else", "http-request", "tool", "assigner", "variable-assigner", "code", "llm"}
    | {"template-transform", "knowledge-retrieval", "question-classifier", "iteration", "iteration-start", "loop"}
    | {"loop-start", "loop-end", "parameter-extractor", "document-extractor", "list-operator", "agent"}
    | {"variable-aggregator", "human-input", "datasource", "knowledge-index"}
)
_SLICE = 0.05
Event = tuple[str, dict[str, Any]]  # the event's name, and its data
Step = tuple[float, Event | None]  # wait so long, then send the event


class NodeFailed(Exception):
    """A node failed; the message is Dify's."""


class Machine:
    """Runs one run."""

    def __init__(self, world: "World", run: Run) -> None:
        self.world, self.run = world, run
        self.nodes = {one["id"]: one for one in run.row.graph.get("nodes") or []}
        self.edges = run.row.graph.get("edges") or []
        self.values: dict[tuple[str, ...], Any] = {}
        for name, value in run.given.items():
            self.values[tuple(name.split("."))] = value
        for one in run.row.environment_variables:
            self.values["env", one["name"]] = one.get("value")
        if run.talk is not None:
            for name, value in run.talk.values(run.row).items():
                self.values["conversation", name] = value
        self.telling: list[tuple[tuple[str, ...] | None, str, str]] = []  # selector, node, text still to be told
        self.told: set[str] = set()
        self.slept = 0.0

    def steps(self) -> Iterator[Step]:
        """The events of the run with the waits before them. Its end is written in the run."""
        run, timing = self.run, self.world.timing
        yield timing.latency, ("workflow_started", {
            "id": run.id, "workflow_id": run.row.id, "inputs": run.given, "created_at": run.created_at,
            "reason": "initial",
        })  # fmt: skip
        node = next((one for one in self.nodes.values() if one["data"].get("type") in STARTS), None)
        if node is None:
            run.status, run.error = "failed", "no start node"
        while node is not None and not run.stopped:
            done = self._record(node)
            yield 0.0, ("node_started", done.started())
            for seconds in self._naps(node):
                self.slept += seconds
                yield seconds, None
            if run.stopped:
                break
            try:
                done.data["outputs"], handle = self._act(node, done)
            except NodeFailed as failed:
                done.data["status"], done.data["error"] = "failed", str(failed)
                run.status, run.error = "failed", str(failed)
                yield 0.0, ("node_finished", done.finished())
                break
            for name, value in done.data["outputs"].items():
                self.values[(node["id"], *name.split("."))] = value
            for event in self._tell(node, handle):
                yield 0.0, event
            yield 0.0, ("node_finished", done.finished())
            node = self._next(node, handle)
        if run.stopped:
            run.status, run.error = "stopped", "Stopped by user."
        elif run.status == "running":
            run.status = "succeeded"
        run.elapsed = round(timing.latency + self.slept + 0.001 * len(run.nodes), 6)
        if run.status != "succeeded":
            run.outputs = {}
        self.world.finished(run)
        yield 0.0, ("workflow_finished", self._finished())

    def _finished(self) -> dict[str, Any]:
        run = self.run
        return {
            "id": run.id, "workflow_id": run.row.id, "status": run.status, "outputs": run.outputs,
            "error": run.error, "elapsed_time": run.elapsed, "total_tokens": 0, "total_steps": len(run.nodes),
            "created_by": self._who(), "created_at": run.created_at,
            "finished_at": run.created_at, "exceptions_count": 1 if run.status == "failed" else 0, "files": [],
        }  # fmt: skip

    def _who(self) -> dict[str, Any]:
        account = self.world.people.by_id(self.run.user)
        if self.run.user_kind == "account" and account is not None:
            return account.short
        return {"id": self.world.end_user(self.run), "user": self.run.user}

    def _record(self, node: dict[str, Any]) -> "NodeRun":
        done = NodeRun(node, len(self.run.nodes) + 1, self.run.created_at)
        self.run.nodes.append(done.data)
        return done

    def _naps(self, node: dict[str, Any]) -> Iterator[float]:
        """The seconds that a node takes, in parts: a run that is stopped does not sleep on."""
        data = node["data"]
        if data.get("type") == "http-request":
            seconds = parse_qs(urlsplit(self.filled(data["url"])).query).get("sleep")
            if seconds:
                left = float(seconds[0]) * self.world.timing.nap
                while left > 0 and not self.run.stopped:
                    yield min(left, _SLICE)
                    left -= _SLICE

    def _act(self, node: dict[str, Any], done: "NodeRun") -> tuple[dict[str, Any], str]:
        """What the node answers and the handle by which the run goes on."""
        data, kind, run = node["data"], node["data"].get("type"), self.run
        if kind in STARTS:
            own = {"sys.conversation_id": run.talk.id} if run.talk is not None else {}
            given = run.given
            count = given.pop("sys.dialogue_count", None)
            given = {**given, **own, **({} if count is None else {"sys.dialogue_count": count})}
            if run.talk is None:
                given["sys.timestamp"] = run.created_at
            done.data["inputs"] = dict(run.inputs) if self.world.newer and run.talk is None else given
            return dict(done.data["inputs"]), "source"
        if kind == "end":
            outputs = {one["variable"]: self.value(one.get("value_selector")) for one in data.get("outputs") or []}
            done.data["inputs"] = outputs
            run.outputs = outputs
            return outputs, "source"
        if kind == "answer":
            run.answer = self.filled(data.get("answer") or "")
            run.outputs = {"answer": run.answer, "files": []}
            return dict(run.outputs), "source"
        if kind == "if-else":
            return self._branch(data, done)
        if kind == "http-request":
            return self._http(data, done), "source"
        if kind == "assigner":
            return self._assign(data, done), "source"
        if kind == "tool":
            return self._tool(data, done), "source"
        return {"text": self.filled(data.get("template") or data.get("code") or "")}, "source"

    def _branch(self, data: dict[str, Any], done: "NodeRun") -> tuple[dict[str, Any], str]:
        told, results = [], []
        chosen = "false"
        for case in data.get("cases") or []:
            held = []
            for one in case["conditions"]:
                actual = self.value(one["variable_selector"])
                told.append({
                    "actual_value": actual, "expected_value": one.get("value"),
                    "comparison_operator": one["comparison_operator"],
                })  # fmt: skip
                held.append(_holds(actual, one["comparison_operator"], one.get("value")))
            final = all(held) if case.get("logical_operator") == "and" else any(held)
            conditions = [
                {
                    "variable_selector": one["variable_selector"], "value": one.get("value"),
                    "comparison_operator": one["comparison_operator"], "sub_variable_condition": None,
                }
                for one in case["conditions"]
            ]  # fmt: skip
            group = {
                "case_id": case["case_id"], "logical_operator": case.get("logical_operator"),
                "conditions": conditions,
            }  # fmt: skip
            results.append({"group": group, "results": held, "final_result": final})
            if final:
                chosen = case["case_id"]
                break
        done.data["inputs"] = {"conditions": told}
        done.data["process_data"] = {"condition_results": results}
        return {"result": chosen != "false", "selected_case_id": chosen}, chosen

    def _http(self, data: dict[str, Any], done: "NodeRun") -> dict[str, Any]:
        """An ``/echo`` answers with what was asked. Nothing leaves the process."""
        parts = urlsplit(self.filled(data["url"]))
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        method = str(data.get("method") or "get").upper()
        done.data["process_data"] = {"request": f"{method} {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n"}
        if not parts.path.startswith("/echo"):
            raise NodeFailed("[Errno 111] Connection refused")
        query = parse_qs(parts.query)
        status = int(query.get("status", ["200"])[0])
        if status >= 400:
            raise NodeFailed(f"Request failed with status code {status}")
        sent = {"Host": parts.netloc, "Accept": "*/*", "traceparent": f"00-{uuid4().hex}-01"}
        body = json.dumps({"method": method, "path": parts.path, "query": query, "headers": sent, "body": ""})
        headers = {
            "server": "echo", "date": "", "content-type": "application/json", "content-length": str(len(body)),
        }  # fmt: skip
        return {"status_code": status, "body": body, "headers": headers, "files": []}

    def _assign(self, data: dict[str, Any], done: "NodeRun") -> dict[str, Any]:
        changed = []
        done.data["process_data"] = {}
        for one in data.get("items") or []:
            value = self.value(one["value"]) if one.get("input_type") == "variable" else one.get("value")
            self.values[tuple(one["variable_selector"])] = value
            if one["variable_selector"][0] == "conversation" and self.run.talk is not None:
                self.run.talk.remember(one["variable_selector"][1], value, self.run.row)
            done.data["process_data"][one["variable_selector"][1]] = value
            changed.append({
                "name": one["variable_selector"][1], "selector": one["variable_selector"], "value_type": "string",
                "new_value": value,
            })  # fmt: skip
        done.data["process_data"]["__updated_variables"] = changed
        plain = {
            "error_strategy": None, "default_value": None,
            "retry_config": {"max_retries": 0, "retry_interval": 0, "retry_enabled": False},
        }  # fmt: skip
        done.data["inputs"] = {
            "title": data["title"], "desc": data.get("desc", ""), "version": data.get("version", "2"), **plain,
            "items": data.get("items") or [],
        }  # fmt: skip
        return {}

    def _tool(self, data: dict[str, Any], done: "NodeRun") -> dict[str, Any]:
        """A workflow tool runs the version that it is bound to."""
        provider = data.get("provider_id", "")
        found = next(
            (one for one in self.world.apps.values() if one.tool and one.tool["workflow_tool_id"] == provider), None
        )
        if found is None or found.tool is None:
            raise NodeFailed(f"workflow provider {provider} not found")
        row = next((one for one in found.versions if one.version == found.tool["version"]), None)
        if row is None:
            raise NodeFailed("workflow not found")
        inputs = {}
        for name, one in (data.get("tool_parameters") or {}).items():
            value = one.get("value")
            inputs[name] = self.value(value) if one.get("type") == "variable" else self.filled(str(value))
        done.data["inputs"] = inputs
        why = wrong_inputs(row, inputs)
        if why:
            raise NodeFailed(why)
        inner = self.world.begin(found, row, inputs, self.run.user, triggered_from="workflow-tool")
        for _ in Machine(self.world, inner).steps():
            pass
        if inner.status != "succeeded":
            raise NodeFailed(inner.error or "failed")
        return {"text": json.dumps(inner.outputs), "files": [], "json": [inner.outputs]}

    def _next(self, node: dict[str, Any], handle: str) -> dict[str, Any] | None:
        for one in self.edges:
            if one["source"] == node["id"] and (one.get("sourceHandle") or "source") == handle:
                return self.nodes.get(one["target"])
        return None

    def _tell(self, node: dict[str, Any], handle: str) -> Iterator[Event]:
        """The text that can be told once this node is done: that of the end ahead, when no branch and no assignment
        stands between."""
        ahead = self._next(node, handle)
        while ahead is not None and ahead["data"].get("type") not in ("if-else", "assigner", "end", "answer"):
            ahead = self._next(ahead, "source")
        if ahead is not None and ahead["data"].get("type") in ("end", "answer") and ahead["id"] not in self.told:
            self.told.add(ahead["id"])
            self.telling = list(_pieces(ahead))
        while self.telling:
            selector, at, text = self.telling[0]
            if selector is not None:
                if selector not in self.values:
                    return
                value = self.values[selector]
                text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
            source = list(selector) if selector is not None else [at, "answer"]
            self.telling.pop(0)
            if text == "":
                continue
            yield "text_chunk", {"text": text, "from_variable_selector": source}

    def value(self, selector: Any) -> Any:
        return self.values.get(tuple(selector or ()))

    def filled(self, text: str) -> str:
        def one(found: re.Match[str]) -> str:
            value = self.values.get(tuple(found[1].split(".")))
            return "" if value is None else str(value)

        return REFERENCE.sub(one, text)


def _pieces(node: dict[str, Any]) -> Iterator[tuple[tuple[str, ...] | None, str, str]]:
    """The texts and references of an end or answer node, in order."""
    data = node["data"]
    if data["type"] == "end":
        for number, one in enumerate(data.get("outputs") or []):
            if number:
                yield None, node["id"], "\n"
            yield tuple(one.get("value_selector") or ()), node["id"], ""
        return
    at = 0
    for found in REFERENCE.finditer(data.get("answer") or ""):
        yield None, node["id"], data["answer"][at : found.start()]
        yield tuple(found[1].split(".")), node["id"], ""
        at = found.end()
    yield None, node["id"], (data.get("answer") or "")[at:]


def _holds(actual: Any, operator: str, expected: Any) -> bool:
    text, wanted = str(actual or ""), str(expected or "")
    answers = {
        "contains": wanted in text, "not contains": wanted not in text, "is": text == wanted, "=": text == wanted,
        "is not": text != wanted, "empty": not text, "not empty": bool(text), "start with": text.startswith(wanted),
        "end with": text.endswith(wanted),
    }  # fmt: skip
    return answers.get(operator, False)


def wrong_inputs(row: Row, inputs: dict[str, Any]) -> str:
    """Dify's sentence on inputs that do not fit the start node; empty where they do."""
    for one in row.inputs:
        name, value = one["variable"], inputs.get(one["variable"])
        if value is None or value == "":
            if one.get("required"):
                return f"{name} is required in input form"
            continue
        if one.get("type") in ("text-input", "paragraph", "select"):
            if not isinstance(value, str):
                return f"(type '{one['type']}') {name} in input form must be a string"
            if one.get("max_length") and len(value) > one["max_length"]:
                return f"{name} in input form must be less than {one['max_length']} characters"
    return ""
