"""Rules on models, plugins and knowledge bases: documents that break one, each with one that does not."""

from typing import Any, Final

from dsl.documents import node

from .parts import KEYS, MODEL, Case, flow, listing, llm, retrieval


def tool(node_id: str, version: str) -> dict[str, Any]:
    pinned = f"o/n:{version}@x"
    return node(node_id, "tool", provider_type="builtin", provider_id="o/n/p", plugin_unique_identifier=pinned)


PLUGGED: Final = node("t", "tool", provider_type="builtin", provider_id="o/n/p")
CASES: Final = [
    Case(
        "plugin-versions",
        flow(tool("t", "1.0.0"), tool("u", "1.1.0")),
        flow(tool("t", "1.0.0"), tool("u", "1.0.0")),
        "1.0.0, 1.1.0",
        "nodes[1]",
    ),
    Case(
        "plugin-versions",
        listing(flow(tool("t", "1.0.0")), "o/n:1.2.0@x"),
        listing(flow(tool("t", "1.0.0")), "o/n:1.0.0@x"),
        "1.0.0, 1.2.0",
        "nodes[1]",
    ),
    Case(
        "plugin-not-listed",
        listing(flow(PLUGGED, tool("u", "1.0.0")), "langgenius/openai:1.0.0@x"),
        flow(PLUGGED),
        "“o/n”",
        "nodes[1]",
    ),
    Case(
        "plugin-not-used",
        listing(flow(PLUGGED), "o/n:1.0.0@x", "a/b:1.0.0@x"),
        listing(flow(PLUGGED), "o/n:1.0.0@x"),
        "“a/b”",
        "dependencies",
    ),
    Case(
        "plugin-not-used",
        listing(flow(retrieval()), "langgenius/cohere:1.0.0@x"),
        listing(
            flow(
                retrieval(
                    multiple_retrieval_config={
                        "reranking_enable": False,
                        "reranking_model": {"provider": "cohere", "model": "r"},
                    }
                )
            ),
            "langgenius/cohere:1.0.0@x",
        ),
        "“langgenius/cohere”",
        "dependencies",
    ),
    Case(
        "model-versions",
        flow(llm(model=MODEL | {"name": "gpt-4o-2024-05-13"}), llm("o", model=MODEL | {"name": "gpt-4o-2024-08-06"})),
        flow(llm(model=MODEL | {"name": "gpt-4o-mini"}), llm("o")),
        "gpt-4o-2024-05-13, gpt-4o-2024-08-06",
        "nodes[1]",
    ),
    Case(
        "provider-spellings",
        flow(llm(), llm("o", model=MODEL | {"provider": "langgenius/openai/openai"})),
        flow(llm(), llm("o")),
        "langgenius/openai/openai, openai",
        "nodes[",
    ),
    Case(
        "no-model",
        flow(llm(model={})),
        flow(llm(model={}, model_selector=["env", "KEY"]), **KEYS),
        "names no model",
        "model",
    ),
    Case(
        "no-knowledge-base",
        flow(retrieval(dataset_ids=[])),
        flow(retrieval()),
        "names no knowledge base",
        "dataset_ids",
    ),
]
