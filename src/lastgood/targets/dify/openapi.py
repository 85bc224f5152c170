"""``/openapi/v1``: Dify's routes for tools, on servers where it is switched on (1.14.2, recorded), by way of a
`Bearer`.

It has no versions, restore or publish there; the console has. Unknown and revoked tokens are answered 500 there."""

from collections.abc import Callable
from typing import Any

from lastgood.targets.dify.caller import Caller
from lastgood.targets.dify.fields import Fields, Misshapen
from lastgood.targets.dify.forms import App, Page, Workspace
from lastgood.targets.dify.wire import Call

_API = "/openapi/v1"


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

    def _get[T](
        self, path: str, what: str, read: Callable[[Any], T], params: dict[str, str | int] | None = None
    ) -> T:
        call = Call("GET", f"{_API}{path}", what, params or {})
        try:
            return read(self._caller.ask(call))
        except Misshapen as error:
            raise self._caller.misshapen(call, error) from None
