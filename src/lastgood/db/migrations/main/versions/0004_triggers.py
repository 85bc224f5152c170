"""The triggers of channels, and the slots of their schedules."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "trigger",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("channel_pk", _KEY, nullable=False),
        sa.Column("node", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("version_pk", _KEY, nullable=True),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("next_slot", sa.String(length=27), nullable=True),
        sa.Column("updated_at", sa.String(length=27), nullable=False),
        sa.CheckConstraint("kind in ('webhook', 'schedule')", name=op.f("ck_trigger_kind")),
        sa.ForeignKeyConstraint(["channel_pk"], ["channel.pk"], name=op.f("fk_trigger_channel_pk_channel")),
        sa.ForeignKeyConstraint(["version_pk"], ["version.pk"], name=op.f("fk_trigger_version_pk_version")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_trigger")),
        sa.UniqueConstraint("channel_pk", "node", "kind", name=op.f("uq_trigger_channel_pk_node_kind")),
        sa.UniqueConstraint("hash", name=op.f("uq_trigger_hash")),
    )
    op.create_index(op.f("ix_trigger_next_slot"), "trigger", ["next_slot"])
    op.create_table(
        "trigger_fire",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("trigger_pk", _KEY, nullable=False),
        sa.Column("slot", sa.String(length=27), nullable=False),
        sa.Column("version_pk", _KEY, nullable=True),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=True),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("ended_at", sa.String(length=27), nullable=True),
        sa.CheckConstraint("state in ('claimed', 'ran', 'failed', 'skipped')", name=op.f("ck_trigger_fire_state")),
        sa.ForeignKeyConstraint(["trigger_pk"], ["trigger.pk"], name=op.f("fk_trigger_fire_trigger_pk_trigger")),
        sa.ForeignKeyConstraint(["version_pk"], ["version.pk"], name=op.f("fk_trigger_fire_version_pk_version")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_trigger_fire")),
        sa.UniqueConstraint("trigger_pk", "slot", name=op.f("uq_trigger_fire_trigger_pk_slot")),
    )
    op.create_index(op.f("ix_trigger_fire_state"), "trigger_fire", ["state"])
