"""Jobs and experiments get names, notes, labels and versions.

Jobs are found by their scheme, and sorted by accuracy and loss.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

FILL = """UPDATE jobs SET scheme = {scheme}, loss = (
    SELECT {loss} FROM epochs WHERE epochs.job_id = jobs.id ORDER BY epochs.epoch DESC LIMIT 1
)"""
VALUES = {
    "sqlite": {
        "scheme": "json_extract(spec, '$.init.scheme')",
        "loss": "json_extract(metrics, '$.train_loss_mean')",
    },
    "postgresql": {
        "scheme": "spec -> 'init' ->> 'scheme'",
        "loss": "(metrics ->> 'train_loss_mean')::double precision",
    },
}


def upgrade() -> None:
    """Add the columns, fill those of jobs from specs and metrics, and make the table of labels and the indexes."""
    for table in ("jobs", "experiments"):
        op.add_column(table, sa.Column("name", sa.Text))
        op.add_column(table, sa.Column("note", sa.Text))
        op.add_column(table, sa.Column("version", sa.Integer, nullable=False, server_default="1"))
    op.add_column("jobs", sa.Column("scheme", sa.Text, nullable=False, server_default=""))
    op.add_column("jobs", sa.Column("loss", sa.Double))
    op.execute(FILL.format(**VALUES[op.get_bind().dialect.name]))
    op.create_index("jobs_by_scheme", "jobs", ["scheme", "id"])
    op.create_index("jobs_by_scheme_in_order_of_accuracy", "jobs", ["scheme", "accuracy", "id"])
    op.create_index("jobs_in_order_of_accuracy", "jobs", ["accuracy", "id"])
    op.create_index("jobs_in_order_of_loss", "jobs", ["loss", "id"])
    op.create_table(
        "labels",
        sa.Column("owner_id", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_index("labels_by_value", "labels", ["key", "value", "owner_id"])
