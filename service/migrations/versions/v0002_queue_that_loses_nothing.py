"""Add priorities, workers' heartbeats, the last error of a run, idempotency keys, and what was deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add columns, indexes and tables."""
    op.add_column("runs", sa.Column("last_error", sa.JSON))
    op.create_index("runs_open", "runs", ["ended_at", "worker"])
    op.add_column("jobs", sa.Column("priority", sa.Integer, nullable=False, server_default="2"))
    op.add_column("jobs", sa.Column("work", sa.Double, nullable=False, server_default="0"))
    op.create_index("jobs_in_queue", "jobs", ["state", "priority", "run_id"])
    op.create_table(
        "workers",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("process_id", sa.Integer, nullable=False),
        sa.Column("device_kind", sa.Text, nullable=False),
        sa.Column("device_name", sa.Text, nullable=False),
        sa.Column("threads", sa.Integer, nullable=False),
        sa.Column("run_id", sa.Text),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("beat_at", sa.Double, nullable=False),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("answer", sa.JSON),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Index("idempotency_keys_by_age", "created_at"),
    )
    op.create_table(
        "deleted_jobs",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("deleted_at", sa.Double, nullable=False),
    )
