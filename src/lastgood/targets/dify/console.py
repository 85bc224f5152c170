"""Dify's console API: what its own web pages ask. Ids are Dify's; every method raises `DifyError`.

Recorded on running servers 1.13.0 and 1.14.2, where nothing else is said. Dify answers 500 for an id that is no UUID,
so ids are looked at before they are sent."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lastgood.errors import DifyLacks, DifyMissing, DifyRefused, InvalidRequest, MaskNotStored
from lastgood.targets.dify.asking import API, MOST_PER_PAGE, Asker, mappings_of, uuid, words
from lastgood.targets.dify.fields import Fields
from lastgood.targets.dify.forms import (
    Account,
    App,
    Imported,
    Member,
    Page,
    Synced,
    Workflow,
    Workspace,
)
from lastgood.targets.dify.refusal import is_no_route, refusal
from lastgood.targets.dify.wire import Call

MOST_NAME = 20
MOST_COMMENT = 100

_STARS = re.compile(r"\*{8,}|.{6}\*{12}.{2}", re.DOTALL)


class Console(Asker):
    """Accounts, apps, drafts and versions, through one session."""

    # who and where

    def account(self) -> Account:
        """The account that is signed in (the workspace's owner, with an admin key)."""
        return self.get("/account/profile", "tell the account", Account.read)

    def workspaces(self) -> tuple[Workspace, ...]:
        """The account's workspaces."""
        return self.get(
            "/workspaces", "list the workspaces", lambda data: Fields(data, "it").each("workspaces", Workspace.read)
        )

    def workspace(self) -> Workspace:
        """The workspace that calls act in, with the account's role there."""
        # A POST that changes nothing; a GET is refused.
        return self.read(Call("POST", f"{API}/workspaces/current", "tell the workspace"), Workspace.read)

    def members(self) -> tuple[Member, ...]:
        """Everybody of the workspace that calls act in, with the role there."""
        path, what = "/workspaces/current/members", "list the members"
        return self.get(path, what, lambda data: Fields(data, "the members").each("accounts", Member.read))

    # apps

    def apps(self, page: int = 1, limit: int = MOST_PER_PAGE) -> Page[App]:
        """One page of the apps, the newest first, without their sites and switches."""
        return self.page("/apps", "list the apps", "data", App.read, page=page, limit=limit)

    def every_app(self) -> Iterator[App]:
        """All apps, page by page as they are taken; one that moves between pages meanwhile is given once."""
        return _every(self.apps, lambda app: app.id)

    def app(self, app: str) -> App:
        """An app in detail, with its site."""
        return self.get(f"/apps/{uuid(app)}", f"read app {app}", App.read)

    def export(self, app: str, *, version: str | None = None, secrets: bool = False) -> str:
        """The app's document (YAML) from its draft, or from the published version with the id `version`; with
        `secrets`, the values of secret variables in it (which asks for the role of editor).

        An unknown version is `DifyMissing` on 1.13.0; 1.14.2 answers it 500, hence `DifyFailed`."""
        params: dict[str, str | int] = {"include_secret": "true" if secrets else "false"}
        if version is not None:
            params["workflow_id"] = uuid(version)
        call = Call("GET", f"{API}/apps/{uuid(app)}/export", f"export app {app}", params)
        try:
            return self.read(call, lambda data: Fields(data, "the export").text("data"))
        except DifyRefused as error:
            # 1.13.0 says so of a missing version too.
            if "missing draft workflow" in str(error.data.get("said")).lower():
                raise DifyMissing(**error.data) from None
            raise

    def import_document(self, document: str, *, app: str | None = None) -> Imported:
        """Make an app of a document (YAML), or overwrite the draft of `app` with it, and its name and icon at once.

        No hash guards the draft, and secret variables without values are emptied. A document of a newer format is
        ``pending`` until `confirm_import`; a refused one gives ``failed`` and why, and raises nothing."""
        body = {"mode": "yaml-content", "yaml_content": document, **({} if app is None else {"app_id": uuid(app)})}
        what = "import a document" if app is None else f"import a document over app {app}"
        return self._import(Call("POST", f"{API}/apps/imports", what, json=body, writes=True))

    def confirm_import(self, import_id: str) -> Imported:
        """Go on with a ``pending`` import."""
        path = f"{API}/apps/imports/{uuid(import_id)}/confirm"
        return self._import(Call("POST", path, "confirm an import", writes=True))

    # the draft

    def draft(self, app: str) -> Workflow | None:
        """The draft; None where the app has none."""
        try:
            return self.get(f"/apps/{uuid(app)}/workflows/draft", f"read the draft of app {app}", Workflow.read)
        except DifyMissing as error:
            if error.data.get("code") == "draft_workflow_not_exist":
                return None
            raise

    def sync_draft(
        self,
        app: str,
        *,
        graph: Mapping[str, Any],
        features: Mapping[str, Any],
        hash: str | None,
        environment_variables: Sequence[Mapping[str, Any]],
        conversation_variables: Sequence[Mapping[str, Any]],
    ) -> Synced:
        """Write the draft whole, where it still has `hash` (None: there is no draft yet). Lists of variables must be
        given, because Dify empties the ones it does not get.

        Secret values: the value itself, or `KEEP` under the id that the draft has. Raises `DifyDraftChanged`, and
        `MaskNotStored` for a mask as a value, which some servers store as it stands."""
        for item in environment_variables:
            value = item.get("value")
            if item.get("value_type") == "secret" and isinstance(value, str) and _STARS.fullmatch(value):
                raise MaskNotStored(name=item.get("name"), server=self.caller.wire.url)
        body: dict[str, Any] = {
            "graph": graph,
            "features": features,
            "environment_variables": list(environment_variables),
            "conversation_variables": list(conversation_variables),
        }
        if hash is not None:
            body["hash"] = hash
        call = Call(
            "POST", f"{API}/apps/{uuid(app)}/workflows/draft", f"write the draft of app {app}", json=body, writes=True
        )
        return self.read(call, Synced.read)

    def environment_variables(self, app: str) -> tuple[Mapping[str, Any], ...]:
        """The draft's environment variables, secret values as masks."""
        path = f"/apps/{uuid(app)}/workflows/draft/environment-variables"
        return self.get(path, f"read the environment variables of app {app}", mappings_of("items"))

    def conversation_variables(self, app: str) -> tuple[Mapping[str, Any], ...]:
        """The draft's conversation variables (chatflows)."""
        path = f"/apps/{uuid(app)}/workflows/draft/conversation-variables"
        return self.get(path, f"read the conversation variables of app {app}", mappings_of("items"))

    # versions

    def versions(self, app: str, page: int = 1, limit: int = MOST_PER_PAGE, *, named: bool = False) -> Page[Workflow]:
        """One page of the versions with whole graphs, newest first. **The draft comes first of all** where the
        app was ever published; `every_version` leaves it out."""
        extra: dict[str, str | int] = {"named_only": "true"} if named else {}
        path = f"/apps/{uuid(app)}/workflows"
        return self.page(
            path, f"list the versions of app {app}", "items", Workflow.read, page=page, limit=limit, **extra
        )

    def every_version(self, app: str, limit: int = MOST_PER_PAGE) -> Iterator[Workflow]:
        """All published versions, newest first, page by page as they are taken. Stop when a known one comes."""
        pages = _every(lambda page: self.versions(app, page, limit), lambda version: version.id)
        return (version for version in pages if not version.is_draft)

    def published(self, app: str) -> Workflow | None:
        """The version that is live; None before the first publish."""

        def read(data: Any) -> Workflow | None:
            # 1.13.0 answers an object of nulls, 1.14.2 null.
            return None if data is None or Fields(data, "it").data.get("id") is None else Workflow.read(data)

        return self.get(f"/apps/{uuid(app)}/workflows/publish", f"read what is live of app {app}", read)

    def publish(self, app: str, *, name: str = "", comment: str = "") -> None:
        """Make a version of the draft **as it is now**, and the live one. Dify takes no hash and gives no id: read
        `published` and compare. `name` has at most 20 characters, `comment` 100."""
        for what, text, most in (("marked_name", name, MOST_NAME), ("marked_comment", comment, MOST_COMMENT)):
            if len(text) > most:
                raise InvalidRequest(where=what, reason=f"Dify takes at most {most} characters, not {len(text)}")
        self.read(
            Call(
                "POST",
                f"{API}/apps/{uuid(app)}/workflows/publish",
                f"publish app {app}",
                json={"marked_name": name, "marked_comment": comment},
                writes=True,
            ),
            lambda data: None,
        )

    def rename_version(self, app: str, version: str, *, name: str | None = None, comment: str | None = None) -> None:
        """Change a version's name or comment. Dify does not look whether the version is the app's."""
        given = {"marked_name": name, "marked_comment": comment}
        body = {key: value for key, value in given.items() if value is not None}
        path = f"{API}/apps/{uuid(app)}/workflows/{uuid(version)}"
        self.read(Call("PATCH", path, f"rename version {version}", json=body, writes=True), lambda data: None)

    def delete_version(self, app: str, version: str) -> None:
        """Delete a version. Dify refuses the live one, the draft, and one that a tool is bound to, but not one that
        callers name by id, and does not look whether it is the app's."""
        path = f"{API}/apps/{uuid(app)}/workflows/{uuid(version)}"
        self.read(Call("DELETE", path, f"delete version {version}", writes=True), lambda data: None)

    def restore(self, app: str, version: str) -> Synced:
        """Overwrite the draft with a version, secrets and variables included; publishes nothing. **No hash guards
        what is in the draft.** Raises `DifyLacks` on servers without it (1.13.0)."""
        path = f"{API}/apps/{uuid(app)}/workflows/{uuid(version)}/restore"
        call = Call("POST", path, f"restore version {version} of app {app}", writes=True)
        reply = self.caller.reply(call, take=(404,))
        if is_no_route(reply):
            raise DifyLacks(server=self.caller.wire.url, what="restore a version by itself")
        if reply.status == 404:
            raise refusal(call, reply, self.caller.wire.url)
        try:
            return Synced.read(reply.json())
        except ValueError as error:
            raise self.caller.wire.unreadable(call, words(error)) from None

    def _import(self, call: Call) -> Imported:
        reply = self.caller.reply(call, take=(400,))
        try:
            data = reply.json()
            if reply.status == 400 and (not isinstance(data, Mapping) or data.get("status") != "failed"):
                raise refusal(call, reply, self.caller.wire.url)
            return Imported.read(data)
        except ValueError as error:
            raise self.caller.wire.unreadable(call, words(error)) from None


def _every[T](read: Callable[[int], Page[T]], key: Callable[[T], str]) -> Iterator[T]:
    """The items of all pages, each once. An empty page ends it, whatever it says of more."""
    seen: set[str] = set()
    number, more = 1, True
    while more:
        page = read(number)
        for item in page.items:
            if key(item) not in seen:
                seen.add(key(item))
                yield item
        number, more = number + 1, page.has_more and bool(page.items)
