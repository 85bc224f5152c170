"""The head of a request, read in one pass: whose it is, how its body comes, and what goes on to the upstream."""

import re
from collections.abc import Iterable
from urllib.parse import quote

from lastgood.errors import InvalidRequest

Fields = list[tuple[bytes, bytes]]

# Fields that concern one connection only (RFC 9110, 7.6.1), and those that the gateway writes anew.
_OWN = frozenset(
    {
        b"authorization",
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
    }
)
_DROPPED_FROM_ANSWERS = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
_KEY = re.compile(rb"[!-+\x2d-~]{1,256}")  # printable, without space and comma
_PLAIN_PATH = re.compile(rb"/v1(/[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9_~!$&'()*+,=:@.-]*)+/?")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_STILL_ESCAPED = re.compile(r"%(2e|2f|5c)", re.IGNORECASE)


class Head:
    """What the gateway takes from a request's head.

    `key` is the app key, None when there is none; `refusal` says why then. `length` is the declared length of the
    body in bytes, None when unknown, and `chunked` whether one comes in chunks. `fields` go on to the upstream."""

    __slots__ = ("chunked", "fields", "key", "length", "refusal")

    def __init__(self, fields: Fields, length: int | None, chunked: bool) -> None:
        self.key: str | None = None
        self.refusal = ""
        self.length = length
        self.chunked = chunked
        self.fields = fields

    @property
    def has_body(self) -> bool:
        """Whether a body follows."""
        return self.chunked or bool(self.length)

    @property
    def content_type(self) -> str:
        """The Content-Type, empty when none or several are given."""
        given = [value for name, value in self.fields if name == b"content-type"]
        return given[0].decode("latin-1") if len(given) == 1 else ""


def read_head(headers: Iterable[tuple[bytes, bytes]], client: str, scheme: str) -> Head:
    """The head of a request whose `headers` are given with lower-case names; `client` is its address.

    Raises `InvalidRequest` for a head that the upstream might read in another way than the gateway."""
    fields: Fields = []
    own: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _OWN:
            own[name] = own[name] + b"," + value if name in own else value
        elif name[:1] != b"x" or not name.replace(b"_", b"-").startswith(b"x-lastgood-"):
            fields.append((name, value))
    chunked = _is_chunked(own)
    head = Head(fields, None if chunked else _length(own), chunked)
    if b"upgrade" in own and head.has_body:
        # The parser takes what follows such a head for another protocol, not for the body that it declares.
        raise InvalidRequest(where="Upgrade", reason="it is not accepted on a request with a body")
    _read_key(head, own)
    if b"connection" in own:
        _drop_named(fields, own[b"connection"])
    chain = own.get(b"x-forwarded-for")
    address = client.encode("ascii")
    fields.append((b"x-forwarded-for", b"%s, %s" % (chain, address) if chain else address))
    fields.append((b"x-forwarded-host", own.get(b"x-forwarded-host") or own.get(b"host", b"")))
    fields.append((b"x-forwarded-proto", own.get(b"x-forwarded-proto") or scheme.encode("ascii")))
    return head


def _is_chunked(own: dict[bytes, bytes]) -> bool:
    coding = own.get(b"transfer-encoding")
    if coding is None:
        return False
    if coding.strip().lower() != b"chunked":
        raise InvalidRequest(where="Transfer-Encoding", reason="only `chunked` is understood")
    return True


def _length(own: dict[bytes, bytes]) -> int | None:
    length = own.get(b"content-length")
    if length is None:
        return None
    if not length.isdigit():
        raise InvalidRequest(where="Content-Length", reason="it is not one number")
    return int(length)


def _read_key(head: Head, own: dict[bytes, bytes]) -> None:
    authorization = own.get(b"authorization")
    if authorization is None:
        head.refusal = "there is no Authorization header"
        return
    scheme, _, key = authorization.partition(b" ")
    key = key.strip()
    if scheme.lower() != b"bearer":
        head.refusal = "the Authorization header must have the scheme Bearer"
    elif not _KEY.fullmatch(key):  # two headers are refused here as well: a comma joins them
        head.refusal = "the Authorization header holds no app key"
    else:
        head.key = key.decode("ascii")
        head.fields.append((b"authorization", b"Bearer " + key))


def _drop_named(fields: Fields, connection: bytes) -> None:
    """Take out the fields that a Connection header names: they were meant for this connection alone."""
    named = _tokens(connection)
    if named:
        fields[:] = [field for field in fields if field[0] not in named]


def _tokens(connection: bytes) -> set[bytes]:
    return {token.strip().lower() for token in connection.split(b",")} - {b"", b"close", b"keep-alive"}


def upstream_target(raw_path: bytes, path: str, query: bytes) -> str:
    """The request target to send on: the path as it came, with its query.

    `path` is `raw_path` decoded. Raises `InvalidRequest` for a path that some upstream might resolve to another one:
    dot segments, encoded slashes, double escapes, empty segments."""
    if not _PLAIN_PATH.fullmatch(raw_path):
        _check_path(raw_path, path)
    target = raw_path.decode("ascii")
    if not query:
        return target
    if not query.isascii():
        return f"{target}?{quote(query, safe=_ASCII)}"
    return f"{target}?{query.decode('ascii')}"


_ASCII = "".join(map(chr, range(0x21, 0x7F)))


def _check_path(raw_path: bytes, path: str) -> None:
    lower = raw_path.lower()
    reason = ""
    if b"\\" in raw_path or b"%2f" in lower or b"%5c" in lower:
        reason = "an encoded slash or a backslash is not accepted"
    elif any(segment.partition(";")[0] in {".", ".."} for segment in path.split("/")):
        reason = "a dot segment is not accepted"
    elif b"//" in raw_path:
        reason = "an empty segment is not accepted"
    elif _BAD_ESCAPE.search(raw_path) or _STILL_ESCAPED.search(path):
        reason = "an escape in it is broken or doubled"
    elif any(ord(c) < 0x20 or ord(c) == 0x7F for c in path):
        reason = "a control character is not accepted"
    if reason:
        raise InvalidRequest(where="path", reason=reason)


def answer_headers(raw: Iterable[tuple[bytes, bytes]], status: int) -> Fields:
    """The headers of an upstream's answer, `raw` with lower-case names, that go on to the client."""
    kept: Fields = []
    connection = b""
    chunked = False
    for name, value in raw:
        if name in _DROPPED_FROM_ANSWERS:
            if name == b"connection":
                connection += b"," + value
            elif name == b"transfer-encoding":
                chunked = True
        elif not name.startswith(b"x-lastgood-"):
            kept.append((name, value))
    # A length beside a coding, or on an answer that has no body, would be taken at its word.
    if chunked or status in {204, 304}:
        kept = [field for field in kept if field[0] != b"content-length"]
    if connection:
        _drop_named(kept, connection)
    return kept
