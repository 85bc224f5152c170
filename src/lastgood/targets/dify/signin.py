"""The ways into a Dify server, and the sessions they open.

- `Password`: a console account. Cookies and a CSRF header; a refresh changes all three tokens and kills the old
  refresh token, so one thread does it for all. Servers up to 1.9 answer with tokens in the body instead.
- `AdminKey`: ``ADMIN_API_KEY`` with ``X-WORKSPACE-ID`` on a self-hosted server; acts as the workspace's owner.
- `Bearer`: a token of ``/openapi/v1`` (newer servers, switched on there). The console refuses it.

A way that is refused is never tried again by the same session: Dify locks an account for a day after six wrong
passwords. Expiry is learnt from the server's 401 alone, never from a clock."""

import base64
import binascii
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from lastgood.errors import DifySignInRefused, InvalidSetting
from lastgood.targets.dify.refusal import NOT_SET_UP, refusal, saying
from lastgood.targets.dify.wire import Call, Reply

Form = Literal["auto", "base64", "plain"]
Send = Callable[[Call, Mapping[str, str]], Reply]

# Passwords travel in base64 since a change between these two releases.
_LAST_PLAIN = (1, 11, 1)
_FIRST_BASE64 = (1, 11, 4)
_NAMES = ("access_token", "refresh_token", "csrf_token")
_WRONG_FORM = "invalid encrypted data"
_LOCKED = "email_code_login_limit"


@dataclass(frozen=True, slots=True)
class Password:
    """A console account. `form` is how the password travels; ``auto`` asks the server's version and its answer."""

    email: str
    password: str = field(repr=False)
    form: Form = "auto"


@dataclass(frozen=True, slots=True)
class AdminKey:
    """The server's ``ADMIN_API_KEY`` (with ``ADMIN_API_KEY_ENABLE=true``) and the id of the workspace to act in."""

    key: str = field(repr=False)
    workspace_id: str = ""


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token of ``/openapi/v1``."""

    token: str = field(repr=False)


Way = Password | AdminKey | Bearer


@dataclass(frozen=True, slots=True)
class Pass:
    """What one call shows. `token` tells passes apart, so that only the thread whose pass is stale renews it."""

    headers: Mapping[str, str] = field(repr=False)
    token: object = field(default=None, repr=False)


class Session(Protocol):
    """An open way in."""

    def show(self) -> Pass:
        """What to send now; may sign in. Raises `DifySignInRefused` and what a call raises."""

    def renew(self, refused: Pass) -> bool:
        """After the server refused `refused` with 401: whether there is another pass to try, once."""

    def lost(self, refused: Pass, said: str) -> DifySignInRefused:
        """The error when no pass is left: kept, and raised by every later `show`."""

    def secrets(self) -> tuple[str, ...]:
        """What may be told nowhere."""


def open_session(way: Way, server: str, send: Send) -> Session:
    """The session of `way` on `server`; `send` sends one call with headers. Nothing is sent yet. Raises
    `InvalidSetting` where the way cannot be used."""
    match way:
        case Password():
            _need(email=way.email, password=way.password)
            return PasswordSession(way, server, send)
        case AdminKey():
            _need(**{"admin key": way.key, "workspace id": way.workspace_id})
            headers = {"Authorization": f"Bearer {way.key}", "X-WORKSPACE-ID": way.workspace_id}
            return KeySession(headers, (way.key,), "admin key and workspace", server)
        case Bearer():
            _need(token=way.token)
            return KeySession({"Authorization": f"Bearer {way.token}"}, (way.token,), "token", server)


class KeySession:
    """A way that is one unchanging header."""

    def __init__(self, headers: Mapping[str, str], secrets: tuple[str, ...], way: str, server: str) -> None:
        for value in headers.values():
            if not (value.isascii() and value.isprintable()):
                reason = "it holds a line break or another character that cannot be sent"
                raise InvalidSetting(name=f"the {way} of Dify", value="…", reason=reason)
        self._pass = Pass(headers)
        self._secrets = secrets
        self._way = way
        self._server = server
        self._lost: DifySignInRefused | None = None

    def show(self) -> Pass:
        """The header."""
        if self._lost is not None:
            raise self._lost
        return self._pass

    def renew(self, refused: Pass) -> bool:
        """Never: a key that is refused stays refused."""
        return False

    def lost(self, refused: Pass, said: str) -> DifySignInRefused:
        """See `Session.lost`."""
        self._lost = DifySignInRefused(server=self._server, way=self._way, said=said)
        return self._lost

    def secrets(self) -> tuple[str, ...]:
        """The key."""
        return self._secrets


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a sign-in or refresh gave: values by the name they came under (``__Host-`` included, where it was)."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    csrf: str = field(repr=False)
    cookie: str = field(repr=False)
    """The `Cookie` header; empty for servers that gave tokens in the body."""

    def headers(self) -> dict[str, str]:
        """What a call sends."""
        if not self.cookie:
            return {"Authorization": f"Bearer {self.access}"}
        return {"Cookie": self.cookie, "X-CSRF-Token": self.csrf}


class PasswordSession:
    """A console account's session, shared by any number of threads; it signs in at its first call."""

    def __init__(self, way: Password, server: str, send: Send) -> None:
        self._way = way
        self._server = server
        self._send = send
        self._lock = threading.Lock()
        self._tokens: Tokens | None = None
        self._lost: DifySignInRefused | None = None
        self._known: set[str] = {way.password, base64.b64encode(way.password.encode()).decode()}

    def show(self) -> Pass:
        """The session's headers; signs in where nobody has yet."""
        with self._lock:
            if self._lost is not None:
                raise self._lost
            if self._tokens is None:
                self._keep(self._sign_in())
            assert self._tokens is not None  # noqa: S101 - `_keep` set it or raised
            return Pass(self._tokens.headers(), self._tokens)

    def renew(self, refused: Pass) -> bool:
        """Refresh, or where the refresh token is dead too, sign in anew: once, by the first thread that comes with
        the stale pass; the others find it done."""
        with self._lock:
            if self._lost is not None:
                raise self._lost
            if self._tokens is not None and self._tokens is refused.token:
                self._keep(self._refresh(self._tokens) or self._sign_in())
            return True

    def lost(self, refused: Pass, said: str) -> DifySignInRefused:
        """See `Session.lost`. A pass that another thread has replaced meanwhile loses nothing but its own call."""
        with self._lock:
            error = DifySignInRefused(server=self._server, way="session of this account", said=said)
            if self._tokens is refused.token:
                self._lost = error
            return error

    def secrets(self) -> tuple[str, ...]:
        """The password in both forms, and every token that was given."""
        return tuple(self._known)

    def _keep(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._known |= {value for value in (tokens.access, tokens.refresh, tokens.csrf) if value}

    def _refresh(self, old: Tokens) -> Tokens | None:
        if not old.refresh:
            return None
        call = Call(
            "POST",
            "/console/api/refresh-token",
            "refresh the session",
            json=None if old.cookie else {"refresh_token": old.refresh},
        )
        reply = self._send(call, {"Cookie": old.cookie} if old.cookie else {})
        if reply.status in (400, 401, 403):
            return None
        if reply.status >= 400:
            raise refusal(call, reply, self._server, self._known)
        return self._taken(call, reply)

    def _sign_in(self) -> Tokens:
        first, other = self._forms()
        call, reply = self._try(first)
        if reply.status == 401 and other and _WRONG_FORM in saying(reply)[1].lower():
            # It could not read the form, so it has not looked at the password: this counts as no attempt there.
            call, reply = self._try(other)
        if reply.status == 200:
            return self._taken(call, reply)
        code, said = saying(reply, self._known)
        refused = reply.status in (400, 401, 403) and code not in NOT_SET_UP
        if not refused and code != _LOCKED:
            raise refusal(call, reply, self._server, self._known)
        self._lost = DifySignInRefused(server=self._server, way="email and password", said=said)
        raise self._lost

    def _try(self, form: Form) -> tuple[Call, Reply]:
        password = self._way.password
        sent = base64.b64encode(password.encode()).decode() if form == "base64" else password
        body = {"email": self._way.email, "password": sent, "remember_me": True}
        call = Call("POST", "/console/api/login", "sign in", json=body)
        return call, self._send(call, {})

    def _forms(self) -> tuple[Form, Form | None]:
        """The form to try first, and the other one where the server's answer may tell that the first was wrong."""
        if self._way.form != "auto":
            return self._way.form, None
        version = self._version()
        if version and version >= _FIRST_BASE64:
            return "base64", None
        if version and version <= _LAST_PLAIN:
            return "plain", "base64"
        # A server that wants base64 says so of a plain password, if that is no base64 by chance; one that wants it
        # plain would count a base64 one as wrong.
        return ("base64", None) if _is_base64(self._way.password) else ("plain", "base64")

    def _version(self) -> tuple[int, ...] | None:
        # Every answer of Dify names its version, unless a proxy takes that away.
        reply = self._send(Call("GET", "/console/api/system-features", "tell its version"), {})
        return numbers(reply.headers.get("X-Version", ""))

    def _taken(self, call: Call, reply: Reply) -> Tokens:
        cookies = _cookies(reply)
        named = {name.removeprefix("__Host-").removeprefix("__Secure-"): name for name in cookies}
        if "access_token" in named:
            if "csrf_token" not in named:
                said = "it gave a session without the cookie csrf_token; does a proxy take cookies away?"
                raise self._unusable(said)
            access, refresh, csrf = (cookies.get(named.get(name, ""), "") for name in _NAMES)
            header = "; ".join(f"{named[name]}={cookies[named[name]]}" for name in _NAMES if name in named)
            return Tokens(access, refresh, csrf, header)
        try:
            data = reply.json()["data"]
            access, refresh = str(data["access_token"]), str(data.get("refresh_token") or "")
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._unusable("it gave neither cookies nor tokens; is this Dify's console?") from None
        return Tokens(access, refresh, "", "")

    def _unusable(self, said: str) -> DifySignInRefused:
        self._lost = DifySignInRefused(server=self._server, way="email and password", said=said)
        return self._lost


def numbers(version: str) -> tuple[int, ...] | None:
    """``1.13.0-beta`` as (1, 13, 0); None where it does not begin with numbers."""
    found = re.match(r"v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?", version)
    return tuple(int(part or 0) for part in found.groups()) if found else None


def _cookies(reply: Reply) -> dict[str, str]:
    """Names and values of the answer's cookies, without those that are taken away (an empty value)."""
    pairs = (line.split(";", 1)[0].partition("=") for line in reply.headers.get_list("Set-Cookie"))
    return {name.strip(): value.strip() for name, _, value in pairs if value.strip()}


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return False
    return True


def _need(**given: str) -> None:
    for name, value in given.items():
        if not value:
            raise InvalidSetting(name=f"the {name} of Dify", value="", reason="it is empty")
