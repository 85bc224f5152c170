"""The tables of the main store. Times are UTC text (``2026-11-23T19:10:41.123456Z``), read by people and
sorted as text; order that matters never rests on them but on the growing integer keys, because clocks jump.

Only this package knows the tables' place; `history`, `release`, `access` and `gateway` build their statements
on them once, at import (a statement built per call costs more than the fsync it waits for)."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts rowids only in a column declared exactly INTEGER.
_Key = BigInteger().with_variant(Integer, "sqlite")


class Digest(TypeDecorator[str]):
    """A SHA-256 that is text (hex) in Python and 32 bytes in the database."""

    impl = LargeBinary(32)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        return None if value is None else bytes.fromhex(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str | None:
        return None if value is None else bytes(value).hex()


def _key() -> Column[int]:
    return Column("pk", _Key, primary_key=True, autoincrement=True)


def _time(name: str, *, nullable: bool = False, index: bool = False) -> Column[str]:
    return Column(name, String(27), nullable=nullable, index=index)


def _ref(name: str, target: str, *, nullable: bool = False, index: bool = False) -> Column[int]:
    return Column(name, _Key, ForeignKey(target), nullable=nullable, index=index)


workspace = Table("workspace", metadata, _key(), Column("name", String(63), nullable=False, unique=True))

# One row: grows by one with every change that the gateway must know. Readers ask for what is newer than theirs.
routing = Table("routing", metadata, _key(), Column("revision", BigInteger, nullable=False))

# The last running number given on a day, for the ids that carry one.
counter = Table(
    "counter",
    metadata,
    Column("workspace_pk", _Key, ForeignKey("workspace.pk"), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("day", String(8), primary_key=True),
    Column("last", Integer, nullable=False),
)

target = Table(
    "target",
    metadata,
    _key(),
    _ref("workspace_pk", "workspace.pk"),
    Column("name", String(63), nullable=False),
    # `service`: an upstream that speaks Dify's Service API; `dify`: a Dify server.
    Column("kind", String(16), nullable=False),
    # Where its Service API is, for the gateway: one or more, parted by spaces.
    Column("base_url", Text, nullable=False),
    # A Dify server's console, the sealed way into it (JSON), and what was learnt of it (JSON: version, abilities).
    Column("console_url", Text, nullable=False, server_default=""),
    Column("sealed", LargeBinary, nullable=True),
    Column("facts", Text, nullable=False, server_default="{}"),
    UniqueConstraint("workspace_pk", "name"),
)

workflow = Table(
    "workflow",
    metadata,
    _key(),
    _ref("workspace_pk", "workspace.pk"),
    Column("id", String(15), nullable=False),
    Column("slug", String(63), nullable=False),
    Column("name", Text, nullable=False),
    Column("mode", String(32), nullable=False),
    _ref("target_pk", "target.pk"),
    _time("created_at"),
    Column("created_by", Text, nullable=False),
    UniqueConstraint("workspace_pk", "id"),
    UniqueConstraint("workspace_pk", "slug"),
)

# What blobs are compressed with. The id is made of the body, so that a body never changes under it.
dictionary = Table(
    "dictionary",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    # The greatest key of a blob when it was added: how much it has seen.
    Column("seen", BigInteger, nullable=False),
    _time("created_at"),
    Column("body", LargeBinary, nullable=False),
)

# The parts of documents. The address is the beginning of the SHA-256 of the part, and not unique.
blob = Table(
    "blob",
    metadata,
    _key(),
    Column("address", BigInteger, nullable=False, index=True),
    Column("dictionary_id", Integer, ForeignKey("dictionary.id"), nullable=True),
    Column("level", SmallInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

# What is at hand, and what retention has moved away. `snapshot.archived_at` is the mark that says which. `size` is
# that of the canonical document, `body` the manifest: what names its blobs.
content = Table(
    "content",
    metadata,
    Column("digest", Digest, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
archive = Table(
    "archive",
    metadata,
    Column("digest", Digest, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

snapshot = Table(
    "snapshot",
    metadata,
    _key(),
    _ref("workspace_pk", "workspace.pk"),
    Column("id", String(32), nullable=False),
    Column("digest", String(64), nullable=False, index=True),
    Column("semantic_digest", String(64), nullable=False, index=True),
    # The version that was kept by hand; null where versions share the snapshot.
    Column("kept_version_pk", _Key, nullable=True, index=True),
    Column("note", Text, nullable=False),
    _time("created_at"),
    Column("created_by", Text, nullable=False),
    _time("archived_at", nullable=True),
    UniqueConstraint("workspace_pk", "id"),
)

version = Table(
    "version",
    metadata,
    _key(),
    _ref("workspace_pk", "workspace.pk"),
    Column("id", String(20), nullable=False),
    _ref("workflow_pk", "workflow.pk"),
    _ref("snapshot_pk", "snapshot.pk", index=True),
    _ref("parent_pk", "version.pk", nullable=True),
    Column("state", String(16), nullable=False),
    Column("origin", String(16), nullable=False),
    Column("semver", String(64), nullable=True),
    Column("author", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("pinned", Boolean, nullable=False),
    # Whether its snapshot is not archived: here too, because retention looks for a few among many.
    Column("at_hand", Boolean, nullable=False),
    _time("authored_at"),
    _time("recorded_at"),
    UniqueConstraint("workspace_pk", "id"),
    CheckConstraint("state in ('candidate', 'stable', 'failed')", name="state"),
    Index("ix_version_workflow", "workflow_pk", "pk"),
    Index("ix_version_workflow_state", "workflow_pk", "state", "pk"),
    Index("ix_version_workflow_at_hand", "workflow_pk", "at_hand", "pk"),
)

secret = Table(
    "secret",
    metadata,
    Column("version_pk", _Key, ForeignKey("version.pk"), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)

evidence = Table(
    "evidence",
    metadata,
    _key(),
    _ref("version_pk", "version.pk", index=True),
    Column("kind", String(16), nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("detail", Text, nullable=False),
    # The workflow's last move when it came (0: none yet): its place among the moves, which no clock can change.
    Column("after_move", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    _time("at"),
)

smoke = Table(
    "smoke",
    metadata,
    _key(),
    _ref("workflow_pk", "workflow.pk", index=True),
    Column("id", String(20), nullable=False, unique=True),
    Column("inputs", Text, nullable=False),
    Column("query", Text, nullable=False),
    Column("expect", Text, nullable=False),
    Column("max_ms", Integer, nullable=True),
    _time("created_at"),
    Column("created_by", Text, nullable=False),
)

channel = Table(
    "channel",
    metadata,
    _key(),
    _ref("workflow_pk", "workflow.pk"),
    Column("name", String(63), nullable=False),
    _ref("version_pk", "version.pk", nullable=True, index=True),
    Column("generation", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False, index=True),
    # The operation that is moving it on a target that needs several steps; null when at rest.
    Column("applying", String(20), nullable=True),
    _time("updated_at"),
    UniqueConstraint("workflow_pk", "name"),
)

move = Table(
    "move",
    metadata,
    _key(),
    _ref("workflow_pk", "workflow.pk", index=True),
    _ref("channel_pk", "channel.pk"),
    _ref("from_pk", "version.pk", nullable=True),
    _ref("to_pk", "version.pk"),
    Column("generation", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("operation", String(20), nullable=True),
    _time("at", index=True),
    UniqueConstraint("channel_pk", "generation"),
)

app_key = Table(
    "app_key",
    metadata,
    _key(),
    _ref("channel_pk", "channel.pk", index=True),
    Column("id", String(20), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("prefix", String(16), nullable=False),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("revision", BigInteger, nullable=False, index=True),
    _time("created_at"),
    Column("created_by", Text, nullable=False),
    _time("revoked_at", nullable=True),
    # Dify's id of the key, where it is one of an app there.
    Column("placed_id", String(64), nullable=True),
)

token = Table(
    "token",
    metadata,
    _key(),
    Column("name", String(63), nullable=False, unique=True),
    Column("hash", LargeBinary, nullable=False, unique=True),
    _time("created_at"),
    Column("created_by", Text, nullable=False, server_default=""),
    _time("expires_at", nullable=True),
    _time("used_at", nullable=True),
)

# People. What services (jobs, watch, guard) and tokens may do is told by grants alone, by their subject.
person = Table(
    "person",
    metadata,
    _key(),
    _ref("workspace_pk", "workspace.pk"),
    Column("name", String(255), nullable=False),
    Column("display", Text, nullable=False, server_default=""),
    Column("email", Text, nullable=False, server_default=""),
    # Argon2id in PHC form; null for who signs in elsewhere.
    Column("password", Text, nullable=True),
    Column("issuer", Text, nullable=True),
    Column("issuer_subject", Text, nullable=True),
    _time("disabled_at", nullable=True),
    _time("created_at"),
    Column("created_by", Text, nullable=False),
    _time("seen_at", nullable=True),
    UniqueConstraint("workspace_pk", "name"),
    UniqueConstraint("issuer", "issuer_subject"),
)

# A signed-in browser. `roles` (JSON) are those that the identity provider's groups gave at sign-in.
session = Table(
    "session",
    metadata,
    _key(),
    _ref("person_pk", "person.pk", index=True),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("roles", Text, nullable=False, server_default="[]"),
    Column("address", Text, nullable=False),
    _time("created_at"),
    _time("seen_at"),
    _time("expires_at", index=True),
)

# Failed sign-ins, counted by what is attacked (``name/u1002``) and by who attacks (``address/192.0.2.7``).
sign_in = Table(
    "sign_in",
    metadata,
    Column("key", String(300), primary_key=True),
    Column("failures", Integer, nullable=False),
    _time("last_at"),
    _time("locked_until", nullable=True),
)

# One row: grows by one with every change of a role or a grant. Readers ask for what is newer than theirs, and the
# same number is the sequence of the feed of permissions.
access = Table("access", metadata, _key(), Column("revision", BigInteger, nullable=False))

# Roles that people made; the built-in ones stand in the code.
role = Table(
    "role",
    metadata,
    _key(),
    _ref("workspace_pk", "workspace.pk"),
    Column("name", String(63), nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    # JSON: a list of {"effect", "actions", "resources"}.
    Column("rules", Text, nullable=False),
    # False: taken away; the row stays, so that readers learn of it.
    Column("present", Boolean, nullable=False),
    Column("revision", BigInteger, nullable=False, index=True),
    _time("changed_at"),
    Column("changed_by", Text, nullable=False),
    UniqueConstraint("workspace_pk", "name"),
)

# Who has which role on what, by source. A row that was revoked stays: it decides what a late event may still do, and
# is the tombstone of the feed.
grant = Table(
    "access_grant",
    metadata,
    _key(),
    _ref("workspace_pk", "workspace.pk"),
    # ``u1002``, ``token:ci``, ``service:guard``, ``local``.
    Column("subject", String(255), nullable=False, index=True),
    Column("role", String(63), nullable=False),
    # ``*``, ``workflow:prod-invoice``, ``workflow:prod-*``.
    Column("resource", String(255), nullable=False),
    # ``local``, or the name of the source that events and polls come from.
    Column("source", String(63), nullable=False),
    Column("present", Boolean, nullable=False),
    # The Unix seconds and the place (offset) of the event that made it so; 0 for changes of our own.
    Column("event_at", BigInteger, nullable=False),
    Column("event_place", BigInteger, nullable=False),
    _time("expires_at", nullable=True),
    # The first byte of the SHA-256 of subject, role and resource: checks compare digests by it.
    Column("bucket", SmallInteger, nullable=False),
    Column("revision", BigInteger, nullable=False, index=True),
    _time("changed_at"),
    Column("changed_by", Text, nullable=False),
    UniqueConstraint("workspace_pk", "source", "subject", "role", "resource"),
    Index("ix_access_grant_source_bucket", "source", "bucket"),
)

# Where permissions come from, and how far it was read. Positions are JSON, by the kind of the source.
grant_source = Table(
    "grant_source",
    metadata,
    _key(),
    _ref("workspace_pk", "workspace.pk"),
    Column("name", String(63), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("position", Text, nullable=False, server_default="{}"),
    # The last event or poll that was taken in, the last full and the last incremental check with its result (JSON).
    _time("read_at", nullable=True),
    _time("full_at", nullable=True),
    _time("incremental_at", nullable=True),
    Column("result", Text, nullable=False, server_default="{}"),
    Column("problem", Text, nullable=False, server_default=""),
    # The secret that pushed events are signed with, where it is kept here.
    Column("sealed", LargeBinary, nullable=True),
    # The process that reads it now.
    Column("owner", String(64), nullable=True),
    Column("lease_until_ms", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("workspace_pk", "name"),
)

# Pushed messages that were taken in, by their id, and what was answered: one that comes again gets the same answer.
pushed = Table(
    "pushed",
    metadata,
    Column("source_pk", _Key, ForeignKey("grant_source.pk"), primary_key=True),
    Column("id", String(255), primary_key=True),
    _time("at", index=True),
    Column("answer", Text, nullable=False),
)

# Events that could not be taken in, with the reason.
dead_event = Table(
    "dead_event",
    metadata,
    _key(),
    _ref("workspace_pk", "workspace.pk"),
    Column("source", String(63), nullable=False),
    Column("place", String(255), nullable=False),
    _time("at"),
    # The record's key, headers and time, which some forms of events need (JSON).
    Column("around", Text, nullable=False, server_default="{}"),
    Column("body", LargeBinary, nullable=False),
    Column("reason", Text, nullable=False),
    UniqueConstraint("workspace_pk", "source", "place"),
)

# A protected move that waits for another identity, or has its answer.
approval = Table(
    "approval",
    metadata,
    _key(),
    _ref("workspace_pk", "workspace.pk"),
    Column("id", String(20), nullable=False, unique=True),
    # The digest of what the plan would do, to which it is bound, and the plan as it was found then (JSON).
    Column("digest", Digest, nullable=False, index=True),
    Column("plan", Text, nullable=False),
    Column("state", String(16), nullable=False),
    # Subjects, such as ``token:ci``; `answers` is a JSON list of who said what, of which `needed` must agree.
    Column("asked_by", Text, nullable=False),
    _time("asked_at"),
    Column("needed", SmallInteger, nullable=False),
    Column("hours", Float, nullable=False),
    Column("answers", Text, nullable=False, server_default="[]"),
    _time("expires_at"),
    Column("operation", String(20), nullable=True),
    CheckConstraint("state in ('waiting', 'approved', 'rejected', 'used')", name="state"),
)

# Keys that seal secrets, themselves sealed under a key of the ring: rotating that one re-wraps these alone.
data_key = Table(
    "data_key",
    metadata,
    Column("id", String(20), primary_key=True),
    Column("ring_key", String(20), nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    _time("created_at"),
)

process = Table(
    "process",
    metadata,
    Column("id", String(20), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("version", String(32), nullable=False),
    Column("capabilities", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("on_store_loss", String(8), nullable=False),
    Column("applied", BigInteger, nullable=False),
    _time("started_at"),
    # Ends of leases are compared on the database's own clock only, as seconds since 1970.
    Column("lease_until_ms", BigInteger, nullable=False),
)

# A journalled publish or rollback. `plan` is what was decided, and never changes; `lease_until_ms` is on the store's
# own clock; `fence` grows with every claim, so that who lost the operation can write nothing more of it.
operation = Table(
    "operation",
    metadata,
    _key(),
    _ref("workspace_pk", "workspace.pk"),
    Column("id", String(20), nullable=False, unique=True),
    # What the caller calls the request, so that sending it twice does it once.
    Column("key", String(128), nullable=True, unique=True),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False, index=True),
    # What a person asked of it since: nothing, `undo` or `keep`.
    Column("wish", String(8), nullable=False),
    Column("plan", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("actor", Text, nullable=False),
    Column("actor_kind", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("report", Text, nullable=False),
    Column("owner", String(64), nullable=True),
    Column("lease_until_ms", BigInteger, nullable=False),
    Column("fence", BigInteger, nullable=False),
    _time("created_at"),
    _time("ended_at", nullable=True),
    CheckConstraint(
        "state in ('pending', 'running', 'parked', 'asking', 'succeeded', 'kept', 'undone', 'failed')", name="state"
    ),
)

# Which workflows an operation is about.
operation_workflow = Table(
    "operation_workflow",
    metadata,
    Column("operation_pk", _Key, ForeignKey("operation.pk"), primary_key=True),
    Column("workflow_pk", _Key, ForeignKey("workflow.pk"), primary_key=True, index=True),
)

# The journal: a row when a step begins (those with an effect outside the store) or is over.
operation_step = Table(
    "operation_step",
    metadata,
    _key(),
    _ref("operation_pk", "operation.pk"),
    Column("name", String(24), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("detail", Text, nullable=False),
    _time("began_at"),
    _time("ended_at", nullable=True),
    Column("elapsed_ms", Float, nullable=True),
    UniqueConstraint("operation_pk", "name"),
    CheckConstraint("state in ('begun', 'done', 'failed', 'skipped')", name="state"),
)

# What starts the versions of a channel on the embedded engine. A webhook keeps its address, whatever version is
# bound; `version_pk` is null while the version in service has no such node.
trigger = Table(
    "trigger",
    metadata,
    _key(),
    _ref("channel_pk", "channel.pk"),
    Column("node", String(255), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("title", Text, nullable=False),
    _ref("version_pk", "version.pk", nullable=True),
    Column("generation", BigInteger, nullable=False),
    # A webhook's: the hash that requests are found by, and the sealed token, since its address is shown.
    Column("hash", LargeBinary, nullable=True, unique=True),
    Column("sealed", LargeBinary, nullable=True),
    # A schedule's.
    Column("cron", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("problem", Text, nullable=False),
    _time("next_slot", nullable=True, index=True),
    _time("updated_at"),
    UniqueConstraint("channel_pk", "node", "kind"),
    CheckConstraint("kind in ('webhook', 'schedule')", name="kind"),
)

# A slot of a schedule that was fired, or passed over: one row, and so one version, for each.
trigger_fire = Table(
    "trigger_fire",
    metadata,
    _key(),
    _ref("trigger_pk", "trigger.pk"),
    _time("slot"),
    _ref("version_pk", "version.pk", nullable=True),
    Column("generation", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("detail", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("owner", String(64), nullable=True),
    Column("lease_until_ms", BigInteger, nullable=False),
    _time("at"),
    _time("ended_at", nullable=True),
    UniqueConstraint("trigger_pk", "slot"),
    CheckConstraint("state in ('claimed', 'ran', 'failed', 'skipped')", name="state"),
    Index("ix_trigger_fire_state", "state"),
)

# An app on a Dify server, and the channel that it runs. What was last seen there stands here; that moves no channel.
app = Table(
    "app",
    metadata,
    _key(),
    _ref("target_pk", "target.pk"),
    _ref("channel_pk", "channel.pk"),
    Column("app_id", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("mode", String(32), nullable=False),
    # How its pointer is moved: `route`, `publish`, `restore` or `database`.
    Column("way", String(16), nullable=False),
    # Dify's id of the version that it serves (null: none), which version of ours that is, since when and by whom.
    Column("live_id", String(64), nullable=True),
    _ref("live_pk", "version.pk", nullable=True),
    _time("live_since", nullable=True),
    Column("live_by", Text, nullable=False, server_default=""),
    # The version that the app itself is still to be given after a move by `route`.
    _ref("converge_pk", "version.pk", nullable=True),
    # How far it was read (JSON: cursors of versions, runs and the draft).
    Column("read", Text, nullable=False, server_default="{}"),
    _time("seen_at", nullable=True),
    _time("gone_at", nullable=True),
    UniqueConstraint("target_pk", "app_id"),
    UniqueConstraint("channel_pk"),
)

# A version's identity on an app: one row of Dify's. A version has several where it was published again.
placement = Table(
    "placement",
    metadata,
    _key(),
    _ref("app_pk", "app.pk"),
    _ref("version_pk", "version.pk", index=True),
    # Dify's id of the row, its version string and its hash.
    Column("placed_id", String(64), nullable=False),
    Column("label", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("author", Text, nullable=False),
    _time("placed_at"),
    # The operation that made it; null for one that somebody made in Dify.
    Column("operation", String(20), nullable=True),
    _time("gone_at", nullable=True),
    UniqueConstraint("app_pk", "placed_id"),
    Index("ix_placement_app_version", "app_pk", "version_pk"),
)

# A state of a draft that was changed, or about to be overwritten. Secrets are sealed in one JSON.
draft = Table(
    "draft",
    metadata,
    _key(),
    Column("id", String(20), nullable=False, unique=True),
    _ref("app_pk", "app.pk", index=True),
    _ref("snapshot_pk", "snapshot.pk", index=True),
    Column("hash", String(64), nullable=False),
    Column("author", Text, nullable=False),
    _time("changed_at", nullable=True),
    _time("kept_at"),
    # `seen` by the watch, `operation` before a write, `restore` before a draft state is put back.
    Column("why", String(16), nullable=False),
    Column("operation", String(20), nullable=True),
    Column("sealed", LargeBinary, nullable=True),
)

# What belongs to an app and is in no version of it: keys, webhooks, triggers, tools, the MCP server, the site.
integration = Table(
    "integration",
    metadata,
    _key(),
    _ref("app_pk", "app.pk"),
    Column("kind", String(24), nullable=False),
    Column("name", String(255), nullable=False),
    # What may be shown (JSON), and what may not, sealed.
    Column("state", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=True),
    Column("fingerprint", String(64), nullable=False),
    _time("seen_at"),
    _time("changed_at"),
    _time("gone_at", nullable=True),
    UniqueConstraint("app_pk", "kind", "name"),
)

# What Dify's own logs tell of the runs of a version, by what started them.
served = Table(
    "served",
    metadata,
    _key(),
    _ref("app_pk", "app.pk"),
    _ref("version_pk", "version.pk", index=True),
    Column("origin", String(24), nullable=False),
    Column("runs", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("slowest", Float, nullable=False),
    _time("first_at"),
    _time("last_at"),
    UniqueConstraint("app_pk", "version_pk", "origin"),
)

# The two append-only tables that every transaction may write.
audit = Table(
    "audit",
    metadata,
    _key(),
    _time("at", index=True),
    Column("actor", Text, nullable=False),
    Column("action", String(63), nullable=False),
    Column("resource", Text, nullable=False, index=True),
    Column("result", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    # The bytes that the Merkle leaf is made of, fixed when the row is written.
    Column("canonical", LargeBinary, nullable=False),
    # The stable code of the action and its outcome, and the place in the tree, given later.
    Column("code", String(8), nullable=False, server_default=""),
    Column("place", BigInteger, nullable=True, unique=True, index=True),
)

# The Merkle tree over the audit rows, in tiles of up to 256 hashes (C2SP tlog-tiles). It outlives rows that were
# exported and pruned.
audit_tile = Table(
    "audit_tile",
    metadata,
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
)

# Signed heads of the tree (C2SP tlog-checkpoint), and how far each destination has them.
audit_checkpoint = Table(
    "audit_checkpoint",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    _time("at"),
    Column("root", Digest, nullable=False),
    Column("note", Text, nullable=False),
)

audit_export = Table(
    "audit_export",
    metadata,
    Column("destination", String(255), primary_key=True),
    Column("size", BigInteger, nullable=False),
    _time("at"),  # before which it is not tried again
    _time("done_at", nullable=True),
    _time("failing_since", nullable=True),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("problem", Text, nullable=False, server_default=""),
)

outbox = Table(
    "outbox",
    metadata,
    _key(),
    _time("at"),
    Column("type", String(63), nullable=False),
    Column("subject", Text, nullable=False),
    Column("payload", Text, nullable=False),
)
