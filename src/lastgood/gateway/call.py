"""What the request path notes of a run: references to what passes anyway, and two readings of the clock."""

import time
from collections.abc import Sequence
from typing import Final

from lastgood.gateway.ending import Ending
from lastgood.history.routes import Route

LIMIT: Final = 256 * 2**10

Fields = Sequence[tuple[bytes, bytes]]


class Call:
    """One run as the request path sees it. `body` and `answer` are None where they were too large to keep; `own` is
    the version that the client named itself; `status` is 0 while no answer has begun; `streamed` says that the
    upstream streamed what the client got in one piece."""

    __slots__ = (
        "answer",
        "began",
        "body",
        "broken",
        "ended",
        "ending",
        "fields",
        "own",
        "route",
        "status",
        "streamed",
        "whole",
    )

    def __init__(self, route: Route, fields: Fields, body: bytes) -> None:
        self.route = route
        self.fields = fields
        self.body = body if len(body) <= LIMIT else None
        self.own: str | None = None
        self.status = 0
        self.answer: bytes | None = b""
        self.ending: Ending | None = None
        self.broken = False
        self.streamed = False
        self.whole = False
        self.began = time.perf_counter()
        self.ended = 0.0

    def answered(self, headers: Fields) -> None:
        """An upstream's answer begins, with lower-case names of its `headers`."""
        for name, value in headers:
            if name == b"content-type":
                if value.startswith(b"text/event-stream"):
                    self.ending = Ending(LIMIT)
                return

    def heard(self, part: bytes) -> None:
        """A part of the answer's body."""
        if self.ending is not None:
            self.ending.feed(part)
        elif not self.answer:
            if self.answer is not None:
                self.answer = part if len(part) <= LIMIT else None
        elif part:
            self.answer = self.answer + part if len(self.answer) + len(part) <= LIMIT else None

    @property
    def weight(self) -> int:
        """About how many bytes it keeps."""
        streamed = sum(map(len, self.ending.lines.values())) if self.ending is not None else 0
        return len(self.body or b"") + len(self.answer or b"") + streamed
