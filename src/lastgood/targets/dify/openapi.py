"""``/openapi/v1``: Dify's routes for tools, on servers where it is switched on (1.14.2, recorded), by way of a
`Bearer`.

It has no versions, restore or publish there; the console has. Unknown and revoked tokens are answered 500 there."""

from collections.abc import Callable, Mapping
from typing import Any

from lastgood.errors import DifyLacks
from lastgood.targets.dify.asking import words
from lastgood.targets.dify.caller import Caller
from lastgood.targets.dify.fields import Fields, Misshapen
from lastgood.targets.dify.forms import App, Page, Workspace
from lastgood.targets.dify.wire import Call

_API = "/openapi/v1"
_SHORT_SECONDS = 5.0
_LISTS = ("data", "node_types", "items", "types")
_NAMES = ("type", "node_type", "name", "id")


class OpenApi:
    """The routes for tools through one session."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def workspaces(self) -> tuple[Workspace, ...]:
        """The workspaces that the token's account is in, with its roles."""
        return self._get(
            "/account", "tell the account", lambda data: Fields(data, "it").each("workspaces", Workspace.read)
        )

    def apps(self, workspace: str, page: int = 1, limit: int = 100) -> Page[App]:
        """One page of a workspace's apps."""
        params: dict[str, str | int] = {"workspace_id": workspace, "page": page, "limit": limit}
        return self._get("/apps", "list the apps", lambda data: Page.read(data, "data", App.read), params)

    def export(self, app: str, *, version: str | None = None, secrets: bool = False) -> str:
        """The app's document (YAML), as `Console.export`; asks for the app's Service API to be switched on."""
        params: dict[str, str | int] = {"include_secret": "true" if secrets else "false"}
        if version is not None:
            params["workflow_id"] = version
        return self._get(
            f"/apps/{app}/export", f"export app {app}", lambda data: Fields(data, "the export").text("data"), params
        )

    def node_types(self) -> frozenset[str]:
        """The types of nodes that the server knows. The route was not recorded (1.14.2 has none): every likely shape
        is read. Raises `DifyLacks` where it is refused, `DifyUnreadable` where the answer is no such list."""
        call = Call("GET", f"{_API}/node-types", "list its node types", seconds=_SHORT_SECONDS)
        # A 401 is taken too: it says that this way in is none for these routes, and nothing of the session.
        reply = self._caller.reply(call, take=range(400, 500))
        if reply.status >= 400:
            raise DifyLacks(server=self._caller.wire.url, what=call.what)
        try:
            return _node_types(reply.json())
        except ValueError as error:
            raise self._caller.wire.unreadable(call, words(error)) from None

    def _get[T](
        self, path: str, what: str, read: Callable[[Any], T], params: dict[str, str | int] | None = None
    ) -> T:
        call = Call("GET", f"{_API}{path}", what, params or {})
        try:
            return read(self._caller.ask(call))
        except Misshapen as error:
            raise self._caller.misshapen(call, error) from None


def _node_types(data: Any) -> frozenset[str]:
    """Types from a list of names or of objects, itself or below a key. A list in which there is no start is none of
    node types. Raises `Misshapen`."""
    if isinstance(data, Mapping):
        data = next((data[name] for name in _LISTS if name in data), data)
    if isinstance(data, Mapping):
        data = list(data)
    found = [_name(one) for one in data] if isinstance(data, list) else []
    if not all(found) or "start" not in found:
        raise Misshapen("the answer is no list of node types")
    return frozenset(found)


def _name(one: Any) -> str:
    if isinstance(one, Mapping):
        one = next((one[name] for name in _NAMES if isinstance(one.get(name), str)), "")
    return one if isinstance(one, str) else ""
