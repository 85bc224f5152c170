"""Connecting a server: the way in is tried, and what the server can do is learnt, before anything is kept."""

from typing import Any

from lastgood.db.tx import utc_now
from lastgood.targets.dify.capabilities import learn
from lastgood.targets.dify.client import connect
from lastgood.targets.dify.signin import AdminKey, Bearer, Password, Way

_NAMES = {Password: "password", AdminKey: "admin-key", Bearer: "bearer"}


def facts_of(url: str, way: Way, *, ca_file: str | None = None) -> dict[str, Any]:
    """What is to be kept of the server at `url`: its ``version`` and ``abilities``, ``workspace_id`` and
    ``workspace``, the ``account`` and its ``role``, the ``way`` in, and ``api_url``, where an app of it says that its
    Service API is. By `Bearer` less is told. Raises `DifyError` where the server or the way in does not work."""
    facts: dict[str, Any] = {"way": _NAMES[type(way)], "learnt_at": utc_now(), "ca_file": ca_file or ""}
    with connect(url, way, ca_file=ca_file) as client:
        if isinstance(way, Bearer):
            workspaces = client.openapi.workspaces()
            first = next(iter(workspaces), None)
            named = {"workspace_id": first.id, "workspace": first.name, "role": first.role} if first else {}
            return {**facts, **named, "version": "", "abilities": {}}
        abilities = learn(client)
        workspace, account = client.console.workspace(), client.console.account()
        app = next(iter(client.console.apps(limit=1).items), None)
        return {
            **facts,
            "version": abilities.version.value,
            "abilities": abilities.as_data(),
            "workspace_id": workspace.id,
            "workspace": workspace.name,
            "role": workspace.role,
            "account": account.email or account.name,
            "api_url": client.console.app(app.id).api_base_url if app else "",
        }
