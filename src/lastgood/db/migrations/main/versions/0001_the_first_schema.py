"""The first schema"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "archive",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_archive")),
    )
    op.create_table(
        "audit",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.String(length=63), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("result", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("canonical", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_audit")),
    )
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audit_at"), ["at"], unique=False)
        batch_op.create_index(batch_op.f("ix_audit_resource"), ["resource"], unique=False)

    op.create_table(
        "content",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_content")),
    )
    op.create_table(
        "outbox",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("type", sa.String(length=63), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_outbox")),
    )
    op.create_table(
        "process",
        sa.Column("id", sa.String(length=20), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("capabilities", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("on_store_loss", sa.String(length=8), nullable=False),
        sa.Column("applied", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.String(length=27), nullable=False),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_process")),
    )
    op.create_table(
        "routing",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_routing")),
    )
    op.create_table(
        "token",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_token")),
        sa.UniqueConstraint("hash", name=op.f("uq_token_hash")),
        sa.UniqueConstraint("name", name=op.f("uq_token_name")),
    )
    op.create_table(
        "workspace",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_workspace")),
        sa.UniqueConstraint("name", name=op.f("uq_workspace_name")),
    )
    op.create_table(
        "counter",
        sa.Column("workspace_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("day", sa.String(length=8), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["workspace_pk"], ["workspace.pk"], name=op.f("fk_counter_workspace_pk_workspace")),
        sa.PrimaryKeyConstraint("workspace_pk", "kind", "day", name=op.f("pk_counter")),
    )
    op.create_table(
        "snapshot",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("workspace_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("semantic_digest", sa.String(length=64), nullable=False),
        sa.Column("kept_version_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("archived_at", sa.String(length=27), nullable=True),
        sa.ForeignKeyConstraint(["workspace_pk"], ["workspace.pk"], name=op.f("fk_snapshot_workspace_pk_workspace")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_snapshot")),
        sa.UniqueConstraint("workspace_pk", "id", name=op.f("uq_snapshot_workspace_pk_id")),
    )
    with op.batch_alter_table("snapshot", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_snapshot_digest"), ["digest"], unique=False)
        batch_op.create_index(batch_op.f("ix_snapshot_kept_version_pk"), ["kept_version_pk"], unique=False)
        batch_op.create_index(batch_op.f("ix_snapshot_semantic_digest"), ["semantic_digest"], unique=False)

    op.create_table(
        "target",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("workspace_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["workspace_pk"], ["workspace.pk"], name=op.f("fk_target_workspace_pk_workspace")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_target")),
        sa.UniqueConstraint("workspace_pk", "name", name=op.f("uq_target_workspace_pk_name")),
    )
    op.create_table(
        "workflow",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("workspace_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sa.String(length=15), nullable=False),
        sa.Column("slug", sa.String(length=63), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("mode", sa.String(length=32), nullable=False),
        sa.Column("target_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["target_pk"], ["target.pk"], name=op.f("fk_workflow_target_pk_target")),
        sa.ForeignKeyConstraint(["workspace_pk"], ["workspace.pk"], name=op.f("fk_workflow_workspace_pk_workspace")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_workflow")),
        sa.UniqueConstraint("workspace_pk", "id", name=op.f("uq_workflow_workspace_pk_id")),
        sa.UniqueConstraint("workspace_pk", "slug", name=op.f("uq_workflow_workspace_pk_slug")),
    )
    op.create_table(
        "smoke",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("workflow_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sa.String(length=20), nullable=False),
        sa.Column("inputs", sa.Text(), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("expect", sa.Text(), nullable=False),
        sa.Column("max_ms", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["workflow_pk"], ["workflow.pk"], name=op.f("fk_smoke_workflow_pk_workflow")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_smoke")),
        sa.UniqueConstraint("id", name=op.f("uq_smoke_id")),
    )
    with op.batch_alter_table("smoke", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_smoke_workflow_pk"), ["workflow_pk"], unique=False)

    op.create_table(
        "version",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("workspace_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sa.String(length=20), nullable=False),
        sa.Column("workflow_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("snapshot_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("parent_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("semver", sa.String(length=64), nullable=True),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("pinned", sa.Boolean(), nullable=False),
        sa.Column("at_hand", sa.Boolean(), nullable=False),
        sa.Column("authored_at", sa.String(length=27), nullable=False),
        sa.Column("recorded_at", sa.String(length=27), nullable=False),
        sa.CheckConstraint("state in ('candidate', 'stable', 'failed')", name=op.f("ck_version_state")),
        sa.ForeignKeyConstraint(["parent_pk"], ["version.pk"], name=op.f("fk_version_parent_pk_version")),
        sa.ForeignKeyConstraint(["snapshot_pk"], ["snapshot.pk"], name=op.f("fk_version_snapshot_pk_snapshot")),
        sa.ForeignKeyConstraint(["workflow_pk"], ["workflow.pk"], name=op.f("fk_version_workflow_pk_workflow")),
        sa.ForeignKeyConstraint(["workspace_pk"], ["workspace.pk"], name=op.f("fk_version_workspace_pk_workspace")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_version")),
        sa.UniqueConstraint("workspace_pk", "id", name=op.f("uq_version_workspace_pk_id")),
    )
    with op.batch_alter_table("version", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_version_snapshot_pk"), ["snapshot_pk"], unique=False)
        batch_op.create_index("ix_version_workflow", ["workflow_pk", "pk"], unique=False)
        batch_op.create_index("ix_version_workflow_state", ["workflow_pk", "state", "pk"], unique=False)
        batch_op.create_index("ix_version_workflow_at_hand", ["workflow_pk", "at_hand", "pk"], unique=False)

    op.create_table(
        "channel",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("workflow_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("version_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("applying", sa.String(length=20), nullable=True),
        sa.Column("updated_at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["version_pk"], ["version.pk"], name=op.f("fk_channel_version_pk_version")),
        sa.ForeignKeyConstraint(["workflow_pk"], ["workflow.pk"], name=op.f("fk_channel_workflow_pk_workflow")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_channel")),
        sa.UniqueConstraint("workflow_pk", "name", name=op.f("uq_channel_workflow_pk_name")),
    )
    with op.batch_alter_table("channel", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_channel_revision"), ["revision"], unique=False)
        batch_op.create_index(batch_op.f("ix_channel_version_pk"), ["version_pk"], unique=False)

    op.create_table(
        "evidence",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("version_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("after_move", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["version_pk"], ["version.pk"], name=op.f("fk_evidence_version_pk_version")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_evidence")),
    )
    with op.batch_alter_table("evidence", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_evidence_version_pk"), ["version_pk"], unique=False)

    op.create_table(
        "secret",
        sa.Column("version_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["version_pk"], ["version.pk"], name=op.f("fk_secret_version_pk_version")),
        sa.PrimaryKeyConstraint("version_pk", "name", name=op.f("pk_secret")),
    )
    op.create_table(
        "app_key",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("channel_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sa.String(length=20), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("revoked_at", sa.String(length=27), nullable=True),
        sa.ForeignKeyConstraint(["channel_pk"], ["channel.pk"], name=op.f("fk_app_key_channel_pk_channel")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_app_key")),
        sa.UniqueConstraint("hash", name=op.f("uq_app_key_hash")),
        sa.UniqueConstraint("id", name=op.f("uq_app_key_id")),
    )
    with op.batch_alter_table("app_key", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_app_key_channel_pk"), ["channel_pk"], unique=False)
        batch_op.create_index(batch_op.f("ix_app_key_revision"), ["revision"], unique=False)

    op.create_table(
        "move",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("workflow_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("channel_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("from_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("to_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("operation", sa.String(length=20), nullable=True),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["channel_pk"], ["channel.pk"], name=op.f("fk_move_channel_pk_channel")),
        sa.ForeignKeyConstraint(["from_pk"], ["version.pk"], name=op.f("fk_move_from_pk_version")),
        sa.ForeignKeyConstraint(["to_pk"], ["version.pk"], name=op.f("fk_move_to_pk_version")),
        sa.ForeignKeyConstraint(["workflow_pk"], ["workflow.pk"], name=op.f("fk_move_workflow_pk_workflow")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_move")),
        sa.UniqueConstraint("channel_pk", "generation", name=op.f("uq_move_channel_pk_generation")),
    )
    with op.batch_alter_table("move", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_move_at"), ["at"], unique=False)
        batch_op.create_index(batch_op.f("ix_move_workflow_pk"), ["workflow_pk"], unique=False)

    # What every store has from the start.
    op.execute("INSERT INTO workspace (pk, name) VALUES (1, 'default')")
    op.execute("INSERT INTO routing (pk, revision) VALUES (1, 1)")
    op.execute("INSERT INTO target (pk, workspace_pk, name, kind, base_url) VALUES (1, 1, 'engine', 'engine', '')")
    if op.get_bind().dialect.name == "postgresql":
        for table in ("workspace", "routing", "target"):
            op.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'pk'), 1)")
