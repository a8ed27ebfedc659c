"""The worker process: attempts at runs, their checkpoints, heartbeats and cleanup."""
