"""What `lastgood.toml` declares of the world around the workflows: services and who answers for them, middleware,
hooks, listeners, health endpoints, data checks and which channels are protected.

Each is a table of its own with a name, such as ``[services.order-api]``. A plan that comes by API names them, and
never a command or an address of its own."""

import re
from collections.abc import Iterable
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from lastgood import windows
from lastgood.windows import Window

Criticality = Literal["low", "medium", "high", "critical"]
Names = tuple[str, ...]
HOOK_SECONDS = 60.0
_SOURCE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,60}")


def matches(patterns: Iterable[str], name: str) -> bool:
    """Whether one of `patterns` (``prod-*``, ``*.orders.internal``) is `name`'s."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _source_name(name: str) -> str:
    if name == "local" or not _SOURCE_NAME.fullmatch(name):
        raise ValueError(
            "a name is lower-case letters, digits and dashes, and not `local`, which is what people grant"
        )
    return name


SourceName = Annotated[str, AfterValidator(_source_name)]


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Service(_Declared):
    """A service that uses workflows, or that workflows call, and the person who answers for it."""

    owner: str = Field(default="", description="The responsible person or team, as people write to them.")
    criticality: Criticality = "medium"
    workflows: Names = Field(
        default=(), description="Slugs of the workflows that it calls; patterns such as prod-* too."
    )
    hosts: Names = Field(default=(), description="Hosts that belong to it; patterns such as *.orders.internal too.")
    keys: Names = Field(default=(), description="Names or ids of the app keys that it calls with.")
    depends_on: Names = Field(default=(), description="Services that it calls in turn.")
    module: str = Field(default="", description="What people call the part of the business, such as 'payment'.")


class Middleware(_Declared):
    """A queue, cache or database that workflows need, at a version in a range."""

    kind: Literal["redis", "postgresql", "mysql", "sqlite", "http", "declared"] = "declared"
    url: str = Field(default="", description="Where to ask for its version; env:NAME reads it from the environment.")
    range: str = Field(default="", description="The versions that are good, such as '>=7,<8' (PEP 440).")
    version: str = Field(default="", description="Its version, where it cannot be asked.")
    hosts: Names = ()
    workflows: Names = Field(default=("*",), description="The workflows that need it.")


class Hook(_Declared):
    """A command that a plan may name to run before or after a rollback."""

    command: Annotated[tuple[str, ...], Field(min_length=1)]
    timeout: float = Field(default=HOOK_SECONDS, gt=0, le=86_400)
    environment: dict[str, str] = {}


class Listener(_Declared):
    """Something that must learn of a move. `{version}`, `{from}`, `{workflow}` and `{channel}` stand for its own."""

    kind: Literal["file", "systemd", "docker", "command", "http"]
    workflows: Names = Field(default=("*",), description="The workflows whose moves it learns of.")
    channels: Names = ("live",)
    required: bool = Field(default=True, description="Whether a move counts as failed when it does not acknowledge.")
    timeout: float = Field(default=30.0, gt=0, le=3600)
    directory: str = Field(default="", description="file: where current_version.txt and versions.log are kept.")
    unit: str = Field(default="", description="systemd: the unit, restarted.")
    container: str = Field(
        default="", description="docker: the container to start; with {version} the old one's is stopped."
    )
    command: tuple[str, ...] = Field(default=(), description="command: what to run.")
    url: str = Field(default="", description="http: what to POST the move to.")


class Health(_Declared):
    """An endpoint that answers 200 while all is well."""

    url: str
    workflows: Names = ("*",)
    timeout: float = Field(default=5.0, gt=0, le=300)


class DataCheck(_Declared):
    """A number that a rollback must not change by more than a tolerance: rows of a table, or what a query gives."""

    url: str = Field(description="SQLAlchemy URL; env:NAME reads it from the environment.")
    table: str = Field(default="", description="Count the rows of this table …")
    query: str = Field(default="", description="… or take the one value of this query.")
    tolerance: float = Field(
        default=0.0, ge=0, description="The relative difference that is allowed: 0.01 is one per cent."
    )
    workflows: Names = ("*",)
    timeout: float = Field(default=30.0, gt=0, le=3600, description="Seconds that counting may take.")


class Dependency(_Declared):
    """An external service that must answer with the credential that the workflow calls it with."""

    url: str
    header: str = Field(
        default="", description="Such as 'Authorization: Bearer {secret}'; {secret} is the variable's value."
    )
    secret: str = Field(default="", description="The secret variable of the version whose value is sent.")
    workflows: Names = ("*",)
    timeout: float = Field(default=10.0, gt=0, le=300)


class Position(_Declared):
    """Where the consumer of an event queue stands: recorded before a move, compared or reset after it."""

    command: Annotated[tuple[str, ...], Field(min_length=1, description="Prints the position as JSON.")]
    reset: tuple[str, ...] = Field(
        default=(), description="Sets the position; the recorded one comes on standard input."
    )
    workflows: Names = ("*",)
    timeout: float = Field(default=30.0, gt=0, le=3600)


class GrantSource(_Declared):
    """Where people's roles really live, ``[grants.NAME]``: `kind` says how they are learnt. What belongs to one kind
    is marked with it."""

    kind: str = Field(
        min_length=1,
        max_length=16,
        description="kafka, push, dify, url, or the name of an entry point of the group lastgood.grant_sources.",
    )
    brokers: str = Field(default="", description="kafka: host:port, several with commas.")
    topic: str = Field(default="", description="kafka: the topic that events come on.")
    group: str = Field(default="lastgood", description="kafka: the group that offsets are committed for, to be seen.")
    config: dict[str, str] = Field(
        default={},
        repr=False,
        description="kafka: more settings of librdkafka, such as security.protocol; env:NAME reads a value from the "
        "environment.",
    )
    batch: int = Field(default=500, ge=1, le=10_000, description="kafka: events per transaction at most.")
    secret: str = Field(
        default="",
        repr=False,
        description="push: env:NAME of the variable that holds the secret (whsec_…); empty: the one that "
        "`lastgood acl secret NAME` made.",
    )
    server: str = Field(default="", description="dify: the connected server whose members are read.")
    user: Literal["email", "name", "id"] = Field(default="email", description="dify: what a member is called here.")
    url: str = Field(
        default="",
        description="url: where the list is; kafka and push: where a list is to compare with.",
    )
    token: str = Field(
        default="", repr=False, description="url: bearer token for it; env:NAME reads it from the environment."
    )
    poll_minutes: float = Field(
        default=15.0, gt=0, description="dify, url: minutes between two readings of the list."
    )
    options: dict[str, str] = Field(default={}, description="What an entry point takes.")
    roles: dict[str, str] = Field(
        default={},
        description="The source's roles and ours for them. Where it is given, other roles are not let in.",
    )
    policy: Literal["report", "source-wins"] = Field(
        default="report", description="What a consistency check does about what differs."
    )
    full_hours: float = Field(default=24.0, ge=0, description="Hours between full comparisons; 0: none.")
    incremental_minutes: float = Field(
        default=60.0, ge=0, description="Minutes between comparisons by digests; 0: none."
    )
    most_revoked: float = Field(
        default=0.2, ge=0, le=1, description="Share of its grants that one list may take away without being asked."
    )
    future_hours: float = Field(
        default=24.0, gt=0, description="How far in the future the time of an event may lie before it is refused."
    )

    @property
    def by_lists(self) -> bool:
        """Whether it is learnt by lists alone."""
        return self.kind not in ("kafka", "push")

    @property
    def has_list(self) -> bool:
        """Whether there is a list of it: to learn it by, or to compare with."""
        return self.by_lists or bool(self.url)


class GrantFeed(_Declared):
    """A compacted Kafka topic that every change of a grant goes to, ``[feeds.NAME]``."""

    brokers: str = Field(min_length=1, description="host:port, several with commas.")
    topic: str = Field(min_length=1, description="The topic; cleanup.policy=compact is for who makes it to set.")
    config: dict[str, str] = Field(
        default={},
        repr=False,
        description="More settings of librdkafka; env:NAME reads a value from the environment.",
    )
    fenced: bool = Field(
        default=True,
        description="Whether it is written by transactions, so that a process that was stopped for long and wakes "
        "cannot write what is old after what is new.",
    )


class Rollback(_Declared):
    """How rollbacks are done where a plan does not say otherwise."""

    on_verification_failure: Literal["undo", "keep", "ask"] = "keep"
    window_minutes: int = Field(
        default=0, ge=0, description="A target proven so lately is not proven again by smoke requests; 0: always."
    )
    callers: int = Field(default=1000, ge=0, description="How many of the last requests are held against the target.")
    rehearse_hours: float = Field(
        default=0.0, ge=0, description="How often each live workflow is rehearsed; 0: never."
    )
    pre_hook: str = ""
    post_hook: str = ""
    responsible: str = ""


class Bucket(_Declared):
    """A place in an S3-compatible store, ``[audit.s3]``."""

    endpoint: str = Field(description="Its address, such as https://s3.eu-central-1.amazonaws.com.")
    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    region: str = "us-east-1"
    prefix: str = Field(default="", description="What the names of the objects begin with, such as lastgood/.")
    access_key: str = Field(
        default="env:AWS_ACCESS_KEY_ID", repr=False, description="env:NAME reads the environment."
    )
    secret_key: str = Field(default="env:AWS_SECRET_ACCESS_KEY", repr=False)


class Audit(_Declared):
    """When the audit log's checkpoints are signed and where they go, ``[audit]``."""

    checkpoint_seconds: float = Field(
        default=60.0, ge=1, le=86_400, description="Seconds between two checkpoints, if anything happened between."
    )
    file: Path | None = Field(default=None, description="A file that each checkpoint is appended to.")
    git: Path | None = Field(default=None, description="A Git repository that each checkpoint is committed to.")
    git_push: bool = Field(default=False, description="Whether it is pushed then.")
    s3: Bucket | None = None
    callback: str = Field(
        default="", description="URL that each checkpoint is posted to; env:NAME is read.", repr=False
    )
    callback_secret: str = Field(
        default="", description="Secret of its signature (Standard Webhooks, whsec_…); env:NAME is read.", repr=False
    )


class Freeze(_Declared):
    """A time in which a protected channel gets nothing new (see `lastgood.windows` for its forms)."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    from_: str | datetime = Field(alias="from", description="2026-12-20T00:00Z, 'fri 16:00' or '22:00'.")
    to: str | datetime = Field(description="The same form.")
    zone: str = Field(default="UTC", description="On whose clocks, such as Europe/Berlin.")
    reason: str = Field(min_length=1, max_length=500, description="What a person is told who is refused.")

    @model_validator(mode="after")
    def _readable(self) -> Self:
        self.window()
        return self

    def window(self) -> Window:
        """The window that it declares."""
        return windows.read(self.from_, self.to, self.zone)


class Protected(_Declared):
    """Channels that get nothing new without the approval of another identity, and at times nothing at all."""

    workflows: Annotated[Names, Field(min_length=1, description="Slugs; patterns such as prod-* too.")]
    channels: Annotated[Names, Field(min_length=1)] = ("live",)
    approvals: int = Field(
        default=1, ge=0, le=9, description="Identities other than the asking one; 0 for freezes only."
    )
    approval_hours: float = Field(default=4.0, gt=0, le=720, description="How long an approval counts.")
    rollback_needs_approval: bool = Field(
        default=False, description="Whether a plain rollback to a version that was there needs one too."
    )
    freezes: tuple[Freeze, ...] = ()


class DifyServer(_Declared):
    """What is set for one connected Dify server, ``[dify.NAME]``."""

    database: str = Field(
        default="",
        description="PostgreSQL URL of Dify's own database, for the way `database`; env:NAME reads it from the "
        "environment.",
    )


class Dify(BaseModel):
    """How Dify servers are written to, ``[dify]``; a table in it is one server's."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, DifyServer]

    correct: bool = Field(
        default=True,
        description="Whether what somebody's editor saved between our write and our publish is published over, once.",
    )
    heal: bool = Field(default=False, description="Whether drift is put back without being asked.")

    def server(self, name: str) -> DifyServer:
        """What is set for the server `name`."""
        return self.__pydantic_extra__.get(name, DifyServer())


class Oidc(_Declared):
    """An identity provider (OpenID Connect) that people sign in with, ``[oidc]``."""

    issuer: str = Field(default="", description="Its issuer URL, such as https://login.example.com/realms/main.")
    client_id: str = Field(default="", description="What Lastgood is called there.")
    client_secret: str = Field(
        default="", repr=False, description="The secret of that client; env:NAME reads it from the environment."
    )
    redirect_url: str = Field(
        default="", description="Where the provider sends people back to: https://HOST/v1/session/oidc/callback."
    )
    scopes: Names = ("openid", "profile", "email")
    name_claim: str = Field(
        default="", description="The claim that names a person here; preferred_username, else a verified email."
    )
    groups_claim: str = Field(default="groups", description="The claim that lists the groups of a person.")
    groups: dict[str, str] = Field(
        default={}, description="The role that each group gives, such as sre = 'releaser'."
    )
    after: str = Field(
        default="/v1/session",
        pattern=r"^/([A-Za-z0-9._~-][A-Za-z0-9._~/?=&-]*)?$",
        description="Where a browser goes when it has signed in: a path here.",
    )
