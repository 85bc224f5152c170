"""Language models through one OpenAI-compatible endpoint, whatever provider a node names."""

import json
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx
import json_repair
from graphon.model_runtime.entities.common_entities import I18nObject
from graphon.model_runtime.entities.llm_entities import (
    LLMResult,
    LLMResultChunk,
    LLMResultChunkDelta,
    LLMResultChunkWithStructuredOutput,
    LLMResultWithStructuredOutput,
    LLMUsage,
)
from graphon.model_runtime.entities.message_entities import (
    AssistantPromptMessage,
    ImagePromptMessageContent,
    PromptMessage,
    PromptMessageTool,
    TextPromptMessageContent,
)
from graphon.model_runtime.entities.model_entities import (
    AIModelEntity,
    FetchFrom,
    ModelFeature,
    ModelPropertyKey,
    ModelType,
)

from lastgood.targets.engine.cancel import Cancel
from lastgood.targets.engine.network import anywhere, client

# What OpenAI's API knows; a provider's own parameters would make other endpoints refuse the request.
_PARAMETERS = (
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "reasoning_effort",
    "logit_bias",
)
_ANSWER_CHARACTERS = 2_000_000
_CONTEXT_TOKENS = 128_000
_READ_SECONDS = 120.0


class ModelFailure(ValueError):
    """What the endpoint said, or why it could not be asked. (graphon reports a ValueError as the node's error.)"""


class NotTheSchema(ModelFailure):
    """An answer that is not the JSON object that was asked for."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI-compatible endpoint: `base_url` up to ``/v1``; `model` replaces the one that nodes name. The
    operator set it, so it may be on a private address."""

    base_url: str
    api_key: str = ""
    model: str = ""


@dataclass(slots=True)
class _Told:
    """What the stream has said so far, besides its text."""

    usage: LLMUsage = field(default_factory=LLMUsage.empty_usage)
    finish: str | None = None


class Model:
    """The model of one node in one run, in the shape that graphon's nodes ask for."""

    def __init__(
        self, endpoint: Endpoint, cancel: Cancel, *, provider: str, name: str, parameters: Mapping[str, Any]
    ) -> None:
        self._endpoint = endpoint
        self._cancel = cancel
        self.provider = provider
        self.model_name = endpoint.model or name
        self.parameters: Mapping[str, Any] = dict(parameters)
        self.stop: Sequence[str] | None = None

    def get_model_schema(self) -> AIModelEntity:
        """A schema that refuses nothing: the endpoint knows what its model can."""
        return AIModelEntity(
            model=self.model_name,
            label=I18nObject.model_validate({"en_US": self.model_name}),
            model_type=ModelType.LLM,
            features=[ModelFeature.VISION, ModelFeature.STRUCTURED_OUTPUT],
            fetch_from=FetchFrom.CUSTOMIZABLE_MODEL,
            model_properties={ModelPropertyKey.MODE: "chat", ModelPropertyKey.CONTEXT_SIZE: _CONTEXT_TOKENS},
        )

    def get_llm_num_tokens(self, prompt_messages: Sequence[PromptMessage]) -> int:
        """An estimate, for the room that is left: four bytes a token."""
        return sum(len(message.get_text_content().encode()) // 4 + 4 for message in prompt_messages)

    def invoke_llm(
        self,
        *,
        prompt_messages: Sequence[PromptMessage],
        model_parameters: Mapping[str, Any],
        tools: Sequence[PromptMessageTool] | None,
        stop: Sequence[str] | None,
        stream: bool,
    ) -> LLMResult | Generator[LLMResultChunk, None, None]:
        """Ask the endpoint. `tools` are not offered to it (its schema says so)."""
        chunks = self._chunks(self._request(prompt_messages, model_parameters, stop, None))
        if stream:
            return chunks
        text, told = _collected(chunks)
        return LLMResult(model=self.model_name, message=AssistantPromptMessage(content=text), usage=told.usage)

    def invoke_llm_with_structured_output(
        self,
        *,
        prompt_messages: Sequence[PromptMessage],
        json_schema: Mapping[str, Any],
        model_parameters: Mapping[str, Any],
        stop: Sequence[str] | None,
        stream: bool,
    ) -> LLMResultWithStructuredOutput | Generator[LLMResultChunk, None, None]:
        """Ask for an answer by `json_schema`; the last chunk carries it read."""
        chunks = self._structured(self._chunks(self._request(prompt_messages, model_parameters, stop, json_schema)))
        if stream:
            return chunks
        text, told = _collected(chunks)
        return LLMResultWithStructuredOutput(
            model=self.model_name,
            message=AssistantPromptMessage(content=text),
            usage=told.usage,
            structured_output=_object(text),
        )

    def is_structured_output_parse_error(self, error: Exception) -> bool:
        return isinstance(error, NotTheSchema)

    def _request(
        self,
        messages: Sequence[PromptMessage],
        parameters: Mapping[str, Any],
        stop: Sequence[str] | None,
        schema: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model_name,
            "messages": [_message(message) for message in messages],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        body |= {name: parameters[name] for name in _PARAMETERS if parameters.get(name) is not None}
        if stop:
            body["stop"] = list(stop)
        if schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": dict(schema)},
            }
        elif parameters.get("response_format") in {"json_object", "JSON"}:
            body["response_format"] = {"type": "json_object"}
        return body

    def _chunks(self, body: dict[str, Any]) -> Generator[LLMResultChunk, None, None]:
        told, thinking, length, started = _Told(), False, 0, time.perf_counter()
        for event in self._events(body):
            if usage := event.get("usage"):
                told.usage = _usage(usage, time.perf_counter() - started)
            for choice in event.get("choices") or []:
                delta = choice.get("delta") or choice.get("message") or {}
                text = ""
                if reasoning := delta.get("reasoning_content"):
                    text = reasoning if thinking else f"<think>\n{reasoning}"
                    thinking = True
                if content := delta.get("content"):
                    text += f"\n</think>{content}" if thinking else content
                    thinking = False
                told.finish = choice.get("finish_reason") or told.finish
                if text:
                    length += len(text)
                    if length > _ANSWER_CHARACTERS:
                        raise ModelFailure(f"the model's answer is longer than {_ANSWER_CHARACTERS} characters")
                    yield self._chunk(text)
        yield self._chunk("\n</think>" if thinking else "", told)

    def _structured(self, chunks: Iterator[LLMResultChunk]) -> Generator[LLMResultChunk, None, None]:
        text = []
        for chunk in chunks:
            text.append(str(chunk.delta.message.content))
            if chunk.delta.usage is None:
                yield chunk
                continue
            yield LLMResultChunkWithStructuredOutput(
                model=chunk.model, delta=chunk.delta, structured_output=_object("".join(text))
            )

    def _chunk(self, text: str, told: _Told | None = None) -> LLMResultChunk:
        return LLMResultChunk(
            model=self.model_name,
            delta=LLMResultChunkDelta(
                index=0,
                message=AssistantPromptMessage(content=text),
                usage=told.usage if told else None,
                finish_reason=(told.finish or "stop") if told else None,
            ),
        )

    def _events(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if not self._endpoint.base_url:
            raise ModelFailure(
                f"this node asks the model {self.model_name}, and no model endpoint is set. Set "
                "LASTGOOD_LLM_BASE_URL to an OpenAI-compatible one."
            )
        url = self._endpoint.base_url.rstrip("/") + "/chat/completions"
        headers = {"Authorization": f"Bearer {self._endpoint.api_key}"} if self._endpoint.api_key else {}
        try:
            with (
                client(anywhere, self._cancel) as http,
                http.stream("POST", url, json=body, headers=headers, timeout=_READ_SECONDS) as answer,
            ):
                if answer.status_code != 200:
                    words = answer.read()[:2000].decode(errors="replace")
                    raise ModelFailure(f"the model endpoint answered {answer.status_code}: {words}")
                if "json" in answer.headers.get("content-type", ""):
                    yield json.loads(answer.read())
                    return
                for line in answer.iter_lines():
                    data = line.removeprefix("data:").strip()
                    if line.startswith("data:") and data != "[DONE]":
                        yield self._event(json.loads(data))
                if self._cancel.cancelled:  # a line that was broken off can look like a stream that ended
                    raise ModelFailure("the run was stopped")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if self._cancel.cancelled:
                raise ModelFailure("the run was stopped") from None
            raise ModelFailure(f"the model endpoint cannot be reached: {error}") from error
        except json.JSONDecodeError as error:
            raise ModelFailure(f"the model endpoint sent something that is not JSON: {error}") from error

    @staticmethod
    def _event(event: Any) -> dict[str, Any]:
        if not isinstance(event, dict) or "error" in event:
            raise ModelFailure(f"the model endpoint sent an error: {json.dumps(event)[:2000]}")
        return event


def _collected(chunks: Iterator[LLMResultChunk]) -> tuple[str, _Told]:
    text, told = [], _Told()
    for chunk in chunks:
        text.append(str(chunk.delta.message.content))
        if chunk.delta.usage is not None:
            told = _Told(chunk.delta.usage, chunk.delta.finish_reason)
    return "".join(text), told


def _object(text: str) -> dict[str, Any]:
    # json_repair reads what models wrap in prose or code fences, and gives anything back but raises nothing.
    found = json_repair.loads(text.rpartition("</think>")[2])
    if isinstance(found, dict):
        return found
    raise NotTheSchema(f"the model's answer holds no JSON object: {text[:200]!r}")


def _message(message: PromptMessage) -> dict[str, Any]:
    content: Any = message.content or ""
    if isinstance(content, list):
        content = [_part(part) for part in content]
    return {"role": message.role.value, "content": content}


def _part(part: Any) -> dict[str, Any]:
    match part:
        case TextPromptMessageContent():
            return {"type": "text", "text": part.data}
        case ImagePromptMessageContent():
            return {"type": "image_url", "image_url": {"url": part.data, "detail": part.detail.value}}
        case _:
            raise ModelFailure(f"a {part.type} in a prompt cannot be sent to an OpenAI-compatible endpoint")


def _usage(usage: Mapping[str, Any], seconds: float) -> LLMUsage:
    prompt, completion = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
    return LLMUsage.empty_usage().model_copy(
        update={
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": int(usage.get("total_tokens") or prompt + completion),
            "total_price": Decimal(0),
            "latency": round(seconds, 3),
        }
    )
