#!/usr/bin/env python3
"""Roll one Dify app back to the version in kit.json, without Lastgood. Needs Python 3.8 or newer and nothing else.

    python3 rollback.py --dry-run      # look, and change nothing
    python3 rollback.py                # do it; asks for e-mail and password, then once more

ADMIN_API_KEY, or DIFY_EMAIL and DIFY_PASSWORD, are taken from the environment where they are set. A secret that the
draft in Dify does not have is taken from DIFY_SECRET_<NAME>, else asked for. README.txt says the rest.
Exit codes: 0 the version is live, 1 nothing was changed, 3 something was changed and is not as it was meant."""

from __future__ import annotations

import argparse
import base64
import getpass
import http.client
import json
import os
import re
import ssl
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

HERE = Path(__file__).resolve().parent
KEEP = "[__HIDDEN__]"  # under the id that the draft has: Dify keeps the secret it has stored
SECONDS = 60
TRIES = 3
NOISE = {"position", "positionAbsolute", "width", "height", "zIndex", "sourcePosition", "targetPosition", "selected"}
NOISE |= {"draggable", "selectable", "dragging", "measured", "type", "resizing", "extent", "style", "className"}
CACHES = {"webhook_url", "webhook_debug_url", "subscription_id", "paramSchemas", "params", "output_schema"}
CACHES |= {"selected", "provider_icon", "provider_icon_dark", "is_team_authorization", "tool_label"}
CACHES |= {"tool_description", "config"}


class Stop(Exception):
    """Ends the script with a sentence and an exit code."""

    def __init__(self, sentence: str, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code


class Lost(Exception):
    """No answer came, so whether it was done is not known."""


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, status: int, code: str, said: str) -> None:
        super().__init__(f"{status} {code or said[:120]}")
        self.status, self.code, self.said = status, code, said


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirection could carry the key to another server, so none is followed."""

    def redirect_request(self, *args: Any, **more: Any) -> None:
        return None


class Dify:
    """One app of a Dify server's console."""

    def __init__(self, url: str, app: str) -> None:
        self.url, self.app = url.rstrip("/"), app
        self.headers: dict[str, str] = {}
        ca = os.environ.get("SSL_CERT_FILE")
        tls = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca))
        self.opener = urllib.request.build_opener(NoRedirect, tls)

    def sign_in(self, workspace: str) -> None:
        """By the admin key where there is one, else by e-mail and password: once, since Dify locks accounts."""
        key = os.environ.get("ADMIN_API_KEY", "")
        if key:
            self.headers = {"Authorization": "Bearer " + key, "X-WORKSPACE-ID": workspace}
        else:
            self._by_password()
        now = self.call("POST", "/workspaces/current")
        if workspace and now.get("id") != workspace:
            raise Stop(
                f"This account is in the workspace {now.get('name')!r}, and the app is in another. Switch to it "
                "in Dify, or use another account. Nothing was changed."
            )

    def _by_password(self) -> None:
        email = os.environ.get("DIFY_EMAIL") or ask("E-mail of a Dify account (editor or above): ")
        password = os.environ.get("DIFY_PASSWORD") or ask("Password: ", hidden=True)
        _, headers = self._send("GET", "/system-features", None)
        found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", str(headers.get("X-Version") or ""))
        plain = found is not None and tuple(int(part or 0) for part in found.groups()) <= (1, 11, 1)
        sent = password if plain else base64.b64encode(password.encode()).decode()
        body = {"email": email, "password": sent, "remember_me": True}
        try:
            data, headers = self._send("POST", "/login", body)
        except Refused as error:
            raise Stop(
                f"Dify refused the sign-in ({error.status}). It was tried once, and is not again: Dify locks an "
                "account after some wrong passwords. Nothing was changed."
            ) from None
        cookies = {}
        for line in headers.get_all("Set-Cookie") or []:
            name, _, value = line.split(";", 1)[0].partition("=")
            cookies[name.strip()] = value.strip()
        named = {name.replace("__Host-", "").replace("__Secure-", ""): value for name, value in cookies.items()}
        if named.get("access_token") and named.get("csrf_token"):
            pairs = "; ".join(name + "=" + value for name, value in cookies.items() if value)
            self.headers = {"Cookie": pairs, "X-CSRF-Token": named["csrf_token"]}
            return
        token = ((data or {}).get("data") or {}).get("access_token") if isinstance(data, dict) else None
        if not token:
            raise Stop("The server gave neither cookies nor a token; is this Dify's console? Nothing was changed.")
        self.headers = {"Authorization": "Bearer " + str(token)}

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer. Reads are tried again where no answer came; raises `Lost` and `Refused`."""
        for attempt in range(TRIES if method == "GET" else 1):
            try:
                return self._send(method, path, body)[0]
            except Lost:
                if method != "GET" or attempt == TRIES - 1:
                    raise
                time.sleep(attempt + 0.5)
        raise Lost(path)

    def draft(self) -> dict[str, Any] | None:
        """The draft; None where the app has none."""
        try:
            return content(self.call("GET", f"/apps/{self.app}/workflows/draft"))
        except Refused as error:
            if error.code == "draft_workflow_not_exist":
                return None
            raise

    def published(self) -> dict[str, Any] | None:
        """What is live; None where nothing is."""
        data = self.call("GET", f"/apps/{self.app}/workflows/publish")
        return content(data) if data and data.get("id") else None

    def write(self, wanted: dict[str, Any], hash_: str | None) -> None:
        """Write the draft whole where it still has `hash_`; Dify empties the lists of variables it does not get."""
        names = ("graph", "features", "environment_variables", "conversation_variables")
        body = {name: wanted[name] for name in names}
        if hash_ is not None:
            body["hash"] = hash_
        self.call("POST", f"/apps/{self.app}/workflows/draft", body)

    def publish(self, name: str, comment: str) -> None:
        """Publish the draft as it is now."""
        body = {"marked_name": name[:20], "marked_comment": comment[:100]}
        self.call("POST", f"/apps/{self.app}/workflows/publish", body)

    def _send(self, method: str, path: str, body: Any) -> tuple[Any, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = dict(self.headers)
        if data is not None or method == "POST":
            headers["Content-Type"] = "application/json"
            data = data or b"{}"
        request = urllib.request.Request(self.url + "/console/api" + path, data, headers, method=method)  # noqa: S310
        try:
            with self.opener.open(request, timeout=SECONDS) as answer:
                text = answer.read().decode("utf-8", "replace")
                return (json.loads(text) if text.strip() else None), answer.headers
        except urllib.error.HTTPError as error:
            raise refused(error) from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLError):
                raise Stop(f"{self.url} has no certificate that is trusted here ({error.reason}).") from None
            raise Lost(path) from None
        except (OSError, http.client.HTTPException):
            raise Lost(path) from None
        except ValueError:
            raise Stop(f"{self.url}{path} answered something that is not Dify's API.", 3) from None


def refused(error: urllib.error.HTTPError) -> Refused:
    """What an error of the server says."""
    try:
        data = json.loads(error.read().decode("utf-8", "replace"))
        return Refused(error.code, str(data.get("code", "")), str(data.get("message", "")))
    except (ValueError, AttributeError, OSError, http.client.HTTPException):
        return Refused(error.code, "", "")


def content(data: dict[str, Any]) -> dict[str, Any]:
    """A version or draft with what is written back of it."""
    lists = ("environment_variables", "conversation_variables")
    return {**data, "features": data.get("features") or {}, **{name: data.get(name) or [] for name in lists}}


# what is the same


def secret(item: dict[str, Any]) -> bool:
    return item.get("value_type") == "secret"


def meaning(data: dict[str, Any]) -> dict[str, Any]:
    """What a workflow does, by part, without layout, caches, ids of variables and values of secrets."""
    graph = data["graph"]
    nodes = {}
    for node in graph.get("nodes") or []:
        if node.get("type") == "custom-note":
            continue
        inner = node.get("data") or {}
        kept = {key: value for key, value in node.items() if key not in NOISE and key != "data"}
        noise = CACHES if inner.get("type") in ("tool", "trigger-webhook", "trigger-schedule") else {"selected"}
        noise = noise | {"subscription_id"} if inner.get("type") == "trigger-plugin" else noise
        noise = noise | {"width", "height"} if inner.get("type") in ("iteration", "loop") else noise
        kept["data"] = {key: value for key, value in inner.items() if key not in noise and key[:1] != "_"}
        nodes["node " + str(node.get("id"))] = kept
    edges = sorted(
        [str(edge.get("source")), str(edge.get("sourceHandle") or "source"), str(edge.get("target"))]
        for edge in graph.get("edges") or []
    )
    variables = {}
    for kind in ("environment_variables", "conversation_variables"):
        for item in data[kind]:
            form = "number" if item.get("value_type") in ("integer", "float") else item.get("value_type")
            variables["variable " + str(item.get("name"))] = [form, None if secret(item) else item.get("value")]
    features = {"feature " + name: value for name, value in data["features"].items() if not off(value)}
    return {**nodes, "edges": edges, **features, **variables}


def off(feature: Any) -> bool:
    """Whether a feature does nothing."""
    if not isinstance(feature, dict):
        return not feature
    if "enabled" not in feature:
        return all(off(value) for value in feature.values())
    parts = [feature] + [value for value in feature.values() if isinstance(value, dict)]
    return not any(part.get("enabled") for part in parts)


def differs(one: dict[str, Any] | None, kit: dict[str, Any]) -> list[str]:
    """The parts in which `one` is not what the kit holds. Secrets that the kit does not know change nothing."""
    if one is None:
        return ["everything: there is none"]
    now, meant = meaning(one), meaning(kit)
    known = {item.get("name") for item in kit["environment_variables"]}
    extra = {
        "variable " + str(item.get("name"))
        for item in one["environment_variables"]
        if secret(item) and item.get("name") not in known
    }
    return sorted(name for name in (set(now) | set(meant)) - extra if now.get(name) != meant.get(name))


# what is written


def wanted(kit: dict[str, Any], draft: dict[str, Any] | None, dry: bool) -> dict[str, Any]:
    """The kit's content with the secrets that the draft has now, kept under the draft's own ids."""
    present = {item.get("name"): item for item in (draft["environment_variables"] if draft else [])}
    items = []
    for item in kit["environment_variables"]:
        there = present.pop(item["name"], None)
        if there is not None and secret(there) != secret(item):
            raise Stop(
                f"The variable {item['name']} is a secret on one side and not on the other, so neither value can be "
                "kept. Mend it in Dify's editor first. Nothing was changed."
            )
        own = {"id": str(uuid4()), **item}
        if there is not None and there.get("id"):
            own["id"] = there["id"]
        if secret(item):
            own["value"] = KEEP if there is not None else new_secret(item["name"], dry)
        items.append(own)
    for there in present.values():
        if secret(there):  # left out, its value would be gone from the draft for ever
            say(
                f"The secret {there.get('name')} is newer than the kit; it stays, and nothing in the version uses it."
            )
            items.append({**there, "value": KEEP})
    talks = [{"id": str(uuid4()), **item} for item in kit["conversation_variables"]]
    return {**kit, "environment_variables": items, "conversation_variables": talks}


def new_secret(name: str, dry: bool) -> str:
    value = os.environ.get("DIFY_SECRET_" + name)
    if value:
        return value
    if dry:
        say(f"The draft has no secret {name}: its value will be asked for, or taken from DIFY_SECRET_{name}.")
        return ""
    return ask(f"The draft has no secret {name}. Its value: ", hidden=True)


def kept(draft: dict[str, Any]) -> dict[str, Any]:
    """A draft as it is written back: secrets as they are stored."""
    items = [{**item, "value": KEEP} if secret(item) else item for item in draft["environment_variables"]]
    return {**draft, "environment_variables": items}


# files and people


def say(sentence: str) -> None:
    print(sentence, flush=True)


def ask(question: str, hidden: bool = False) -> str:
    if not sys.stdin.isatty():
        raise Stop(f"There is no terminal to ask on ({question.rstrip(': ')}). Nothing was changed.")
    answer = (getpass.getpass if hidden else input)(question)
    if not answer:
        raise Stop("Nothing was given, so nothing was changed.")
    return answer


def save(path: Path, data: Any) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=str(path.parent), prefix="." + path.name)  # 0600
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(data, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)


def load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def unmasked(draft: dict[str, Any]) -> dict[str, Any]:
    """A draft without what the server shows in place of secrets."""
    items = [{**item, "value": ""} if secret(item) else item for item in draft["environment_variables"]]
    return {**draft, "environment_variables": items}


class Rollback:
    """One run of the script."""

    def __init__(self, facts: dict[str, Any], dify: Dify, dry: bool, yes: bool) -> None:
        self.facts, self.dify, self.dry, self.yes = facts, dify, dry, yes
        self.kit: dict[str, Any] = content(facts["content"])
        self.pending = HERE / "unfinished.json"

    def run(self) -> int:
        """Do it, or go on where a run before was cut off."""
        draft, live = self.dify.draft(), self.dify.published()
        begun = load(self.pending)
        before = begun["draft"] if begun else None
        if begun and differs(draft, self.kit):
            say("A run before was cut off; the draft is not what it wrote, so it is taken as it is now.")
            before, begun = None, None
        if not differs(live, self.kit):
            say(f"LIVE: {self.name} is live already ({told(live)}).")
            return self.put_back(before) if begun and not self.dry else 0
        before = before or draft
        written = wanted(self.kit, before, self.dry)
        self.show(draft, live)
        if self.dry:
            say("This was a dry run: nothing was changed.")
            return 0
        if not self.yes and ask(f"Make {self.name} live in {self.facts['app']['name']!r}? yes/no: ") != "yes":
            raise Stop("Nothing was changed.")
        self.keep(before, live)
        if differs(draft, self.kit):
            self.write(written, draft)
        return self.publish(before, live)

    @property
    def name(self) -> str:
        return str(self.facts["version"]["id"])

    def show(self, draft: dict[str, Any] | None, live: dict[str, Any] | None) -> None:
        """What would be done, and what it would touch."""
        say(f"Server   {self.dify.url}, app {self.facts['app']['name']!r} ({self.dify.app})")
        say(f"Live     {told(live)}")
        say(f"Kit      {self.name}, made {self.facts['made_at']}: {self.facts['version']['proof']}")
        say("Changes  " + ", ".join(differs(live, self.kit)[:20]))
        if draft is not None and differs(draft, live or self.kit):
            say("The draft holds work that was not published; it is saved first and put back afterwards.")
        mine = hooks(self.kit)
        for node in sorted((hooks(draft) | hooks(live)) - mine):
            say(f"WARNING  The webhook of node {node} is not in the kit: its URL stops, and gets a new one later.")
        for sentence in self.facts.get("warnings", []):
            say("WARNING  " + sentence)

    def keep(self, draft: dict[str, Any] | None, live: dict[str, Any] | None) -> None:
        """The draft and what is live, in files, before anything is written."""
        at = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")  # noqa: UP017 - for older Pythons
        folder = HERE / ("saved-" + at)
        for name, data in (("draft", draft), ("published", live)):
            if data is not None:
                save(folder / (name + ".json"), unmasked(data))
        save(self.pending, {"saved": folder.name, "draft": unmasked(draft) if draft else None})
        say(f"Saved    {folder.name}/ (secrets stay in Dify)")

    def write(self, written: dict[str, Any], draft: dict[str, Any] | None) -> None:
        """The draft, where it is still the one that was saved."""
        try:
            self.dify.write(written, draft["hash"] if draft else None)
        except Refused as error:
            self.pending.unlink()
            if error.code == "draft_workflow_not_sync" or error.status == 409:
                raise Stop(
                    "Somebody saved the draft in this moment, so it was not overwritten. Nothing was changed; ask "
                    "them to wait, and run this again."
                ) from None
            raise Stop(f"Dify refused to write the draft ({error}). Nothing was changed.") from None
        except Lost:
            say("No answer came to the write; reading what is there.")
        now = self.dify.draft()
        left = differs(now, self.kit)
        if left and draft is not None and now is not None and not differs(now, draft):
            self.pending.unlink()
            raise Stop("The draft was not written. Nothing was changed; run this again.")
        if left:
            self.stop_for(left, "saved the draft in between, so nothing was published")

    def publish(self, before: dict[str, Any] | None, live: dict[str, Any] | None) -> int:
        """Publish, read back, and compare."""
        try:
            self.dify.publish("rollback " + self.name[:11], f"Emergency rollback to {self.name} without Lastgood")
        except Refused as error:
            say(f"Dify refused to publish ({error}); the draft is put back.")
            self.put_back(before)
            return 1
        except Lost:
            say("No answer came to the publish; reading what is live.")
        now = self.dify.published()
        for _ in range(10):
            if (now or {}).get("id") != (live or {}).get("id"):
                break
            time.sleep(0.5)
            now = self.dify.published()
        else:
            raise Stop(f"Nothing was published: live is still {told(live)}. Run this again.", 3)
        left = differs(now, self.kit)
        if left:
            self.stop_for(left, f"saved the draft in between, and THAT is live now ({told(now)})")
        say(f"LIVE: {self.name} is live as {told(now)}, read back and compared.")
        return self.put_back(before)

    def stop_for(self, left: list[str], what: str) -> None:
        """End because of another editor, whose draft is left alone."""
        saved = load(self.pending)["saved"]
        self.pending.unlink()
        raise Stop(
            f"Somebody else {what}. It differs from the kit in {', '.join(left[:20])}. Their draft stays as it is, "
            f"and the one before is in {saved}/. Close the editors and run this again.",
            3,
        )

    def put_back(self, before: dict[str, Any] | None) -> int:
        """The draft as it was, where it is still what was written here."""
        now = self.dify.draft()
        if before is None or now is None:
            self.pending.unlink()
            return 0
        if differs(now, self.kit):
            self.pending.unlink()
            say("Somebody saved the draft since; theirs stays. The one before is in the folder that was saved.")
            return 0
        try:
            if differs(before, self.kit):
                self.dify.write(kept(before), now["hash"])
        except Refused as error:
            say(
                f"The draft could not be put back ({error}); it is in {load(self.pending)['saved']}/. Run this again."
            )
            return 3
        except Lost:
            if not same(self.dify.draft(), before):
                say(f"The draft was not put back; it is in {load(self.pending)['saved']}/. Run this again.")
                return 3
        self.pending.unlink()
        say("The draft is as it was before, unpublished work included. Do not publish it before the fault is mended.")
        return 0


def same(one: dict[str, Any] | None, other: dict[str, Any]) -> bool:
    return one is not None and meaning(one) == meaning(other)


def hooks(data: dict[str, Any] | None) -> set[str]:
    """The ids of the webhook nodes."""
    nodes = (data["graph"].get("nodes") or []) if data else []
    return {str(node.get("id")) for node in nodes if (node.get("data") or {}).get("type") == "trigger-webhook"}


def told(live: dict[str, Any] | None) -> str:
    """A version in a few words."""
    if live is None:
        return "nothing"
    name = live.get("marked_name") or ""
    return f"{live.get('id')}, version {live.get('version')}" + (f", {name!r}" if name else "")


def main() -> int:
    """Read the kit and the command line, and run."""
    parser = argparse.ArgumentParser(
        description="Roll one Dify app back to the version in kit.json, without Lastgood."
    )
    parser.add_argument("--dry-run", action="store_true", help="look, and change nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask before it is done")
    parser.add_argument("--url", help="where the server's console is, if not where kit.json says")
    given = parser.parse_args()
    facts = load(HERE / "kit.json")
    if not isinstance(facts, dict) or facts.get("format") != 1:
        raise Stop("There is no kit.json of a kit that this script can read beside it. Nothing was changed.")
    dify = Dify(given.url or facts["server"]["url"], facts["app"]["id"])
    dify.sign_in(facts["server"].get("workspace") or os.environ.get("DIFY_WORKSPACE_ID", ""))
    return Rollback(facts, dify, given.dry_run, given.yes).run()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Stop as stop:
        print(stop, file=sys.stderr)
        sys.exit(stop.code)
    except Refused as error:
        print(
            f"Dify answered {error}. Nothing more was done; run this again to see how things stand.", file=sys.stderr
        )
        sys.exit(3 if (HERE / "unfinished.json").exists() else 1)
    except Lost as error:
        print(f"No answer came ({error}). Nothing more was done; run this again, it goes on.", file=sys.stderr)
        sys.exit(3 if (HERE / "unfinished.json").exists() else 1)
    except (KeyboardInterrupt, EOFError):
        print("Stopped. Run this again; it looks first.", file=sys.stderr)
        sys.exit(3 if (HERE / "unfinished.json").exists() else 130)
