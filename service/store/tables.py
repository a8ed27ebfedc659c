"""The tables. Times are seconds since 1970 UTC by the database's clock; JSON columns hold values of `models`."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    false,
    true,
)

metadata = MetaData()

runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("created_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("attempt", Integer, nullable=False, default=0),
    Column("attempts_without_checkpoint", Integer, nullable=False, default=0),
    Column("worker", Text),
    Column("pins", JSON),
    Column("last_error", JSON),
    Index("runs_open", "ended_at", "worker"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("run_id", Text, ForeignKey("runs.id"), nullable=False),
    Column("state", Text, nullable=False),
    Column("preset", Text),
    Column("spec", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("ended_event", BigInteger),
    Column("accuracy", Double),
    Column("epoch", Integer, nullable=False, default=0),
    Column("progress", JSON),
    Column("error", JSON),
    Column("reproducible", Boolean, nullable=False, default=True, server_default=true()),
    Column("irreproducible_reason", Text),
    Column("priority", Integer, nullable=False, default=2, server_default="2"),
    Column("work", Double, nullable=False, default=0.0, server_default="0"),
    Column("experiment_id", Text),
    Column("scheme", Text, nullable=False, default="", server_default=""),
    Column("loss", Double),
    Column("name", Text),
    Column("note", Text),
    Column("version", Integer, nullable=False, default=1, server_default="1"),
    Column("device", Text, nullable=False, default="any", server_default="any"),
    Index("jobs_by_state", "state", "id"),
    Index("jobs_in_queue", "state", "priority", "run_id"),
    Index("jobs_by_run", "run_id"),
    Index("jobs_by_experiment", "experiment_id", "id"),
    Index("jobs_by_end", "state", "ended_event"),
    Index("jobs_by_accuracy", "state", "accuracy", "ended_event"),
    Index("jobs_by_scheme", "scheme", "id"),
    Index("jobs_by_scheme_in_order_of_accuracy", "scheme", "accuracy", "id"),
    Index("jobs_in_order_of_accuracy", "accuracy", "id"),
    Index("jobs_in_order_of_loss", "loss", "id"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("job_id", Text, ForeignKey("jobs.id"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("run_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("phase", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("final", Boolean, nullable=False),
    Column("weights_path", Text, nullable=False),
    Column("weights_bytes", BigInteger, nullable=False),
    Column("weights_sha256", Text, nullable=False),
    Column("weights_file_sha256", Text, nullable=False),
    Column("resume_path", Text),
    Column("resume_file_sha256", Text),
    Column("evaluation", JSON),
    Column("created_at", Double, nullable=False),
)

epochs = Table(
    "epochs",
    metadata,
    Column("job_id", Text, ForeignKey("jobs.id"), primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("run_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("metrics", JSON, nullable=False),
)

pretrain_epochs = Table(
    "pretrain_epochs",
    metadata,
    Column("job_id", Text, ForeignKey("jobs.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("metrics", JSON, nullable=False),
)

diagnostics = Table(
    "diagnostics",
    metadata,
    Column("job_id", Text, ForeignKey("jobs.id"), primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("data", JSON, nullable=False),
)

experiments = Table(
    "experiments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("created_at", Double, nullable=False),
    Column("recipe", Text),
    Column("request", JSON, nullable=False),
    Column("members", Integer, nullable=False),
    Column("name", Text),
    Column("note", Text),
    Column("version", Integer, nullable=False, default=1, server_default="1"),
)

labels = Table(
    "labels",
    metadata,
    Column("owner_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Index("labels_by_value", "key", "value", "owner_id"),
)

events = Table(
    "events",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("job_id", Text, ForeignKey("jobs.id"), nullable=False),
    Column("type", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("data", JSON, nullable=False),
    Index("events_by_job", "job_id", "id"),
)

workers = Table(
    "workers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("process_id", Integer, nullable=False),
    Column("device_kind", Text, nullable=False),
    Column("device_name", Text, nullable=False),
    Column("threads", Integer, nullable=False),
    Column("run_id", Text),
    Column("started_at", Double, nullable=False),
    Column("beat_at", Double, nullable=False),
    Column("instance", Text, nullable=False, default="", server_default=""),
    Column("leaving", Boolean, nullable=False, default=False, server_default=false()),
    Column("gpu_memory_bytes", BigInteger),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("answer", JSON),
    Column("created_at", Double, nullable=False),
    Index("idempotency_keys_by_age", "created_at"),
)

deleted_jobs = Table(
    "deleted_jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("deleted_at", Double, nullable=False),
)

aliases = Table(
    "aliases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("job_id", Text, ForeignKey("jobs.id"), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("seq", Integer, nullable=False, default=0, server_default="0"),
    Column("version", Integer, nullable=False),
    Column("updated_at", Double, nullable=False),
    Index("aliases_by_job", "job_id"),
)

counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
