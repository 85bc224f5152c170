"""How Dify says no."""

from typing import Any


class Refuse(Exception):
    """Ends a request with a status and a body."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


def refuse(status: int, code: str, message: str) -> Refuse:
    """The usual shape of an error."""
    return Refuse(status, {"code": code, "message": message, "status": status})


def broken() -> Refuse:
    """What a malformed id and other slips end in."""
    return refuse(500, "unknown", "Internal Server Error")


def forbidden() -> Refuse:
    return refuse(
        403,
        "forbidden",
        "You don't have the permission to access the requested resource. It is either read-protected or not readable "
        "by the server.",
    )


def invalid(payload: str, field: str, why: str, kind: str, value: object, newer: bool = False) -> Refuse:
    """What the server's validation of a body or query says about one field."""
    site = f"https://errors.pydantic.dev/2.{12 if newer else 11}/v/{kind}"
    shown = repr(value)
    if len(shown) > 53:  # it shortens long values in the middle
        shown = f"{shown[:25]}...{shown[-24:]}"
    told = f"[type={kind}, input_value={shown}, input_type={type(value).__name__}]"
    return refuse(
        400,
        "invalid_param",
        f"1 validation error for {payload}\n{field}\n  {why} {told}\n    For further information visit {site}",
    )


def page(title: str = "Not Found", text: str = "") -> bytes:
    """The HTML page of a path that leads nowhere."""
    text = text or (
        "The requested URL was not found on the server. If you entered the URL manually please check your spelling "
        "and try again."
    )
    return f"<!doctype html>\n<html lang=en>\n<title>404 {title}</title>\n<h1>{title}</h1>\n<p>{text}</p>\n".encode()


def did_you_mean(path: str, *routes: str) -> str:
    """What Dify adds to a 404 of a route that exists: the routes that look alike."""
    return f" You have requested this URI [{path}] but did you mean {' or '.join(routes)} ?"
