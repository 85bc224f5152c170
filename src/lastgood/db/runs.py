"""The tables of the store of runs and conversations: what the embedded engine and the gateway record, apart from the
pointers.

Times are seconds since 1970, because Dify's answers give them so. What users and models wrote is JSON text; the
values of secret variables are masked before they come here. What the gateway records of calls holds no values."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_Key = BigInteger().with_variant(Integer, "sqlite")

run = Table(
    "run",
    metadata,
    Column("pk", _Key, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("task_id", String(36), nullable=False),
    Column("workflow_id", String(64), nullable=False),
    Column("version_id", String(64), nullable=False),
    Column("user", Text, nullable=False),
    Column("status", String(24), nullable=False),
    Column("inputs", Text, nullable=False),
    Column("outputs", Text, nullable=False),
    Column("error", Text),
    Column("total_steps", Integer, nullable=False),
    Column("total_tokens", Integer, nullable=False),
    Column("exceptions_count", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("finished_at", Float),
    Column("elapsed_time", Float, nullable=False),
)
Index("ix_run_workflow_id_pk", run.c.workflow_id, run.c.pk)

conversation = Table(
    "conversation",
    metadata,
    Column("pk", _Key, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("workflow_id", String(64), nullable=False),
    Column("user", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("inputs", Text, nullable=False),
    Column("introduction", Text),
    Column("dialogue_count", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)
Index("ix_conversation_owner", conversation.c.workflow_id, conversation.c.user, conversation.c.updated_at)
Index("ix_conversation_updated_at", conversation.c.updated_at)

message = Table(
    "message",
    metadata,
    Column("pk", _Key, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column(
        "conversation_id", String(36), ForeignKey("conversation.id", ondelete="CASCADE"), nullable=False, index=True
    ),
    Column("run_id", String(36), nullable=False),
    Column("inputs", Text, nullable=False),
    Column("query", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("error", Text),
    Column("created_at", Float, nullable=False),
)

conversation_variable = Table(
    "conversation_variable",
    metadata,
    Column("pk", _Key, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False),
    Column("conversation_id", String(36), ForeignKey("conversation.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("value_type", String(32), nullable=False),
    Column("value", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    UniqueConstraint("conversation_id", "name"),
)

# A request to stop a task, for whichever engine process runs it.
stop = Table(
    "stop",
    metadata,
    Column("pk", _Key, primary_key=True, autoincrement=True),
    Column("task_id", String(36), nullable=False),
    Column("workflow_id", String(64), nullable=False),
    Column("user", Text, nullable=False),
    Column("at", Float, nullable=False),
)

# Who calls: an app key, by its id, and what the client says it is. Further clients of a key are counted as one.
caller = Table(
    "caller",
    metadata,
    Column("pk", _Key, primary_key=True, autoincrement=True),
    Column("workflow_id", String(64), nullable=False),
    Column("key_id", String(32), nullable=False),
    Column("user_agent", String(120), nullable=False),
    UniqueConstraint("workflow_id", "key_id", "user_agent"),
)

LATENCY_BUCKETS = 41  # as `history.latency` bounds them

# How a version answered a caller in the `span` seconds (a minute, later a day) from `at` on. `pins`: the caller
# named the version itself. `refused` are answers 4xx; of the `unseen` it is not known how they ended; `lost` were not
# looked at. Latencies are in milliseconds, counted in buckets.
calls = Table(
    "calls",
    metadata,
    Column("pk", _Key, primary_key=True, autoincrement=True),
    Column("caller_pk", _Key, ForeignKey("caller.pk", ondelete="CASCADE"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("span", Integer, nullable=False),
    Column("channel", String(63), nullable=False),
    Column("version_id", String(128), nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("pins", Boolean, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("unseen", BigInteger, nullable=False),
    Column("lost", BigInteger, nullable=False),
    Column("total_ms", Float, nullable=False),
    Column("max_ms", Float, nullable=False),
    Column("last_at", Float, nullable=False),
    *(Column(f"bucket_{number}", BigInteger, nullable=False) for number in range(LATENCY_BUCKETS)),
    UniqueConstraint(
        "caller_pk", "at", "span", "channel", "version_id", "generation", "pins", name="uq_calls_of_a_caller"
    ),
)
Index("ix_calls_span_at", calls.c.span, calls.c.at)

# The names and types of what was sent (`inputs`) and got back (`outputs`), as JSON with sorted keys; null is a shape
# that is not known.
call_shape = Table(
    "call_shape",
    metadata,
    Column("pk", _Key, primary_key=True, autoincrement=True),
    Column("workflow_id", String(64), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("digest", LargeBinary(16), nullable=False),
    Column("shape", Text, nullable=False),
    UniqueConstraint("workflow_id", "kind", "digest"),
)

# Which caller was seen with which shape. `version_id` is the version that answered last.
caller_shape = Table(
    "caller_shape",
    metadata,
    Column("caller_pk", _Key, ForeignKey("caller.pk", ondelete="CASCADE"), primary_key=True),
    Column("shape_pk", _Key, ForeignKey("call_shape.pk", ondelete="CASCADE"), primary_key=True, index=True),
    Column("requests", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("version_id", String(128), nullable=False),
    Column("first_at", Float, nullable=False),
    Column("last_at", Float, nullable=False, index=True),
)

# The version that a conversation with a Dify app is pinned to: Dify's ids of the app, of the conversation and of the
# row that held the version then, and the generation of the channel at which it was pinned.
pinned_conversation = Table(
    "pinned_conversation",
    metadata,
    Column("app_id", String(64), primary_key=True),
    Column("conversation_id", String(64), primary_key=True),
    Column("placed_id", String(64), nullable=False),
    Column("version_id", String(64), nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("used_at", Float, nullable=False, index=True),
)
