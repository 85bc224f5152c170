"""Errors as RFC 9457 problem documents, and the limit on bodies."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lastgood.access import decisions
from lastgood.errors import ForeignVersion, IdTaken, InvalidRequest, LastgoodError, Unauthenticated, UnknownVersion

_TYPE = "application/problem+json"


def add_problems(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document."""

    @app.exception_handler(LastgoodError)
    def ours(request: Request, error: LastgoodError) -> JSONResponse:
        return problem(_told_to(request, error))

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return problem(InvalidRequest(where=where, reason=first["msg"]))

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> JSONResponse:
        text = f"{request.method} {request.url.path}: {error.detail}. The API is described at /docs."
        body = {"type": "about:blank", "title": str(error.detail), "status": error.status_code, "detail": text}
        return JSONResponse(body, error.status_code, headers=error.headers, media_type=_TYPE)

    @app.exception_handler(Exception)
    def unexpected(_: Request, error: Exception) -> JSONResponse:
        # The text of an unknown error may hold anything; only its kind is told.
        return problem(LastgoodError(detail=f"{type(error).__name__}; the server's log has the trace"))


def _told_to(request: Request, error: LastgoodError) -> LastgoodError:
    """`error` as the caller may hear it: what belongs to a workflow that it may not read is not there for it."""
    if isinstance(error, ForeignVersion) and not _reads(request, str(error.data["owner"])):
        return UnknownVersion(version=error.data["version"], where=f" of {error.data['workflow']}")
    if isinstance(error, IdTaken) and (owner := error.data.get("owner")) and not _reads(request, str(owner)):
        return IdTaken(kind=error.data["kind"], value=error.data["value"], by="")
    return error


def _reads(request: Request, slug: str) -> bool:
    who = getattr(request.state, "who", None)
    store = request.app.state.context.store
    return who is not None and decisions.check_permission(store, who, "workflow:read", f"workflow:{slug}").allowed


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
