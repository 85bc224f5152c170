"""Running code and templates in the `nursery`: the engine's side of it."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from tempfile import TemporaryDirectory
from typing import Any, Literal

from lastgood.targets.engine.cancel import Cancel

_ANSWER_BYTES = 16 * 2**20
_AT_ONCE = 16  # jobs, each of which may take all the memory that one may take
_GRACE = 2.0  # seconds beyond the job's own limit before the nursery itself is taken for dead


class SandboxFailure(Exception):
    """What went wrong in the sandbox, as the user reads it."""


class Sandbox:
    """One nursery, started at first use and again when it died. `cpu` is seconds of CPU and of wall time, `memory`
    bytes of address space, both per job. Safe for many threads."""

    def __init__(self, *, cpu: float, memory: int) -> None:
        self._cpu = cpu
        self._memory = memory
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(_AT_ONCE)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def call(self, code: str, inputs: Mapping[str, Any], cancel: Cancel) -> dict[str, Any]:
        """What ``main(**inputs)`` of the Python `code` returns (JSON values). Raises `SandboxFailure`."""
        with TemporaryDirectory(prefix="lastgood-code-", ignore_cleanup_errors=True) as folder:
            return dict(self._run("code", {"code": code, "inputs": inputs}, cancel, folder))

    def render(self, template: str, variables: Mapping[str, Any], cancel: Cancel) -> str:
        """The Jinja2 `template` filled with `variables`. Raises `SandboxFailure`."""
        return str(self._run("template", {"template": template, "variables": variables}, cancel, ""))

    def close(self) -> None:
        """End the nursery and whatever runs in it."""
        with self._lock:
            self._end()

    def _run(self, kind: Literal["code", "template"], work: dict[str, Any], cancel: Cancel, folder: str) -> Any:
        while not self._places.acquire(timeout=0.2):
            if cancel.cancelled:
                raise SandboxFailure("the run was stopped")
        try:
            return self._run_now(kind, work, cancel, folder)
        finally:
            self._places.release()

    def _run_now(self, kind: str, work: dict[str, Any], cancel: Cancel, folder: str) -> Any:
        wall = min(self._cpu, cancel.remaining())
        header = {"kind": kind, "cpu": self._cpu, "wall": wall, "memory": self._memory, "folder": folder}
        payload = json.dumps(work).encode()
        ours, theirs = socket.socketpair()
        with ours, cancel.closing(lambda: ours.shutdown(socket.SHUT_RDWR)):
            with theirs:
                self._send(json.dumps(header).encode(), theirs.fileno())
            ours.settimeout(wall + _GRACE)
            try:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    ours.sendall(payload)
                    ours.shutdown(socket.SHUT_WR)
                data = self._answer(ours)
            except TimeoutError:
                raise SandboxFailure(f"it ran longer than {wall:g} seconds") from None
            except OSError:
                data = b""
        if cancel.cancelled:
            raise SandboxFailure("the run was stopped")
        return self._result(data)

    def _answer(self, job: socket.socket) -> bytes:
        parts, length = [], 0
        while part := job.recv(2**20):
            parts.append(part)
            length += len(part)
            if length > _ANSWER_BYTES:
                raise SandboxFailure(f"its result is larger than {_ANSWER_BYTES // 2**20} MiB")
        return b"".join(parts)

    def _result(self, data: bytes) -> Any:
        lines = data.rsplit(b"\n", 2)
        try:
            end = json.loads(lines[1])
            answer = json.loads(lines[0]) if lines[0] else None
        except (IndexError, ValueError):
            raise SandboxFailure("it ended without an answer") from None
        if isinstance(answer, dict) and "result" in answer:
            return answer["result"]
        if isinstance(answer, dict) and "error" in answer:
            raise SandboxFailure(str(answer["error"]))
        if end["late"] or end["cpu"] >= self._cpu:
            raise SandboxFailure(f"it ran longer than {self._cpu:g} seconds")
        if end["signal"]:
            raise SandboxFailure(f"it was killed (signal {end['signal']}), perhaps for the memory it used")
        raise SandboxFailure("it ended without an answer")

    def _send(self, header: bytes, job: int) -> None:
        with self._lock:
            for attempt in (1, 2):
                try:
                    socket.send_fds(self._control or self._start(), [header], [job])
                except OSError:
                    self._end()
                    if attempt == 2:
                        raise SandboxFailure("the sandbox process cannot be started") from None
                else:
                    return

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this same Python with a module of ours
                [sys.executable, "-I", "-B", "-m", "lastgood.targets.engine.nursery", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={"LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        self._control = ours
        return ours

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
