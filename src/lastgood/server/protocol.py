"""uvicorn's HTTP protocol for the management API: as the gateway's, and with a limit on the time of a head."""

from asyncio import TimerHandle
from typing import Any

from lastgood.gateway.protocol import GatewayProtocol

HEAD_SECONDS = 15.0


class ApiProtocol(GatewayProtocol):
    """Ends a connection whose head does not arrive in time: uvicorn waits for ever, with a connection held."""

    _head_timer: TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait_for_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._wait_for_head()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        self._stop_waiting()
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._too_late)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_late(self) -> None:
        transport = self.transport
        if not transport.is_closing():
            transport.close()
