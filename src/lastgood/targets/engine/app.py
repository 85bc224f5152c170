"""Dify's Service API over a `Service`, as a plain ASGI application."""

import asyncio
import contextlib
import json
import logging
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import orjson

from lastgood.dsl.interface import parameters
from lastgood.errors import LastgoodError
from lastgood.targets.engine.answers import (
    conversation_body,
    log_body,
    message_body,
    run_body,
    site_body,
    variable_body,
)
from lastgood.targets.engine.refusal import Refusal, Unpublished, bad_request, invalid, not_found
from lastgood.targets.engine.run import Run
from lastgood.targets.engine.service import Ask, Caller, Service, Ticket

type Scope = Mapping[str, Any]
type Receive = Callable[[], Awaitable[dict[str, Any]]]
type Send = Callable[[dict[str, Any]], Awaitable[None]]

_log = logging.getLogger(__name__)
_PING = b"event: ping\n\n"
_PING_SECONDS = 10.0
_CLOSE = (("connection", "close"),)  # else the server would wait for the rest of a body that nobody wants
_MAX_LIMIT = 100
_MAX_OVERDUE = 16  # threads that a process may have lost to runs that would not end before it should be replaced
_URI_HINT = (
    ". You have requested this URI [/v1/chat-messages] but did you mean /v1/chat-messages or /api/chat-messages or "
    "/v1/chat-messages/<string:task_id>/stop ?"
)


class Request:
    """One HTTP request: its path, query and headers, and its body once."""

    def __init__(self, scope: Scope, receive: Receive, limit: int, seconds: float) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query = {key: values[-1] for key, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
        self.headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        self.receive = receive
        self._limit = limit
        self._seconds = seconds

    async def json(self) -> dict[str, Any]:
        """The body as a JSON object. Raises `Refusal` (400, 408, 413, 415)."""
        if "json" not in self.headers.get("content-type", ""):
            raise Refusal(
                415,
                "unsupported_media_type",
                "Did not attempt to load JSON data because the request Content-Type was not 'application/json'.",
            )
        try:
            async with asyncio.timeout(self._seconds):
                data = await self._body()
        except TimeoutError:
            words = "The body of the request took too long to arrive."
            raise Refusal(408, "request_timeout", words, headers=_CLOSE) from None
        try:
            found = orjson.loads(data)
        except orjson.JSONDecodeError:
            words = "The browser (or proxy) sent a request that this server could not understand."
            raise bad_request(words) from None
        if not isinstance(found, dict):
            raise bad_request("The body of the request must be a JSON object.")
        return found

    async def _body(self) -> bytes:
        announced = self.headers.get("content-length", "0")
        if announced.isdigit() and int(announced) > self._limit:
            raise self._too_large()
        parts, length = [], 0
        while True:
            event = await self.receive()
            if event["type"] == "http.disconnect":
                raise Refusal(400, "bad_request", "The client went away.")
            parts.append(event.get("body", b""))
            length += len(parts[-1])
            if length > self._limit:
                raise self._too_large()
            if not event.get("more_body", False):
                return b"".join(parts)

    def _too_large(self) -> Refusal:
        words = f"The body of the request is larger than {self._limit} bytes."
        return Refusal(413, "request_entity_too_large", words, headers=_CLOSE)


class App:
    """The ASGI application. Its lifespan starts the service; closing it is the process's, which knows how long it
    may take. A body that does not arrive within `body_seconds` is given up."""

    def __init__(self, service: Service, *, body_seconds: float = 60.0) -> None:
        self._service = service
        self._body_seconds = body_seconds
        self._routes: list[tuple[str, re.Pattern[str], Callable[..., Awaitable[Answer]]]] = [
            ("POST", re.compile(r"/v1/workflows/run"), self._run_live),
            ("POST", re.compile(r"/v1/workflows/tasks/([^/]+)/stop"), self._stop_workflow),
            ("POST", re.compile(r"/v1/workflows/([^/]+)/run"), self._run_version),
            ("GET", re.compile(r"/v1/workflows/run/([^/]+)"), self._run_detail),
            ("GET", re.compile(r"/v1/workflows/logs"), self._logs),
            ("POST", re.compile(r"/v1/chat-messages"), self._chat),
            ("POST", re.compile(r"/v1/chat-messages/([^/]+)/stop"), self._stop_chat),
            ("GET", re.compile(r"/v1/parameters"), self._parameters),
            ("GET", re.compile(r"/v1/info"), self._info),
            ("GET", re.compile(r"/v1/meta"), self._meta),
            ("GET", re.compile(r"/v1/site"), self._site),
            ("GET", re.compile(r"/v1/conversations"), self._conversations),
            ("GET", re.compile(r"/v1/conversations/([^/]+)/variables"), self._variables),
            ("GET", re.compile(r"/v1/messages"), self._messages),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            event = await receive()
            if event["type"] == "lifespan.startup":
                self._service.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, self._service.settings.max_body_bytes, self._body_seconds)
        try:
            answer = await self._answer(request)
        except Refusal as refusal:
            answer = Answer(refusal.body, refusal.status, refusal.headers)
        except LastgoodError as error:
            body = {"code": error.code.replace("-", "_"), "message": str(error), "status": error.status}
            answer = Answer(body, error.status)
        except Exception:
            _log.exception("%s %s", request.method, request.path)
            answer = Answer({"message": "Internal Server Error", "code": "unknown", "status": 500}, 500)
        if answer.ticket is not None and answer.ticket.events is not None:
            await self._stream(answer.ticket.run, answer.ticket.events, receive, send)
        else:
            await _send(send, answer.status, answer.body, answer.headers, charset=answer.charset)

    async def _answer(self, request: Request) -> "Answer":
        if request.path == "/healthz":
            return self._health()
        allowed = False
        for method, pattern, handle in self._routes:
            match = pattern.fullmatch(request.path)
            if match is not None:
                allowed = True
                if method == request.method:
                    return await handle(request, await self._caller(request), *match.groups())
        if allowed:
            raise Refusal(405, "method_not_allowed", "The method is not allowed for the requested URL.")
        raise not_found(
            "The requested URL was not found on the server. If you entered the URL manually please check your "
            "spelling and try again."
        )

    def _health(self) -> "Answer":
        service = self._service
        well = service.overdue < _MAX_OVERDUE
        body = {
            "status": "ok" if well else "overdue",
            "pid": os.getpid(),
            "running": service.running,
            "overdue": service.overdue,
        }
        return Answer(body, 200 if well else 503)

    async def _caller(self, request: Request) -> Caller:
        header = request.headers.get("authorization", "")
        scheme, _, key = header.partition(" ")
        if not key:
            words = "Authorization header must be provided and start with 'Bearer'"
            raise Refusal(401, "unauthorized", words)
        if scheme.lower() != "bearer":
            raise Refusal(401, "unauthorized", "Authorization scheme must be 'Bearer'")
        return await self._service.caller(key.strip())

    async def _run_live(self, request: Request, caller: Caller) -> "Answer":
        return await self._run(request, caller, None)

    async def _run_version(self, request: Request, caller: Caller, version: str) -> "Answer":
        return await self._run(request, caller, version)

    async def _run(self, request: Request, caller: Caller, version: str | None) -> "Answer":
        body = await request.json()
        user = _user(body.get("user"))
        prepared = await self._service.entered(caller, version, _trigger(body))
        if prepared.chat:
            raise Refusal(400, "not_workflow_app", "Please check if your app mode matches the right API route.")
        ask = Ask(
            user, _inputs(body, "WorkflowRunPayload"), _streaming(body, "WorkflowRunPayload"), files=_files(body)
        )
        ticket = await self._service.accept(prepared, ask)
        if caller.workflow_id is None and body.get("detached") is True:
            ids = ticket.run.order.ids
            return Answer({"task_id": ids.task, "workflow_run_id": ids.run}, 202)
        return await self._begin(request, ticket)

    async def _chat(self, request: Request, caller: Caller) -> "Answer":
        body = await request.json()
        user = _user(body.get("user"))
        version = body.get("workflow_id") or None
        if version is not None and not isinstance(version, str):
            raise invalid("workflow_id must be a string")
        prepared = await self._service.prepared(caller, version, hint=_URI_HINT)
        if not prepared.chat:
            raise Refusal(400, "not_chat_app", "Please check if your app mode matches the right API route.")
        query, conversation = body.get("query"), body.get("conversation_id") or ""
        if not isinstance(query, str):
            raise _missing("ChatRequestPayload", "query", query)
        if not isinstance(conversation, str):
            raise invalid("conversation_id must be a string")
        ask = Ask(
            user,
            _inputs(body, "ChatRequestPayload"),
            _streaming(body, "ChatRequestPayload"),
            files=_files(body),
            query=query,
            conversation=conversation,
        )
        return await self._begin(request, await self._service.accept(prepared, ask))

    async def _begin(self, request: Request, ticket: Ticket) -> "Answer":
        if ticket.events is not None:
            return Answer({}, ticket=ticket)
        watcher = asyncio.create_task(_departure(request.receive))
        try:
            waiting: set[asyncio.Future[Any]] = {watcher, ticket.ended}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not ticket.ended.done():
                ticket.run.stop("The client went away.")
                await ticket.ended
        finally:
            watcher.cancel()
        outcome = ticket.ended.result()
        if ticket.prepared.chat and outcome.status == "failed":
            raise invalid(f"Run failed: {outcome.error}")
        return Answer(ticket.run.narrator.blocking(outcome), charset=True)

    async def _stream(
        self, run: Run, events: asyncio.Queue[dict[str, Any] | None], receive: Receive, send: Send
    ) -> None:
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
        ]
        watcher = asyncio.create_task(_departure(receive))
        watcher.add_done_callback(lambda task: None if task.cancelled() else run.stop("The client went away."))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": _PING, "more_body": True})
            while True:
                try:
                    event = await asyncio.wait_for(events.get(), _PING_SECONDS)
                except TimeoutError:
                    await send({"type": "http.response.body", "body": _PING, "more_body": True})
                    continue
                if event is None:
                    break
                data = b"data: " + orjson.dumps(event) + b"\n\n"
                await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            watcher.cancel()
            run.stop("The client went away.")

    async def _stop_workflow(self, request: Request, caller: Caller, task: str) -> "Answer":
        return await self._stop(request, caller, task)

    async def _stop_chat(self, request: Request, caller: Caller, task: str) -> "Answer":
        return await self._stop(request, caller, task)

    async def _stop(self, request: Request, caller: Caller, task: str) -> "Answer":
        user = _user((await request.json()).get("user"))
        await self._service.lookup(lambda: self._service.stop(task, caller.workflow_id, user))
        return Answer({"result": "success"})

    async def _run_detail(self, request: Request, caller: Caller, run_id: str) -> "Answer":
        row = await self._service.lookup(lambda: self._service.records.run(run_id))
        if row is None or caller.workflow_id not in {None, row.workflow_id}:
            raise not_found("Workflow run not found.")
        return Answer(run_body(row))

    async def _logs(self, request: Request, caller: Caller) -> "Answer":
        page, limit = _whole(request, "page", 1, 99_999), _whole(request, "limit", 20, _MAX_LIMIT)
        status = request.query.get("status")
        records = self._service.records
        total, rows = await self._service.lookup(
            lambda: records.runs(caller.workflow_id, status=status, page=page, limit=limit)
        )
        data = [log_body(row) for row in rows]
        return Answer({"page": page, "limit": limit, "total": total, "has_more": page * limit < total, "data": data})

    async def _parameters(self, request: Request, caller: Caller) -> "Answer":
        prepared = await self._described(request, caller)
        return Answer(parameters(prepared.document))

    async def _info(self, request: Request, caller: Caller) -> "Answer":
        prepared = await self._described(request, caller)
        app = prepared.document.data.get("app") or {}
        return Answer(
            {
                "name": prepared.runnable.name,
                "description": app.get("description") or "",
                "tags": [],
                "mode": prepared.runnable.mode,
                "author_name": "",
            }
        )

    async def _meta(self, request: Request, caller: Caller) -> "Answer":
        await self._described(request, caller)
        return Answer({"tool_icons": {}})

    async def _site(self, request: Request, caller: Caller) -> "Answer":
        return Answer(site_body(await self._described(request, caller)))

    async def _described(self, request: Request, caller: Caller) -> Any:
        try:
            return await self._service.prepared(caller, request.query.get("workflow_id"))
        except Unpublished:
            words = "App unavailable, please check your app configurations."
            raise Refusal(400, "app_unavailable", words) from None

    async def _conversations(self, request: Request, caller: Caller) -> "Answer":
        user, limit = _user(request.query.get("user")), _whole(request, "limit", 20, _MAX_LIMIT)
        last, records = request.query.get("last_id"), self._service.records
        more, rows = await self._service.lookup(
            lambda: records.conversations(caller.workflow_id, user, limit=limit, last_id=last)
        )
        return Answer({"limit": limit, "has_more": more, "data": [conversation_body(row) for row in rows]})

    async def _messages(self, request: Request, caller: Caller) -> "Answer":
        user, limit = _user(request.query.get("user")), _whole(request, "limit", 20, _MAX_LIMIT)
        talk = request.query.get("conversation_id", "")
        first, records = request.query.get("first_id"), self._service.records
        await self._owned(caller, talk, user)
        more, rows = await self._service.lookup(lambda: records.messages(talk, limit=limit, first_id=first))
        return Answer({"limit": limit, "has_more": more, "data": [message_body(row) for row in rows]})

    async def _variables(self, request: Request, caller: Caller, talk: str) -> "Answer":
        user, limit = _user(request.query.get("user")), _whole(request, "limit", 20, _MAX_LIMIT)
        name, records = request.query.get("variable_name"), self._service.records
        await self._owned(caller, talk, user)
        more, rows = await self._service.lookup(lambda: records.variables(talk, name=name, limit=limit))
        return Answer({"limit": limit, "has_more": more, "data": [variable_body(row) for row in rows]})

    async def _owned(self, caller: Caller, talk: str, user: str) -> None:
        records = self._service.records
        if await self._service.lookup(lambda: records.conversation(talk, caller.workflow_id, user)) is None:
            raise not_found("Conversation Not Exists.")


class Answer:
    """What goes back: a JSON `body`, or the stream of a `ticket`."""

    def __init__(
        self,
        body: dict[str, Any],
        status: int = 200,
        headers: tuple[tuple[str, str], ...] = (),
        *,
        ticket: Ticket | None = None,
        charset: bool = False,
    ) -> None:
        self.body = body
        self.status = status
        self.headers = headers
        self.ticket = ticket
        self.charset = charset


async def _send(
    send: Send, status: int, body: dict[str, Any], headers: tuple[tuple[str, str], ...], *, charset: bool
) -> None:
    data = orjson.dumps(body)
    kind = b"application/json; charset=utf-8" if charset else b"application/json"
    sent = [(b"content-type", kind), (b"content-length", str(len(data)).encode())]
    sent += [(name.encode(), value.encode()) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": data})


async def _departure(receive: Receive) -> None:
    """Returns when the client goes away."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _user(user: Any) -> str:
    if not user:
        raise invalid("Arg user must be provided.")
    return str(user)


def _inputs(body: Mapping[str, Any], payload: str) -> dict[str, Any]:
    inputs = body.get("inputs")
    if isinstance(inputs, dict):
        return inputs
    raise _missing(payload, "inputs", inputs)


def _missing(payload: str, name: str, found: Any) -> Refusal:
    words = (
        "Field required"
        if found is None
        else f"Input should be a valid {'string' if name == 'query' else 'dictionary'}"
    )
    return invalid(f"1 validation error for {payload}\n{name}\n  {words}")


def _streaming(body: Mapping[str, Any], payload: str) -> bool:
    mode = body.get("response_mode")
    if mode not in {None, "blocking", "streaming"}:
        words = f"Input should be 'blocking' or 'streaming' [input_value={json.dumps(mode)[:60]}]"
        raise invalid(f"1 validation error for {payload}\nresponse_mode\n  {words}")
    return mode == "streaming"


def _trigger(body: Mapping[str, Any]) -> str | None:
    trigger = body.get("trigger")
    if trigger is not None and not isinstance(trigger, str):
        raise invalid("trigger must be the id of a node")
    return trigger


def _files(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    files = body.get("files") or []
    if not isinstance(files, list) or not all(isinstance(item, dict) for item in files):
        raise invalid("files must be a list of files")
    return tuple(files)


def _whole(request: Request, name: str, default: int, most: int) -> int:
    text = request.query.get(name, "")
    with contextlib.suppress(ValueError):
        number = int(text) if text else default
        if 1 <= number <= most:
            return number
    raise invalid(f"{name} must be a number between 1 and {most}")
