"""Rows and SQL: all truth about jobs, runs, checkpoints and events. The only package that names SQLAlchemy tables."""
