"""The adapter to OpenAI-compatible endpoints, with endpoints of every kind."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from benchmarks.standins import serving
from graphon.model_runtime.entities.llm_entities import LLMResultChunkWithStructuredOutput
from graphon.model_runtime.entities.message_entities import (
    AssistantPromptMessage,
    SystemPromptMessage,
    UserPromptMessage,
)

from lastgood.targets.engine.cancel import Cancel
from lastgood.targets.engine.model import Endpoint, Model, ModelFailure, NotTheSchema

asked: list[dict[str, Any]] = []
say: list[Callable[[BaseHTTPRequestHandler], None]] = []


class Scripted(BaseHTTPRequestHandler):
    """Answers as the test says."""

    def log_message(self, format: str, *args: Any) -> None:
        return

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked.append({"path": self.path, "key": self.headers.get("Authorization"), **body})
        say[-1](self)


def answering(status: int, kind: str, body: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def stream(*events: Any) -> Callable[[BaseHTTPRequestHandler], None]:
    lines = [f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n" for event in events]
    return answering(200, "text/event-stream", "".join([": a comment\n\n", *lines, "data: [DONE]\n\n"]).encode())


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields}]}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with serving(Scripted) as address:
        yield f"http://{address}/v1/"


def model(url: str, cancel: Cancel | None = None, **more: Any) -> Model:
    parameters = {"temperature": 0.1, "max_tokens": 5, "enable_thinking": True, "response_format": "text"}
    return Model(
        Endpoint(url, "k", **more), cancel or Cancel(20), provider="openai", name="named", parameters=parameters
    )


def ask(made: Model, script: Callable[[BaseHTTPRequestHandler], None] | None = None, **more: Any) -> Any:
    if script is not None:
        say.append(script)
    return made.invoke_llm(
        prompt_messages=[UserPromptMessage(content="hi")],
        model_parameters=made.parameters,
        tools=None,
        stop=["END"],
        **{"stream": False, **more},
    )


def test_it_sends_what_openai_knows(endpoint: str) -> None:
    say.append(stream(delta(content="x")))
    made = model(endpoint)
    messages = [SystemPromptMessage(content="s"), UserPromptMessage(content="u"), AssistantPromptMessage(content="a")]
    made.invoke_llm(
        prompt_messages=messages, model_parameters=made.parameters, tools=None, stop=["END"], stream=False
    )
    sent = asked[-1]
    assert sent["path"] == "/v1/chat/completions"
    assert sent["key"] == "Bearer k"
    assert sent["messages"] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "a"},
    ]
    assert (sent["model"], sent["temperature"], sent["max_tokens"], sent["stop"]) == ("named", 0.1, 5, ["END"])
    assert "enable_thinking" not in sent
    assert "response_format" not in sent
    ask(model(endpoint, model="another"))
    assert asked[-1]["model"] == "another"


def test_words_come_as_they_are_said_and_are_counted(endpoint: str) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    script = stream(
        delta(role="assistant", content=""),
        delta(content="one "),
        delta(content="two"),
        {"choices": [], "usage": usage},
    )
    chunks = list(ask(model(endpoint), script, stream=True))
    assert [chunk.delta.message.content for chunk in chunks] == ["one ", "two", ""]
    assert chunks[-1].delta.usage.total_tokens == 5
    assert chunks[-1].delta.finish_reason == "stop"


def test_an_endpoint_that_does_not_stream_is_understood(endpoint: str) -> None:
    body = {
        "choices": [{"message": {"content": "whole"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }
    result = ask(model(endpoint), answering(200, "application/json", json.dumps(body).encode()))
    assert (result.message.content, result.usage.total_tokens) == ("whole", 3)


@pytest.mark.parametrize(
    ("events", "text"),
    [
        (
            [delta(reasoning_content="hm"), delta(reasoning_content="m"), delta(content="so")],
            "<think>\nhmm\n</think>so",
        ),
        ([delta(reasoning_content="hm")], "<think>\nhm\n</think>"),
        ([delta(content=None), {"choices": []}, delta(content="x")], "x"),
    ],
)
def test_thinking_is_marked_as_dify_marks_it(endpoint: str, events: list[Any], text: str) -> None:
    assert ask(model(endpoint), stream(*events)).message.content == text


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (answering(401, "application/json", b'{"error": {"message": "bad key"}}'), "answered 401: .*bad key"),
        (answering(500, "text/html", b"<h1>oops</h1>"), "answered 500: <h1>oops"),
        (answering(200, "application/json", b"{"), "not JSON"),
        (stream("{"), "not JSON"),
        (stream({"error": {"message": "overloaded"}}), "sent an error: .*overloaded"),
        (stream("[1]"), "sent an error"),
        (stream(delta(content="x" * 2_000_001)), "longer than 2000000 characters"),
    ],
)
def test_what_goes_wrong_is_told_in_the_endpoints_words(endpoint: str, script: Any, words: str) -> None:
    with pytest.raises(ModelFailure, match=words):
        ask(model(endpoint), script)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "no model endpoint is set. Set LASTGOOD_LLM_BASE_URL"),
        ("http://127.0.0.1:1/v1", "cannot be reached"),
        ("ftp://x/v1", "cannot be reached"),
        ("nonsense", "cannot be reached"),
    ],
)
def test_an_endpoint_that_is_not_there_is_a_sentence(url: str, words: str) -> None:
    with pytest.raises(ModelFailure, match=words):
        ask(model(url))


def structured(made: Model, *, streamed: bool = True) -> Any:
    return made.invoke_llm_with_structured_output(
        prompt_messages=[UserPromptMessage(content="hi")],
        json_schema={"type": "object", "properties": {"a": {"type": "number"}}},
        model_parameters={},
        stop=None,
        stream=streamed,
    )


@pytest.mark.parametrize(
    "text",
    ['{"a": 1}', '```json\n{"a": 1}\n```', '<think>{"a": 2}</think>{"a": 1}', "{'a': 1,}"],
)
def test_an_object_is_read_out_of_the_answer(endpoint: str, text: str) -> None:
    say.append(stream(delta(content=text)))
    *words, last = structured(model(endpoint))
    assert asked[-1]["response_format"]["json_schema"]["schema"]["properties"] == {"a": {"type": "number"}}
    assert "".join(chunk.delta.message.content for chunk in words) == text
    assert isinstance(last, LLMResultChunkWithStructuredOutput)
    assert last.structured_output == {"a": 1}
    assert structured(model(endpoint), streamed=False).structured_output == {"a": 1}


def test_an_answer_that_is_no_object_is_not_taken_for_one(endpoint: str) -> None:
    say.append(stream(delta(content="I would rather not.")))
    made = model(endpoint)
    with pytest.raises(NotTheSchema) as failure:
        list(structured(made))
    assert made.is_structured_output_parse_error(failure.value)
    assert not made.is_structured_output_parse_error(ValueError())


def test_a_stopped_run_hangs_up(endpoint: str) -> None:
    hung_up = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.end_headers()
        try:
            for _ in range(200):
                handler.wfile.write(b"data: " + json.dumps(delta(content="x ")).encode() + b"\n\n")
                time.sleep(0.02)
        except OSError:
            hung_up.set()

    cancel = Cancel(20)
    words = ask(model(endpoint, cancel), drip, stream=True)
    next(words)
    cancel.cancel()
    with pytest.raises(ModelFailure, match="stopped"):
        list(words)
    assert hung_up.wait(3)
