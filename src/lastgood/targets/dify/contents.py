"""Documents from and to the form in which Dify's console API carries them."""

import json
from collections.abc import Mapping
from typing import Protocol

from lastgood import dsl
from lastgood.targets.dify.forms import Workflow


class Named(Protocol):
    """What gives a document its name and mode: Dify's app, ours, or the workflow."""

    @property
    def name(self) -> str: ...

    @property
    def mode(self) -> str: ...


def document_of(app: Named, workflow: Workflow, secrets: Mapping[str, str] | None = None) -> dsl.Document:
    """The document that `workflow` (a version or the draft) holds, with the values of its secret variables where
    `secrets` gives them; the API shows masks in their place, which never become values.

    It means the same as Dify's export of it (`dsl.semantic_digest`), but for dataset ids, which exports encrypt. Of
    the app only name and mode are in it: pass the workflow that it is kept under, and a new name of the app in Dify
    makes no other content. Raises `InvalidDocument`."""
    document = dsl.parse(json.dumps(dict(workflow.raw)), source=f"version {workflow.version}")
    named = dsl.Document({**document.data, "app": {"name": app.name, "mode": app.mode}})
    bare, _ = dsl.take_secrets(named)
    return dsl.put_secrets(bare, secrets or {})


def secrets_of(export: str) -> dict[str, str]:
    """The values of the secret variables in an export (YAML) that was made with them; empty ones and masks are left
    out. Raises `InvalidDocument`."""
    _, values = dsl.take_secrets(dsl.parse(export, source="the export"))
    return values
