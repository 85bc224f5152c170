"""uvicorn's HTTP protocol, with a limit on the head of a request and without its trailers among its headers."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD_LIMIT = 2**16


class HeadTooLarge(ValueError):
    """The head of a request is larger than the gateway reads."""


class GatewayProtocol(HttpToolsProtocol):
    """Refuses heads over 64 KiB (uvicorn has no limit), and drops trailers: uvicorn adds them to the headers that
    the application reads."""

    _head_size = 0
    _head_complete = False

    def on_message_begin(self) -> None:
        self._head_size = 0
        self._head_complete = False
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        if not self._head_complete:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_complete = True
        super().on_headers_complete()

    def _count(self, size: int) -> None:
        self._head_size += size
        if self._head_size > _HEAD_LIMIT:
            raise HeadTooLarge
