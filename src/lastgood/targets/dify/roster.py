"""What a workspace has that workflows name by an id: knowledge bases, tools, people, plugins, models, credentials.

Only the lists of workflow tools and of members were recorded; the others are asked for as Dify's own pages do. A list
that does not come, or not in the shape that is known, is `None`: unknown, which is not empty."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from lastgood.errors import DifyError
from lastgood.targets.dify.asking import API, MOST_PER_PAGE
from lastgood.targets.dify.caller import Caller
from lastgood.targets.dify.wire import Call

_MOST_PAGES: Final = 50
_MODEL_TYPES: Final = ("llm", "text-embedding", "rerank")
_CURRENT: Final = "/workspaces/current"


@dataclass(frozen=True, slots=True)
class Thing:
    """Something with an id in a workspace, and what people call it (of members the address)."""

    id: str
    name: str


Things = tuple[Thing, ...] | None
Source = Callable[[str, str], Things]
"""The things of a kind (and a provider, for credentials and subscriptions); None where that is unknown."""


class Roster:
    """The things of the workspace that `caller` acts in, each list asked for once, when first wanted."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._known: dict[tuple[str, str], Things] = {}

    def __call__(self, kind: str, provider: str = "") -> Things:
        """The things of `kind` (as mapping files call it); of `provider` for credentials and subscriptions, and of
        that type of provider for tools. None where the server does not tell."""
        key = (kind, provider)
        if key not in self._known:
            read = _LISTS.get(kind)
            try:
                self._known[key] = tuple(read(self, provider)) if read else None
            except (DifyError, LookupError, TypeError, ValueError):
                self._known[key] = None  # another server's shape: nothing is known, and that is said
        return self._known[key]

    def _knowledge(self, _: str) -> Iterator[Thing]:
        for page in range(1, _MOST_PAGES + 1):
            data = self._ask("/datasets", "list the knowledge bases", page=page, limit=MOST_PER_PAGE)
            yield from _things(data["data"], "id", "name")
            if not data.get("has_more") or not data["data"]:
                return

    def _tools(self, provider: str) -> Iterator[Thing]:
        if provider not in ("workflow", "api", "mcp"):
            raise LookupError(provider)
        found = self._ask(f"{_CURRENT}/tools/{provider}", f"list the {provider} tools")
        key = "server_identifier" if provider == "mcp" and any("server_identifier" in one for one in found) else "id"
        return _things(found, key, "name")

    def _members(self, _: str) -> Iterator[Thing]:
        return _things(self._ask(f"{_CURRENT}/members", "list the members")["accounts"], "id", "email")

    def _plugins(self, _: str) -> Iterator[Thing]:
        for page in range(1, _MOST_PAGES + 1):
            data = self._ask(f"{_CURRENT}/plugin/list", "list the plugins", page=page, page_size=MOST_PER_PAGE)
            yield from _things(data["plugins"], "plugin_unique_identifier", "plugin_id")
            if len(data["plugins"]) < MOST_PER_PAGE:
                return

    def _models(self, _: str) -> Iterator[Thing]:
        for kind in _MODEL_TYPES:
            found = self._ask(f"{_CURRENT}/models/model-types/{kind}", f"list the models of the type {kind}")
            for provider in found["data"]:
                for model in provider["models"]:
                    name = f"{_text(provider, 'provider')} {_text(model, 'model')}"
                    yield Thing(name, name)

    def _credentials(self, provider: str) -> Iterator[Thing]:
        path = f"{_CURRENT}/tool-provider/builtin/{quote(_some(provider))}/credentials"
        return _things(self._ask(path, "list the credentials of a tool"), "id", "name")

    def _subscriptions(self, provider: str) -> Iterator[Thing]:
        path = f"{_CURRENT}/trigger-provider/{quote(_some(provider))}/subscriptions/list"
        return _things(self._ask(path, "list the subscriptions of a trigger"), "id", "name")

    def _extensions(self, _: str) -> Iterator[Thing]:
        return _things(self._ask("/api-based-extension", "list the API extensions"), "id", "name")

    def _ask(self, path: str, what: str, **params: str | int) -> Any:
        return self._caller.ask(Call("GET", f"{API}{path}", what, params))


_LISTS: Final[Mapping[str, Callable[[Roster, str], Iterator[Thing]]]] = {
    "knowledge_bases": Roster._knowledge,
    "tools": Roster._tools,
    "members": Roster._members,
    "plugins": Roster._plugins,
    "models": Roster._models,
    "credentials": Roster._credentials,
    "subscriptions": Roster._subscriptions,
    "extensions": Roster._extensions,
}


def _things(found: Any, id: str, name: str) -> Iterator[Thing]:
    if not isinstance(found, list):
        raise TypeError(type(found).__name__)
    return iter([Thing(_text(one, id), _text(one, name)) for one in found])


def _text(one: Any, key: str) -> str:
    value = one[key]
    if not isinstance(value, str):
        raise TypeError(key)
    return value


def _some(provider: str) -> str:
    if not provider:
        raise LookupError("no provider is named")
    return provider
