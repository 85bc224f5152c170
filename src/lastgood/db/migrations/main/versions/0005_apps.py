"""Apps on Dify servers: what they serve, the versions placed there, drafts, and what belongs to no version."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("target", sa.Column("console_url", sa.Text(), nullable=False, server_default=""))
    op.add_column("target", sa.Column("sealed", sa.LargeBinary(), nullable=True))
    op.add_column("target", sa.Column("facts", sa.Text(), nullable=False, server_default="{}"))
    op.add_column("app_key", sa.Column("placed_id", sa.String(length=64), nullable=True))
    op.create_table(
        "app",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("target_pk", _KEY, nullable=False),
        sa.Column("channel_pk", _KEY, nullable=False),
        sa.Column("app_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("mode", sa.String(length=32), nullable=False),
        sa.Column("way", sa.String(length=16), nullable=False),
        sa.Column("live_id", sa.String(length=64), nullable=True),
        sa.Column("live_pk", _KEY, nullable=True),
        sa.Column("live_since", sa.String(length=27), nullable=True),
        sa.Column("live_by", sa.Text(), nullable=False, server_default=""),
        sa.Column("converge_pk", _KEY, nullable=True),
        sa.Column("read", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("seen_at", sa.String(length=27), nullable=True),
        sa.Column("gone_at", sa.String(length=27), nullable=True),
        sa.ForeignKeyConstraint(["target_pk"], ["target.pk"], name=op.f("fk_app_target_pk_target")),
        sa.ForeignKeyConstraint(["channel_pk"], ["channel.pk"], name=op.f("fk_app_channel_pk_channel")),
        sa.ForeignKeyConstraint(["live_pk"], ["version.pk"], name=op.f("fk_app_live_pk_version")),
        sa.ForeignKeyConstraint(["converge_pk"], ["version.pk"], name=op.f("fk_app_converge_pk_version")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_app")),
        sa.UniqueConstraint("target_pk", "app_id", name=op.f("uq_app_target_pk_app_id")),
        sa.UniqueConstraint("channel_pk", name=op.f("uq_app_channel_pk")),
    )
    op.create_table(
        "placement",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("app_pk", _KEY, nullable=False),
        sa.Column("version_pk", _KEY, nullable=False),
        sa.Column("placed_id", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("placed_at", sa.String(length=27), nullable=False),
        sa.Column("operation", sa.String(length=20), nullable=True),
        sa.Column("gone_at", sa.String(length=27), nullable=True),
        sa.ForeignKeyConstraint(["app_pk"], ["app.pk"], name=op.f("fk_placement_app_pk_app")),
        sa.ForeignKeyConstraint(["version_pk"], ["version.pk"], name=op.f("fk_placement_version_pk_version")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_placement")),
        sa.UniqueConstraint("app_pk", "placed_id", name=op.f("uq_placement_app_pk_placed_id")),
    )
    op.create_index(op.f("ix_placement_app_version"), "placement", ["app_pk", "version_pk"])
    op.create_index(op.f("ix_placement_version_pk"), "placement", ["version_pk"])
    op.create_table(
        "draft",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=20), nullable=False),
        sa.Column("app_pk", _KEY, nullable=False),
        sa.Column("snapshot_pk", _KEY, nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.String(length=27), nullable=True),
        sa.Column("kept_at", sa.String(length=27), nullable=False),
        sa.Column("why", sa.String(length=16), nullable=False),
        sa.Column("operation", sa.String(length=20), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["app_pk"], ["app.pk"], name=op.f("fk_draft_app_pk_app")),
        sa.ForeignKeyConstraint(["snapshot_pk"], ["snapshot.pk"], name=op.f("fk_draft_snapshot_pk_snapshot")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_draft")),
        sa.UniqueConstraint("id", name=op.f("uq_draft_id")),
    )
    op.create_index(op.f("ix_draft_app_pk"), "draft", ["app_pk"])
    op.create_index(op.f("ix_draft_snapshot_pk"), "draft", ["snapshot_pk"])
    op.create_table(
        "integration",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("app_pk", _KEY, nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("seen_at", sa.String(length=27), nullable=False),
        sa.Column("changed_at", sa.String(length=27), nullable=False),
        sa.Column("gone_at", sa.String(length=27), nullable=True),
        sa.ForeignKeyConstraint(["app_pk"], ["app.pk"], name=op.f("fk_integration_app_pk_app")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_integration")),
        sa.UniqueConstraint("app_pk", "kind", "name", name=op.f("uq_integration_app_pk_kind_name")),
    )
    op.create_table(
        "served",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("app_pk", _KEY, nullable=False),
        sa.Column("version_pk", _KEY, nullable=False),
        sa.Column("origin", sa.String(length=24), nullable=False),
        sa.Column("runs", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("slowest", sa.Float(), nullable=False),
        sa.Column("first_at", sa.String(length=27), nullable=False),
        sa.Column("last_at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["app_pk"], ["app.pk"], name=op.f("fk_served_app_pk_app")),
        sa.ForeignKeyConstraint(["version_pk"], ["version.pk"], name=op.f("fk_served_version_pk_version")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_served")),
        sa.UniqueConstraint("app_pk", "version_pk", "origin", name=op.f("uq_served_app_pk_version_pk_origin")),
    )
    op.create_index(op.f("ix_served_version_pk"), "served", ["version_pk"])
