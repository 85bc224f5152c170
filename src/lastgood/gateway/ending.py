"""How a streamed answer ends: the event that says so, found as the stream goes by and without keeping the rest."""

import re
from typing import Final

_SIGN: Final = re.compile(rb'"event":\s*"(workflow_finished|message_end|error)"')


class Ending:
    """Is fed a stream of server-sent events as it comes. `lines` are the last lines that look like an event which
    ends a run, by its name; `missed` says that a line was longer than `limit` bytes and not looked at."""

    __slots__ = ("_held", "_limit", "_skipping", "lines", "missed")

    def __init__(self, limit: int) -> None:
        self.lines: dict[bytes, bytes] = {}
        self.missed = False
        self._limit = limit
        self._held = bytearray()
        self._skipping = False

    def feed(self, part: bytes) -> None:
        """The next bytes of the stream, cut anywhere."""
        end = part.rfind(b"\n")
        if end < 0:
            self._hold(part)
            return
        whole = part[:end]
        if self._skipping:
            self._skipping = False
            whole = whole[part.index(b"\n") + 1 :]
        elif self._held:
            whole = bytes(self._held) + whole
            self._held.clear()
        self._look(whole)
        if end + 1 < len(part):
            self._hold(part[end + 1 :])

    def _hold(self, part: bytes) -> None:
        """Keep the beginning of a line."""
        if self._skipping:
            return
        self._held += part
        if len(self._held) > self._limit:
            self._held.clear()
            self._skipping = self.missed = True

    def _look(self, lines: bytes) -> None:
        for sign in _SIGN.finditer(lines):
            start = lines.rfind(b"\n", 0, sign.start()) + 1
            stop = lines.find(b"\n", sign.end())
            line = lines[start : stop if stop >= 0 else len(lines)]
            if len(line) > self._limit:
                self.missed = True
            else:
                self.lines[sign[1]] = line
