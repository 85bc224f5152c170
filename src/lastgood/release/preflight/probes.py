"""Asking middleware for its version: Redis, PostgreSQL, MySQL, SQLite, HTTP. Within seconds, and never with a
password in what is told."""

import os
import re
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import httpx
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from lastgood.catalogue import Middleware
from lastgood.release.checks.together import Job, Late, together
from lastgood.release.preflight.facts import Service
from lastgood.release.tls import trusted

SECONDS: Final = 2.0
_KEPT_SECONDS: Final = 5.0  # a plan for many workflows asks each service once
_MOST_BYTES: Final = 65_536
_REDIS: Final = re.compile(rb"^redis_version:([^\r\n]+)", re.MULTILINE)
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)+\S*|\d+")
_DRIVERS: Final = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "sqlite": "sqlite"}
_QUERIES: Final = {
    "postgresql": "SHOW server_version",
    "mysql": "SELECT version()",
    "sqlite": "SELECT sqlite_version()",
}


class Unanswered(Exception):
    """No version came; the message says why, and may be told."""


_answers: dict[Middleware, tuple[float, Service]] = {}
_lock = threading.Lock()


def ask_all(declared: Mapping[str, Middleware]) -> tuple[Service, ...]:
    """What each piece of middleware says of its version, in the order of `declared`, all asked at once. What was
    asked within the last seconds is not asked again. Raises nothing."""
    now = monotonic()
    with _lock:
        for old in [one for one, (at, _) in _answers.items() if now - at > _KEPT_SECONDS]:
            del _answers[old]
        fresh = {one: service for one, (_, service) in _answers.items()}
    missing = {name: one for name, one in declared.items() if one.kind != "declared" and one not in fresh}
    found = together([Job(partial(ask, one), SECONDS + 0.5) for one in missing.values()])
    for (name, one), answer in zip(missing.items(), found, strict=True):
        fresh[one] = _service(name, one, answer)
    with _lock:
        _answers.update({one: (monotonic(), fresh[one]) for one in missing.values()})
    return tuple(
        Service(name, one.range, one.version)
        if one.kind == "declared"
        else Service(name, one.range, fresh[one].version, fresh[one].problem, fresh[one].asked)
        for name, one in declared.items()
    )


def _service(name: str, one: Middleware, answer: str | Exception) -> Service:
    if isinstance(answer, str):
        return Service(name, one.range, answer, asked=True)
    said = str(answer) if isinstance(answer, Unanswered) else f"it cannot be asked ({type(answer).__name__})"
    if isinstance(answer, Late):
        said = f"it gave no answer within {SECONDS:g} s"
    if one.version:  # what somebody declared is better than nothing
        return Service(name, one.range, one.version, said)
    return Service(name, one.range, "", said)


def ask(one: Middleware) -> str:
    """The version that a server states. Raises `Unanswered`."""
    url = one.url
    if url.startswith("env:"):
        url = os.environ.get(url.removeprefix("env:"), "")
        if not url:
            raise Unanswered(f"the variable {one.url.removeprefix('env:')}, which should hold its URL, is not set")
    if not url:
        raise Unanswered("no URL is declared for it")
    try:
        return _ASKS[one.kind](url)
    except TimeoutError:
        raise Unanswered(f"it gave no answer within {SECONDS:g} s") from None
    except OSError as error:
        raise Unanswered(f"it cannot be connected to ({error.strerror or type(error).__name__})") from None
    except ValueError:
        raise Unanswered("its URL cannot be read") from None


def _redis(url: str) -> str:
    parts = urlsplit(url if "://" in url else f"redis://{url}")
    host, port = parts.hostname or "127.0.0.1", parts.port or 6379
    commands = []
    if parts.password:
        user = [unquote(parts.username)] if parts.username else []
        commands.append(["AUTH", *user, unquote(parts.password)])
    commands.append(["INFO", "server"])
    with socket.create_connection((host, port), SECONDS) as plain:
        stream = plain
        if parts.scheme == "rediss":
            stream = ssl.create_default_context().wrap_socket(plain, server_hostname=host)
        stream.sendall(b"".join(_command(words) for words in commands))
        said, until = b"", monotonic() + SECONDS
        while (found := _REDIS.search(said)) is None and len(said) < _MOST_BYTES:
            if said.startswith(b"-") or b"\r\n-" in said:
                raise Unanswered("it refuses to tell, perhaps for want of a password")
            stream.settimeout(max(0.01, until - monotonic()))
            more = stream.recv(4096)
            if not more:
                break
            said += more
    if found is None:
        raise Unanswered("it does not answer as Redis does")
    return found[1].decode("ascii", "replace").strip()


def _command(words: list[str]) -> bytes:
    """A command as Redis reads it."""
    parts = [word.encode() for word in words]
    return b"".join([b"*%d\r\n" % len(parts), *(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)])


def _database(kind: str, url: str) -> str:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() not in (kind, *(["mariadb"] if kind == "mysql" else [])):
            raise Unanswered(f"its URL is not one of {kind}")
        parsed = parsed.set(drivername=_DRIVERS[kind])
        options: dict[str, Any] = {"connect_timeout": int(SECONDS)}
        if kind == "mysql":
            options["read_timeout"] = int(SECONDS)
        if kind == "sqlite":
            if not parsed.database or not Path(parsed.database).is_file():
                raise Unanswered("there is no such file")
            # `mode=ro` makes no file where there is none.
            parsed = parsed.set(database=f"file:{quote(parsed.database)}", query={"mode": "ro", "uri": "true"})
            options = {"timeout": SECONDS}
        engine = create_engine(parsed, poolclass=NullPool, connect_args=options)
        try:
            with engine.connect() as connection:
                return str(connection.execute(text(_QUERIES[kind])).scalar_one())
        finally:
            engine.dispose()
    except ModuleNotFoundError as error:
        raise Unanswered(f"the driver {error.name} is not installed here") from None
    except SQLAlchemyError as error:  # its words may hold the URL
        raise Unanswered(f"it cannot be asked ({type(getattr(error, 'orig', None) or error).__name__})") from None


def _http(url: str) -> str:
    try:
        # No proxies and no .netrc: what was declared is asked, with what was declared.
        with (
            httpx.Client(verify=trusted(), trust_env=False, timeout=SECONDS) as client,
            client.stream("GET", url) as answer,
        ):
            server = answer.headers.get("server", "")
            said = b""
            for part in answer.iter_bytes():
                said += part
                if len(said) > _MOST_BYTES:
                    break
            body = httpx.Response(200, content=said[:_MOST_BYTES])
    except httpx.TimeoutException:
        raise Unanswered(f"it gave no answer within {SECONDS:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unanswered(f"it cannot be asked ({type(error).__name__})") from None
    stated: Any = None
    with suppress(ValueError, RecursionError):
        stated = body.json()
    stated = stated.get("version") if isinstance(stated, dict) else None
    if isinstance(stated, dict):  # as Elasticsearch says it
        stated = stated.get("number")
    if isinstance(stated, str | int | float) and not isinstance(stated, bool):
        return str(stated)
    found = _NUMBER.search(server.partition("/")[2])
    if answer.status_code >= 500 or found is None:
        raise Unanswered(f"it answered {answer.status_code}, and states no version")
    return found[0]


_ASKS: Final[Mapping[str, Callable[[str], str]]] = {
    "redis": _redis,
    "postgresql": partial(_database, "postgresql"),
    "mysql": partial(_database, "mysql"),
    "sqlite": partial(_database, "sqlite"),
    "http": _http,
}
