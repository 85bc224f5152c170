"""`lastgood run`: one request through the gateway."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Annotated, Any

import httpx
import typer

from lastgood.cli import output
from lastgood.cli.client import Client, connect, is_loopback, reason_of
from lastgood.cli.moves import LIVE, find_channel
from lastgood.cli.parameters import Channel, Inputs, Json, Query, Workflow, given
from lastgood.cli.values import read_inputs
from lastgood.errors import (
    InvalidRequest,
    LastgoodError,
    NothingLive,
    ServerRefused,
    Unavailable,
    UpstreamUnreachable,
)

_SECONDS = 600.0
_SUCCEEDED = ("succeeded", "partial-succeeded")  # partial: a node failed, and its fail branch answered
_KEY_SECONDS = 2.0  # until a worker elsewhere has heard of a new key


def run(
    ctx: typer.Context,
    workflow: Workflow,
    input: Inputs = None,
    query: Query = "",
    user: Annotated[
        str, typer.Option("--user", help="The end user's name, as Dify's API takes it.")
    ] = "lastgood-cli",
    channel: Channel = LIVE,
    conversation: Annotated[str, typer.Option("--conversation", help="Go on with this one (chatflow).")] = "",
    stream: Annotated[bool, typer.Option("--stream", help="Print text as it comes.")] = False,
    gateway: Annotated[
        str | None, typer.Option("--gateway", metavar="URL", help="Else the one that the server names.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Send one request through the gateway; say which version answered.

    A short-lived app key is made for it. Where no server runs, a gateway and an engine are started for the call.

    \b
    Examples:
      lastgood run prod-invoice --input text="2 x Cup @ 21.00"
      lastgood run prod-invoice --input @invoice.json --json | jq .outputs.total
      lastgood run support-chat --query "When do you open?" --stream
    """
    with connect(given(ctx)) as api:
        if find_channel(api, workflow, channel)["version"] is None:
            raise NothingLive(channel=channel, workflow=workflow)
        with (
            _key(api, workflow, channel) as key,
            _gateway(api, gateway) as url,
            closing(Call(url, key)) as call,
        ):
            body = {
                "inputs": read_inputs(input or [], call.form),
                "user": user,
                "response_mode": "streaming" if stream else "blocking",
            }
            path = "/v1/workflows/run"
            if query:
                path = "/v1/chat-messages"
                body |= {"query": query, "conversation_id": conversation}
            shown = ""
            if stream:
                outcome, shown = _streamed(call, path, body, as_json)
            else:
                with output.progress("running"):
                    outcome = call.post(path, body)
    if as_json and not stream:
        output.print_json(outcome)
    elif not as_json:
        _show(outcome, channel, shown)
    if outcome["status"] not in _SUCCEEDED:
        version = outcome["version"] or "the version"
        raise Unavailable(detail=f"The run on {version} {outcome['status']}: {outcome['error'] or 'no reason given'}")


class Call:
    """A way to the gateway at `url` with an app key. Raises `ServerRefused`, `UpstreamUnreachable`."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(_SECONDS, connect=5.0),
            trust_env=not is_loopback(url),
        )

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def form(self) -> Sequence[dict[str, Any]]:
        """The input form of the version that answers."""
        with self._answer("GET", "/v1/parameters") as answer:
            form: list[dict[str, Any]] = json.loads(answer.read()).get("user_input_form", [])
        return form

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The outcome of a blocking request."""
        with self._answer("POST", path, body) as answer:
            found = json.loads(answer.read())
            return _outcome(answer, found.get("data") or {}, found.get("answer"), found)

    @contextmanager
    def stream(self, path: str, body: dict[str, Any]) -> Iterator[tuple[httpx.Response, Iterator[dict[str, Any]]]]:
        """The answer of a streaming request, and its events."""
        with self._answer("POST", path, body) as answer:
            lines = (line[5:] for line in answer.iter_lines() if line.startswith("data:"))
            yield answer, (json.loads(line) for line in lines)

    @contextmanager
    def _answer(self, method: str, path: str, body: dict[str, Any] | None = None) -> Iterator[httpx.Response]:
        until = time.monotonic() + _KEY_SECONDS
        try:
            while True:
                with self._http.stream(method, self._url + path, json=body) as answer:
                    if answer.status_code != 401 or time.monotonic() > until:
                        if not answer.is_success:
                            raise _refusal(answer)
                        yield answer
                        return
                time.sleep(0.1)
        except httpx.TransportError as error:
            raise UpstreamUnreachable(upstream=self._url, reason=reason_of(error)) from error


@contextmanager
def _key(api: Client, workflow: str, channel: str) -> Iterator[str]:
    """An app key for the length of the call."""
    made = api.post("workflows", workflow, "keys", body={"name": "lastgood run", "channel": channel})
    try:
        yield made["key"]
    finally:
        api.delete("workflows", workflow, "keys", made["id"])


@contextmanager
def _gateway(api: Client, named: str | None) -> Iterator[str]:
    """The address of a gateway: the one named, the running server's, else one started for the call."""
    if named:
        yield named.rstrip("/")
        return
    if api.settings is None:
        url = str(api.get("status")["server"].get("gateway") or "")
        if not url or (is_loopback(url) and not is_loopback(api.url)):
            reason = (
                f"the server's gateway is at {url or 'no address'}, which cannot be reached from here; name yours"
            )
            raise InvalidRequest(where="--gateway", reason=reason)
        yield url
        return
    from lastgood.server.supervisor import temporary

    with ExitStack() as stack:
        with output.progress("starting a gateway and an engine"):
            children = stack.enter_context(temporary(api.settings))
        yield children.gateway


def _streamed(call: Call, path: str, body: dict[str, Any], as_json: bool) -> tuple[dict[str, Any], str]:
    """Print the events of a run as they come, and give its outcome and the text that was streamed."""
    text: list[str] = []
    last: dict[str, Any] = {}
    told: dict[str, Any] = {}
    with call.stream(path, body) as (answer, events):
        for event in events:
            if as_json:
                output.write(json.dumps(event))
            kind, data = event.get("event"), event.get("data") or {}
            told |= {name: event[name] for name in ("workflow_run_id", "conversation_id") if event.get(name)}
            piece = event.get("answer") if kind in ("message", "agent_message") else None
            piece = data.get("text") if kind == "text_chunk" else piece
            if piece:
                text.append(piece)
                if not as_json:
                    output.write(output.printable(piece), end="")
            if kind == "workflow_finished":
                last = data
            if kind == "error":
                last = {"status": "failed", "error": event.get("message")}
        if text and not as_json:
            output.write("")
        said = "".join(text)
        return _outcome(answer, last, said if path == "/v1/chat-messages" else None, told), said


def _outcome(answer: httpx.Response, data: dict[str, Any], said: str | None, whole: dict[str, Any]) -> dict[str, Any]:
    generation = answer.headers.get("X-Lastgood-Generation")
    return {
        "version": answer.headers.get("X-Lastgood-Version"),
        "generation": int(generation) if generation else None,
        "status": data.get("status", "succeeded"),
        "outputs": data.get("outputs") or {},
        "answer": said,
        "error": data.get("error"),
        "elapsed_ms": round(float(data.get("elapsed_time") or 0) * 1000, 1) or None,
        "run_id": data.get("id") or whole.get("workflow_run_id"),
        "conversation_id": whole.get("conversation_id"),
    }


def _show(outcome: dict[str, Any], channel: str, shown: str) -> None:
    """Print what a run returned, save what was streamed already (`shown`), and who answered."""
    if outcome["answer"] is None:
        texts = {name: _text(value) for name, value in outcome["outputs"].items()}
        output.facts({name: text for name, text in texts.items() if text not in shown or not shown})
    elif not shown:
        output.write(output.printable(outcome["answer"]))
    took = f" in {outcome['elapsed_ms']:.0f} ms" if outcome["elapsed_ms"] else ""
    version = output.paint(outcome["version"] or "an unknown version", "bold")
    output.write(f"answered by {version} ({channel}, generation {outcome['generation']}){took}")
    if outcome["conversation_id"]:
        output.write(f"conversation {outcome['conversation_id']}")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _refusal(answer: httpx.Response) -> LastgoodError:
    """The gateway's or the upstream's own sentence."""
    try:
        found = json.loads(answer.read())
        detail, code = str(found.get("detail") or found["message"]), str(found.get("code", ""))
    except (ValueError, KeyError, AttributeError):
        return Unavailable(detail=f"The gateway answered {answer.status_code} with no reason.")
    if code == "not_workflow_app":
        detail = "This is a chatflow; give its message with --query."
    elif code == "not_chat_app":
        detail = "This workflow takes no message; leave --query out and give --input."
    return ServerRefused(detail=detail, problem=code, status=answer.status_code)
