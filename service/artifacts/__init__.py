"""Checkpoint files: immutable, checked by their SHA-256, in a folder or in object storage."""
