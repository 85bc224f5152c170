"""Histories made up: workflows of 40 nodes and 58 KB of canonical JSON, 100 versions each, 1 to 3 nodes changed per
version, the versions of all workflows in turn. Texts are of invented words as frequent as natural ones."""

import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

_PER_WORKFLOW = 100
_NODES = 40
_KINDS = ("llm", "code", "if-else", "http-request", "template-transform", "knowledge-retrieval")


class Words:
    """Text with the frequencies of a natural language, from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        syllables = [a + b for a in "bcdfglmnprstv" for b in ("a", "e", "i", "o", "u", "an", "er", "in", "or")]
        self.words = [
            "".join(self.random.choices(syllables, k=self.random.choice((1, 2, 2, 3)))) for _ in range(6000)
        ]
        self.weights = [1 / (rank + 3) for rank in range(len(self.words))]
        totals = []
        total = 0.0
        for weight in self.weights:
            total += weight
            totals.append(total)
        self.totals = totals

    def text(self, number: int) -> str:
        """`number` words."""
        return " ".join(self.random.choices(self.words, cum_weights=self.totals, k=number))


def node(words: Words, number: int, length: int) -> dict[str, Any]:
    """A node as an editor leaves it, with a prompt of `length` words."""
    kind = "start" if number == 0 else words.random.choice(_KINDS)
    x, y = 80 + 304 * number, words.random.randrange(100, 900)
    id = str(1_700_000_000_000 + words.random.randrange(10**11))
    return {
        "id": id,
        "type": "custom",
        "position": {"x": x, "y": y},
        "positionAbsolute": {"x": x, "y": y},
        "width": 244,
        "height": 90,
        "selected": False,
        "sourcePosition": "right",
        "targetPosition": "left",
        "data": {
            "type": kind,
            "title": words.text(2),
            "desc": "",
            "selected": False,
            "model": {
                "provider": "langgenius/openai/openai",
                "name": "large",
                "mode": "chat",
                "completion_params": {"temperature": 0.7},
            },
            "prompt_template": [{"id": f"{id}-system", "role": "system", "text": words.text(length)}],
            "context": {"enabled": False, "variable_selector": []},
            "vision": {"enabled": False},
            "variables": [{"variable": words.text(1), "value_selector": [id, "text"]}],
        },
    }


def document(words: Words, nodes: int, length: int) -> dict[str, Any]:
    """A chain of `nodes` nodes."""
    parts = [node(words, number, length) for number in range(nodes)]
    edges = [
        {
            "id": f"{a['id']}-source-{b['id']}-target",
            "source": a["id"],
            "target": b["id"],
            "sourceHandle": "source",
            "targetHandle": "target",
            "type": "custom",
            "zIndex": 0,
            "data": {"sourceType": a["data"]["type"], "targetType": b["data"]["type"], "isInIteration": False},
        }
        for a, b in pairwise(parts)
    ]
    return {
        "app": {"mode": "workflow", "name": words.text(2), "icon": "🤖", "description": words.text(12)},
        "kind": "app",
        "version": "0.6.0",
        "dependencies": [],
        "workflow": {
            "graph": {"nodes": parts, "edges": edges, "viewport": {"x": 0, "y": 0, "zoom": 1}},
            "features": {"opening_statement": "", "file_upload": {"enabled": False}},
            "environment_variables": [{"name": words.text(1), "value": words.text(3), "value_type": "string"}],
            "conversation_variables": [],
        },
    }


def change(words: Words, before: dict[str, Any]) -> dict[str, Any]:
    """The next version: in one to three nodes a few words of the prompt are others; the canvas has moved."""
    nodes = list(before["workflow"]["graph"]["nodes"])
    for place in words.random.sample(range(len(nodes)), words.random.randint(1, 3)):
        old = nodes[place]
        prompt = old["data"]["prompt_template"][0]
        said = prompt["text"].split(" ")
        start = words.random.randrange(len(said))
        said[start : start + words.random.randint(1, 20)] = words.text(words.random.randint(1, 20)).split(" ")
        new = {**prompt, "text": " ".join(said)}
        nodes[place] = {**old, "data": {**old["data"], "prompt_template": [new]}}
    view = {"x": words.random.uniform(-900, 900), "y": words.random.uniform(-400, 400), "zoom": 0.75}
    graph = {**before["workflow"]["graph"], "nodes": nodes, "viewport": view}
    return {**before, "workflow": {**before["workflow"], "graph": graph}}


def history(number: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """`number` versions of as many workflows as have 100 each: (workflow, document)."""
    words = Words(1)
    count = max(1, number // _PER_WORKFLOW)
    now = [document(words, _NODES, 103) for _ in range(count)]
    for turn in range(number):
        place = turn % count
        if turn >= count:
            now[place] = change(words, now[place])
        yield place, now[place]
