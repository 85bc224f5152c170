"""Who calls, and with what shapes"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "caller",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("workflow_id", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=32), nullable=False),
        sa.Column("user_agent", sa.String(length=120), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_caller")),
        sa.UniqueConstraint(
            "workflow_id", "key_id", "user_agent", name=op.f("uq_caller_workflow_id_key_id_user_agent")
        ),
    )
    op.create_table(
        "calls",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("caller_pk", _KEY, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("span", sa.Integer(), nullable=False),
        sa.Column("channel", sa.String(length=63), nullable=False),
        sa.Column("version_id", sa.String(length=128), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("pins", sa.Boolean(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("errors", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.Column("unseen", sa.BigInteger(), nullable=False),
        sa.Column("lost", sa.BigInteger(), nullable=False),
        sa.Column("total_ms", sa.Float(), nullable=False),
        sa.Column("max_ms", sa.Float(), nullable=False),
        sa.Column("last_at", sa.Float(), nullable=False),
        *(sa.Column(f"bucket_{number}", sa.BigInteger(), nullable=False) for number in range(41)),
        sa.ForeignKeyConstraint(
            ["caller_pk"], ["caller.pk"], name=op.f("fk_calls_caller_pk_caller"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_calls")),
        sa.UniqueConstraint(
            "caller_pk", "at", "span", "channel", "version_id", "generation", "pins", name="uq_calls_of_a_caller"
        ),
    )
    op.create_index("ix_calls_span_at", "calls", ["span", "at"])
    op.create_table(
        "call_shape",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("workflow_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=16), nullable=False),
        sa.Column("shape", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_call_shape")),
        sa.UniqueConstraint("workflow_id", "kind", "digest", name=op.f("uq_call_shape_workflow_id_kind_digest")),
    )
    op.create_table(
        "caller_shape",
        sa.Column("caller_pk", _KEY, nullable=False),
        sa.Column("shape_pk", _KEY, nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.Column("version_id", sa.String(length=128), nullable=False),
        sa.Column("first_at", sa.Float(), nullable=False),
        sa.Column("last_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["caller_pk"], ["caller.pk"], name=op.f("fk_caller_shape_caller_pk_caller"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["shape_pk"], ["call_shape.pk"], name=op.f("fk_caller_shape_shape_pk_call_shape"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("caller_pk", "shape_pk", name=op.f("pk_caller_shape")),
    )
    op.create_index(op.f("ix_caller_shape_shape_pk"), "caller_shape", ["shape_pk"])
    op.create_index(op.f("ix_caller_shape_last_at"), "caller_shape", ["last_at"])
