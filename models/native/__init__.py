"""The training kernel in C, and what building it leaves; `models.kernel` loads it."""
