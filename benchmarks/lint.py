"""How long lint takes over the corpus and on a large document: ``python -m benchmarks.lint [--shared DIR]``."""

import argparse
import os
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lastgood.dsl.document import Document
from lastgood.dsl.lint import lint
from lastgood.dsl.reader import parse
from lastgood.errors import InvalidDocument

_ROUNDS = 3
_LARGE = 500


def documents(shared: Path) -> list[tuple[str, Document]]:
    """Every document of the corpus that the reader takes, by its file's stem."""
    found = []
    for path in sorted((shared / "corpus" / "files").glob("*.yml")):
        try:
            found.append((path.stem, parse(path.read_bytes(), source=path.name)))
        except InvalidDocument:
            continue
    return found


def large(nodes: int) -> Document:
    """A sound workflow of about `nodes` nodes: groups in which a model leads to a branch, the branch to a model each,
    and both to an aggregator. Every model names the first one, the caller's input and the aggregator before it."""
    parts = [_node("n0", "start", variables=[{"variable": "q", "type": "paragraph"}])]
    edges, last = [], "n0"
    for i in range(1, nodes - 4, 5):
        ask, choice, yes, no, join = (f"n{i + k}" for k in range(5))
        before = "{{#n0.q#}}" if last == "n0" else f"{{{{#{last}.output#}}}} {{{{#n1.text#}}}}"
        cases = [{"case_id": "yes", "conditions": [{"variable_selector": [ask, "text"], "value": "yes"}]}]
        parts += [_model(ask, before), _node(choice, "if-else", cases=cases)]
        parts += [_model(branch, f"{{{{#{ask}.text#}}}} {{{{#n0.q#}}}}") for branch in (yes, no)]
        parts.append(_node(join, "variable-aggregator", variables=[[yes, "text"], [no, "text"]]))
        steps = [(last, "source", ask), (ask, "source", choice), (choice, "yes", yes), (choice, "false", no)]
        steps += [(yes, "source", join), (no, "source", join)]
        edges += [{"source": a, "sourceHandle": handle, "target": b} for a, handle, b in steps]
        last = join
    parts.append(_node("end", "end", outputs=[{"variable": "a", "value_selector": [last, "output"]}]))
    edges.append({"source": last, "sourceHandle": "source", "target": "end"})
    return Document({"app": {"mode": "workflow"}, "workflow": {"graph": {"nodes": parts, "edges": edges}}})


def _model(node_id: str, prompt: str) -> dict[str, Any]:
    model = {"provider": "openai", "name": "gpt-4o", "mode": "chat"}
    return _node(node_id, "llm", model=model, prompt_template=[{"role": "user", "text": prompt}])


def _node(node_id: str, kind: str, **data: Any) -> dict[str, Any]:
    return {"id": node_id, "data": {"type": kind, "title": node_id, **data}}


def seconds(document: Document) -> float:
    """The best of a few rounds."""
    rounds = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        lint(document)
        rounds.append(time.perf_counter() - began)
    return min(rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(os.environ.get("LASTGOOD_SHARED", Path(__file__).parents[2] / "shared"))
    parser.add_argument("--shared", type=Path, default=default, help="the folder that holds corpus/files")
    flags = parser.parse_args()
    console = Console()
    found = documents(flags.shared)
    if not found:
        raise SystemExit(f"no documents in {flags.shared}")
    times = {name: seconds(document) for name, document in found}
    problems = [problem for _, document in found for problem in lint(document).problems]
    slowest = max(times, key=lambda name: times[name])
    table = Table("rule", "severity", "findings")
    for (rule, severity), count in Counter((p.rule, p.severity) for p in problems).most_common():
        table.add_row(rule, severity, str(count))
    console.print(table)
    console.print(
        f"{len(found)} documents in {sum(times.values()):.2f} s: {len(found) / sum(times.values()):,.0f} a second; "
        f"median {statistics.median(times.values()) * 1e3:.1f} ms, slowest {slowest} {times[slowest] * 1e3:.0f} ms; "
        f"{len(problems)} findings"
    )
    big = large(_LARGE)
    told = f"{len(lint(big).problems)} findings"
    console.print(f"a sound document of {len(big.nodes)} nodes: {seconds(big) * 1e3:.0f} ms, {told}")


if __name__ == "__main__":
    main()
