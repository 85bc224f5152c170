"""The stand-in's HTTP side: an event loop in a thread of its own, a fixed number of connection slots as a small real
server has them, and the hooks by which a test makes it misbehave."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable
from typing import Any, Self

from dify_server import connection, routes
from dify_server.calls import Answer, Later, Request, Stream, answer
from dify_server.faults import Fault, Faults
from dify_server.refusals import Refuse
from dify_server.routes.service import SSE_PING
from dify_server.world import Timing, World

__all__ = ["Answer", "FakeDify", "Request", "Timing", "routes"]
Hook = Callable[[Request], Answer | None]


class Dropped(Exception):
    """The connection is closed without an answer."""


class FakeDify:
    """A Dify on a free loopback port; ``with FakeDify("1.13.0") as dify:``.

    `world` is its state, `requests` what came in. A `hook` may answer instead of it: ``None`` lets it answer.
    `faults` fail, drop, hang or delay chosen requests, or call back between two of them. `slots` calls are served at
    once; a call that hangs keeps its slot, its client gone or not. `timing` says how long things take."""

    def __init__(
        self, version: str = "1.13.0", tls: ssl.SSLContext | None = None, *, port: int = 0, slots: int = 10,
        timing: Timing | None = None,
    ) -> None:  # fmt: skip
        self.world = World(version)
        if timing is not None:
            self.world.timing = timing
        self.requests: list[Request] = []
        self.keep_requests = True
        self.broken: list[Exception] = []  # what the stand-in itself tripped over
        self.hook: Hook | None = None
        self.faults = Faults()
        self.slots = slots
        self.busy = 0  # slots taken
        self.most_busy = 0
        self.port = port
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._hanging = asyncio.Event()
        self._free: asyncio.Semaphore | None = None
        self._server: asyncio.Server | None = None

    @property
    def timing(self) -> Timing:
        return self.world.timing

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def asked(self, path: str) -> int:
        """How often `path` was asked for."""
        return sum(1 for request in self.requests if request.path == path)

    def start(self) -> None:
        """Listens. `port` is known afterwards."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        self.world.url = self.url

    def stop(self) -> None:
        """Ends every call, hanging ones too."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def unhang(self) -> None:
        """Ends the calls that hang now, as their time does."""
        self._loop.call_soon_threadsafe(self._release)

    def _release(self) -> None:
        self._hanging.set()
        self._hanging = asyncio.Event()

    async def _hang(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hanging.wait(), seconds)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def _listen(self) -> None:
        self._free = asyncio.Semaphore(self.slots)
        self._loop.set_exception_handler(lambda *_: None)  # clients that break off are meant
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", self.port, ssl=self._tls, limit=2**20, backlog=512
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while (request := await connection.read(reader)) is not None:
                if not await self._serve(request, writer):
                    break
        except (ConnectionError, Dropped, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            with contextlib.suppress(Exception):
                writer.close()

    async def _serve(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Answers one request, in a slot. Whether the connection lives on."""
        assert self._free is not None
        async with self._free:
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
            try:
                return await self._answered(request, writer)
            finally:
                self.busy -= 1

    async def _answered(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        if self.keep_requests:
            self.requests.append(request)
        given = await asyncio.to_thread(self.hook, request) if self.hook else None
        if given is None:
            earlier, later = self.faults.on(request) if self.faults.rules else ([], [])
            given = await self._faulty(earlier)
            if given is None:
                made = self._handled(request)
                if isinstance(made, Stream):
                    await self._faulty(later)
                    await self._stream(made, writer)
                    return True
                given = await self._waited(*made) if isinstance(made, tuple) else made
            given = await self._faulty(later) or given
        writer.write(connection.whole(given, self.world.version))
        await writer.drain()
        return True

    def _handled(self, request: Request) -> Answer | Stream | tuple[Later, list[tuple[str, str]]]:
        """One request at a time changes the state."""
        with self.world.lock:
            try:
                status, body, headers = answer(self.world, request)
            except Exception as error:  # a body of another shape than expected, say
                self.broken.append(error)
                return Answer(500, {"message": "Internal Server Error", "code": "unknown", "status": 500})
        if isinstance(body, Stream):
            return body
        return (body, headers) if isinstance(body, Later) else Answer(status, body, headers)

    async def _faulty(self, rules: list[Fault]) -> Answer | None:
        """Does what the rules say; the answer of the last that has one."""
        given = None
        for rule in rules:
            if rule.act is not None:
                await asyncio.to_thread(rule.act)
            if rule.wait and rule.drop:
                await self._hang(rule.wait)
            elif rule.wait:
                await asyncio.sleep(rule.wait)
            if rule.drop:
                raise Dropped
            given = rule.answer or given
        return given

    async def _waited(self, later: Later, headers: list[tuple[str, str]]) -> Answer:
        try:
            while True:
                with self.world.lock:
                    wait = next(later.steps, None)
                if wait is None:
                    break
                if wait:
                    await asyncio.sleep(wait)
            with self.world.lock:
                return Answer(200, later.body(), headers)
        except Refuse as refused:
            return Answer(refused.status, refused.body, headers)
        finally:
            later.done()

    async def _stream(self, stream: Stream, writer: asyncio.StreamWriter) -> None:
        """Sends events until the last, then holds the socket open a while. A client that left changes nothing."""
        timing = self.timing
        kind, quiet = "text/event-stream; charset=utf-8", 0.0
        self._write(writer, connection.head(200, self.world.version, [], kind, None))
        try:
            while True:
                with self.world.lock:
                    step = next(stream.steps, None)
                if step is None:
                    break
                wait, text = step
                while wait > 0:
                    pause = min(wait, timing.ping - quiet)
                    await asyncio.sleep(pause)
                    wait, quiet = wait - pause, quiet + pause
                    if quiet >= timing.ping:
                        self._write(writer, connection.chunk(SSE_PING))
                        quiet = 0.0
                if text is not None:
                    self._write(writer, connection.chunk(text))
                    quiet = 0.0
            if stream.hangs:
                await self._hang(timing.hang)
            else:
                await asyncio.sleep(timing.linger)
        finally:
            stream.done()
        self._write(writer, b"0\r\n\r\n")

    def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if not writer.is_closing():
            with contextlib.suppress(ConnectionError):
                writer.write(data)


def serve(version: str, port: int, **more: Any) -> FakeDify:
    """A stand-in that is listening."""
    made = FakeDify(version, port=port, **more)
    made.start()
    return made
