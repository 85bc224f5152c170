"""What changes inside one node: a table of (type, data before, data after, changes)."""

from typing import Any

import pytest

from dsl.documents import graph, node
from lastgood.dsl import semantic_digest
from lastgood.dsl.compare import apply, compare

from .seen import fields

type Data = dict[str, Any]

SYSTEM = {"role": "system", "text": "Be kind."}
USER = {"role": "user", "text": "Say hello."}
QUERY = {"variable": "query", "type": "text-input", "required": True}
TOPIC = {"variable": "topic", "type": "select", "options": ["a", "b"]}
ONE = {"id": "c1", "variable_selector": ["x", "y"], "value": "1"}
YES = {"case_id": "true", "conditions": [ONE]}
MORE = {"case_id": "k2", "conditions": []}
CLASSES = [{"id": "1", "name": "praise"}, {"id": "2", "name": "blame"}]

CASES: dict[str, tuple[str, Data, Data, list[str]]] = {
    # plain values
    "a value": ("llm", {"model": {"name": "a"}}, {"model": {"name": "b"}}, ['~ model.name: "a" → "b"']),
    "a number": ("llm", {"t": 0.2}, {"t": 0.7}, ["~ t: 0.2 → 0.7"]),
    "1.0 for 1": ("llm", {"t": 1}, {"t": 1.0}, []),
    "-0.0 for 0": ("llm", {"t": 0}, {"t": -0.0}, []),
    "a large float is no integer": ("llm", {"t": 10**16}, {"t": 1e16}, ["~ t: 10000000000000000 → 1e+16"]),
    "text for a number": ("llm", {"t": 1}, {"t": "1"}, ['~ t: 1 → "1"']),
    "true for 1": ("llm", {"t": 1}, {"t": True}, ["~ t: 1 → true"]),
    "true for 1, deep down": ("llm", {"t": [[1]]}, {"t": [[True]]}, ["- t[#1]: [1]", "+ t[#1]: [true]"]),
    "a value comes": ("llm", {}, {"t": 1}, ["+ t: 1"]),
    "a value goes": ("llm", {"t": 1}, {}, ["- t: 1"]),
    "null comes": ("llm", {}, {"t": None}, ["+ t: null"]),
    "null for nothing": ("llm", {"t": None}, {"t": ""}, ['~ t: null → ""']),
    "a mapping for a text": ("llm", {"t": "x"}, {"t": {"a": 1}}, ['~ t: "x" → {"a":1}']),
    "a list for a mapping": ("llm", {"t": {"a": 1}}, {"t": [1]}, ['~ t: {"a":1} → [1]']),
    "a mapping grows": ("llm", {"m": {"a": 1}}, {"m": {"a": 1, "b": {"c": 2}}}, ['+ m.b: {"c":2}']),
    "a mapping empties": ("llm", {"m": {"a": 1}}, {"m": {}}, ["- m.a: 1"]),
    "keys in another order": ("llm", {"m": {"a": 1, "b": 2}}, {"m": {"b": 2, "a": 1}}, []),
    "an unknown key": ("new-kind", {"x": {"y": [1]}}, {"x": {"y": [2]}}, ["- x.y[#1]: 1", "+ x.y[#1]: 2"]),
    # what only draws or caches
    "selected": ("llm", {"selected": True}, {"selected": False}, []),
    "the editor's keys": ("llm", {"_isSingleRun": 1}, {"_connected": 2}, []),
    "a tool's caches": ("tool", {"paramSchemas": [1], "output_schema": {}}, {"output_schema": {"a": 1}}, []),
    "the same key elsewhere": ("agent", {"output_schema": {}}, {"output_schema": {"a": 1}}, ["+ output_schema.a: 1"]),
    "a schedule's stale config": ("trigger-schedule", {"config": {"a": 1}}, {}, []),
    "the size of a loop": ("loop", {"width": 1, "height": 2}, {"width": 3}, []),
    # selectors are one value
    "a selector": ("llm", {"q": ["sys", "a"]}, {"q": ["sys", "b"]}, ['~ q: ["sys","a"] → ["sys","b"]']),
    "a selector of a node": ("llm", {"q": ["n", "text"]}, {"q": ["n", "json"]}, ['~ q: ["n","text"] → ["n","json"]']),
    "a selector comes": ("llm", {"q": []}, {"q": ["env", "X"]}, ['~ q: [] → ["env","X"]']),
    "a longer selector": ("llm", {"q": ["n", "a"]}, {"q": ["n", "a", "b"]}, ['~ q: ["n","a"] → ["n","a","b"]']),
    "a list of selectors": (
        "variable-aggregator",
        {"variables": [["n", "a"], ["n", "b"]]},
        {"variables": [["n", "b"], ["n", "c"]]},
        ['- variables[#1]: ["n","a"]', '+ variables[#2]: ["n","c"]'],
    ),
    # prompts
    "a prompt": (
        "llm",
        {"prompt_template": [SYSTEM, USER]},
        {"prompt_template": [SYSTEM, {**USER, "text": "Bye."}]},
        ['~ prompt_template[user].text: "Say hello." → "Bye."'],
    ),
    "a prompt rewritten and with another id": (
        "llm",
        {"prompt_template": [{**SYSTEM, "id": "u1"}, USER]},
        {"prompt_template": [{"role": "system", "text": "Mind the gap.", "id": "u2"}, USER]},
        ['~ prompt_template[system].id: "u1" → "u2"', '~ prompt_template[system].text: "Be kind." → "Mind the gap."'],
    ),
    "a prompt comes between": (
        "llm",
        {"prompt_template": [SYSTEM, USER]},
        {"prompt_template": [SYSTEM, {"role": "assistant", "text": "Hm."}, USER]},
        ['+ prompt_template[assistant]: {"role":"assistant","text":"Hm."}'],
    ),
    "prompts in another order": (
        "llm",
        {"prompt_template": [SYSTEM, USER]},
        {"prompt_template": [USER, SYSTEM]},
        ["^ prompt_template[system]"],
    ),
    "the second of two user prompts": (
        "llm",
        {"prompt_template": [USER, {"role": "user", "text": "And?"}]},
        {"prompt_template": [USER, {"role": "user", "text": "So?"}]},
        ['~ prompt_template[user #2].text: "And?" → "So?"'],
    ),
    "a prompt that is one mapping": (
        "llm",
        {"prompt_template": {"text": "a"}},
        {"prompt_template": {"text": "b"}},
        ['~ prompt_template.text: "a" → "b"'],
    ),
    "the role of a prompt": (
        "llm",
        {"prompt_template": [{**SYSTEM, "id": "p"}]},
        {"prompt_template": [{**SYSTEM, "id": "p", "role": "user"}]},
        ['~ prompt_template[user].role: "system" → "user"'],
    ),
    # inputs and outputs
    "an input becomes required": (
        "start",
        {"variables": [{**QUERY, "required": False}, TOPIC]},
        {"variables": [QUERY, TOPIC]},
        ["~ variables[query].required: false → true"],
    ),
    "an input goes, another comes": (
        "start",
        {"variables": [QUERY]},
        {"variables": [TOPIC]},
        [
            '- variables[query]: {"required":true,"type":"text-input","variable":"query"}',
            '+ variables[topic]: {"options":["a","b"],"type":"select","variable":"topic"}',
        ],
    ),
    "inputs in another order": (
        "start",
        {"variables": [QUERY, TOPIC]},
        {"variables": [TOPIC, QUERY]},
        ["^ variables[query]"],
    ),
    "an input that moved and changed": (
        "start",
        {"variables": [QUERY, TOPIC, {"variable": "z"}]},
        {"variables": [TOPIC, {"variable": "z"}, {**QUERY, "type": "number"}]},
        ["^ variables[query]", '~ variables[query].type: "text-input" → "number"'],
    ),
    "an option goes": (
        "start",
        {"variables": [TOPIC]},
        {"variables": [{**TOPIC, "options": ["a"]}]},
        ['- variables[topic].options[#2]: "b"'],
    ),
    "options in another order": (
        "start",
        {"variables": [TOPIC]},
        {"variables": [{**TOPIC, "options": ["b", "a"]}]},
        ["^ variables[topic].options[#2]"],
    ),
    "options that begin like a selector": (
        "start",
        {"variables": [{**TOPIC, "options": ["n", "out"]}]},
        {"variables": [{**TOPIC, "options": ["n", "in"]}]},
        ['- variables[topic].options[#2]: "out"', '+ variables[topic].options[#2]: "in"'],
    ),
    "an output's source": (
        "end",
        {"outputs": [{"variable": "r", "value_selector": ["n", "a"]}]},
        {"outputs": [{"variable": "r", "value_selector": ["n", "b"]}]},
        ['~ outputs[r].value_selector: ["n","a"] → ["n","b"]'],
    ),
    "an output of a code node": (
        "code",
        {"outputs": {"a": {"type": "string"}}},
        {"outputs": {"a": {"type": "number"}, "b": {"type": "string"}}},
        ['~ outputs.a.type: "string" → "number"', '+ outputs.b: {"type":"string"}'],
    ),
    "outputs as a list, then as a mapping": (
        "code",
        {"outputs": [{"variable": "a"}]},
        {"outputs": {"a": {}}},
        ['~ outputs: [{"variable":"a"}] → {"a":{}}'],
    ),
    # branches
    "a condition's value": (
        "if-else",
        {"cases": [YES]},
        {"cases": [{**YES, "conditions": [{**ONE, "value": "2"}]}]},
        ['~ cases[true].conditions[c1].value: "1" → "2"'],
    ),
    "a case comes": (
        "if-else",
        {"cases": [YES]},
        {"cases": [YES, MORE]},
        ['+ cases[k2]: {"case_id":"k2","conditions":[]}'],
    ),
    "cases in another order": ("if-else", {"cases": [YES, MORE]}, {"cases": [MORE, YES]}, ["^ cases[true]"]),
    "a condition with another id": (
        "if-else",
        {"cases": [YES]},
        {"cases": [{**YES, "conditions": [{**ONE, "id": "c9"}]}]},
        ['~ cases[true].conditions[c9].id: "c1" → "c9"'],
    ),
    "a class renamed": (
        "question-classifier",
        {"classes": CLASSES},
        {"classes": [CLASSES[0], {"id": "2", "name": "complaint"}]},
        ['~ classes[complaint].name: "blame" → "complaint"'],
    ),
    "a class under another id": (
        "question-classifier",
        {"classes": CLASSES},
        {"classes": [CLASSES[0], {"id": "7", "name": "blame"}]},
        ['~ classes[blame].id: "2" → "7"'],
    ),
    "a button of a form": (
        "human-input",
        {"user_actions": [{"id": "ok", "title": "Yes"}, {"id": "no", "title": "No"}]},
        {"user_actions": [{"id": "ok", "title": "Go"}]},
        ['~ user_actions[ok].title: "Yes" → "Go"', '- user_actions[no]: {"id":"no","title":"No"}'],
    ),
    # other named things
    "a parameter to extract": (
        "parameter-extractor",
        {"parameters": [{"name": "city", "type": "string"}]},
        {"parameters": [{"name": "city", "type": "string", "required": True}, {"name": "day"}]},
        ["+ parameters[city].required: true", '+ parameters[day]: {"name":"day"}'],
    ),
    "a header's default": (
        "http-request",
        {"default_value": [{"key": "body", "value": "a"}]},
        {"default_value": [{"key": "body", "value": "b"}]},
        ['~ default_value[body].value: "a" → "b"'],
    ),
    "a tool's parameter": (
        "tool",
        {"tool_parameters": {"q": {"type": "mixed", "value": "a"}}},
        {"tool_parameters": {"q": {"type": "variable", "value": ["n", "a"]}}},
        ['~ tool_parameters.q.type: "mixed" → "variable"', '~ tool_parameters.q.value: "a" → ["n","a"]'],
    ),
    "an agent's tools": (
        "agent",
        {"agent_parameters": {"tools": {"value": [{"tool_name": "search", "on": True}]}}},
        {"agent_parameters": {"tools": {"value": [{"tool_name": "search", "on": False}, {"tool_name": "time"}]}}},
        [
            "~ agent_parameters.tools.value[search].on: true → false",
            '+ agent_parameters.tools.value[time]: {"tool_name":"time"}',
        ],
    ),
    "an agent's credentials": (
        "agent",
        {"agent_parameters": {"tools": {"value": [{"tool_name": "search", "credential_id": "1"}]}}},
        {"agent_parameters": {"tools": {"value": [{"tool_name": "search"}]}}},
        [],
    ),
    "a loop's variable keeps its id": (
        "loop",
        {"loop_variables": [{"id": "v", "label": "count", "value": 1}]},
        {"loop_variables": [{"id": "v", "label": "rounds", "value": 1}]},
        ['~ loop_variables[rounds].label: "count" → "rounds"'],
    ),
    "a group of an aggregator": (
        "variable-aggregator",
        {"advanced_settings": {"groups": [{"group_name": "g", "variables": [["n", "a"]]}]}},
        {"advanced_settings": {"groups": [{"group_name": "g", "variables": [["n", "a"], ["n", "b"]]}]}},
        ['+ advanced_settings.groups[g].variables[#2]: ["n","b"]'],
    ),
    "what an assigner sets": (
        "assigner",
        {"items": [{"variable_selector": ["conversation", "a"], "operation": "set"}]},
        {"items": [{"variable_selector": ["conversation", "a"], "operation": "clear"}]},
        ['~ items[#1].operation: "set" → "clear"'],
    ),
    "an assigner sets another, beyond one that stayed": (
        "assigner",
        {"items": [{"variable_selector": ["conversation", name], "operation": "clear"} for name in ("a", "b")]},
        {"items": [{"variable_selector": ["conversation", name], "operation": "clear"} for name in ("b", "c")]},
        [
            '- items[#1]: {"operation":"clear","variable_selector":["conversation","a"]}',
            '+ items[#2]: {"operation":"clear","variable_selector":["conversation","c"]}',
        ],
    ),
    # lists that nothing names
    "an equal item twice": ("llm", {"l": [1, 1, 2]}, {"l": [1, 2]}, ["- l[#1]: 1"]),
    "an item at the front": ("llm", {"l": ["b", "c"]}, {"l": ["a", "b", "c"]}, ['+ l[#1]: "a"']),
    "an item goes to the end": ("llm", {"l": ["a", "b", "c"]}, {"l": ["b", "c", "a"]}, ["^ l[#3]"]),
    "short items": ("llm", {"l": ["a"]}, {"l": ["b"]}, ['- l[#1]: "a"', '+ l[#1]: "b"']),
    "a sentence that stayed one": (
        "llm",
        {"l": ["How do I return my order?", "Where is it?"]},
        {"l": ["How do I return an order?", "Where is it?"]},
        ['~ l[#1]: "How do I return my order?" → "How do I return an order?"'],
    ),
    "two items of one name": (
        "llm",
        {"l": [{"name": "a", "x": 1}, {"name": "a", "x": 2}]},
        {"l": [{"name": "a", "x": 1}]},
        ['- l[a #2]: {"name":"a","x":2}'],
    ),
    "a list empties": ("llm", {"l": [1]}, {"l": []}, ["- l[#1]: 1"]),
    "a list of lists": ("llm", {"l": [[1], [2]]}, {"l": [[2]]}, ["- l[#1]: [1]"]),
    # texts
    "code": ("code", {"code": "a\nb\n"}, {"code": "a\nc\n"}, ['~ code: "a\\nb\\n" → "a\\nc\\n"']),
    "the line break at the end": ("code", {"code": "a\n"}, {"code": "a"}, ['~ code: "a\\n" → "a"']),
    "a title": ("llm", {"title": "A"}, {"title": "B"}, ['~ title: "A" → "B"']),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "old", "new", "expected"), CASES.values(), ids=CASES.keys())
def test_the_changes_inside_a_node(kind: str, old: Data, new: Data, expected: list[str]) -> None:
    before, after = (graph(node("n", kind, **data), node("out", "end")) for data in (old, new))
    found = compare(before, after)
    assert [line for change in found.nodes for line in fields(change.fields)] == expected
    assert found.same == (not expected) == (semantic_digest(before) == semantic_digest(after))
    assert not compare(apply(found, before), after)
    assert len(found.nodes) == bool(expected)


@pytest.mark.parametrize(("kind", "old", "new", "expected"), CASES.values(), ids=CASES.keys())
def test_the_way_back_finds_as_many(kind: str, old: Data, new: Data, expected: list[str]) -> None:
    before, after = (graph(node("n", kind, **data)) for data in (new, old))
    found = compare(before, after)
    assert sum(len(change.fields) for change in found.nodes) == len(expected)
    assert not compare(apply(found, before), after)
