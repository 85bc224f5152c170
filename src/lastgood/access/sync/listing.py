"""Lists of who has what, from where roles really live: a URL that gives JSON, or an entry point.

A list is ``[{"user_id", "role", "resource"}]``, or ``{"grants": […], "as_of": Unix seconds, "count": number}``; or
``{"events": […]}``, which are taken in as events and take nothing away by what is missing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from time import monotonic
from typing import Any, Final, Protocol

import httpx
import orjson

from lastgood.access.sync import buckets, events
from lastgood.access.sync.events import Had
from lastgood.access.sync.librdkafka import from_environment
from lastgood.catalogue import GrantSource
from lastgood.errors import InvalidSetting, LastgoodError, MalformedEvent, SourceUnreachable

GROUP: Final = "lastgood.grant_sources"
MOST_BYTES: Final = 128 * 2**20
_SECONDS: Final = 60.0  # until a server goes on
_LONGEST: Final = 300.0  # until all of its answer is here: events of the source wait meanwhile
_MOST_PROBLEMS: Final = 20


@dataclass(slots=True)
class Listing:
    """What a source says people have. `as_of`: the Unix seconds it is of, where it says so. `problems`: entries that
    cannot be read, in words; `kept_out`: those whose role the source may not give. `events`: it told events
    instead."""

    had: set[Had]
    as_of: int | None = None
    problems: list[str] = field(default_factory=list)
    kept_out: int = 0
    events: list[Any] | None = None


class Lister(Protocol):
    """Where lists of a source come from. `received` counts bytes of answers."""

    received: int

    def grants(self, only: Sequence[int] | None = None) -> Listing:
        """Everything, or what is in the buckets `only`. Raises `SourceUnreachable`."""

    def digests(self) -> tuple[list[str], int | None] | None:
        """The digests of all buckets and what they are of; None where the source has none. Raises
        `SourceUnreachable`."""


def read(data: Any, roles: Mapping[str, str], source: str) -> Listing:
    """A list in one of its forms. Raises `SourceUnreachable` where it is none, or is not whole."""
    as_of = count = None
    if isinstance(data, dict):
        if isinstance(data.get("events"), list):
            return Listing(set(), events=data["events"])
        as_of, count, data = data.get("as_of"), data.get("count"), data.get("grants")
    if not isinstance(data, list):
        raise SourceUnreachable(source=source, reason="its answer is no list of grants")
    if count is not None and count != len(data):
        raise SourceUnreachable(
            source=source, reason=f"its list has {len(data)} entries of the {count} that it names"
        )
    if as_of is not None and (isinstance(as_of, bool) or not isinstance(as_of, int) or not 0 <= as_of < 2**63):
        raise SourceUnreachable(source=source, reason="as_of is not Unix seconds")
    return _entries(data, roles, as_of)


def lister_of(name: str, setting: GrantSource) -> Lister | None:
    """Where the lists of a source come from; None for one that has none. For Dify the caller knows. Raises
    `InvalidSetting`."""
    if not setting.has_list:
        return None
    if setting.kind == "url" or not setting.by_lists:
        if not setting.url.startswith(("http://", "https://")):
            raise InvalidSetting(name=f"grants.{name}.url", value=setting.url, reason="it is no http(s):// address")
        return _Url(name, setting)
    for point in entry_points(group=GROUP):
        if point.name == setting.kind:
            return Given(name, setting, point.load())
    reason = f"it is neither kafka, push, dify nor url, and no entry point of {GROUP} has the name"
    raise InvalidSetting(name=f"grants.{name}.kind", value=setting.kind, reason=reason)


class Given:
    """A list that a function of the process gives: of ``options`` (what the setting says) to one of the forms."""

    def __init__(self, name: str, setting: GrantSource, function: Callable[[Mapping[str, str]], Any]) -> None:
        self.received = 0
        self._name, self._setting, self._function = name, setting, function

    def grants(self, only: Sequence[int] | None = None) -> Listing:
        """Everything, whatever is asked for."""
        try:
            found = self._function(self._setting.options)
        except LastgoodError as error:
            raise SourceUnreachable(source=self._name, reason=str(error).rstrip(".")) from error
        except Exception as error:  # another's code: its words may hold anything
            raise SourceUnreachable(source=self._name, reason=f"it failed ({type(error).__name__})") from error
        return _only(read(found, self._setting.roles, self._name), only)

    def digests(self) -> None:
        """It has none."""
        return


class _Url:
    """A list at a URL, with digests where the server has them."""

    def __init__(self, name: str, setting: GrantSource) -> None:
        self.received = 0
        self._name, self._setting = name, setting
        token = from_environment(setting.token, f"grants.{name}.token")
        self._headers = {"Accept": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}

    def grants(self, only: Sequence[int] | None = None) -> Listing:
        """Everything, or what is in the buckets `only` as far as the server minds them."""
        found = self._get([("bucket", str(number)) for number in only or ()])
        return _only(read(found, self._setting.roles, self._name), only)

    def digests(self) -> tuple[list[str], int | None] | None:
        """The server's digests. Under a map of roles ours would be of other words, so there are none."""
        if self._setting.roles:
            return None
        found = self._get([("buckets", str(buckets.NUMBER))])
        told = found.get("buckets") if isinstance(found, dict) else None
        if not isinstance(told, list) or len(told) != buckets.NUMBER or not all(isinstance(one, str) for one in told):
            return None
        as_of = found.get("as_of")
        return told, as_of if isinstance(as_of, int) else None

    def _get(self, query: Iterable[tuple[str, str]]) -> Any:
        body = bytearray()
        until = monotonic() + _LONGEST
        params = httpx.QueryParams(list(query))
        try:
            with (
                httpx.Client(trust_env=False, headers=self._headers, timeout=_SECONDS) as client,
                client.stream("GET", self._setting.url, params=params or None) as answer,
            ):
                if answer.status_code != 200:
                    raise SourceUnreachable(source=self._name, reason=f"it answered {answer.status_code}")
                for piece in answer.iter_bytes():
                    body += piece
                    if monotonic() > until:
                        raise SourceUnreachable(source=self._name, reason=f"its answer took over {_LONGEST:g} s")
                    if len(body) > MOST_BYTES:
                        raise SourceUnreachable(source=self._name, reason=f"its answer is over {MOST_BYTES} bytes")
                self.received += answer.num_bytes_downloaded
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SourceUnreachable(source=self._name, reason=type(error).__name__) from None
        try:
            return orjson.loads(bytes(body))
        except orjson.JSONDecodeError:
            raise SourceUnreachable(source=self._name, reason="its answer is not JSON") from None


def _entries(data: list[Any], roles: Mapping[str, str], as_of: int | None) -> Listing:
    found = Listing(set(), as_of)
    for number, one in enumerate(data):
        if not isinstance(one, dict):
            _add_problem(found, f"entry {number} is no object")
            continue
        if roles and isinstance(one.get("role"), str) and one["role"] not in roles:
            found.kept_out += 1
            continue
        resource = one.get("resource")
        try:
            user, role = events.check_user(one.get("user_id")), events.check_role(one.get("role"), roles)
            found.had.add((user, role, "*" if resource in (None, "") else events.check_resource(resource)))
        except MalformedEvent as error:
            _add_problem(found, f"entry {number}: {error}")
    return found


def _add_problem(found: Listing, problem: str) -> None:
    if len(found.problems) < _MOST_PROBLEMS:
        found.problems.append(problem)


def _only(found: Listing, only: Sequence[int] | None) -> Listing:
    """What of a list is in the buckets `only`: a server that knows no buckets gives everything."""
    if only is not None:
        wanted = set(only)
        found.had = {one for one in found.had if buckets.bucket_of(one) in wanted}
    return found
