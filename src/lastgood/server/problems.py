"""Errors as RFC 9457 problem documents."""

import sys

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from lastgood.access import decisions
from lastgood.db import audit
from lastgood.errors import (
    Denied,
    ForeignVersion,
    IdTaken,
    InvalidRequest,
    LastgoodError,
    TooManySignIns,
    Unauthenticated,
    UnknownVersion,
)
from lastgood.server.context import Asked, context_of

_TYPE = "application/problem+json"
_READING = ("GET", "HEAD", "OPTIONS")


class Refused(HTTPException):
    """One of our errors, raised while a body is read: the framework lets none but this kind through."""

    def __init__(self, error: LastgoodError) -> None:
        super().__init__(error.status, str(error))
        self.error = error


def add_problems(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document."""

    @app.exception_handler(LastgoodError)
    def ours(request: Request, error: LastgoodError) -> JSONResponse:
        keep_failure(request, error)
        return problem(_told_to(request, error))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        told = InvalidRequest(where=where, reason=first["msg"])
        keep_failure(request, told)
        return problem(told)

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error, Refused):
            return ending(error.error)
        text = f"{request.method} {request.scope['path']}: {error.detail}. The API is described at /docs."
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


def _told_to(request: Request, error: LastgoodError) -> LastgoodError:
    """`error` as the caller may hear it: what belongs to a workflow that it may not read is not there for it."""
    if isinstance(error, ForeignVersion) and not _reads(request, str(error.data["owner"])):
        return UnknownVersion(version=error.data["version"], where=f" of {error.data['workflow']}")
    if isinstance(error, IdTaken) and (owner := error.data.get("owner")) and not _reads(request, str(owner)):
        return IdTaken(kind=error.data["kind"], value=error.data["value"], by="")
    return error


def _reads(request: Request, slug: str) -> bool:
    asked = getattr(request.state, "asked", None)
    if not isinstance(asked, Asked):
        return False
    store = context_of(request).store
    return decisions.check_permission(store, asked.who, "workflow:read", f"workflow:{slug}").allowed


def problem(error: LastgoodError) -> JSONResponse:
    """The answer for one of our errors."""
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TooManySignIns):
        headers["Retry-After"] = str(error.data["seconds"])
    return JSONResponse(error.problem(), error.status, headers=headers, media_type=_TYPE)


def ending(error: LastgoodError) -> JSONResponse:
    """The same, and the connection ends: what is left of the body is not read."""
    answer = problem(error)
    answer.headers["Connection"] = "close"
    return answer
