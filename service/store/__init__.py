"""Rows and SQL: the source of truth about jobs, runs, checkpoints and events. Only this package names the tables."""
