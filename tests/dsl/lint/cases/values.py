"""Rules on references: documents that break one, each with one that does not."""

from typing import Final

from dsl.documents import edge, graph, node

from .parts import (
    KEYS,
    SOUND,
    START,
    Case,
    chain,
    chat,
    code,
    container,
    end,
    flow,
    http,
    joined,
    llm,
    retrieval,
    rounds,
)

CASES: Final = [
    Case(
        "unknown-node",
        flow(llm(prompt="{{#gone.text#}}{{#s.q#}}")),
        flow(llm()),
        "the node fails",
        "prompt_template[0].text",
    ),
    Case(
        "unknown-node",
        flow(code(variables=[{"variable": "q", "value_selector": ["gone", "x"]}])),
        flow(code()),
        "null is put",
        "variables[0].value_selector",
    ),
    Case(
        "unknown-output", flow(http(url="https://a.io/{{#s.gone#}}{{#s.q#}}")), flow(http()), "the bare name", "url"
    ),
    Case(
        "unknown-variable",
        flow(llm(prompt="{{#env.GONE#}}{{#s.q#}}")),
        flow(llm(prompt="{{#sys.user_id#}}")),
        "there is no variable",
        "text",
        "error",
    ),
    Case(
        "unknown-variable",
        flow(llm(prompt="{{#sys.query#}}{{#s.q#}}")),
        chat(llm(prompt="{{#sys.query#}}")),
        "only in a chatflow",
        "text",
        "error",
    ),
    Case(
        "unknown-variable",
        flow(llm(prompt="{{#sys.from_the_future#}}{{#s.q#}}")),
        flow(llm(prompt="{{#sys.timestamp#}}")),
        "there is no variable",
        "text",
        "warning",
    ),
    Case("unknown-key", flow(llm(prompt="{{#s.q.name#}}")), flow(llm()), "“q.name”", "text"),
    Case("malformed-reference", flow(llm(prompt="{{# s.q #}}")), flow(llm()), "stays in the text", "text"),
    Case("malformed-reference", flow(llm(prompt="{{#my-node.text#}}")), flow(llm()), "{{#my-node.text#}}", "text"),
    Case(
        "empty-selector",
        flow(node("e", "end", outputs=[{"variable": "a", "value_selector": []}])),
        SOUND,
        "names no value",
        "value_selector",
    ),
    Case(
        "used-before-produced",
        flow(llm(prompt="{{#c.a#}}"), code()),
        flow(code(), llm(prompt="{{#c.a#}}")),
        "only after this node: the node fails",
        "text",
    ),
    Case(
        "used-before-produced",
        graph(START, llm(prompt="{{#c.a#}}"), code(), end(), *chain("s", "m", "e"), *chain("s", "c", "e")),
        SOUND,
        "No path leads from “Code”",
        "text",
    ),
    Case(
        "used-before-produced",
        rounds(*container("iteration", code()), end(a=["c", "a"])),
        rounds(*container("iteration", code()), end(a=["i", "output"])),
        "stays inside",
        "outputs[0]",
    ),
    Case(
        "used-before-produced",
        graph(
            START,
            http(error_strategy="fail-branch"),
            end(b=["h", "body"]),
            *chain("s", "h"),
            edge("h", "e", sourceHandle="fail-branch"),
        ),
        graph(
            START,
            http(error_strategy="fail-branch"),
            end(b=["h", "error_message"]),
            *chain("s", "h"),
            edge("h", "e", sourceHandle="fail-branch"),
        ),
        "this node only follows its failure",
        "outputs[0]",
    ),
    Case(
        "may-be-unset",
        joined(llm(prompt="{{#c.a#}}"), end(), edge("b", "m", sourceHandle="false"), *chain("c", "m", "e")),
        joined(end(), edge("b", "e", sourceHandle="false")),
        "“Code” has not produced “c.a” when “If-Else” takes ELSE: the node fails",
        "text",
    ),
    Case(
        "may-be-null",
        joined(end(a=["c", "a"]), edge("b", "e", sourceHandle="false")),
        joined(end(), edge("b", "e", sourceHandle="false")),
        "takes ELSE: null",
        "outputs[0]",
    ),
    Case(
        "may-be-null",
        flow(
            http(error_strategy="default-value", default_value=[{"key": "body", "type": "string", "value": ""}]),
            end(a=["h", "error_type"]),
        ),
        flow(http(), end(a=["h", "body"])),
        "Unless it failed",
        "outputs[0]",
    ),
    Case(
        "aggregator-may-be-empty",
        joined(
            node("v", "variable-aggregator", variables=[["c", "a"]]),
            end(a=["v", "output"]),
            *chain("c", "v", "e"),
            edge("b", "v", sourceHandle="false"),
        ),
        joined(
            code(node_id="d"),
            node("v", "variable-aggregator", variables=[["c", "a"], ["d", "a"]]),
            end(a=["v", "output"]),
            edge("b", "d", sourceHandle="false"),
            *chain("c", "v", "e"),
            *chain("d", "v"),
        ),
        "when “If-Else” takes ELSE",
        "variables",
    ),
    Case(
        "wrong-type",
        rounds(*container("iteration", iterator_selector=["s", "q"])),
        rounds(*container("iteration", code())),
        "is of type string, and a list is needed",
        "iterator_selector",
    ),
    Case(
        "wrong-type",
        flow(node("d", "document-extractor", variable_selector=["s", "q"])),
        SOUND,
        "and files are needed",
        "variable_selector",
    ),
    Case(
        "write-to-constant",
        flow(
            node(
                "w",
                "assigner",
                items=[
                    {"variable_selector": ["env", "KEY"], "input_type": "constant", "operation": "set", "value": "x"}
                ],
            ),
            **KEYS,
        ),
        flow(
            node(
                "w",
                "assigner",
                items=[
                    {
                        "variable_selector": ["conversation", "seen"],
                        "input_type": "constant",
                        "operation": "set",
                        "value": "x",
                    }
                ],
            ),
            **KEYS,
        ),
        "“env.KEY” cannot be written",
        "items[0]",
    ),
    Case(
        "context-switched-off",
        flow(llm(prompt="{{#context#}} {{#s.q#}}", context={"enabled": False})),
        flow(
            retrieval(), llm(prompt="{{#context#}}", context={"enabled": True, "variable_selector": ["k", "result"]})
        ),
        "switched off",
        "text",
    ),
    Case(
        "context-unused",
        flow(retrieval(), llm(context={"enabled": True, "variable_selector": ["k", "result"]})),
        flow(llm()),
        "no prompt has {{#context#}}",
        "context",
        "warning",
    ),
    Case(
        "context-unused",
        flow(llm(context={"enabled": True, "variable_selector": ["s", "q"]})),
        flow(llm()),
        "“s.q” itself",
        "context",
        "info",
    ),
    Case(
        "default-value-missing",
        flow(
            http(error_strategy="default-value", default_value=[{"key": "body", "value": ""}]),
            end(a=["h", "status_code"]),
        ),
        flow(
            http(error_strategy="default-value", default_value=[{"key": "body", "value": ""}]), end(a=["h", "body"])
        ),
        "“status_code”",
        "default_value",
    ),
    Case(
        "bare-name",
        flow(llm(prompt="Answer {{ q }}, {{other}}.")),
        flow(llm(prompt="Answer {{#s.q#}}, {{other}}.")),
        "{{q}} is no reference here",
        "prompt_template[0].text",
    ),
    Case(
        "bare-name",
        flow(http(headers="X: {{seen}}"), **KEYS),
        flow(
            llm(
                prompt_template=[{"edition_type": "jinja2", "text": "{{q}}", "jinja2_text": "{{q}}"}],
                prompt_config={"jinja2_variables": [{"variable": "q", "value_selector": ["s", "q"]}]},
            )
        ),
        "{{seen}}",
        "headers",
    ),
]
