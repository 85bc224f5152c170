"""Documents made of what real servers' console API answered, against the exports of the same rows."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lastgood import dsl
from lastgood.targets.dify.contents import document_of, secrets_of
from lastgood.targets.dify.forms import Workflow
from support.shared import shared

_APP = re.compile(r"/console/api/apps/([0-9a-f-]{36})(/[^?]*)?(?:\?(.*))?")


@dataclass(frozen=True)
class Named:
    name: str = "an app"
    mode: str = "workflow"


def rows_of(body: Any) -> Iterator[dict[str, Any]]:
    """The rows of Dify's workflow table in an answer."""
    listed = body.get("items") if isinstance(body, dict) else None
    found: list[Any] = listed if isinstance(listed, list) else [body]
    for one in found:
        if isinstance(one, dict) and isinstance(one.get("graph"), dict) and one.get("version"):
            yield one


def test_a_row_of_the_api_means_what_its_export_means() -> None:
    compared = 0
    for path in sorted(shared("dify-recordings").glob("*/*.json")):
        if path.stem == "14_difyctl":  # there a command line changes drafts, unrecorded
            continue
        rows: dict[str, str] = {}
        for one in json.loads(path.read_text())["exchanges"]:
            match = _APP.fullmatch(one.get("path", ""))
            if match is None or one.get("status") != 200:
                continue
            app, what, query, body = match[1], match[2] or "", match[3] or "", one.get("response_json")
            if one["method"] != "GET":
                rows.pop(f"{app} draft", None)
            elif what == "/export":
                version = re.search(r"workflow_id=([0-9a-f-]{36})", query)
                known = rows.get(version[1] if version else f"{app} draft")
                if known is not None:
                    assert dsl.semantic_digest(dsl.parse(body["data"])) == known, f"{path.name}: {one['label']}"
                    compared += 1
            elif what.startswith("/workflows"):
                for row in rows_of(body):
                    digest = dsl.semantic_digest(document_of(Named(), Workflow.read(row)))
                    rows[f"{app} draft" if row["version"] == "draft" else row["id"]] = digest
    assert compared >= 6


def test_masks_become_no_values_and_exports_give_them() -> None:
    given, masks = 0, 0
    for path in sorted(shared("dify-recordings").glob("*/*.json")):
        for one in json.loads(path.read_text())["exchanges"]:
            body, url = one.get("response_json"), one.get("path", "")
            if one.get("status") != 200 or one.get("method") != "GET":
                continue
            if "/export?" in url and "include_secret=true" in url:
                given += len(secrets_of(body["data"]))
            elif "/workflows" in url:
                for row in rows_of(body):
                    document = document_of(Named(), Workflow.read(row))
                    secret = [item for item in document.environment_variables if item["value_type"] == "secret"]
                    assert all(item["value"] == "" for item in secret), f"{path.name}: {one['label']}"
                    masks += len(secret)
    assert given > 5 and masks > 10
