"""Rules on inputs, outputs and variables: documents that break one, each with one that does not."""

from typing import Final

from dsl.documents import edge, graph, node

from .parts import KEYS, SOUND, START, Case, branch, chain, code, end, flow, form, llm, plain, two_ends

CASES: Final = [
    Case(
        "unused-input",
        graph(START, end(a=["sys", "user_id"]), *chain("s", "e")),
        SOUND,
        "must be given",
        "variables[0]",
        "warning",
    ),
    Case(
        "unused-input",
        graph(
            node("s", "start", variables=[{"variable": "q", "type": "number"}]),
            end(a=["sys", "user_id"]),
            *chain("s", "e"),
        ),
        form(),
        "may be given",
        "variables[0]",
        "info",
    ),
    Case(
        "unused-input",
        plain("Answer.", {"variable": "q", "required": True}),
        plain("Answer {{q}}.", {"variable": "q"}),
        "must be given",
        "user_input_form",
        "warning",
    ),
    Case(
        "duplicate-input",
        graph(node("s", "start", variables=[{"variable": "q", "type": "paragraph"}] * 2), end(), *chain("s", "e")),
        SOUND,
        "2 inputs have the name “q”",
        "variables[0]",
    ),
    Case(
        "refused-default",
        form(type="select", options=["a"], default="z"),
        form(type="select", options=["a"], default="a"),
        "“q”",
        "variables[0]",
    ),
    Case(
        "refused-default",
        form(max_length=3, default="abcd"),
        form(max_length=4, default="abcd"),
        "“q”",
        "variables[0]",
    ),
    Case(
        "select-without-options",
        form(type="select", options=[]),
        form(type="select", options=["a"]),
        "nothing to choose from",
        "variables[0]",
    ),
    Case(
        "duplicate-output",
        flow(node("e", "end", outputs=[{"variable": "a", "value_selector": ["s", "q"]}] * 2)),
        SOUND,
        "2 outputs have the name “a”",
        "outputs",
    ),
    Case(
        "output-types-differ",
        two_ends(a=["c", "n"]),
        two_ends(a=["c", "a"]),
        "string in “End”, number in “End”",
        "outputs",
    ),
    Case(
        "outputs-differ",
        graph(
            START,
            branch(),
            end(a=["s", "q"]),
            end("f", a=["s", "q"], b=["s", "q"]),
            edge("s", "b"),
            edge("b", "e", sourceHandle="yes"),
            edge("b", "f", sourceHandle="false"),
        ),
        two_ends(a=["c", "a"]),
        "does not give “b”",
        "nodes[2].data.outputs",
    ),
    Case("end-without-outputs", flow(node("e", "end", outputs=[])), SOUND, "gives nothing", "outputs"),
    Case(
        "unused-variable",
        flow(
            node("w", "assigner", items=[{"variable_selector": ["conversation", "seen"], "input_type": "constant"}]),
            conversation_variables=KEYS["conversation_variables"],
        ),
        SOUND,
        "Only written, and never read",
        "workflow.conversation_variables[0]",
    ),
    Case(
        "unused-input",
        flow(end(a=["sys", "user_id"])),
        flow(llm(prompt="{{q}}"), end(a=["m", "text"])),
        "must be given",
        "variables[0]",
    ),
    Case(
        "unused-variable",
        flow(code(), **KEYS),
        flow(llm(prompt="{{#env.KEY#}}{{#conversation.seen#}}"), **KEYS),
        "",
        "workflow.",
    ),
]
