"""How long the drawing of a canvas takes, beside writing the same document as JSON:
``python -m benchmarks.drawing``."""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from lastgood.dsl.compare import compare
from lastgood.dsl.document import Document
from lastgood.dsl.drawing import draw, draw_comparison

_ROUNDS = 15
_GOAL_NODES = 100
_GOAL = 0.020


def canvas(nodes: int, *, model: str = "small", placed: bool = True) -> Document:
    """A canvas of `nodes` nodes with branches; without positions unless `placed`."""
    parts: list[dict[str, Any]] = []
    edges = []
    for i in range(nodes):
        kind = ("llm", "code", "if-else", "http-request", "answer")[i % 5] if i else "start"
        data: dict[str, Any] = {
            "type": kind,
            "title": f"Step {i} of the flow",
            "desc": "What this step is for, in a sentence that somebody wrote for the others.",
            "model": {"provider": "p/q/r", "name": f"{model}-{i % 7}", "mode": "chat"},
            "prompt_template": [{"role": "user", "text": f"Say what {{{{#n{max(0, i - 1)}.text#}}}} means. " * 12}],
            "url": "https://rates.example/v1/latest",
            "method": "get",
            "answer": "The sum is {{#n1.text#}}.\nIt was read from the lines of the invoice.",
        }
        if kind == "if-else":
            condition = {
                "variable_selector": [f"n{i - 1}", "text"],
                "comparison_operator": "contains",
                "value": "sum",
            }
            data["cases"] = [{"case_id": "yes", "conditions": [condition]}]
        part: dict[str, Any] = {"id": f"n{i}", "type": "custom", "width": 244, "height": 126, "data": data}
        if placed:
            part["position"] = {"x": 320.5 * (i // 5), "y": 180.25 * (i % 5)}
        parts.append(part)
        if i:
            handle = "yes" if parts[i - 1]["data"]["type"] == "if-else" else "source"
            edges.append({"source": f"n{i - 1}", "sourceHandle": handle, "target": f"n{i}"})
        if i > 2 and parts[i - 3]["data"]["type"] == "if-else":
            edges.append({"source": f"n{i - 3}", "sourceHandle": "false", "target": f"n{i}"})
    workflow = {"graph": {"nodes": parts, "edges": edges}}
    return Document({"app": {"mode": "advanced-chat", "name": "canvas"}, "workflow": workflow})


def milliseconds(work: Callable[[], object]) -> tuple[float, float]:
    """The best and the middle of some rounds."""
    rounds = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        work()
        rounds.append((time.perf_counter() - began) * 1e3)
    return min(rounds), sorted(rounds)[_ROUNDS // 2]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    table = Table("nodes", "work", "best, ms", "median, ms", "KB of SVG")
    median = 0.0
    for nodes in (_GOAL_NODES, 500):
        old, new = canvas(nodes), canvas(nodes, model="large")
        bare = canvas(nodes, placed=False)
        difference = compare(old, new)
        floor = milliseconds(lambda old=old: json.dumps(old.data))  # type: ignore[misc]
        table.add_row(str(nodes), "json.dumps, the floor", f"{floor[0]:.2f}", f"{floor[1]:.2f}", "")
        rows: list[tuple[str, Callable[[], str]]] = [
            ("draw", lambda old=old: draw(old)),  # type: ignore[misc]
            ("draw, no positions", lambda bare=bare: draw(bare)),  # type: ignore[misc]
            ("draw_comparison", lambda a=old, b=new, d=difference: draw_comparison(a, b, d)),  # type: ignore[misc]
        ]
        for name, work in rows:
            took = milliseconds(work)
            median = took[1] if (nodes, name) == (_GOAL_NODES, "draw") else median
            table.add_row(str(nodes), name, f"{took[0]:.2f}", f"{took[1]:.2f}", f"{len(work().encode()) / 1e3:.0f}")
    Console().print(table)
    if median > _GOAL * 1e3:
        raise SystemExit(f"a canvas of {_GOAL_NODES} nodes took {median:.1f} ms, more than {_GOAL * 1e3:.0f}")


if __name__ == "__main__":
    main()
