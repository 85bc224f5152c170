"""The process that runs what nobody vouches for: code nodes and templates, each in a child of its own.

It is started by `sandbox` with an empty environment, imports little, and waits; for each job it forks (a
millisecond, where starting Python takes thirty), and the child binds itself with `confine` before it reads the
job. It never holds a secret of Lastgood: there is nothing here to read.

A job is one message on the control socket (JSON: kind, cpu, wall, memory, folder) that carries a socket; the
child reads the job's JSON from it and writes one line of JSON; this process adds a second line that says how the
child ended."""

import base64
import contextlib
import importlib
import json
import math
import os
import resource
import select
import signal
import socket
import sys
import sysconfig
import time
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lastgood.targets.engine.confine import confine

_FILE_BYTES = 16 * 2**20
_TEMPLATE_CHARACTERS = 2_000_000
_USUAL = """
    base64 bisect calendar collections copy csv datetime decimal difflib fractions functools hashlib heapq hmac html
    html.parser io itertools json logging math operator os random re secrets statistics string textwrap time typing
    unicodedata urllib.parse uuid xml.etree.ElementTree zoneinfo encodings.idna
"""
_SYSTEM = """
    /usr /lib /lib64 /dev/null /dev/urandom /dev/zero /etc/ssl /etc/pki /etc/ca-certificates /etc/resolv.conf
    /etc/hosts /etc/nsswitch.conf /etc/localtime /etc/mime.types /run/systemd/resolve /etc/ld.so.cache
"""


def main() -> None:
    """Serve jobs from the control socket (its number is the argument) until the other side closes it."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.setblocking(False)
    for name in _USUAL.split():
        importlib.import_module(name)
    readable = [*_SYSTEM.split(), sys.base_prefix, sys.prefix, *sysconfig.get_paths().values()]
    wake, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: dict[int, tuple[socket.socket, float]] = {}
    while True:
        now = time.monotonic()
        nearest = min((deadline for _, deadline in children.values()), default=math.inf)
        wait = None if nearest == math.inf else max(0.0, nearest - now)
        ready, _, _ = select.select([control.fileno(), wake], [], [], wait)
        if wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 4096)
        _reap(children)
        if control.fileno() in ready and not _accept(control, children, readable):
            break
        _stop_late(children)
    for pid in children:
        _kill(pid)


def _accept(control: socket.socket, children: dict[int, tuple[socket.socket, float]], readable: list[str]) -> bool:
    """Start one job. False once the other side is gone."""
    try:
        message, fds, _, _ = socket.recv_fds(control, 65536, 1)
    except BlockingIOError:
        return True
    if not message:
        return False
    header = json.loads(message)
    job = socket.socket(fileno=fds[0])
    pid = os.fork()
    if pid == 0:
        _child(job, header, readable)
    children[pid] = (job, time.monotonic() + header["wall"])
    return True


def _reap(children: dict[int, tuple[socket.socket, float]]) -> None:
    while children:
        pid, status, usage = os.wait4(-1, os.WNOHANG)
        if pid == 0:
            return
        job, deadline = children.pop(pid, (None, 0.0))
        if job is None:
            continue
        end = {
            "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
            "late": time.monotonic() >= deadline,
            "cpu": usage.ru_utime + usage.ru_stime,
        }
        job.setblocking(False)
        with contextlib.suppress(OSError):
            job.sendall(b"\n" + json.dumps(end).encode() + b"\n")
        job.close()


def _stop_late(children: dict[int, tuple[socket.socket, float]]) -> None:
    now = time.monotonic()
    for pid, (job, deadline) in children.items():
        # The asker closing its side (a stopped run) ends the job as the clock does.
        if now >= deadline or _abandoned(job):
            _kill(pid)


def _abandoned(job: socket.socket) -> bool:
    poll = select.poll()
    poll.register(job, 0)
    return any(flags & (select.POLLHUP | select.POLLERR) for _, flags in poll.poll(0))


def _kill(pid: int) -> None:
    for end in (os.killpg, os.kill):  # the group first; a child killed before it made its own has none
        with contextlib.suppress(ProcessLookupError):
            end(pid, signal.SIGKILL)


def _child(job: socket.socket, header: dict[str, Any], readable: list[str]) -> None:
    """Bind, run and leave; never returns."""
    answer: dict[str, Any]
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        nothing = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(nothing, fd)
        kept = job.fileno()
        os.closerange(3, kept)
        os.closerange(kept + 1, min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
        folder = header["folder"]
        os.chdir(folder or "/")
        os.environ.clear()
        os.environ.update({"HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"})
        confine(
            cpu=max(1, math.ceil(header["cpu"])),
            memory=header["memory"],
            file_bytes=_FILE_BYTES,
            readable=readable,
            writable=[folder] if folder else [],
        )
        work = json.loads(_read_all(job))
        answer = {"result": _render(work) if header["kind"] == "template" else _call(work)}
        data = json.dumps(answer, default=_refuse).encode()
    except MemoryError:
        data = b'{"error": "it used more memory than it may"}'
    except BaseException as error:  # SystemExit too: the child has to answer, whatever the code did
        data = json.dumps({"error": _sentence(error)}).encode()
    with contextlib.suppress(BaseException):
        job.sendall(data)
    os._exit(0)


def _read_all(job: socket.socket) -> bytes:
    parts = []
    while part := job.recv(2**20):
        parts.append(part)
    return b"".join(parts)


def _call(work: dict[str, Any]) -> Any:
    # Dify's runner has these two at hand, and code that leans on them is not rare.
    space: dict[str, Any] = {"__name__": "code", "json": json, "b64decode": base64.b64decode}
    exec(compile(work["code"], "<code>", "exec"), space)  # noqa: S102 - running it is what this process is for
    function = space.get("main")
    if not callable(function):
        raise LookupError("the code defines no function main")
    result = function(**work["inputs"])
    if not isinstance(result, dict):
        raise TypeError(f"main returned {type(result).__name__}, not a dict")
    return result


def _render(work: dict[str, Any]) -> str:
    environment = ImmutableSandboxedEnvironment()
    parts, length = [], 0
    for part in environment.from_string(work["template"]).generate(**work["variables"]):
        parts.append(part)
        length += len(part)
        if length > _TEMPLATE_CHARACTERS:
            raise OverflowError(f"the output is longer than {_TEMPLATE_CHARACTERS} characters")
    return "".join(parts)


def _refuse(value: Any) -> Any:
    raise TypeError(f"main returned a value of type {type(value).__name__}, which is not JSON")


def _sentence(error: BaseException) -> str:
    """The error's own words and the line of the code that it came from."""
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError | TemplateError) else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in {"<code>", "<template>"}:
            line = trace.tb_lineno
        trace = trace.tb_next
    words = f"{type(error).__name__}: {error}"[:2000]
    return f"{words} (line {line})" if line else words


if __name__ == "__main__":
    main()
