"""The files of an emergency kit, made from a version and what is known of the app that it runs on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final

from lastgood import dsl
from lastgood.db.tx import Tx
from lastgood.dsl import datasets
from lastgood.dsl.identities import Path, identities, replaced
from lastgood.errors import NothingGood, NothingLive
from lastgood.history import apps, channels, versions
from lastgood.history.apps import App
from lastgood.history.channels import Channel
from lastgood.history.versions import Version
from lastgood.history.workflows import Workflow
from lastgood.release import moves
from lastgood.targets.dify import KEEP, servers
from lastgood.targets.dify.servers import Server

FORMAT: Final = 1
SCRIPT, README, FACTS, DOCUMENT = "rollback.py", "README.txt", "kit.json", "document.yml"


@dataclass(frozen=True, slots=True)
class Kit:
    """The texts of a kit by file name; `warnings` are sentences on what it cannot do as it should."""

    version: Version
    app: App
    files: Mapping[str, str] = field(repr=False)
    warnings: tuple[str, ...] = ()


def make(tx: Tx, workflow: Workflow, channel: str, to: str | None = None) -> Kit:
    """The kit for the app that `channel` runs on, with the version `to`: when none is named, the live one where it is
    proven, else the last good one. Secret values are in none of its files.

    Raises `UnknownChannel`, `UnknownApp`, `UnknownVersion`, `NothingLive`, `NothingGood`."""
    app = apps.get(tx, workflow, channel)
    version = _version(tx, workflow, channels.get(tx, workflow, channel), to)
    document = versions.document_of(tx, version, whole=True)
    server = servers.get(tx, app.target)
    workspace = str(server.facts.get("workspace_id") or "")
    placed, warnings = _plain(document, workspace)
    if not workspace:
        warnings = (*warnings, "The workspace is not known; with ADMIN_API_KEY, set DIFY_WORKSPACE_ID to its id.")
    facts = {
        "format": FORMAT,
        "made_at": tx.now,
        "workflow": workflow.slug,
        "channel": channel,
        "server": _server(server, workspace),
        "app": {"id": app.app_id, "name": app.name, "mode": app.mode},
        "version": {
            "id": version.id,
            "digest": version.digest,
            "author": version.author,
            "note": version.note,
            "proof": moves.proof(tx, version),
        },
        "content": _content(placed),
        "warnings": list(warnings),
    }
    hidden = dict.fromkeys(dsl.secret_names(document), KEEP)
    files = {
        README: _packaged(README),
        DOCUMENT: dsl.to_yaml(_named(dsl.put_secrets(document, hidden), app)),
        SCRIPT: _packaged(SCRIPT),
        FACTS: json.dumps(facts, indent=1, ensure_ascii=False) + "\n",
    }
    return Kit(version, app, files, warnings)


def _named(document: dsl.Document, app: App) -> dsl.Document:
    """The document under the app's own name, since an import gives the app the name in the file at once."""
    named = document.data.get("app")
    return dsl.Document({**document.data, "app": {**(named if isinstance(named, dict) else {}), "name": app.name}})


def _version(tx: Tx, workflow: Workflow, channel: Channel, to: str | None) -> Version:
    if to is not None:
        return versions.find(tx, to, workflow)
    if channel.version_pk is None:
        raise NothingLive(channel=channel.name, workflow=workflow.slug)
    live = versions.by_pk(tx, channel.version_pk)
    found = live if live.state == "stable" else channels.last_good(tx, workflow, channel)
    if found is None:
        raise NothingGood(workflow=workflow.slug)
    return found


def _server(server: Server, workspace: str) -> dict[str, Any]:
    return {
        "name": server.name,
        "url": server.url,
        "service_url": server.service_url,
        "workspace": workspace,
        "version": server.facts.get("version", ""),
    }


def _plain(document: dsl.Document, workspace: str) -> tuple[dsl.Document, tuple[str, ...]]:
    """The document as Dify's API takes it: ids of knowledge bases plain. Says which cannot be read."""
    written: dict[Path, Any] = {}
    warnings = []
    for one in identities(document).identities:
        if one.kind == "knowledge_bases" and not datasets.is_plain(one.value):
            plain = datasets.decrypted(one.value, workspace) if workspace else None
            if plain is None:
                warnings.append(
                    f"{one.where}: the id of a knowledge base is encrypted and cannot be read; choose it anew."
                )
            else:
                written[one.path] = plain
    return replaced(document, written), tuple(warnings)


def _content(document: dsl.Document) -> dict[str, Any]:
    """Graph, features and variables as the API takes them, values of secrets left out."""
    bare, _ = dsl.take_secrets(document)
    return {
        "graph": bare.graph,
        "features": bare.features,
        "environment_variables": [_typed(item) for item in bare.environment_variables],
        "conversation_variables": bare.conversation_variables,
    }


def _typed(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "value_type": "number"} if item.get("value_type") in ("integer", "float") else item


def _packaged(name: str) -> str:
    return resources.files(__package__ or "").joinpath(name).read_text(encoding="utf-8")
