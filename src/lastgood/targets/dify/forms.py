"""What a Dify server answers, as frozen values. Each keeps the whole answer in `raw`, so that what a newer server
adds is carried on. Times are UTC. `raw` and secret values are left out of every `repr`."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from lastgood.targets.dify.fields import Fields

DRAFT = "draft"
MASK = "*" * 20
"""How Dify shows a secret value."""
KEEP = "[__HIDDEN__]"
"""As the value of a secret variable that the draft has under the same id: keep what is stored. Under any other id it
is stored as it stands."""

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Person:
    """Who did something."""

    id: str
    name: str
    email: str

    @classmethod
    def read(cls, data: Raw | None) -> Self | None:
        """From ``{id, name, email}``; None where there is none, or all are null."""
        if data is None:
            return None
        fields = Fields(data, "a person")
        return cls(fields.text("id"), fields.text_or("name"), fields.text_or("email")) if data.get("id") else None


@dataclass(frozen=True, slots=True)
class Account:
    """The account that is signed in."""

    id: str
    name: str
    email: str
    raw: Raw = field(repr=False)

    @classmethod
    def read(cls, data: object) -> Self:
        """From ``/account/profile``."""
        fields = Fields(data, "the account")
        return cls(fields.text("id"), fields.text_or("name"), fields.text_or("email"), fields.data)


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody of the workspace: `role` is owner, admin, editor, normal or dataset_operator; `status` active,
    pending, uninitialized, banned or closed."""

    id: str
    name: str
    email: str
    role: str
    status: str

    @classmethod
    def read(cls, data: object) -> Self:
        """From an item of ``/workspaces/current/members``."""
        fields = Fields(data, "a member")
        texts = (fields.text(name) for name in ("id", "name", "email", "role", "status"))
        return cls(*texts)


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace; `role` is the account's in it, where the server tells."""

    id: str
    name: str
    role: str
    current: bool
    raw: Raw = field(repr=False)

    @classmethod
    def read(cls, data: object) -> Self:
        """From an item of ``/workspaces`` or ``/workspaces/current``."""
        fields = Fields(data, "a workspace")
        current = fields.flag("current")
        return cls(
            fields.text("id"),
            fields.text_or("name"),
            fields.text_or("role"),
            True if current is None else current,
            fields.data,
        )


@dataclass(frozen=True, slots=True)
class Site:
    """An app's web page. `code` is the secret part of its address."""

    title: str
    code: str = field(repr=False)
    base_url: str
    updated_at: datetime | None
    raw: Raw = field(repr=False)

    @classmethod
    def read(cls, data: object) -> Self:
        """From `site` of an app."""
        fields = Fields(data, "the site")
        code = fields.text_or("code") or fields.text_or("access_token")
        base = fields.text_or("app_base_url")
        return cls(fields.text_or("title"), code, base, fields.moment("updated_at"), fields.data)


@dataclass(frozen=True, slots=True)
class App:
    """An app, from the list or in detail; `site`, `enable_api` and `enable_site` are only told in detail."""

    id: str
    name: str
    mode: str
    description: str
    created_at: datetime | None
    updated_at: datetime | None
    author: str
    enable_site: bool | None
    enable_api: bool | None
    max_active_requests: int | None
    api_base_url: str
    workflow: Raw | None = field(repr=False)
    site: Site | None
    raw: Raw = field(repr=False)

    @property
    def has_versions(self) -> bool:
        """Whether Dify keeps versions of it: workflows and chatflows only."""
        return self.mode in ("workflow", "advanced-chat")

    @classmethod
    def read(cls, data: object) -> Self:
        """From an item of ``/apps`` or ``/apps/{id}``."""
        fields = Fields(data, "an app")
        site = fields.mapping_or_none("site")
        return cls(
            id=fields.text("id"),
            name=fields.text_or("name"),
            mode=fields.text("mode"),
            description=fields.text_or("description"),
            created_at=fields.moment("created_at"),
            updated_at=fields.moment("updated_at"),
            author=fields.text_or("author_name"),
            enable_site=fields.flag("enable_site"),
            enable_api=fields.flag("enable_api"),
            max_active_requests=fields.count("max_active_requests"),
            api_base_url=fields.text_or("api_base_url"),
            workflow=fields.mapping_or_none("workflow"),
            site=None if site is None else Site.read(site),
            raw=fields.data,
        )


@dataclass(frozen=True, slots=True)
class Workflow:
    """A version of an app's workflow as Dify keeps it, or its draft. Values of secret variables are masks here."""

    id: str
    version: str
    graph: Raw = field(repr=False)
    features: Raw = field(repr=False)
    hash: str
    marked_name: str
    marked_comment: str
    created_by: Person | None
    created_at: datetime | None
    updated_by: Person | None
    updated_at: datetime | None
    tool_published: bool
    environment_variables: tuple[Raw, ...] = field(repr=False)
    conversation_variables: tuple[Raw, ...] = field(repr=False)
    rag_pipeline_variables: tuple[Raw, ...] = field(repr=False)
    raw: Raw = field(repr=False)

    @property
    def is_draft(self) -> bool:
        """Whether this is the draft, which Dify lists before the versions."""
        return self.version == DRAFT

    @property
    def published_at(self) -> datetime | None:
        """When it was published, to the microsecond: the version string is that time. None for the draft, and where
        a server names versions otherwise."""
        try:
            return datetime.fromisoformat(self.version).replace(tzinfo=UTC)
        except ValueError:
            return None

    @classmethod
    def read(cls, data: object) -> Self:
        """From ``…/workflows/draft``, ``…/workflows/publish`` or an item of ``…/workflows``."""
        fields = Fields(data, "a workflow")
        return cls(
            id=fields.text("id"),
            version=fields.text("version"),
            graph=fields.mapping("graph"),
            features=fields.mapping_or_none("features") or {},
            hash=fields.text_or("hash"),
            marked_name=fields.text_or("marked_name"),
            marked_comment=fields.text_or("marked_comment"),
            created_by=Person.read(fields.mapping_or_none("created_by")),
            created_at=fields.moment("created_at"),
            updated_by=Person.read(fields.mapping_or_none("updated_by")),
            updated_at=fields.moment("updated_at"),
            tool_published=bool(fields.flag("tool_published")),
            environment_variables=fields.mappings("environment_variables"),
            conversation_variables=fields.mappings("conversation_variables"),
            rag_pipeline_variables=fields.mappings("rag_pipeline_variables"),
            raw=fields.data,
        )


@dataclass(frozen=True, slots=True)
class Page[T]:
    """One page of a list."""

    items: tuple[T, ...]
    page: int
    has_more: bool
    total: int | None

    @classmethod
    def read(cls, data: object, name: str, read: Callable[[Any], T]) -> "Page[T]":
        """From ``{<name>: […], page, has_more, total?}``."""
        fields = Fields(data, "a page")
        items = fields.each(name, read)
        return cls(items, fields.count("page", 1) or 1, bool(fields.flag("has_more")), fields.count("total"))


@dataclass(frozen=True, slots=True)
class Synced:
    """The draft was written; `hash` is the one to send with the next write."""

    hash: str
    updated_at: datetime | None

    @classmethod
    def read(cls, data: object) -> Self:
        """From a draft's write or a restore."""
        fields = Fields(data, "the answer to a write of the draft")
        return cls(fields.text("hash"), fields.moment("updated_at"))


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of an import: ``completed``, ``completed-with-warnings``, ``pending`` (to be confirmed) or
    ``failed``."""

    id: str
    status: str
    app_id: str
    server_dsl_version: str
    dsl_version: str
    error: str
    raw: Raw = field(repr=False)

    @classmethod
    def read(cls, data: object) -> Self:
        """From ``/apps/imports``, whatever its HTTP status."""
        fields = Fields(data, "the answer to an import")
        return cls(
            fields.text("id"),
            fields.text("status"),
            fields.text_or("app_id"),
            fields.text_or("current_dsl_version"),
            fields.text_or("imported_dsl_version"),
            fields.text_or("error"),
            fields.data,
        )


def content_hash(graph: Raw, features: Raw | None = None) -> str:
    """The `hash` that Dify gives a workflow: of the graph alone, or of graph and features, by server. It tells
    nothing of variables, and hashes of different servers do not compare."""
    content = {"graph": graph} if features is None else {"graph": graph, "features": features}
    return hashlib.sha256(f"{json.dumps(content, sort_keys=True)}None".encode()).hexdigest()
