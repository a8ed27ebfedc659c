"""Workers have an instance under their name, aliases name a row, and jobs keep the event that ended them."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the columns and fill them from the rows that there are."""
    op.add_column("workers", sa.Column("instance", sa.Text, nullable=False, server_default=""))
    op.add_column("workers", sa.Column("leaving", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("aliases", sa.Column("seq", sa.Integer, nullable=False, server_default="0"))
    op.execute(
        "UPDATE aliases SET seq = COALESCE((SELECT MAX(seq) FROM checkpoints WHERE checkpoints.job_id = aliases.job_id "
        "AND checkpoints.epoch = aliases.epoch AND checkpoints.phase = 'train'), -1)"
    )
    op.add_column("jobs", sa.Column("ended_event", sa.BigInteger))
    op.execute(
        "UPDATE jobs SET ended_event = (SELECT MAX(events.id) FROM events WHERE events.job_id = jobs.id "
        "AND events.type IN ('job.succeeded', 'job.failed', 'job.cancelled')) WHERE ended_at IS NOT NULL"
    )
    op.create_index("jobs_by_end", "jobs", ["state", "ended_event"])
