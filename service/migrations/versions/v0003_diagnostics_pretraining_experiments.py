"""Add records of layers and of pre-training, and experiments."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add tables, a column and its index."""
    op.create_table(
        "pretrain_epochs",
        sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("metrics", sa.JSON, nullable=False),
    )
    op.create_table(
        "diagnostics",
        sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("data", sa.JSON, nullable=False),
    )
    op.create_table(
        "experiments",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("recipe", sa.Text),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("members", sa.Integer, nullable=False),
    )
    op.add_column("jobs", sa.Column("experiment_id", sa.Text))
    op.create_index("jobs_by_experiment", "jobs", ["experiment_id", "id"])
