"""Small documents for the tests, and the larger ones beside the repository when they are there."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lastgood.dsl import Document

SHARED = Path(os.environ.get("LASTGOOD_SHARED") or Path(__file__).parents[3] / "shared")


def node(node_id: Any, kind: str, **data: Any) -> dict[str, Any]:
    return {"id": node_id, "type": "custom", "data": {"type": kind, "title": kind.title(), **data}}


def edge(source: str, target: str, **more: Any) -> dict[str, Any]:
    return {"source": source, "target": target, "sourceHandle": "source", "targetHandle": "target", **more}


def graph(*parts: dict[str, Any], mode: str = "workflow", **workflow: Any) -> Document:
    """A document with these nodes and edges (told apart by their keys)."""
    nodes = [part for part in parts if "source" not in part]
    edges = [part for part in parts if "source" in part]
    workflow = {"graph": {"nodes": nodes, "edges": edges}, "features": {}, **workflow}
    return Document({"app": {"mode": mode, "name": "x"}, "kind": "app", "version": "0.6.0", "workflow": workflow})


def straight(**workflow: Any) -> Document:
    """start → end, sound."""
    return graph(node("a", "start", variables=[]), node("b", "end", outputs=[]), edge("a", "b"), **workflow)


def corpus() -> Iterator[Path]:
    """Real documents, one file each; skips the test where there are none."""
    files = sorted((SHARED / "corpus" / "files").glob("*.yml"))
    if not files:
        pytest.skip("no corpus beside the repository")
    return iter(files)


def recordings() -> Iterator[Path]:
    """Recorded exchanges with Dify servers; skips the test where there are none."""
    files = sorted((SHARED / "dify-recordings").glob("*/*.json"))
    if not files:
        pytest.skip("no recordings beside the repository")
    return iter(files)
