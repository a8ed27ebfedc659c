"""Jobs keep the accuracy that they ended with, so that the best model is found by an index."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

FILL = """UPDATE jobs SET accuracy = (
    SELECT MAX({accuracy}) FROM checkpoints
    WHERE checkpoints.job_id = jobs.id AND checkpoints.final AND checkpoints.phase = 'train'
) WHERE state = 'succeeded'"""
ACCURACY = {
    "sqlite": "json_extract(evaluation, '$.accuracy')",
    "postgresql": "(evaluation ->> 'accuracy')::double precision",
}


def upgrade() -> None:
    """Add the column, fill it from the evaluations of final checkpoints, and index it."""
    op.add_column("jobs", sa.Column("accuracy", sa.Double))
    op.execute(FILL.format(accuracy=ACCURACY[op.get_bind().dialect.name]))
    op.create_index("jobs_by_accuracy", "jobs", ["state", "accuracy", "ended_event"])
