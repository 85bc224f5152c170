"""What reading a document costs, beside PyYAML and orjson in the same run: ``python -m benchmarks.reading``."""

import statistics
import time
from collections.abc import Callable

import orjson
import yaml
from rich.console import Console
from rich.table import Table

from lastgood import dsl

_PROMPT = "Read the invoice {{#start.text#}} and answer with its total, its currency and its supplier.\n" * 6


def document(nodes: int) -> dsl.Document:
    """A chain of `nodes` nodes as an editor leaves them, about 1.5 KB each."""
    parts = [
        {
            "id": str(1_700_000_000_000 + i),
            "type": "custom",
            "position": {"x": 80 + 300.5 * i, "y": 282},
            "positionAbsolute": {"x": 80 + 300.5 * i, "y": 282},
            "width": 244,
            "height": 90,
            "selected": False,
            "sourcePosition": "right",
            "targetPosition": "left",
            "data": {
                "type": "start" if i == 0 else "end" if i == nodes - 1 else "llm",
                "title": f"Step {i}",
                "desc": "",
                "selected": False,
                "model": {
                    "provider": "openai",
                    "name": "m",
                    "mode": "chat",
                    "completion_params": {"temperature": 0.7},
                },
                "prompt_template": [{"id": str(i), "role": role, "text": _PROMPT} for role in ("system", "user")],
                "context": {"enabled": False, "variable_selector": []},
                "vision": {"enabled": False},
                "variables": [],
            },
        }
        for i in range(nodes)
    ]
    edges = [
        {
            "id": f"e{i}",
            "source": parts[i]["id"],
            "target": parts[i + 1]["id"],
            "sourceHandle": "source",
            "type": "custom",
        }
        for i in range(nodes - 1)
    ]
    graph = {"nodes": parts, "edges": edges, "viewport": {"x": 0, "y": 0, "zoom": 1}}
    workflow = {"graph": graph, "features": {}, "environment_variables": [], "conversation_variables": []}
    return dsl.Document({"app": {"mode": "workflow", "name": "x"}, "version": "0.6.0", "workflow": workflow})


def median_ms(work: Callable[[], object], rounds: int) -> float:
    """The median time of `work`, in milliseconds."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1000


def measure(nodes: int) -> dict[str, float]:
    """Medians in milliseconds by name of the work, and the size in KB."""
    given = document(nodes)
    text, packed = dsl.to_yaml(given), orjson.dumps(given.data).decode()
    fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    works: dict[str, Callable[[], object]] = {
        "parse (YAML)": lambda: dsl.parse(text),
        "PyYAML with libyaml": lambda: yaml.load(text, Loader=fast),
        "parse (JSON)": lambda: dsl.parse(packed),
        "orjson": lambda: orjson.loads(packed),
        "content digest": lambda: dsl.content_digest(given),
        "semantic digest": lambda: dsl.semantic_digest(given),
        "check": lambda: dsl.check(given),
        "to_yaml": lambda: dsl.to_yaml(given),
    }
    rounds = max(3, 1_000 // nodes)
    return {"KB of YAML": len(text) / 1000} | {name: median_ms(work, rounds) for name, work in works.items()}


def main() -> None:
    sizes = (10, 100, 1_000)
    columns = [measure(nodes) for nodes in sizes]
    table = Table("ms, median", *(f"{nodes:,} nodes" for nodes in sizes))
    for name in columns[0]:
        table.add_row(name, *(f"{column[name]:,.2f}" for column in columns))
    Console().print(table)


if __name__ == "__main__":
    main()
