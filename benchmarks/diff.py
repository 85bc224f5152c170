"""What comparing two documents costs and how much there is to read, beside deepdiff and git on the same pairs:
``uv run --with deepdiff python -m benchmarks.diff [--nodes N]``. Without deepdiff its rows are left out."""

import argparse
import copy
import json
import random
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.reading import document
from lastgood import dsl
from lastgood.dsl.compare import compare, lines

_GOAL_MS = 20.0
_RUNS = 15


def few(data: dict[str, Any]) -> None:
    """What an afternoon in the editor leaves: a prompt, a parameter, a node more, one less, one moved edge; every
    node elsewhere on the canvas."""
    nodes, edges = _graph(data)
    nodes[100]["data"]["prompt_template"][0]["text"] += "Answer in French.\n"
    nodes[200]["data"]["model"]["completion_params"]["temperature"] = 0.2
    del nodes[300]
    added = copy.deepcopy(nodes[5])
    added["id"], added["data"]["title"] = "1799999999999", "Check"
    added["data"]["prompt_template"][0]["text"] = "Say whether all of this adds up, and nothing else."
    added["data"]["prompt_template"][1]["text"] = "{{#1700000000100.text#}}"
    nodes.append(added)
    edges[300]["target"] = "1799999999999"
    _moved(nodes)


def many(data: dict[str, Any]) -> None:
    """A word in every prompt, and all nodes elsewhere."""
    nodes, _ = _graph(data)
    for node in nodes:
        for prompt in node["data"]["prompt_template"]:
            prompt["text"] = prompt["text"].replace("currency", "date", 1)
    _moved(nodes)


def copied(data: dict[str, Any]) -> None:
    """The same graph under new ids, as a copy of an app has, and one prompt changed."""
    nodes, edges = _graph(data)
    nodes[100]["data"]["prompt_template"][0]["text"] += "Answer in French.\n"
    for node in nodes:
        node["id"] = f"9{node['id']}"
    for edge in edges:
        edge.update(source=f"9{edge['source']}", target=f"9{edge['target']}")


def nothing(data: dict[str, Any]) -> None:
    """All nodes elsewhere on the canvas, in another order."""
    nodes, _ = _graph(data)
    _moved(nodes)
    random.Random(1).shuffle(nodes)


def _graph(data: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    graph = data["workflow"]["graph"]
    return graph["nodes"], graph["edges"]


def _moved(nodes: list[dict[str, Any]]) -> None:
    for node in nodes:
        node["position"] = {"x": node["position"]["x"] + 37, "y": 300}
        node["positionAbsolute"] = dict(node["position"])


def best_ms(work: Callable[[], Any], runs: int = _RUNS) -> float:
    """The shortest time of `work` in milliseconds: what it costs when nothing else runs."""
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times) * 1000


def ours(old: dsl.Document, new: dsl.Document) -> list[tuple[str, float, int]]:
    """Rows of (what, milliseconds, lines to read)."""
    found = compare(old, new)
    told = best_ms(lambda: lines(compare(old, new)))
    return [
        ("lastgood: compare", best_ms(lambda: compare(old, new)), len(lines(found))),
        ("lastgood: compare and tell", told, len(lines(found))),
    ]


def git(old: dsl.Document, new: dsl.Document) -> list[tuple[str, float, int]]:
    """git's diff of the two exports, which are written beforehand."""
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "old.yml", Path(folder) / "new.yml"
        before.write_text(dsl.to_yaml(old))
        after.write_text(dsl.to_yaml(new))
        command = ["git", "diff", "--no-index", "--no-color", str(before), str(after)]
        shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return [
            (
                "git diff --no-index",
                best_ms(lambda: subprocess.run(command, capture_output=True, check=False)),
                len(shown.splitlines()),
            )
        ]


def deep(old: dsl.Document, new: dsl.Document) -> list[tuple[str, float, int]]:
    """deepdiff, as it comes and told to look past the order of lists; a line for each thing it finds."""
    try:
        from deepdiff import DeepDiff  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return []
    plain = DeepDiff(old.data, new.data)
    return [("deepdiff", best_ms(lambda: DeepDiff(old.data, new.data), 3), len(plain.pretty().splitlines()))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    flags = parser.parse_args()
    old = document(flags.nodes)
    console = Console()
    figures: dict[str, dict[str, Any]] = {}
    table = Table("pair", "by", "ms", "lines to read")
    for change in (few, many, copied, nothing):
        data = orjson.loads(orjson.dumps(old.data))
        change(data)
        new = dsl.Document(data)
        for by, ms, count in (*ours(old, new), *git(old, new), *deep(old, new)):
            table.add_row(change.__name__, by, f"{ms:.1f}", f"{count:,}")
            figures.setdefault(change.__name__, {})[by] = {"ms": round(ms, 2), "lines": count}
    size = len(orjson.dumps(old.data))
    console.print(f"two documents of {flags.nodes} nodes, {size:,} bytes of JSON each; the best of several runs")
    console.print(table)
    if flags.json:
        flags.json.write_text(json.dumps(figures, indent=1))
    spent = figures["few"]["lastgood: compare"]["ms"]
    if spent > _GOAL_MS:
        raise SystemExit(f"{spent} ms, and the goal is {_GOAL_MS} ms")


if __name__ == "__main__":
    main()
