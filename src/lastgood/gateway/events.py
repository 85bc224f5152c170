"""A stream of server-sent events followed as it goes by, cut anywhere: what each event is and where it ends."""

import re
from typing import Any, Final, NamedTuple

import orjson

LIMIT: Final = 256 * 2**10
_NAMED: Final = re.compile(rb'\{\s*"event"\s*:\s*"([a-z_]{1,40})"')


class Event(NamedTuple):
    """One event. `name` is empty where it has none; `data` is cut short where it is too long to keep (not `whole`);
    `stop` is where it ended in the part that was fed last."""

    name: bytes
    data: bytes
    whole: bool
    stop: int

    def read(self) -> dict[str, Any]:
        """Its data as an object, empty where it is none or was cut short."""
        return _read(self.data) if self.whole else {}


class Scanner:
    """Is fed a stream part by part. `moved` says that the last part brought anything but pings. At most
    `limit` bytes of an event are kept."""

    __slots__ = ("_begun", "_data", "_held", "_kind", "_limit", "_long", "_size", "moved")

    def __init__(self, limit: int = LIMIT) -> None:
        self.moved = False
        self._begun = False
        self._limit = limit
        self._held = bytearray()
        self._long = False
        self._kind = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, part: bytes) -> list[Event]:
        """The events that end in `part`, in their order."""
        events = []
        at = 0
        self.moved = False
        while (end := part.find(b"\n", at)) >= 0:
            self._hold(part[at:end])
            at = end + 1
            line = bytes(self._held).removesuffix(b"\r")
            self._held.clear()
            if line:
                self._field(line)
            elif self._begun:
                events.append(self._ended(at))
        if at < len(part):
            self._hold(part[at:])
        self.moved = self.moved or self._held.startswith(b"data:")
        return events

    @property
    def open(self) -> bool:
        """Whether something has begun and not ended."""
        return self._begun or bytes(self._held) not in {b"", b"\r"}

    def _hold(self, piece: bytes) -> None:
        room = self._limit - len(self._held)
        if len(piece) > room:
            self._long = True
            piece = piece[: max(room, 0)]
        self._held += piece

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if not name:
            return  # a comment
        self._begun = True
        value = value.removeprefix(b" ")
        if name == b"event":
            self._kind = value
        elif name == b"data":
            self._size += len(value)
            if self._size > self._limit:
                self._long = True
            else:
                self._data.append(value)

    def _ended(self, stop: int) -> Event:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        event = Event(_name(self._kind, data, not self._long), data, not self._long, stop)
        self._kind, self._data, self._size = b"", [], 0
        self._long = self._begun = False
        self.moved = self.moved or event.name != b"ping"
        return event


def _name(kind: bytes, data: bytes, whole: bool) -> bytes:
    """Dify names an event in its data, at the very beginning; a name further inside may be a value's."""
    if kind and not data:
        return kind
    first = _NAMED.match(data)
    if first is not None:
        return first[1]
    if whole and b'"event"' in data:
        name = _read(data).get("event")
        return name.encode() if isinstance(name, str) else kind
    return kind


def _read(text: bytes) -> dict[str, Any]:
    try:
        read = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return read if isinstance(read, dict) else {}
