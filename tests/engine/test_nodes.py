"""What each kind of node does, end to end."""

import time
from typing import Any

import pytest

from engine.flows import Bench, answer, code, end, flow, llm, named, node, start, template, web

NUMBER = {"variable": "n", "label": "n", "type": "number"}


def test_inputs_reach_the_outputs_with_their_types(bench: Bench) -> None:
    document = flow(
        start(
            {"variable": "text", "label": "t", "type": "paragraph"},
            NUMBER,
            {"variable": "yes", "label": "y", "type": "checkbox"},
            {"variable": "object", "label": "o", "type": "json_object"},
            {"variable": "left", "label": "l", "type": "text-input"},
        ),
        end(
            text=["start", "text"],
            n=["start", "n"],
            yes=["start", "yes"],
            object=["start", "object"],
            left=["start", "left"],
        ),
    )
    assert bench.outputs(document, text="é", n=2.5, yes=True, object={"a": [1, None]}) == {
        "text": "é",
        "n": 2.5,
        "yes": True,
        "object": {"a": [1, None]},
        "left": None,
    }


@pytest.mark.parametrize(("n", "branch"), [(5, "small"), (50, "large"), (500, "huge")])
def test_if_else_takes_the_first_case_that_holds(bench: Bench, n: int, branch: str) -> None:
    def case(name: str, operator: str, value: str) -> dict[str, Any]:
        condition = {"id": "c", "variable_selector": ["start", "n"], "comparison_operator": operator, "value": value}
        return {"case_id": name, "logical_operator": "and", "conditions": [condition | {"varType": "number"}]}

    document = flow(
        start(NUMBER),
        node("cond", "if-else", cases=[case("small", "<", "10"), case("large", "<", "100")]),
        *(template(name, name) for name in ("small", "large", "huge")),
        node(
            "any",
            "variable-aggregator",
            output_type="string",
            variables=[[n, "output"] for n in ("small", "large", "huge")],
        ),
        end(said=["any", "output"]),
        edges=[
            ("start", "cond"),
            ("cond", "small", "small"),
            ("cond", "large", "large"),
            ("cond", "huge", "false"),
            *((name, "any") for name in ("small", "large", "huge")),
            ("any", "end"),
        ],
    )
    assert bench.outputs(document, n=n) == {"said": branch}


def test_a_template_sees_its_variables(bench: Bench) -> None:
    text = "{% for word in words.split() %}{{ loop.index }}:{{ word|upper }} {% endfor %}{{ missing }}"
    document = flow(start("words"), template("t", text, words=["start", "words"]), end(said=["t", "output"]))
    assert bench.outputs(document, words="a b") == {"said": "1:A 2:B "}


def test_code_gets_and_gives_values(bench: Bench) -> None:
    source = (
        "import math\ndef main(n, word):\n    return {'root': math.sqrt(n), 'list': [word] * 2, 'object': {'n': n}}"
    )
    document = flow(
        start(NUMBER, "word"),
        code(
            "c",
            source,
            {"root": "number", "list": "array[string]", "object": "object"},
            n=["start", "n"],
            word=["start", "word"],
        ),
        end(root=["c", "root"], list=["c", "list"], object=["c", "object"]),
    )
    assert bench.outputs(document, n=9, word="w") == {"root": 3.0, "list": ["w", "w"], "object": {"n": 9}}


def test_code_has_what_difys_runner_has_at_hand(bench: Bench) -> None:
    source = "def main(): return {'said': json.loads(b64decode('eyJhIjogImIifQ=='))['a']}"
    document = flow(start(), code("c", source, {"said": "string"}), end(said=["c", "said"]))
    assert bench.outputs(document) == {"said": "b"}


@pytest.mark.parametrize(
    ("source", "outputs", "error"),
    [
        ("def main(): return {'a': 1}", {"a": "string"}, "Output a must be a string, got int"),
        ("def main(): return {}", {"a": "string"}, "Output a is missing"),
        ("def main(): return {'a': 'x', 'b': 'y'}", {"a": "string"}, "Not all output parameters are validated"),
        ("def main(): return 'x'", {"a": "string"}, "main returned str, not a dict"),
        ("def main(): return {'a': {1, 2}}", {"a": "object"}, "a value of type set, which is not JSON"),
        ("def other(): pass", {"a": "string"}, "defines no function main"),
        ("def main(: pass", {"a": "string"}, "SyntaxError"),
        (
            "def main():\n    x = 0\n    return {'a': 1 / x}",
            {"a": "number"},
            "ZeroDivisionError: division by zero (line 3)",
        ),
        ("def main(): return {'a': 'x' * 500_000}", {"a": "string"}, "400000"),
    ],
)
def test_code_that_does_not_keep_its_word_fails_the_run(
    bench: Bench, source: str, outputs: dict[str, str], error: str
) -> None:
    data = bench.run(flow(start(), code("c", source, outputs), end(a=["c", "a"])))
    assert data["status"] == "failed"
    assert data["outputs"] == {}
    assert error in data["error"]


def test_http_request_sends_what_it_is_told(bench: Bench) -> None:
    document = flow(
        start("who"),
        web(
            "call",
            "https://api.example/v1/{{#start.who#}}",
            "post",
            headers="X-One: {{#start.who#}}\nX-Two: 2",
            params="q: {{#start.who#}}",
            body={"type": "json", "data": [{"key": "", "type": "text", "value": '{"who": "{{#start.who#}}"}'}]},
            authorization={"type": "api-key", "config": {"type": "bearer", "api_key": "{{#env.KEY#}}"}},
        ),
        code("read", "def main(body): return {'told': json.loads(body)}", {"told": "object"}, body=["call", "body"]),
        end(told=["read", "told"], status=["call", "status_code"]),
        environment=[{"name": "KEY", "value_type": "string", "value": "k1"}],
    )
    outputs = bench.outputs(document, who="me")
    told = outputs["told"]
    assert outputs["status"] == 200
    assert told["method"] == "POST"
    assert told["path"] == "/api.example/v1/me"
    assert told["query"] == {"q": "me"}
    assert told["body"] == '{"who":"me"}'
    sent = {name.lower(): value for name, value in told["headers"].items()}
    assert (sent["x-one"], sent["x-two"], sent["authorization"]) == ("me", "2", "Bearer k1")


def test_the_key_of_one_run_is_not_sent_by_the_next(bench: Bench) -> None:
    """graphon writes the filled-in key into the node's data: the data must not outlive the run."""
    document = flow(
        start("key"),
        web(
            "call",
            "http://api.example/",
            authorization={
                "type": "api-key",
                "config": {"type": "custom", "header": "X-Key", "api_key": "{{#start.key#}}"},
            },
        ),
        end(body=["call", "body"]),
    )
    headers = bench.key(document)
    bodies = [
        bench.post("/v1/workflows/run", headers, inputs={"key": key}).json()["data"]["outputs"]["body"]
        for key in ("first", "second")
    ]
    assert '"first"' in bodies[0]
    assert '"second"' in bodies[1]
    assert '"first"' not in bodies[1]


def test_an_error_branch_catches_a_failing_call(bench: Bench) -> None:
    document = flow(
        start(),
        web("call", "http://api.example/?status=503", error_strategy="fail-branch"),
        template("well", "well"),
        template("ill", "ill {{ why }}", why=["call", "error_type"]),
        node("any", "variable-aggregator", output_type="string", variables=[["well", "output"], ["ill", "output"]]),
        end(said=["any", "output"]),
        edges=[
            ("start", "call"),
            ("call", "well", "success-branch"),
            ("call", "ill", "fail-branch"),
            ("well", "any"),
            ("ill", "any"),
            ("any", "end"),
        ],
    )
    data = bench.run(document)
    assert data["status"] == "partial-succeeded"
    assert data["outputs"] == {"said": "ill HTTPResponseCodeError"}


def test_a_default_value_stands_in_for_a_failing_node(bench: Bench) -> None:
    broken = code("c", "def main(): raise OSError('no')", {"a": "string"})
    broken["data"] |= {
        "error_strategy": "default-value",
        "default_value": [{"key": "a", "type": "string", "value": "plan b"}],
    }
    data = bench.run(flow(start(), broken, end(a=["c", "a"])))
    assert (data["status"], data["outputs"]) == ("partial-succeeded", {"a": "plan b"})


def test_a_retry_tries_again(bench: Bench) -> None:
    call = web("call", "http://api.example/?status=500")
    call["data"]["retry_config"] = {"retry_enabled": True, "max_retries": 2, "retry_interval": 10}
    events = bench.stream(flow(start(), call, end(a=["call", "body"])))
    assert [event["data"]["retry_index"] for event in named(events, "node_retry")] == [1, 2]
    assert events[-1]["data"]["status"] == "failed"


def test_an_iteration_runs_its_inside_for_each_item(bench: Bench) -> None:
    document = flow(
        start("words"),
        code(
            "split",
            "def main(words): return {'list': words.split()}",
            {"list": "array[string]"},
            words=["start", "words"],
        ),
        node(
            "each",
            "iteration",
            start_node_id="eachstart",
            iterator_selector=["split", "list"],
            output_selector=["up", "output"],
        ),
        node("eachstart", "iteration-start", parent="each", isInIteration=True),
        template("up", "{{ item|upper }}{{ i }}", item=["each", "item"], i=["each", "index"]) | {"parentId": "each"},
        end(list=["each", "output"]),
        edges=[("start", "split"), ("split", "each"), ("eachstart", "up"), ("each", "end")],
    )
    assert bench.outputs(document, words="a b c") == {"list": ["A0", "B1", "C2"]}
    events = bench.stream(document, inputs={"words": "a b"})
    assert [len(named(events, f"iteration_{what}")) for what in ("started", "next", "completed")] == [1, 2, 1]
    inside = [event for event in named(events, "node_finished") if event["data"]["node_id"] == "up"]
    assert [event["data"]["iteration_id"] for event in inside] == ["each", "each"]
    assert {event["data"]["loop_id"] for event in inside} == {None}


def test_a_parallel_iteration_keeps_the_order(bench: Bench) -> None:
    document = flow(
        start(),
        code("some", "def main(): return {'list': list(range(8))}", {"list": "array[number]"}),
        node(
            "each",
            "iteration",
            start_node_id="s",
            iterator_selector=["some", "list"],
            output_selector=["twice", "n"],
            is_parallel=True,
            parallel_nums=4,
        ),
        node("s", "iteration-start", parent="each"),
        code("twice", "def main(n): return {'n': n * 2}", {"n": "number"}, n=["each", "item"]) | {"parentId": "each"},
        end(list=["each", "output"]),
        edges=[("start", "some"), ("some", "each"), ("s", "twice"), ("each", "end")],
    )
    assert bench.outputs(document) == {"list": [0, 2, 4, 6, 8, 10, 12, 14]}


def test_a_loop_ends_when_its_condition_holds(bench: Bench) -> None:
    condition = {
        "id": "c",
        "variable_selector": ["loop", "n"],
        "comparison_operator": "≥",
        "value": "3",
        "varType": "number",
    }
    document = flow(
        start(),
        node(
            "loop",
            "loop",
            start_node_id="s",
            loop_count=10,
            break_conditions=[condition],
            logical_operator="and",
            loop_variables=[{"id": "v", "label": "n", "var_type": "number", "value_type": "constant", "value": 0}],
        ),
        node("s", "loop-start", parent="loop"),
        node(
            "add",
            "assigner",
            parent="loop",
            version="2",
            items=[{"variable_selector": ["loop", "n"], "input_type": "constant", "operation": "+=", "value": 1}],
        ),
        end(n=["loop", "n"]),
        edges=[("start", "loop"), ("s", "add"), ("loop", "end")],
    )
    assert bench.outputs(document) == {"n": 3}
    events = bench.stream(document)
    inside = [event for event in named(events, "node_finished") if event["data"]["node_id"] == "add"]
    assert {event["data"]["loop_id"] for event in inside} == {"loop"}
    assert len(named(events, "loop_completed")) == 1


def test_a_node_copied_out_of_a_loop_is_not_in_it(bench: Bench) -> None:
    """Its data still names the loop; the canvas (parentId) knows better."""
    copied = template("after", "after")
    copied["data"] |= {"isInLoop": True, "loop_id": "loop"}
    document = flow(
        start(),
        node(
            "loop",
            "loop",
            start_node_id="s",
            loop_count=1,
            break_conditions=[],
            logical_operator="and",
            loop_variables=[],
        ),
        node("s", "loop-start", parent="loop"),
        template("in", "in") | {"parentId": "loop"},
        copied,
        end(said=["after", "output"]),
        edges=[("start", "loop"), ("s", "in"), ("loop", "after"), ("after", "end")],
    )
    assert bench.outputs(document) == {"said": "after"}


def test_a_list_operator_filters_and_takes_the_first(bench: Bench) -> None:
    document = flow(
        start(),
        code("some", "def main(): return {'list': [5, 1, 9, 7]}", {"list": "array[number]"}),
        node(
            "pick",
            "list-operator",
            variable=["some", "list"],
            var_type="array[number]",
            filter_by={"enabled": True, "conditions": [{"key": "", "comparison_operator": ">", "value": "4"}]},
            order_by={"enabled": True, "key": "", "value": "desc"},
            limit={"enabled": True, "size": 2},
            extract_by={"enabled": False, "serial": "1"},
        ),
        end(list=["pick", "result"], first=["pick", "first_record"]),
    )
    assert bench.outputs(document) == {"list": [9, 7], "first": 9}


def test_branches_run_at_the_same_time(bench: Bench) -> None:
    calls = [web(f"call{n}", "http://slow.example/?sleep=0.5") for n in range(3)]
    document = flow(
        start(),
        *calls,
        end(a=["call0", "status_code"], b=["call1", "status_code"], c=["call2", "status_code"]),
        edges=[pair for call in calls for pair in (("start", call["id"]), (call["id"], "end"))],
    )
    began = time.perf_counter()
    assert bench.outputs(document) == {"a": 200, "b": 200, "c": 200}
    assert time.perf_counter() - began < 1.4  # one after the other they would take 1.5 s


def test_a_model_streams_its_words_and_counts_them(bench: Bench) -> None:
    document = flow(start("q"), llm("ask", "Say {{#start.q#}}"), end(said=["ask", "text"], usage=["ask", "usage"]))
    events = bench.stream(document, inputs={"q": "hello you"})
    chunks = [
        event["data"]["text"]
        for event in named(events, "text_chunk")
        if event["data"]["from_variable_selector"] == ["ask", "text"]
    ]
    finished = events[-1]["data"]
    assert finished["outputs"]["said"] == "You said: Say hello you"
    assert "".join(chunks) == "You said: Say hello you"
    assert len(chunks) > 3
    assert finished["outputs"]["usage"]["prompt_tokens"] == 7
    assert finished["total_tokens"] == finished["outputs"]["usage"]["total_tokens"] > 7
    [node_done] = [event["data"] for event in named(events, "node_finished") if event["data"]["node_id"] == "ask"]
    assert node_done["execution_metadata"]["total_tokens"] == finished["total_tokens"]
    assert node_done["process_data"]["prompts"] == [{"role": "user", "text": "Say hello you", "files": []}]


def test_a_model_answers_by_a_schema(bench: Bench) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "count": {"type": "integer"}},
        "required": ["name", "count"],
    }
    ask = llm("ask", "who?", structured_output_enabled=True, structured_output={"schema": schema})
    assert bench.outputs(flow(start(), ask, end(found=["ask", "structured_output"]))) == {
        "found": {"name": "text", "count": 1}
    }


def test_a_prompt_may_be_a_template(bench: Bench) -> None:
    ask = llm(
        "ask",
        "",
        prompt_template=[{"role": "user", "text": "", "edition_type": "jinja2", "jinja2_text": "{{ q|upper }}!"}],
        prompt_config={"jinja2_variables": [{"variable": "q", "value_selector": ["start", "q"]}]},
    )
    assert bench.outputs(flow(start("q"), ask, end(said=["ask", "text"])), q="hi") == {"said": "You said: HI!"}


def test_a_model_sees_pictures(bench: Bench) -> None:
    ask = llm(
        "ask",
        "what is it?",
        vision={"enabled": True, "configs": {"detail": "high", "variable_selector": ["start", "pic"]}},
    )
    document = flow(
        start({"variable": "pic", "label": "pic", "type": "file", "allowed_file_types": ["image"]}),
        ask,
        end(said=["ask", "text"], name=["start", "pic", "name"]),
    )
    picture = {"type": "image", "transfer_method": "remote_url", "url": "https://files.example/a%20cat.png"}
    assert bench.outputs(document, pic=picture) == {"said": "You said: something with a picture", "name": "a cat.png"}


def test_a_model_that_is_not_well_fails_the_node_with_its_words(bench: Bench) -> None:
    ask = llm("ask", "x", model={"provider": "openai", "name": "fail", "mode": "chat", "completion_params": {}})
    data = bench.run(flow(start(), ask, end(said=["ask", "text"])))
    assert data["status"] == "failed"
    assert "500" in data["error"]
    assert "the model is not well" in data["error"]


def test_a_question_is_classified(bench: Bench) -> None:
    document = flow(
        start("q"),
        node(
            "sort",
            "question-classifier",
            query_variable_selector=["start", "q"],
            model={"provider": "openai", "name": "gpt", "mode": "chat", "completion_params": {}},
            classes=[{"id": "1", "name": "bills"}, {"id": "2", "name": "weather"}],
            instruction="",
            vision={"enabled": False},
        ),
        end(a=["sort", "class_name"]),
        node("end2", "end", outputs=[{"variable": "b", "value_selector": ["sort", "class_name"]}]),
        edges=[("start", "sort"), ("sort", "end", "1"), ("sort", "end2", "2")],
    )
    outputs = bench.outputs(document, q="is it raining?")
    assert set(outputs) in ({"a"}, {"b"})
    assert set(outputs.values()) <= {"bills", "weather"}


def test_parameters_are_extracted(bench: Bench) -> None:
    document = flow(
        start("q"),
        node(
            "find",
            "parameter-extractor",
            query=["start", "q"],
            model={"provider": "openai", "name": "gpt", "mode": "chat", "completion_params": {}},
            parameters=[{"name": "result", "type": "string", "description": "the result", "required": True}],
            instruction="as JSON",
            reasoning_mode="prompt",
            vision={"enabled": False},
        ),
        end(result=["find", "result"], well=["find", "__is_success"]),
    )
    assert bench.outputs(document, q="it is ok") == {"result": "text", "well": 1}


def test_a_chatflow_keeps_its_variables_and_its_memory(bench: Bench) -> None:
    document = flow(
        start(),
        node(
            "note",
            "assigner",
            version="2",
            items=[
                {
                    "variable_selector": ["conversation", "asked"],
                    "input_type": "variable",
                    "operation": "append",
                    "value": ["sys", "query"],
                },
                {
                    "variable_selector": ["conversation", "count"],
                    "input_type": "constant",
                    "operation": "+=",
                    "value": 1,
                },
            ],
        ),
        llm(
            "ask",
            "{{#sys.query#}}",
            memory={"window": {"enabled": True, "size": 10}, "query_prompt_template": "{{#sys.query#}}"},
        ),
        answer("{{#conversation.count#}}/{{#sys.dialogue_count#}}: {{#ask.text#}}"),
        mode="advanced-chat",
        conversation=[
            {"id": "1", "name": "asked", "value_type": "array[string]", "value": []},
            {"id": "2", "name": "count", "value_type": "number", "value": 0},
        ],
    )
    headers = bench.key(document)
    first = bench.post("/v1/chat-messages", headers, inputs={}, query="one").json()
    assert first["answer"].startswith("1/1: You said: one")
    second = bench.post(
        "/v1/chat-messages", headers, inputs={}, query="two", conversation_id=first["conversation_id"]
    ).json()
    assert second["answer"].startswith("2/2: You said: two")
    kept = bench.client.get(f"/v1/conversations/{first['conversation_id']}/variables?user=u1", headers=headers).json()
    assert {item["name"]: item["value"] for item in kept["data"]} == {"asked": '["one", "two"]', "count": "2"}
    events = bench.stream(headers, query="three", conversation_id=first["conversation_id"])
    [done] = [event["data"] for event in named(events, "node_finished") if event["data"]["node_id"] == "ask"]
    # The node's own message, two rounds of history, and the question.
    roles = [prompt["role"] for prompt in done["process_data"]["prompts"]]
    assert roles == ["user", "user", "assistant", "user", "assistant", "user"]


def test_what_a_legacy_assigner_writes_is_kept(bench: Bench) -> None:
    document = flow(
        start(),
        node(
            "set",
            "assigner",
            assigned_variable_selector=["conversation", "last"],
            write_mode="over-write",
            input_variable_selector=["sys", "query"],
        ),
        answer("{{#conversation.last#}}"),
        mode="advanced-chat",
        conversation=[{"id": "1", "name": "last", "value_type": "string", "value": "none"}],
    )
    assert bench.post("/v1/chat-messages", bench.key(document), inputs={}, query="now").json()["answer"] == "now"
