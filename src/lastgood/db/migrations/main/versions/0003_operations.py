"""The journal of operations."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "operation",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("workspace_pk", _KEY, nullable=False),
        sa.Column("id", sa.String(length=20), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("wish", sa.String(length=8), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("actor_kind", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("report", sa.Text(), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=True),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("ended_at", sa.String(length=27), nullable=True),
        sa.CheckConstraint(
            "state in ('pending', 'running', 'parked', 'asking', 'succeeded', 'kept', 'undone', 'failed')",
            name=op.f("ck_operation_state"),
        ),
        sa.ForeignKeyConstraint(["workspace_pk"], ["workspace.pk"], name=op.f("fk_operation_workspace_pk_workspace")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_operation")),
        sa.UniqueConstraint("id", name=op.f("uq_operation_id")),
        sa.UniqueConstraint("key", name=op.f("uq_operation_key")),
    )
    op.create_index(op.f("ix_operation_state"), "operation", ["state"])
    op.create_table(
        "operation_workflow",
        sa.Column("operation_pk", _KEY, nullable=False),
        sa.Column("workflow_pk", _KEY, nullable=False),
        sa.ForeignKeyConstraint(
            ["operation_pk"], ["operation.pk"], name=op.f("fk_operation_workflow_operation_pk_operation")
        ),
        sa.ForeignKeyConstraint(
            ["workflow_pk"], ["workflow.pk"], name=op.f("fk_operation_workflow_workflow_pk_workflow")
        ),
        sa.PrimaryKeyConstraint("operation_pk", "workflow_pk", name=op.f("pk_operation_workflow")),
    )
    op.create_index(op.f("ix_operation_workflow_workflow_pk"), "operation_workflow", ["workflow_pk"])
    op.create_table(
        "operation_step",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("operation_pk", _KEY, nullable=False),
        sa.Column("name", sa.String(length=24), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("began_at", sa.String(length=27), nullable=False),
        sa.Column("ended_at", sa.String(length=27), nullable=True),
        sa.Column("elapsed_ms", sa.Float(), nullable=True),
        sa.CheckConstraint("state in ('begun', 'done', 'failed', 'skipped')", name=op.f("ck_operation_step_state")),
        sa.ForeignKeyConstraint(
            ["operation_pk"], ["operation.pk"], name=op.f("fk_operation_step_operation_pk_operation")
        ),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_operation_step")),
        sa.UniqueConstraint("operation_pk", "name", name=op.f("uq_operation_step_operation_pk_name")),
    )
