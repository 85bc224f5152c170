"""Errors as RFC 9457 problem documents."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from lastgood.errors import InvalidRequest, LastgoodError, TooManySignIns, Unauthenticated

_TYPE = "application/problem+json"


class Refused(HTTPException):
    """One of our errors, raised while a body is read: the framework lets none but this kind through."""

    def __init__(self, error: LastgoodError) -> None:
        super().__init__(error.status, str(error))
        self.error = error


def add_problems(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document."""

    @app.exception_handler(LastgoodError)
    def ours(_: Request, error: LastgoodError) -> JSONResponse:
        return problem(error)

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return problem(InvalidRequest(where=where, reason=first["msg"]))

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error, Refused):
            return ending(error.error)
        text = f"{request.method} {request.url.path}: {error.detail}. The API is described at /docs."
        body = {"type": "about:blank", "title": str(error.detail), "status": error.status_code, "detail": text}
        return JSONResponse(body, error.status_code, headers=error.headers, media_type=_TYPE)

    @app.exception_handler(Exception)
    def unexpected(_: Request, error: Exception) -> JSONResponse:
        # The text of an unknown error may hold anything; only its kind is told.
        return problem(LastgoodError(detail=f"{type(error).__name__}; the server's log has the trace"))


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
