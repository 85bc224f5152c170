"""What a process may no longer do once `confine` ran in it: see files outside a few folders (Landlock), start
programs or processes, signal or trace others, or open Unix sockets (seccomp). Linux; without root.

Where the kernel has one of them not, the other still holds, and `available` says which are there. TCP stays
open: code nodes call services."""

import ctypes
import os
import platform
import resource
import struct
from collections.abc import Iterable
from contextlib import suppress

_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446
_LANDLOCK_VERSION_FLAG = 1
_RULE_PATH_BENEATH = 1

# Landlock's rights, one bit each; a file takes only those of _FILE_RIGHTS.
_READ = 1 << 2 | 1 << 3
_EXECUTE = 1 << 0
_FILE_RIGHTS = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15
_RIGHTS_OF_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_RIGHTS_NEWEST = (1 << 16) - 1
_SCOPES = 1 << 0 | 1 << 1  # abstract Unix sockets, signals

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_COLUMN = {"x86_64": 0, "aarch64": 1}
# (x86_64, aarch64); -1 where the call does not exist.
_FORBIDDEN = {
    "fork": (57, -1),
    "vfork": (58, -1),
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "prlimit64": (302, 261),
}
_CLONE, _CLONE3, _SOCKET = (56, 220), (435, 435), (41, 198)
_CLONE_THREAD = 0x10000
_AF_UNIX = 1
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EPERM, _ENOSYS = 1, 38


def hide() -> None:
    """Keep this process's memory and environment from other processes of its user (root excepted)."""
    if os.uname().sysname == "Linux":
        _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def available() -> tuple[str, ...]:
    """Which of ``landlock`` and ``seccomp`` this kernel and machine offer."""
    found = ["landlock"] if _landlock_abi() > 0 else []
    if os.uname().sysname == "Linux" and platform.machine() in _AUDIT_ARCH:
        found.append("seccomp")
    return tuple(found)


def confine(*, cpu: int, memory: int, file_bytes: int, readable: Iterable[str], writable: Iterable[str]) -> None:
    """Bind this process for good: `cpu` seconds, `memory` bytes of address space, `file_bytes` per file written,
    files only beneath `readable` and `writable`. No new processes: by seccomp, else by the process limit."""
    for limit, value in (
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    linux = os.uname().sysname == "Linux"
    if linux:
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _landlock(readable, writable)
    if not (linux and _seccomp()):
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def _landlock_abi() -> int:
    if os.uname().sysname != "Linux":
        return 0
    return int(_libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_VERSION_FLAG))


def _landlock(readable: Iterable[str], writable: Iterable[str]) -> None:
    abi = _landlock_abi()
    if abi <= 0:
        return
    rights = _RIGHTS_OF_ABI.get(abi, _RIGHTS_NEWEST)
    attributes = struct.pack("=QQQ", rights, 0, _SCOPES if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = int(_libc.syscall(_LANDLOCK_CREATE_RULESET, attributes[:size], size, 0))
    if ruleset < 0:
        return
    for paths, wanted in ((readable, _READ | _EXECUTE), (writable, rights)):
        for path in paths:
            _permit(ruleset, path, wanted & rights)
    _libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _permit(ruleset: int, path: str, rights: int) -> None:
    try:
        folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not os.path.isdir(path):  # noqa: PTH112 - runs once per job, and pathlib costs more than the check
        rights &= _FILE_RIGHTS
    rule = struct.pack("=Qi", rights, folder)
    _libc.syscall(_LANDLOCK_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0)
    os.close(folder)


def _seccomp() -> bool:
    program = _filter()
    if not program:
        return False
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    # A kernel without seccomp says so here, and the caller falls back.
    return int(_libc.prctl(_PR_SET_SECCOMP, 2, header, 0, 0)) == 0


def _filter() -> bytes:
    """The seccomp program (classic BPF): a list of (code, jump if true, jump if false, value)."""
    machine = platform.machine()
    if os.uname().sysname != "Linux" or machine not in _AUDIT_ARCH:
        return b""
    column = _COLUMN[machine]
    load, equal, at_least, bits, answer = 0x20, 0x15, 0x35, 0x45, 0x06
    number, arch, argument = 0, 4, 16
    steps: list[tuple[int, int, int, int]] = [
        (load, 0, 0, arch),
        (equal, 1, 0, _AUDIT_ARCH[machine]),
        (answer, 0, 0, _ERRNO | _EPERM),
        (load, 0, 0, number),
        (at_least, 0, 1, 0x40000000),  # x86-64's second table of the same calls
        (answer, 0, 0, _ERRNO | _EPERM),
    ]
    for numbers in _FORBIDDEN.values():
        if numbers[column] >= 0:
            steps += [(equal, 0, 1, numbers[column]), (answer, 0, 0, _ERRNO | _EPERM)]
    steps += [
        # The C library falls back from clone3 to clone, whose flags can be read here: threads yes, processes no.
        (equal, 0, 1, _CLONE3[column]),
        (answer, 0, 0, _ERRNO | _ENOSYS),
        (equal, 0, 3, _CLONE[column]),
        (load, 0, 0, argument),
        (bits, 4, 0, _CLONE_THREAD),
        (answer, 0, 0, _ERRNO | _EPERM),
        (equal, 0, 2, _SOCKET[column]),
        (load, 0, 0, argument),
        (equal, 1, 0, _AF_UNIX),
        (answer, 0, 0, _ALLOW),
        (answer, 0, 0, _ERRNO | _EPERM),
    ]
    return b"".join(struct.pack("HBBI", *step) for step in steps)
