"""The management API as the command line uses it: over HTTP where a server is named or runs here, else in this
process on the local data directory. Both are one `Client`; only its transport differs."""

import fcntl
import getpass
import json
import os
import ssl
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from lastgood.errors import InvalidSetting, NotFound, ServerRefused, ServerUnreachable, ServerWaits, Unavailable

# httpx loads its own command line with it, and that rich, click and pygments: two thirds of its import time.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None: not to be had
import httpx  # noqa: E402 - only now, see above

if TYPE_CHECKING:
    from lastgood.settings import Settings

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 600.0  # a publish answers after its smoke requests
_MOST_PER_PAGE = 500
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(slots=True)
class Given:
    """What the flags say of the server; None where no flag was given."""

    server: str | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """Where commands go: a server's URL (empty: none is named) and token, and the data directory."""

    server: str
    token: str
    home: Path


class Client:
    """The API. Every method raises `ServerRefused` with the server's sentence, and `ServerUnreachable`.

    `url` is empty in process; `settings` are those of the local data directory then, else None."""

    def __init__(self, http: httpx.Client, url: str = "", settings: "Settings | None" = None) -> None:
        self._http = http
        self.url = url
        self.settings = settings

    def get(self, *path: str, **query: Any) -> Any:
        """The JSON answer of ``GET /v1/…``; parts of `path` are quoted, queries that are None left out."""
        return self._ask("GET", path, query).json()

    def post(
        self,
        *path: str,
        body: dict[str, Any] | None = None,
        expected: int | None = None,
        params: dict[str, Any] | None = None,
    ) -> Any:
        """The JSON answer of ``POST /v1/…``. `expected` is the generation that a move asks for."""
        headers = {} if expected is None else {"If-Match": f'"{expected}"'}
        sent = {name: value for name, value in (body or {}).items() if value is not None}
        return self._ask("POST", path, params or {}, json=sent, headers=headers).json()

    def delete(self, *path: str, **query: Any) -> None:
        """``DELETE /v1/…``."""
        self._ask("DELETE", path, query)

    def file(self, *path: str, **query: Any) -> bytes:
        """The bytes of ``GET /v1/…``, as the server sent them."""
        return self._ask("GET", path, query).content

    def lines(self, *path: str, **query: Any) -> Iterator[str]:
        """The lines of an answer that goes on, as they come. Only a newline ends one: JSON may hold what else Unicode
        calls a line end."""
        params = _params(query)
        try:
            with self._http.stream(
                "GET", "/v1/" + "/".join(map(_segment, path)), params=params, timeout=None
            ) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _refusal(answer, self.url)
                rest = b""
                for part in answer.iter_bytes():
                    *whole, rest = (rest + part).split(b"\n")
                    yield from (line.decode() for line in whole)
        except httpx.TransportError as error:
            raise ServerUnreachable(url=self.url, reason=reason_of(error)) from error

    def items(self, *path: str, limit: int | None = None, **query: Any) -> list[dict[str, Any]]:
        """The items of a list, at most `limit` of them (None: the server's own page), over as many pages as it
        takes."""
        found: list[dict[str, Any]] = []
        before = None
        while True:
            ask = None if limit is None else min(limit - len(found), _MOST_PER_PAGE)
            page = self.get(*path, limit=ask, before=before, **query)
            found += page["items"]
            before = page["next"]
            if before is None or limit is None or len(found) >= limit or not page["items"]:
                return found

    def _ask(self, method: str, path: tuple[str, ...], query: dict[str, Any], **more: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, "/v1/" + "/".join(map(_segment, path)), params=_params(query), **more)
        except httpx.TransportError as error:
            reason = reason_of(error)
            if method != "GET" and not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                reason += "; whether it was done, `lastgood changes` says"
            raise ServerUnreachable(url=self.url, reason=reason) from error
        if answer.is_success:
            return answer
        raise _refusal(answer, self.url)


def is_served(given: Given) -> bool:
    """Whether `given` and the settings lead to a server: one that is named, or one that runs here."""
    address = address_of(given)
    return bool(address.server) or server_notice(address.home) is not None


@contextmanager
def connect(given: Given, *, answer_seconds: float = _ANSWER_SECONDS) -> Iterator[Client]:
    """The API that `given` and the settings lead to. Raises `InvalidSetting`, and what opening the store does."""
    address = address_of(given)
    notice = None if address.server else server_notice(address.home)
    if address.server:
        url, token, certificate = address.server, address.token, ""
    elif notice:
        url, token, certificate = str(notice["api"]), str(notice["token"]), str(notice.get("certificate", ""))
    else:
        from lastgood.cli.local import local_client

        with local_client(actor()) as client:
            yield client
        return
    with _http(url, token, answer_seconds, certificate) as http:
        yield Client(http, url)


def address_of(given: Given) -> Address:
    """Where commands go: flags, then ``LASTGOOD_*`` variables, then ``lastgood.toml``.

    The same answer as `settings.load` gives, without pydantic-settings, for which a remote command has no other use
    and which would make its start a third longer. Raises `InvalidSetting`."""
    home = Path(os.environ.get("LASTGOOD_HOME") or Path.home() / ".lastgood")
    try:
        file = tomllib.loads((home / "lastgood.toml").read_text(encoding="utf-8"))
    except OSError:
        file = {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSetting(name="lastgood.toml", value="", reason=str(error)) from None

    def choose(flag: str | None, name: str) -> str:
        if flag is not None:
            return flag
        return str(os.environ.get(f"LASTGOOD_{name.upper()}", file.get(name, "")))

    return Address(_checked(choose(given.server, "server")), choose(given.token, "token"), home)


def server_notice(home: Path) -> dict[str, Any] | None:
    """What the server that runs on the data directory `home` says of itself (``pid``, ``api``, ``gateway``,
    ``token``, …); None when none runs, whatever files a dead one left."""
    try:
        notice = json.loads((home / "server.json").read_text(encoding="utf-8"))
        if not _lives(int(notice["pid"])):
            return None
        with (home / "server.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return dict(notice)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return None  # the lock was free: its owner has died


def is_loopback(url: str) -> bool:
    """Whether `url` names this machine."""
    return urlsplit(url).hostname in _LOOPBACK


def reason_of(error: httpx.TransportError) -> str:
    """Why a server was not reached, in a few words."""
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "its certificate is not trusted here; the variable SSL_CERT_FILE may name those to trust"
    text = str(error).removeprefix("[Errno 111] ")
    return text[:1].lower() + text[1:] or type(error).__name__


def actor() -> str:
    """The name of the person at this machine, as a header can carry it."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user id that no name belongs to
        name = f"uid{os.getuid()}"
    return "".join(c if c.isprintable() else "?" for c in name.encode("ascii", "replace").decode())


def _params(query: dict[str, Any]) -> dict[str, str | list[str]]:
    """A query as it is sent; a list is a parameter that comes again and again."""
    return {
        name: [str(one) for one in value] if isinstance(value, list) else str(value)
        for name, value in query.items()
        if value is not None
    }


def _checked(server: str) -> str:
    """`server` as a base URL, ``http://`` added to a bare address. Raises `InvalidSetting`."""
    if not server:
        return ""
    url = (server if "://" in server else f"http://{server}").rstrip("/")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and bool(httpx.URL(url))
    except (ValueError, httpx.InvalidURL):
        good = False
    if not good:
        raise InvalidSetting(name="server", value=server, reason="it is not an address such as http://127.0.0.1:8321")
    return url


def _trusted(url: str, certificate: str) -> ssl.SSLContext:
    """Trust in the very certificate in the file `certificate`, whatever name it was made out to; without one, in
    those of the file SSL_CERT_FILE, else in the usual ones, on this machine too. Raises `InvalidSetting`."""
    if not certificate and url.startswith("https:"):
        try:
            return httpx.create_ssl_context()
        except OSError as error:
            why = "none in PEM is there" if isinstance(error, ssl.SSLError) else error.strerror
            file, reason = os.environ.get("SSL_CERT_FILE", ""), f"it cannot be read as certificates ({why})"
            raise InvalidSetting(name="SSL_CERT_FILE", value=file, reason=reason) from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # where nothing is asked by TLS, none is loaded: it takes 30 ms
    if certificate:
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(certificate)
    return context


def _http(url: str, token: str, seconds: float, certificate: str = "") -> httpx.Client:
    def show_token(request: httpx.Request) -> httpx.Request:
        # As `auth`, so that no .netrc entry for the host takes its place.
        if token:
            request.headers["Authorization"] = f"Bearer {token}"
        return request

    return httpx.Client(
        base_url=url,
        auth=show_token,
        headers={"X-Lastgood-Actor": actor()},
        timeout=httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS)),
        trust_env=not is_loopback(url),
        verify=_trusted(url, certificate),
    )


def _segment(part: str) -> str:
    if part in ("", ".", "..") or "/" in part:
        raise NotFound(detail=f"{part!r} is the name of nothing.")
    return quote(part, safe="")


def _refusal(answer: httpx.Response, url: str) -> ServerRefused | Unavailable:
    try:
        problem = answer.json()
        detail, code = problem["detail"], str(problem["type"]).rpartition(":")[2]
    except (ValueError, KeyError, TypeError):
        where = url or "The local store"
        return Unavailable(
            detail=f"{where} answered {answer.status_code} with something that is not Lastgood's API. Check "
            "LASTGOOD_SERVER."
        )
    if answer.status_code == 401:
        detail += " The command line takes it from LASTGOOD_TOKEN or --token."
    refused = ServerWaits if code == "approval-needed" else ServerRefused
    return refused(detail=detail, problem=code, status=answer.status_code)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return pid > 0  # 0 and less mean groups of processes
