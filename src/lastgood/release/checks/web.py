"""Asking an address whether it answers. Nothing of what it answers is read, and nothing secret is told of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from urllib.parse import urlsplit

import httpx

from lastgood.release.checks.together import Job, together
from lastgood.release.tls import trusted

_MARGIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Question:
    """An address, the seconds it has, and what is sent with the request (never told)."""

    url: str
    seconds: float
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """The status of an answer, or None and why none came; and the milliseconds it took."""

    status: int | None
    reason: str
    elapsed_ms: float

    @property
    def said(self) -> str:
        """It in a few words: ``it answered 503``."""
        return self.reason if self.status is None else f"it answered {self.status}"


def get(url: str, seconds: float, headers: Mapping[str, str] | None = None) -> Answer:
    """Send a GET to `url` and take the status of its answer; redirections are not followed, so that `headers` go
    nowhere else. Raises nothing."""
    began = perf_counter()
    if not all(value.isascii() and value.isprintable() for value in (headers or {}).values()):
        # Checked here, because the client's debug log would quote it.
        return Answer(None, "its header holds a line break or another character that cannot be sent", 0.0)
    status, reason = None, ""
    try:
        # No proxies and no .netrc: what was declared is asked, with what was declared.
        with (
            httpx.Client(verify=trusted(), trust_env=False, timeout=seconds) as http,
            http.stream("GET", url, headers=headers) as answer,
        ):
            status = answer.status_code
    except httpx.TimeoutException:
        reason = f"no answer within {seconds:g} s"
    except httpx.ConnectError:
        reason = "it cannot be connected to"
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, UnicodeError) as error:
        # The words of these may quote what was sent.
        reason = f"it cannot be asked ({type(error).__name__})"
    return Answer(status, reason, (perf_counter() - began) * 1000)


def get_all(asked: Sequence[Question]) -> list[Answer]:
    """The answers to `asked`, in their order. Each has its time as a whole, however slowly the other side talks."""
    jobs = [Job(partial(get, one.url, one.seconds, one.headers), one.seconds + _MARGIN_SECONDS) for one in asked]
    return [
        Answer(None, f"no answer within {one.seconds:g} s", one.seconds * 1000)
        if isinstance(answer, Exception)
        else answer
        for one, answer in zip(asked, together(jobs), strict=True)
    ]


def shown(url: str) -> str:
    """`url` as it may be told: without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "an address that cannot be read"
    return f"{parts.scheme}://{host}{parts.path}" if host else "an address without a host"
