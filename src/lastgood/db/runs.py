"""The tables of the store of runs and conversations: what the embedded engine records, apart from the pointers.

Times are seconds since 1970, because Dify's answers give them so. What users and models wrote is JSON text; the
values of secret variables are masked before they come here."""

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
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
