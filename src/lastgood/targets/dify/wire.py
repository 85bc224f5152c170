"""HTTP to one Dify server: one call and its answer, within limits of time, size, rate and concurrency.

It follows no redirection, keeps no cookies, takes no proxy or password from the environment, and tells nothing
secret: what httpx says of a failure may quote what was sent, so its words are not passed on."""

import json
import logging
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import PackageNotFoundError, version
from time import monotonic, sleep
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

from lastgood.errors import DifyElsewhere, DifyError, DifyTimeout, DifyUnreachable, DifyUnreadable, InvalidSetting
from lastgood.targets.dify import deadline

Done = Literal["no", "unknown"]

_OUTCOME: Mapping[Done, str] = {
    "no": "Nothing was changed there.",
    "unknown": "Whether it was done there is not known: look before it is asked again.",
}
_OWN_PATHS = ("/console/api", "/v1", "/openapi/v1", "/apps")
_CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Limits:
    """How a Dify server is treated. A default Dify serves ten connections at once, and every call that hangs holds
    one for up to five minutes; hence four at a time, and no more than twenty calls begun in a second."""

    concurrency: int = 4
    per_second: float = 20.0
    connect_seconds: float = 5.0
    whole_seconds: float = 60.0
    """For a whole exchange, however slowly the server talks."""
    most_bytes: int = 64 * 1024 * 1024
    """Of one answer, unpacked: a page of 100 versions holds 100 whole graphs."""
    tries: int = 3
    """Of a call that changes nothing; one that does is sent again only where it surely was not done."""
    longest_wait: float = 30.0
    """Seconds that a `Retry-After` may ask for; more is told instead of waited for."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `what` completes "Dify failed when asked to …"; `path` is below the server's address."""

    method: str
    path: str
    what: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    json: Any = field(default=None, repr=False)
    writes: bool = False
    seconds: float | None = None
    """For the whole exchange, where not `Limits.whole_seconds`."""
    idle_seconds: float | None = None
    """Most seconds without a byte, where the exchange may take longer."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: status, headers and the whole body."""

    status: int
    headers: httpx.Headers = field(repr=False)
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """The body as JSON, numbers exactly as they stand. Raises `ValueError`."""
        try:
            return json.loads(self.body, parse_constant=_no_number)
        except RecursionError:
            raise ValueError("nested too deeply") from None


@dataclass(frozen=True, slots=True)
class Clock:
    """Time, so that tests need not wait."""

    now: Callable[[], float] = monotonic
    sleep: Callable[[float], None] = sleep


def address(url: str) -> str:
    """`url` as a server's address: scheme, host, port and a path before Dify's own, without an ending ``/``.

    Raises `InvalidSetting`; a user or password in it is refused, and not told."""
    try:
        parts = urlsplit(url.strip())
        _ = parts.port
    except ValueError:
        raise InvalidSetting(name="Dify's address", value="…", reason="it cannot be read as a URL") from None
    told = f"{parts.scheme}://{parts.hostname or ''}"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidSetting(name="Dify's address", value=told, reason="write it like https://dify.example")
    if "@" in parts.netloc:
        raise InvalidSetting(name="Dify's address", value=told, reason="leave the user and password out of it")
    path = parts.path.rstrip("/")
    for own in _OWN_PATHS:
        path = path.removesuffix(own)
    return f"{parts.scheme}://{parts.netloc}{path}"


class Wire:
    """HTTP to the server at `url`, for any number of threads."""

    def __init__(
        self, url: str, limits: Limits | None = None, *, ca_file: str | None = None, clock: Clock | None = None
    ) -> None:
        """`ca_file` names certificates to trust instead of the usual ones. Raises `InvalidSetting`."""
        self.url = address(url)
        self.limits = limits or Limits()
        self.clock = clock or Clock()
        self._ca_file = ca_file
        self._http = httpx.Client(
            transport=deadline.transport(verify=_trust(ca_file), connections=self.limits.concurrency),
            base_url=self.url,
            timeout=httpx.Timeout(self.limits.whole_seconds, connect=self.limits.connect_seconds),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # none are kept: `signin` does
            follow_redirects=False,
            trust_env=False,
            headers={"User-Agent": f"lastgood/{_version()}", "Accept": "application/json"},
        )
        self._room = threading.BoundedSemaphore(self.limits.concurrency)
        self._pace = threading.Lock()
        self._next = 0.0

    def beside(self, url: str) -> "Wire":
        """Another server, treated the same way. Raises `InvalidSetting`."""
        return Wire(url, self.limits, ca_file=self._ca_file, clock=self.clock)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, call: Call, headers: Mapping[str, str] | None = None) -> Reply:
        """Send `call` once and read its whole answer, of whatever status below 300 and from 400 on.

        Raises `DifyUnreachable`, `DifyTimeout`, `DifyElsewhere`, `DifyUnreadable` (too large); their data hold
        ``done``: ``no`` where the call surely changed nothing, else ``unknown``."""
        with self._exchange(call, headers, call.seconds or self.limits.whole_seconds) as answer:
            body = bytearray()
            for chunk in answer.iter_bytes(_CHUNK):
                body += chunk
                if len(body) > self.limits.most_bytes:
                    raise self.unreadable(call, f"it is larger than {self.limits.most_bytes} bytes")
            return Reply(answer.status_code, answer.headers, bytes(body))

    @contextmanager
    def stream(self, call: Call, headers: Mapping[str, str] | None = None) -> Iterator[tuple[Reply, Iterator[str]]]:
        """Send `call` and give its answer line by line. The reply's body is read where the status is an error."""
        with self._exchange(call, headers, call.seconds or self.limits.whole_seconds) as answer:
            failed = answer.status_code >= 400
            body = answer.read()[: self.limits.most_bytes] if failed else b""
            yield Reply(answer.status_code, answer.headers, body), iter(()) if failed else answer.iter_lines()

    def unreadable(self, call: Call, reason: str) -> DifyUnreadable:
        """The error for an answer to `call` that is not what Dify sends."""
        done: Done = "unknown" if call.writes else "no"
        return DifyUnreadable(server=self.url, what=call.what, reason=reason, outcome=_OUTCOME[done], done=done)

    @contextmanager
    def _exchange(self, call: Call, headers: Mapping[str, str] | None, seconds: float) -> Iterator[httpx.Response]:
        maybe: Done = "unknown" if call.writes else "no"
        idle = min(seconds, call.idle_seconds or seconds)
        kind = {} if call.json is None else {"Content-Type": "application/json"}
        with self._room:
            self._wait_turn()
            try:
                request = self._http.build_request(
                    call.method,
                    call.path,
                    params=dict(call.params) or None,
                    content=None if call.json is None else json.dumps(call.json).encode(),
                    headers={**kind, **(headers or {})},
                    timeout=httpx.Timeout(idle, connect=min(idle, self.limits.connect_seconds)),
                )
                with deadline.within(seconds):
                    answer = self._http.send(request, stream=True)
                    try:
                        if 300 <= answer.status_code < 400:
                            raise self._elsewhere(call, answer)
                        yield answer
                    finally:
                        answer.close()
            except DifyError:
                raise
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                raise self._unreachable(call, _reason(error), "no") from None
            except httpx.TimeoutException:
                data = {"server": self.url, "what": call.what, "seconds": seconds}
                raise DifyTimeout(**data, reason="timeout", outcome=_OUTCOME[maybe], done=maybe) from None
            except httpx.DecodingError:
                raise self.unreadable(call, "it cannot be unpacked") from None
            except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
                raise self._unreachable(call, _reason(error), maybe) from None

    def _wait_turn(self) -> None:
        with self._pace:
            now = self.clock.now()
            turn = max(now, self._next)
            self._next = turn + 1 / self.limits.per_second
        if turn > now:
            self.clock.sleep(turn - now)

    def _unreachable(self, call: Call, reason: str, done: Done) -> DifyUnreachable:
        return DifyUnreachable(server=self.url, what=call.what, reason=reason, outcome=_OUTCOME[done], done=done)

    def _elsewhere(self, call: Call, answer: httpx.Response) -> DifyElsewhere:
        try:
            target = answer.request.url.join(answer.headers.get("Location", ""))
            location = f"{target.scheme}://{target.netloc.decode()}" if target.host else "nowhere"
        except (httpx.InvalidURL, ValueError):
            location = "an address that cannot be read"
        return DifyElsewhere(server=self.url, what=call.what, location=location.rpartition("@")[2], done="no")


def outcome(call: Call) -> dict[str, str]:
    """``outcome`` and ``done`` of a `call` that may or may not have been done."""
    done: Done = "unknown" if call.writes else "no"
    return {"outcome": _OUTCOME[done], "done": done}


def _reason(error: BaseException) -> str:
    """Why a connection failed, in words that quote nothing that was sent."""
    chain: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and len(chain) < 8:
        chain.append(seen)
        seen = seen.__cause__ or seen.__context__
    for one in chain:
        if isinstance(one, ssl.SSLCertVerificationError):
            return f"its TLS certificate is not accepted: {one.verify_message}"
        if isinstance(one, ssl.SSLError):
            return f"TLS failed: {one.reason or 'no common ground'}"
    for one in chain:
        if isinstance(one, ConnectionRefusedError):
            return "the connection is refused"
        if isinstance(one, OSError) and one.strerror:
            return one.strerror
    names = {
        httpx.ConnectTimeout: "it cannot be connected to in time",
        httpx.ConnectError: "it cannot be connected to",
        httpx.PoolTimeout: "too many calls are under way",
        httpx.RemoteProtocolError: "it closed the connection or broke HTTP",
    }
    return next((words for kind, words in names.items() if isinstance(error, kind)), type(error).__name__)


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


@cache
def _trust(ca_file: str | None) -> ssl.SSLContext:
    # Made once: reading the certificates takes longer than most calls.
    if ca_file is None:
        return httpx.create_ssl_context(trust_env=False)
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError):
        reason = "it cannot be read as certificates (PEM)"
        raise InvalidSetting(name="the file of certificates", value=ca_file, reason=reason) from None


def _version() -> str:
    try:
        return version("lastgood")
    except PackageNotFoundError:
        return "0"


class _NoHeaders(logging.Filter):
    """Drops what httpcore logs of an answer's headers when debugging: they hold the session's cookies."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "receive_response_headers" not in str(record.msg)


for _name in ("httpcore.http11", "httpcore.http2"):
    logging.getLogger(_name).addFilter(_NoHeaders())
