"""What code and templates may not do, each tried for real."""

import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lastgood.targets.engine.cancel import Cancel
from lastgood.targets.engine.confine import available
from lastgood.targets.engine.sandbox import Sandbox, SandboxFailure

LEFT = Path(tempfile.gettempdir()) / "left-by-a-code-node"
landlock = pytest.mark.skipif("landlock" not in available(), reason="this kernel has no Landlock")
seccomp = pytest.mark.skipif("seccomp" not in available(), reason="this machine has no seccomp filter of ours")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox(cpu=1.0, memory=256 * 2**20)
    yield made
    made.close()


def call(sandbox: Sandbox, source: str, **inputs: object) -> Any:
    return sandbox.call(f"def main(**given):\n    {source}", inputs, Cancel(20))["it"]


def refused(sandbox: Sandbox, source: str) -> str:
    with pytest.raises(SandboxFailure) as failure:
        call(sandbox, source)
    return str(failure.value)


def test_values_come_and_go(sandbox: Sandbox) -> None:
    given = {"text": "é\n", "list": [1, 2.5, None, True], "object": {"a": {"b": []}}}
    assert call(sandbox, "return {'it': given}", **given) == given


def test_the_environment_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LASTGOOD_SECRET", "do not tell")
    fresh = Sandbox(cpu=1, memory=2**28)
    names = call(fresh, "import os; return {'it': sorted(os.environ)}")
    fresh.close()
    assert names == ["HOME", "LANG", "PATH", "TMPDIR"]


@landlock
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(f"/proc/{os.getpid()}/environ", id="of the tests"),
        *("/proc/self/environ", "/proc/1/cmdline", "/etc/passwd", __file__),
    ],
)
def test_files_outside_are_out_of_reach(sandbox: Sandbox, path: str) -> None:
    assert "Permission" in refused(sandbox, f"return {{'it': open({path!r}).read()}}")


@landlock
@pytest.mark.parametrize("path", [str(LEFT), "/usr/left-by-a-code-node", "../left-by-a-code-node"])
def test_files_are_written_in_its_own_folder_only(sandbox: Sandbox, path: str) -> None:
    assert "Permission" in refused(sandbox, f"open({path!r}, 'w').write('x')")
    assert not LEFT.exists()


def test_its_own_folder_is_fresh_and_goes_with_it(sandbox: Sandbox) -> None:
    write = "import os; open('x', 'w').write('1'); return {'it': [os.getcwd(), os.listdir()]}"
    first, second = ([str(part) for part in made] for made in (call(sandbox, write), call(sandbox, write)))
    assert first[1] == second[1] == "['x']"
    assert first[0] != second[0]
    assert not any(Path(folder).exists() for folder in (first[0], second[0]))


@seccomp
@pytest.mark.parametrize(
    "source",
    [
        "import os; os.fork()",
        "import os; os.posix_spawn('/bin/true', ['true'], {})",
        "import os; os.execv('/bin/true', ['true'])",
        "import subprocess; subprocess.run(['id'])",
        "import multiprocessing; multiprocessing.Process(target=print).start()",
        "import os; os.kill(os.getppid(), 9)",
        "import socket; socket.socket(socket.AF_UNIX)",
        "import os; os.unshare(os.CLONE_NEWUSER)",
        "import resource, os; resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))",
    ],
)
def test_it_starts_and_touches_no_process(sandbox: Sandbox, source: str) -> None:
    assert "not permitted" in refused(sandbox, source)


def test_a_fork_bomb_is_no_bomb(sandbox: Sandbox) -> None:
    began = time.monotonic()
    refused(sandbox, "import os\n    while True:\n        os.fork()")
    assert time.monotonic() - began < 3
    assert call(sandbox, "return {'it': 1}") == 1


def test_threads_are_allowed_within_the_memory(sandbox: Sandbox) -> None:
    source = """import threading
    r = []
    t = threading.Thread(target=r.append, args=(1,))
    t.start()
    t.join()
    return {'it': r}"""
    assert call(sandbox, source) == [1]


@pytest.mark.parametrize(
    "source", ["while True: pass", "import time; time.sleep(60)", "input()\n    while True: pass"]
)
def test_time_is_limited(sandbox: Sandbox, source: str) -> None:
    began = time.monotonic()
    words = refused(sandbox, source)
    assert time.monotonic() - began < 3
    assert "longer than 1 seconds" in words or "EOF" in words


def test_a_limit_cannot_be_raised_nor_a_signal_caught(sandbox: Sandbox) -> None:
    source = """import resource, signal
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (100, 100))
    except (ValueError, OSError):
        pass
    while True: pass"""
    began = time.monotonic()
    refused(sandbox, source)
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "source", ["return {'it': len(bytearray(10**10))}", "x = []\n    while True: x.append(bytes(10**7))"]
)
def test_memory_is_limited(sandbox: Sandbox, source: str) -> None:
    assert "memory" in refused(sandbox, source)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import os; os._exit(0)", "without an answer"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("import os; os.abort()", "killed"),
        ("import ctypes; ctypes.string_at(0)", "killed (signal 11)"),
        ("import sys; sys.setrecursionlimit(10**9)\n    def f(): return f()\n    f()", ""),
        ("return {'it': 'x' * 20_000_000}", "larger than 16 MiB"),
        ("open('big', 'wb').write(bytes(20_000_000))", "File too large"),
        ("raise KeyError('gone')", "KeyError: 'gone' (line 2)"),
    ],
)
def test_every_bad_end_is_a_sentence(sandbox: Sandbox, source: str, words: str) -> None:
    assert words in refused(sandbox, source)


def test_it_cannot_forge_the_answer_of_another(sandbox: Sandbox) -> None:
    source = """import os
    for fd in range(3, 40):
        try: os.write(fd, b'{"result": {"it": "forged"}}')
        except OSError: pass
    return {'it': 'mine'}"""
    with pytest.raises(SandboxFailure, match="without an answer"):
        call(sandbox, source)  # its own answer is spoilt, and nobody else's
    with ThreadPoolExecutor(8) as threads:
        others = [threads.submit(call, sandbox, f"return {{'it': {n}}}") for n in range(24)]
        assert [other.result() for other in others] == list(range(24))


def test_it_inherits_no_file(sandbox: Sandbox) -> None:
    source = """import os
    r = []
    for fd in range(64):
        try: r.append(os.fstat(fd).st_mode >> 12)
        except OSError: pass
    return {'it': r}"""
    socket, device = 0o14, 0o2
    assert call(sandbox, source) == [device, device, device, socket]  # /dev/null thrice, its line to us


def test_a_stopped_run_ends_its_code(sandbox: Sandbox) -> None:
    cancel = Cancel(20)
    with ThreadPoolExecutor(1) as threads:
        job = threads.submit(sandbox.call, "import time\ndef main(): time.sleep(50)", {}, cancel)
        time.sleep(0.2)
        began = time.monotonic()
        cancel.cancel()
        with pytest.raises(SandboxFailure, match="stopped"):
            job.result(5)
    assert time.monotonic() - began < 0.5


def test_a_dead_nursery_is_replaced(sandbox: Sandbox) -> None:
    assert call(sandbox, "return {'it': 1}") == 1
    assert sandbox._process is not None
    sandbox._process.kill()
    sandbox._process.wait()
    assert call(sandbox, "return {'it': 2}") == 2


def render(sandbox: Sandbox, text: str, **variables: object) -> str:
    return sandbox.render(text, variables, Cancel(20))


def test_a_template_renders(sandbox: Sandbox) -> None:
    assert render(sandbox, "{% for x in xs %}{{ x }}{{ ',' if not loop.last }}{% endfor %}", xs=[1, 2]) == "1,2"


@pytest.mark.parametrize(
    "text",
    [
        "{{ x.__class__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ x|attr('__class__') }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ lipsum.__globals__['os'] }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ '{0.__class__}'.format(x) }}",
        "{{ xs.append(1) }}",
        "{{ xs.__setitem__(0, 1) }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
    ],
)
def test_a_template_stays_in_its_sandbox(sandbox: Sandbox, text: str) -> None:
    try:
        said = render(sandbox, text, x="x", xs=[1])
    except SandboxFailure:
        return
    assert said == ""  # what may not be looked at is undefined, and prints as nothing


@pytest.mark.parametrize(
    "text",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}xxxxxxxxx{% endfor %}{% endfor %}",
        "{{ 'x'|center(4000000000) }}",
        "{{ 'x' * 10**10 }}",
        "{{ 10**(10**10) }}",
        "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
        "{{ '%4000000000d'|format(1) }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ 'a' | replace('', 'b' * 99999) | replace('b', 'c' * 99999) }}",
    ],
)
def test_a_template_cannot_eat_the_machine(sandbox: Sandbox, text: str) -> None:
    began = time.monotonic()
    with pytest.raises(SandboxFailure):
        render(sandbox, text)
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("text", ["{{ ", "{% for %}", "{{ x|nosuch }}", "{% block %}"])
def test_a_broken_template_is_a_sentence(sandbox: Sandbox, text: str) -> None:
    with pytest.raises(SandboxFailure, match=r"Template|Error"):
        render(sandbox, text)
