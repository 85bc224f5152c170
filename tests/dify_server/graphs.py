"""Small graphs for tests, each telling in its answer which version ran."""

from itertools import pairwise
from typing import Any


def node(name: str, kind: str, **data: Any) -> dict[str, Any]:
    return {"id": name, "type": "custom", "data": {"type": kind, "title": name, "desc": "", **data}}


def edge(source: str, target: str, handle: str = "source") -> dict[str, Any]:
    return {
        "id": f"{source}-{handle}-{target}-target", "source": source, "target": target, "sourceHandle": handle,
        "targetHandle": "target",
    }  # fmt: skip


def line(*nodes: dict[str, Any]) -> dict[str, Any]:
    """A graph of nodes one after another."""
    names = [one["id"] for one in nodes]
    return {"nodes": list(nodes), "edges": [edge(*pair) for pair in pairwise(names)]}


def asked(*names: str, required: bool = True) -> list[dict[str, Any]]:
    """Inputs of a start node."""
    more = {"type": "text-input", "required": required, "max_length": 256, "options": []}
    return [{"variable": name, "label": name, **more} for name in names]


def graph(output: str, *, trigger: str = "", inputs: tuple[str, ...] = ("name",)) -> dict[str, Any]:
    """A graph of two nodes, whose answer is its first input under the name `output`. `trigger` is ``webhook`` or
    ``schedule``: then it is started so."""
    first = node("start", "start", variables=asked(*inputs))
    if trigger == "webhook":
        first = node(
            "start", "trigger-webhook", method="post", status_code=200, response_body=f'{{"tag":"{output}"}}'
        )
    elif trigger:
        first = node("start", f"trigger-{trigger}", mode="cron", cron_expression="0 3 * * *", timezone="UTC")
    value = {"variable": output, "value_selector": ["start", inputs[0]], "value_type": "string"}
    return line(first, node("end", "end", outputs=[value]))


def calling(url: str, output: str = "result", *, inputs: tuple[str, ...] = ("name",)) -> dict[str, Any]:
    """A graph with an HTTP node, whose body is its answer. A path ``/echo`` answers with what was asked (``sleep=S``
    in the query takes S seconds, ``status=N`` fails when it is 400 or more); any other cannot be reached."""
    http = node("http", "http-request", method="get", url=url)
    value = {"variable": output, "value_selector": ["http", "body"], "value_type": "string"}
    return line(node("start", "start", variables=asked(*inputs)), http, node("end", "end", outputs=[value]))


def slow(seconds: float, output: str = "name") -> dict[str, Any]:
    """A graph that takes `seconds` (times the server's ``timing.nap``) and answers its input."""
    value = {"variable": output, "value_selector": ["start", "name"], "value_type": "string"}
    http = node("http", "http-request", method="get", url=f"http://echo/echo?sleep={seconds}")
    return line(node("start", "start", variables=asked("name")), http, node("end", "end", outputs=[value]))


def failing() -> dict[str, Any]:
    """A graph whose node always fails."""
    return calling("http://nowhere/none")


def chat(text: str, *, remember: str = "", inputs: tuple[str, ...] = ()) -> dict[str, Any]:
    """A chatflow that answers `text` with its references filled in. `remember` names a conversation variable that
    takes each query."""
    nodes = [node("start", "start", variables=asked(*inputs))]
    if remember:
        item = {
            "variable_selector": ["conversation", remember], "input_type": "variable", "operation": "over-write",
            "value": ["sys", "query"],
        }  # fmt: skip
        nodes.append(node("remember", "assigner", version="2", items=[item]))
    return line(*nodes, node("answer", "answer", answer=text, variables=[]))
