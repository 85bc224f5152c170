"""uvicorn's HTTP protocol, with a limit on the head of a request and without its trailers among its headers."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD_LIMIT = 2**16


class HeadTooLarge(ValueError):
    """The head of a request is larger than the gateway reads."""


class GatewayProtocol(HttpToolsProtocol):
    """Refuses heads over 64 KiB (uvicorn has no limit), and drops trailers: uvicorn adds them to the headers that
    the application reads."""

    _in_head = False
    _head_size = 0
    _head_held = 0

    def data_received(self, data: bytes) -> None:
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head:
            self._head_held += len(data)  # the parser holds what is not a whole line yet
            if self._head_held > _HEAD_LIMIT and not self.transport.is_closing():
                self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_size = self._head_held = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def _count(self, size: int) -> None:
        self._head_size += size
        if self._head_size > _HEAD_LIMIT:
            raise HeadTooLarge
