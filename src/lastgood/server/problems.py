"""Errors as RFC 9457 problem documents, and the limit on bodies."""

import sys

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lastgood.db import audit
from lastgood.errors import Denied, InvalidRequest, LastgoodError, Unauthenticated
from lastgood.server.context import Asked, context_of

_TYPE = "application/problem+json"
_READING = ("GET", "HEAD", "OPTIONS")


def add_problems(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document."""

    @app.exception_handler(LastgoodError)
    def ours(request: Request, error: LastgoodError) -> JSONResponse:
        keep_failure(request, error)
        return problem(error)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        told = InvalidRequest(where=where, reason=first["msg"])
        keep_failure(request, told)
        return problem(told)

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> JSONResponse:
        text = f"{request.method} {request.url.path}: {error.detail}. The API is described at /docs."
        body = {"type": "about:blank", "title": str(error.detail), "status": error.status_code, "detail": text}
        return JSONResponse(body, error.status_code, headers=error.headers, media_type=_TYPE)

    @app.exception_handler(Exception)
    def unexpected(request: Request, error: Exception) -> JSONResponse:
        # The text of an unknown error may hold anything; only its kind is told.
        told = LastgoodError(detail=f"{type(error).__name__}; the server's log has the trace")
        keep_failure(request, told)
        return problem(told)


def keep_failure(request: Request, error: LastgoodError) -> None:
    """Keep in the audit log that a change which was allowed came to nothing. Of the error only its name is kept: its
    sentence may quote what was sent.

    What cannot be kept (the store may be why it failed) is told in the server's own log: nothing was changed."""
    asked = getattr(request.state, "asked", None)
    if not isinstance(asked, Asked) or request.method in _READING or isinstance(error, Denied | Unauthenticated):
        return
    who, action, resource = asked.who, asked.action, asked.resource
    try:
        context_of(request).store.write(
            lambda tx: audit.append(
                tx, who, action, resource, result="failed", reason=error.code, status=error.status
            )
        )
    except LastgoodError as lost:
        print(
            f"lastgood: {action} on {resource} failed ({error.code}) and could not be audited: {lost}",
            file=sys.stderr,
        )


def problem(error: LastgoodError) -> JSONResponse:
    """The answer for one of our errors."""
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthenticated) else None
    return JSONResponse(error.problem(), error.status, headers=headers, media_type=_TYPE)


class BodyLimit:
    """ASGI middleware that refuses a request body over `most` bytes, declared or not."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        seen = 0
        if declared.isdigit() and int(declared) > self.most:
            await self._refuse(scope, receive, send)
            return

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.most:
                raise _too_large(self.most)
            return message

        await self.app(scope, limited, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = _too_large(self.most)
        body = {"type": "about:blank", "title": error.detail, "status": 413, "detail": error.detail}
        await JSONResponse(body, 413, media_type=_TYPE)(scope, receive, send)


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"The body is larger than {most // 2**20} MB, which is the most that is accepted")
