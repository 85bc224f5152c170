"""Running a declared command for what it prints."""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from lastgood.release.commands import inherited

_MOST = 2**20


def output_of(command: Sequence[str], seconds: float, *, input: str = "") -> str:
    """What `command` prints on standard output, given `input`; all that it started ends with it.

    Raises `subprocess.TimeoutExpired` after `seconds`, `subprocess.CalledProcessError` and `OSError`."""
    with subprocess.Popen(  # noqa: S603 - the words are the administrator's, and no shell reads them
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=inherited(),
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(input.encode(), timeout=seconds)
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command[0])
    return said[:_MOST].decode("utf-8", "replace")
