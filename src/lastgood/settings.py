"""The settings: defaults, then ``lastgood.toml``, then ``LASTGOOD_*`` variables; command-line flags win.

The file is looked for in the data directory (``LASTGOOD_HOME``, else ``~/.lastgood``)."""

import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from lastgood.catalogue import (
    Audit,
    DataCheck,
    Dependency,
    Dify,
    GrantFeed,
    GrantSource,
    Health,
    Hook,
    Listener,
    Middleware,
    Oidc,
    Position,
    Protected,
    Rollback,
    Service,
    SourceName,
)
from lastgood.errors import InvalidSetting


class Settings(BaseSettings):
    """All settings of one process. Fields are read-only; the description of each is its documentation."""

    model_config = SettingsConfigDict(env_prefix="LASTGOOD_", frozen=True, extra="forbid")

    home: Path = Field(default_factory=lambda: Path.home() / ".lastgood", description="The data directory.")
    database: str = Field(
        default="",
        description="PostgreSQL URL (postgresql://…) of the store; empty means SQLite in the data directory.",
    )
    keyring: str = Field(
        default="",
        description="The key ring itself, base64 of its JSON; else it is keyring.json in the data directory.",
        repr=False,
    )
    keyring_from: str = Field(
        default="", description="The entry point of the group lastgood.keyrings that gives the key ring."
    )
    server: str = Field(default="", description="Address of a Lastgood server for the command line to talk to.")
    token: str = Field(default="", description="Token that the command line shows to a remote server.", repr=False)

    local_role: str = Field(
        default="admin",
        description="Role of whoever works on the data directory itself, without a server or on its machine.",
    )

    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8321, ge=0, le=65535)
    tls_cert: Path | None = Field(
        default=None, description="Certificate (PEM, with its chain) of the management API; tls_key is its key."
    )
    tls_key: Path | None = Field(default=None, description="Private key (PEM) of tls_cert.")
    trusted_proxies: tuple[str, ...] = Field(
        default=(),
        description="Addresses or networks of the proxies with TLS before the management API: what they say of"
        " clients (X-Forwarded-For, -Proto, -Host) is believed, and beyond loopback nobody else is let in.",
    )
    gateway_host: str = "127.0.0.1"
    gateway_port: int = Field(default=8322, ge=0, le=65535)
    trusted_network: bool = Field(
        default=False,
        description="Whether api_host and gateway_host may be other than loopback without TLS or a proxy, as inside a"
        " network of containers.",
    )
    gateway_workers: int = Field(default=1, ge=1, le=64, description="Gateway processes.")
    engine_workers: int = Field(
        default=1, ge=0, le=64, description="Engine processes; 0 where every version runs on Dify."
    )

    retention: int = Field(default=10, ge=1, description="Newest versions per workflow that stay at hand.")
    reserve_bytes: int = Field(
        default=8 * 2**20, ge=0, description="Disk space kept aside so that a rollback works on a full disk."
    )
    on_store_loss: Literal["stop", "serve"] = Field(
        default="stop",
        description="What a gateway worker does that cannot reach a PostgreSQL store.",
    )
    lease_seconds: float = Field(default=3.0, gt=0.2, le=60, description="Lease of a gateway worker (PostgreSQL).")
    upstream_timeout: float = Field(default=300.0, gt=0, description="Seconds a gateway waits for an upstream.")
    connect_timeout: float = Field(default=3.0, gt=0, description="Seconds a gateway waits for a connection.")
    body_timeout: float = Field(
        default=30.0, gt=0, description="Seconds a client has to send a run or chat body, or the next part of a file."
    )
    gateway_grace: float = Field(
        default=30.0, ge=0, description="Seconds a stopping gateway lets streams in flight go on."
    )
    max_body_bytes: int = Field(default=15 * 2**20, gt=0, description="Largest run or chat body (read whole).")
    record_calls: bool = Field(
        default=True,
        description="Whether gateway workers record who calls, and the names and types of what goes in and out.",
    )

    shield_inputs: bool = Field(
        default=True, description="Whether the gateway checks inputs before it bothers a Dify server with them."
    )
    assemble_chats: bool = Field(
        default=True, description="Whether blocking answers of chatflows on Dify are put together from a stream."
    )
    stream_idle_seconds: float = Field(
        default=60.0, gt=0, description="Seconds a stream from Dify may go without progress; pings are none."
    )
    hang_seconds: float = Field(
        default=300.0, gt=0, description="Seconds after which Dify has surely let go of a call that was left."
    )
    upstream_calls: int = Field(
        default=8, ge=1, description="Runs in flight per Dify server, shared out among gateway_workers."
    )
    queue_calls: int = Field(default=32, ge=0, description="Runs per Dify server that may wait for a place.")
    queue_seconds: float = Field(default=5.0, gt=0, description="Seconds a run may wait for a place.")
    breaker_failures: int = Field(
        default=5, ge=0, description="Failures in a row after which a Dify server is left alone; 0 for never."
    )
    breaker_seconds: float = Field(default=10.0, gt=0, description="Seconds for which it is left alone.")
    conversations: Literal["pinned", "move"] = Field(
        default="pinned",
        description="Whether a conversation on Dify stays on the version it began on, or moves at the next message.",
    )
    metrics_from: Literal["loopback", "any"] = Field(
        default="loopback", description="Who may read /metrics of a gateway worker."
    )

    run_timeout: float = Field(default=300.0, gt=0, description="Seconds one run on the embedded engine may take.")
    code_timeout: float = Field(default=15.0, gt=0, description="CPU and wall seconds a code node may take.")
    code_memory: int = Field(default=512 * 2**20, gt=0, description="Bytes of address space of a code node.")
    http_allow_private: bool = Field(
        default=False, description="Whether http-request nodes may reach private and loopback addresses."
    )
    llm_base_url: str = Field(default="", description="OpenAI-compatible endpoint of llm nodes.")
    llm_api_key: str = Field(default="", description="Key for it.", repr=False)
    llm_model: str = Field(default="", description="Model asked for instead of the one a node names.")

    trigger_channels: tuple[str, ...] = Field(
        default=("live",), description="Channels whose triggers fire; the one of rehearsals never does."
    )
    trigger_grace: float = Field(
        default=300.0, ge=60, description="Seconds after which the slot of a schedule that nobody ran is passed over."
    )

    watch_seconds: float = Field(
        default=20.0, ge=0, description="Seconds between two looks at each Dify server; 0 looks at none."
    )
    draft_keep: int = Field(default=50, ge=1, description="Newest states of each draft that are kept.")
    draft_days: float = Field(default=30.0, ge=0, description="Days that a state of a draft is kept at least.")
    evidence_runs: int = Field(
        default=30, ge=1, description="Finished runs in Dify's logs from which on they can prove a version."
    )
    evidence_failures: float = Field(
        default=0.10,
        ge=0,
        le=1,
        description="Share of failed runs that a version proven by Dify's logs surely (95 %) does not exceed.",
    )

    session_hours: float = Field(default=12.0, gt=0, le=24 * 30, description="Hours after which a session ends.")
    session_idle_minutes: float = Field(
        default=60.0, ge=2, description="Minutes without a request after which a session ends."
    )
    oidc: Oidc = Field(default_factory=Oidc, description="The identity provider that people sign in with.")

    rules: dict[str, str] = Field(
        default={},
        description="Change rules raised to a severity or a tier, such as model-changed = 'breaking'.",
    )
    rollback: Rollback = Field(default_factory=Rollback, description="How rollbacks are done.")
    dify: Dify = Field(default=Dify.model_validate({}), description="How Dify servers are written to.")
    services: dict[str, Service] = Field(default={}, description="The service catalogue.")
    middleware: dict[str, Middleware] = Field(
        default={}, description="Queues, caches and databases that workflows need."
    )
    hooks: dict[str, Hook] = Field(default={}, description="Commands that plans may name.")
    listeners: dict[str, Listener] = Field(default={}, description="What must learn of a move.")
    health: dict[str, Health] = Field(default={}, description="Endpoints that must answer 200 after a move.")
    data_checks: dict[str, DataCheck] = Field(default={}, description="Numbers that a rollback must not change.")
    dependencies: dict[str, Dependency] = Field(
        default={}, description="External services that must accept our credential."
    )
    positions: dict[str, Position] = Field(default={}, description="Consumers of event queues.")
    audit_origin: str = Field(
        default="",
        description="Name of the audit log in its checkpoints, such as example.com/lastgood; made up when empty.",
    )
    audit: Audit = Field(
        default=Audit.model_validate({}),
        description="When the audit log's checkpoints are signed, and where they go.",
    )
    protected: dict[str, Protected] = Field(default={}, description="Channels that are changed by two people only.")
    break_glass_command: tuple[str, ...] = Field(
        default=(), description="Command that pages when somebody passes a protection by break-glass."
    )
    break_glass_url: str = Field(default="", description="URL that is told the same by POST, in JSON.", repr=False)
    grants: dict[SourceName, GrantSource] = Field(default={}, description="Where people's roles really live.")
    feeds: dict[SourceName, GrantFeed] = Field(default={}, description="Topics that changes of grants go to.")
    alert_webhook: str = Field(
        default="",
        validation_alias=AliasChoices("LASTGOOD_ALERT_WEBHOOK", "ALERT_WEBHOOK", "alert_webhook"),
        description="URL that is told `Rollback executed to v-…`.",
        repr=False,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        home = init_settings().get("home") or env_settings().get("home") or Path.home() / ".lastgood"
        toml = TomlConfigSettingsSource(settings_cls, Path(home) / "lastgood.toml")
        return init_settings, env_settings, toml


def load(**flags: Any) -> Settings:
    """The settings in force, `flags` (those that are not None) over everything else.

    Raises `InvalidSetting` naming the first setting that cannot be used."""
    given = {k: v for k, v in flags.items() if v is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")  # pydantic's words before ours
        value = first.get("input")
        shown = "…" if isinstance(value, dict | list | tuple) else str(value)  # a whole table may hold a key
        raise InvalidSetting(name=name, value=shown, reason=reason) from None
    except SettingsError as error:  # a variable that must hold JSON holds none; it may hold a key, so it is not shown
        found = re.search(r'field "(\w+)"', str(error))
        name = f"LASTGOOD_{found[1].upper() if found else '*'}"
        raise InvalidSetting(name=name, value="…", reason="it is a table, so write it as JSON") from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidSetting(name="lastgood.toml", value="", reason=str(error)) from None
