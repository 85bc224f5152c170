"""Rules on the settings of single nodes: documents that break one, each with one that does not."""

from typing import Final

from dsl.documents import edge, graph, node

from .parts import (
    KEYS,
    MODEL,
    SOUND,
    Case,
    answer,
    chain,
    chat,
    code,
    container,
    end,
    flow,
    http,
    inside,
    llm,
    retrieval,
    rounds,
)

CASES: Final = [
    Case(
        "empty-prompt",
        flow(llm(prompt=" \n")),
        flow(llm(prompt=" ", memory={"query_prompt_template": "{{#s.q#}}"})),
        "an empty prompt",
        "prompt_template",
    ),
    Case("empty-answer", chat(answer(" ")), chat(answer()), "says nothing", "answer"),
    Case(
        "http-without-timeout",
        flow(http(timeout={"max_read_timeout": 60})),
        flow(http()),
        "no timeout of its own",
        "timeout",
    ),
    Case("http-without-url", flow(http(url="")), flow(http(url="{{#s.q#}}")), "has no address", "url"),
    Case("http-without-url", flow(http(url="api.shop.io")), flow(http()), "does not begin with", "url"),
    Case(
        "container-without-start",
        rounds(
            node(
                "i", "iteration", start_node_id="gone", iterator_selector=["l", "rows"], output_selector=["i", "item"]
            )
        ),
        rounds(*container("iteration", code())),
        "where it begins",
        "start_node_id",
    ),
    Case(
        "container-does-nothing",
        rounds(*container("iteration")),
        rounds(*container("iteration", code())),
        "nothing behind its start",
        "nodes[2]",
    ),
    Case(
        "loop-without-count",
        rounds(*container("loop", code(), loop_count=0)),
        rounds(*container("loop", code())),
        "how often",
        "loop_count",
    ),
    Case(
        "parallel-write",
        rounds(
            *container(
                "iteration",
                node(
                    "w",
                    "assigner",
                    items=[
                        {
                            "variable_selector": ["conversation", "seen"],
                            "input_type": "variable",
                            "operation": "append",
                            "value": ["i", "item"],
                        }
                    ],
                ),
                is_parallel=True,
            ),
            **KEYS,
        ),
        rounds(
            *container(
                "iteration",
                node(
                    "w",
                    "assigner",
                    items=[
                        {
                            "variable_selector": ["conversation", "seen"],
                            "input_type": "variable",
                            "operation": "append",
                            "value": ["i", "item"],
                        }
                    ],
                ),
            ),
            **KEYS,
        ),
        "“conversation.seen”",
        "items[0]",
    ),
    Case(
        "case-without-condition",
        flow(
            node("b", "if-else", cases=[{"case_id": "yes", "conditions": []}]),
            edge("b", "e", sourceHandle="yes"),
            edge("b", "e", sourceHandle="false"),
        ),
        SOUND,
        "IF of",
        "cases[0]",
    ),
    Case(
        "class-without-name",
        flow(
            node(
                "p",
                "question-classifier",
                model=MODEL,
                query_variable_selector=["s", "q"],
                classes=[{"id": "1", "name": " "}],
            ),
            edge("p", "e", sourceHandle="1"),
        ),
        SOUND,
        "Class 1 of",
        "classes[0]",
    ),
    Case(
        "bad-schedule",
        graph(
            node("s", "trigger-schedule", mode="cron", cron_expression="0 9 *"),
            end(a=["sys", "user_id"]),
            *chain("s", "e"),
        ),
        graph(
            node("s", "trigger-schedule", mode="cron", cron_expression="0 9 * * *"),
            end(a=["sys", "user_id"]),
            *chain("s", "e"),
        ),
        "has 3 parts",
        "cron_expression",
    ),
    Case(
        "deprecated-shape",
        flow(
            node("b", "if-else", conditions=[{"variable_selector": ["s", "q"]}]),
            edge("b", "e", sourceHandle="true"),
            edge("b", "e", sourceHandle="false"),
        ),
        SOUND,
        "`conditions`",
        "nodes[1]",
    ),
    Case(
        "deprecated-shape",
        flow(node("v", "variable-assigner", variables=[["s", "q"]]), end(a=["v", "output"])),
        flow(node("v", "variable-aggregator", variables=[["s", "q"]]), end(a=["v", "output"])),
        "`variable-aggregator`",
        "nodes[1]",
    ),
    Case(
        "deprecated-shape",
        flow(retrieval(retrieval_mode="single")),
        flow(retrieval(retrieval_mode="multiple")),
        "`single`",
        "nodes[1]",
    ),
    Case(
        "deprecated-shape",
        flow(node("w", "assigner", assigned_variable_selector=["conversation", "seen"], write_mode="clear"), **KEYS),
        SOUND,
        "`items`",
        "nodes[1]",
    ),
    Case(
        "deprecated-shape",
        rounds(
            node("i", "iteration", start_node_id="c", iterator_selector=["l", "rows"], output_selector=["c", "a"]),
            inside("i", code(isIterationStart=True)),
        ),
        rounds(*container("iteration", code(isIterationStart=True))),
        "begins with it",
        "nodes[3]",
    ),
]
