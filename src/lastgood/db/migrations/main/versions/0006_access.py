"""Who may do what: people, sessions, roles and grants with their sources; approvals; the audit log's tree; data keys.

Whoever held a token could do everything: those tokens keep that, by a grant of the role admin."""

import hashlib
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "access",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_access")),
    )
    op.create_table(
        "audit_checkpoint",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_audit_checkpoint")),
    )
    op.create_table(
        "audit_export",
        sa.Column("destination", sa.String(length=255), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("done_at", sa.String(length=27), nullable=True),
        sa.Column("failing_since", sa.String(length=27), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("problem", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("destination", name=op.f("pk_audit_export")),
    )
    op.create_table(
        "audit_tile",
        sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "number", name=op.f("pk_audit_tile")),
    )
    op.create_table(
        "data_key",
        sa.Column("id", sa.String(length=20), nullable=False),
        sa.Column("ring_key", sa.String(length=20), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_key")),
    )
    op.create_table(
        "sign_in",
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.String(length=27), nullable=False),
        sa.Column("locked_until", sa.String(length=27), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_sign_in")),
    )
    op.create_table(
        "access_grant",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("workspace_pk", _KEY, nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(length=63), nullable=False),
        sa.Column("resource", sa.String(length=255), nullable=False),
        sa.Column("source", sa.String(length=63), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column("event_at", sa.BigInteger(), nullable=False),
        sa.Column("event_place", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.String(length=27), nullable=True),
        sa.Column("bucket", sa.SmallInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.String(length=27), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_pk"], ["workspace.pk"], name=op.f("fk_access_grant_workspace_pk_workspace")
        ),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_access_grant")),
        sa.UniqueConstraint(
            "workspace_pk",
            "source",
            "subject",
            "role",
            "resource",
            name=op.f("uq_access_grant_workspace_pk_source_subject_role_resource"),
        ),
    )
    op.create_index(op.f("ix_access_grant_revision"), "access_grant", ["revision"])
    op.create_index("ix_access_grant_source_bucket", "access_grant", ["source", "bucket"])
    op.create_index(op.f("ix_access_grant_subject"), "access_grant", ["subject"])
    op.create_table(
        "approval",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("workspace_pk", _KEY, nullable=False),
        sa.Column("id", sa.String(length=20), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.String(length=27), nullable=False),
        sa.Column("needed", sa.SmallInteger(), nullable=False),
        sa.Column("hours", sa.Float(), nullable=False),
        sa.Column("answers", sa.Text(), server_default="[]", nullable=False),
        sa.Column("expires_at", sa.String(length=27), nullable=False),
        sa.Column("operation", sa.String(length=20), nullable=True),
        sa.CheckConstraint("state in ('waiting', 'approved', 'rejected', 'used')", name=op.f("ck_approval_state")),
        sa.ForeignKeyConstraint(["workspace_pk"], ["workspace.pk"], name=op.f("fk_approval_workspace_pk_workspace")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_approval")),
        sa.UniqueConstraint("id", name=op.f("uq_approval_id")),
    )
    op.create_index(op.f("ix_approval_digest"), "approval", ["digest"])
    op.create_table(
        "dead_event",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("workspace_pk", _KEY, nullable=False),
        sa.Column("source", sa.String(length=63), nullable=False),
        sa.Column("place", sa.String(length=255), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("around", sa.Text(), server_default="{}", nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_pk"], ["workspace.pk"], name=op.f("fk_dead_event_workspace_pk_workspace")
        ),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_dead_event")),
        sa.UniqueConstraint("workspace_pk", "source", "place", name=op.f("uq_dead_event_workspace_pk_source_place")),
    )
    op.create_table(
        "grant_source",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("workspace_pk", _KEY, nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("position", sa.Text(), server_default="{}", nullable=False),
        sa.Column("read_at", sa.String(length=27), nullable=True),
        sa.Column("full_at", sa.String(length=27), nullable=True),
        sa.Column("incremental_at", sa.String(length=27), nullable=True),
        sa.Column("result", sa.Text(), server_default="{}", nullable=False),
        sa.Column("problem", sa.Text(), server_default="", nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("owner", sa.String(length=64), nullable=True),
        sa.Column("lease_until_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_pk"], ["workspace.pk"], name=op.f("fk_grant_source_workspace_pk_workspace")
        ),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_grant_source")),
        sa.UniqueConstraint("workspace_pk", "name", name=op.f("uq_grant_source_workspace_pk_name")),
    )
    op.create_table(
        "pushed",
        sa.Column("source_pk", _KEY, autoincrement=False, nullable=False),
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["source_pk"], ["grant_source.pk"], name=op.f("fk_pushed_source_pk_grant_source")),
        sa.PrimaryKeyConstraint("source_pk", "id", name=op.f("pk_pushed")),
    )
    op.create_index(op.f("ix_pushed_at"), "pushed", ["at"])
    op.create_table(
        "person",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("workspace_pk", _KEY, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("display", sa.Text(), server_default="", nullable=False),
        sa.Column("email", sa.Text(), server_default="", nullable=False),
        sa.Column("password", sa.Text(), nullable=True),
        sa.Column("issuer", sa.Text(), nullable=True),
        sa.Column("issuer_subject", sa.Text(), nullable=True),
        sa.Column("disabled_at", sa.String(length=27), nullable=True),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.String(length=27), nullable=True),
        sa.ForeignKeyConstraint(["workspace_pk"], ["workspace.pk"], name=op.f("fk_person_workspace_pk_workspace")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_person")),
        sa.UniqueConstraint("issuer", "issuer_subject", name=op.f("uq_person_issuer_issuer_subject")),
        sa.UniqueConstraint("workspace_pk", "name", name=op.f("uq_person_workspace_pk_name")),
    )
    op.create_table(
        "role",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("workspace_pk", _KEY, nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.String(length=27), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["workspace_pk"], ["workspace.pk"], name=op.f("fk_role_workspace_pk_workspace")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_role")),
        sa.UniqueConstraint("workspace_pk", "name", name=op.f("uq_role_workspace_pk_name")),
    )
    op.create_index(op.f("ix_role_revision"), "role", ["revision"])
    op.create_table(
        "session",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("person_pk", _KEY, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("roles", sa.Text(), server_default="[]", nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("seen_at", sa.String(length=27), nullable=False),
        sa.Column("expires_at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["person_pk"], ["person.pk"], name=op.f("fk_session_person_pk_person")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_session")),
        sa.UniqueConstraint("hash", name=op.f("uq_session_hash")),
    )
    op.create_index(op.f("ix_session_expires_at"), "session", ["expires_at"])
    op.create_index(op.f("ix_session_person_pk"), "session", ["person_pk"])
    op.add_column("audit", sa.Column("code", sa.String(length=8), server_default="", nullable=False))
    op.add_column("audit", sa.Column("place", sa.BigInteger(), nullable=True))
    op.create_index(op.f("ix_audit_place"), "audit", ["place"], unique=True)
    op.add_column("token", sa.Column("created_by", sa.Text(), server_default="", nullable=False))
    op.add_column("token", sa.Column("expires_at", sa.String(length=27), nullable=True))
    op.add_column("token", sa.Column("used_at", sa.String(length=27), nullable=True))
    _keep_admins()


def _keep_admins() -> None:
    connection = op.get_bind()
    connection.execute(sa.text("INSERT INTO access (revision) VALUES (0)"))
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    for number, name in enumerate(
        connection.execute(sa.text("SELECT name FROM token ORDER BY pk")).scalars().all(), 1
    ):
        subject = f"token:{name}"
        connection.execute(
            sa.text(
                "INSERT INTO access_grant (workspace_pk, subject, role, resource, source, present, event_at,"
                " event_place, bucket, revision, changed_at, changed_by) SELECT pk, :subject, 'admin', '*', 'local',"
                " :yes, 0, 0, :bucket, :revision, :now, 'an earlier release' FROM workspace"
            ),
            {
                "subject": subject,
                "yes": True,
                "bucket": hashlib.sha256(f"{subject}\x1fadmin\x1f*".encode()).digest()[0],
                "revision": number,
                "now": now,
            },
        )
        connection.execute(sa.text("UPDATE access SET revision = :revision"), {"revision": number})
