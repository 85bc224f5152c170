"""The HTTP client of http-request nodes, in the shape that graphon asks for."""

from typing import Any

import httpx
from graphon.http import HttpResponse

from lastgood.targets.engine.cancel import Cancel
from lastgood.targets.engine.network import Policy, client

MAX_RESPONSE = 10 * 2**20
_REDIRECTS = 10


class WebRefused(Exception):
    """A request that was not sent, or an answer that was not read."""


class Web:
    """Sends the requests of one run's nodes by `policy`; answers beyond `MAX_RESPONSE` bytes are refused."""

    def __init__(self, policy: Policy, cancel: Cancel) -> None:
        self._policy = policy
        self._cancel = cancel

    @property
    def max_retries_exceeded_error(self) -> type[Exception]:
        return _Never

    @property
    def request_error(self) -> type[Exception]:
        return WebRefused

    def get(self, url: str, max_retries: int = 0, **options: Any) -> HttpResponse:
        return self._send("GET", url, **options)

    def head(self, url: str, max_retries: int = 0, **options: Any) -> HttpResponse:
        return self._send("HEAD", url, **options)

    def post(self, url: str, max_retries: int = 0, **options: Any) -> HttpResponse:
        return self._send("POST", url, **options)

    def put(self, url: str, max_retries: int = 0, **options: Any) -> HttpResponse:
        return self._send("PUT", url, **options)

    def delete(self, url: str, max_retries: int = 0, **options: Any) -> HttpResponse:
        return self._send("DELETE", url, **options)

    def patch(self, url: str, max_retries: int = 0, **options: Any) -> HttpResponse:
        return self._send("PATCH", url, **options)

    def _send(
        self,
        method: str,
        url: str,
        *,
        timeout: tuple[float | None, float | None, float | None] = (10, 60, 60),
        ssl_verify: bool = True,
        follow_redirects: bool = True,
        **body: Any,
    ) -> HttpResponse:
        connect, read, write = timeout
        limits = httpx.Timeout(connect=connect, read=read, write=write, pool=connect)
        try:
            with client(self._policy, self._cancel, verify=ssl_verify) as http:
                http.max_redirects = _REDIRECTS
                http.headers["Accept-Encoding"] = "gzip, deflate"
                with http.stream(
                    method, url, timeout=limits, follow_redirects=follow_redirects, **_given(body)
                ) as answer:
                    content = self._read(answer)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
            if self._cancel.cancelled:
                raise WebRefused("the run was stopped") from None
            raise WebRefused(str(error) or type(error).__name__) from error
        return HttpResponse(
            status_code=answer.status_code,
            headers=dict(answer.headers),
            content=content,
            url=str(answer.url),
            reason_phrase=answer.reason_phrase,
        )

    def _read(self, answer: httpx.Response) -> bytes:
        parts, length = [], 0
        for part in answer.iter_bytes():
            parts.append(part)
            length += len(part)
            if length > MAX_RESPONSE:
                raise WebRefused(f"the answer is larger than {MAX_RESPONSE // 2**20} MiB")
        if self._cancel.cancelled:  # a line that was broken off can look like an answer that ended
            raise WebRefused("the run was stopped")
        return b"".join(parts)


class _Never(Exception):
    """Retries are the engine's, so they never run out here."""


def _given(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}
